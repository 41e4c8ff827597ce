// Package rules looks at a batch before it is sent to a store. An item that the store would refuse is repaired where
// that keeps its meaning, or taken out alone, so that the store takes the rest of the batch.
package rules

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Kinds of stores.
const (
	Prometheus = "prometheus"
	Loki       = "loki"
	Tempo      = "tempo"
)

// Reasons of a repair.
const (
	TimeMissing    = "time-missing"
	TimeUnit       = "time-unit"
	Name           = "name"
	ValueCut       = "value-cut"
	InvalidUTF8    = "invalid-utf8"
	ExemplarNoType = "exemplar"
	StreamBudget   = "stream-budget"
)

// Reasons for taking an item out.
const (
	NoName             = "no-name"
	NoTraceID          = "no-trace-id"
	NoSpanID           = "no-span-id"
	TimeAhead          = "time-ahead"
	TooOld             = "too-old"
	SeriesBudget       = "series-budget"
	InvalidTemporality = "invalid-temporality"
	InvalidHistogram   = "invalid-histogram"
)

// Budget is a number for each partition; zero means no limit.
type Budget struct {
	Default    int            `mapstructure:"default"`
	Partitions map[string]int `mapstructure:"partitions"`
}

func (b Budget) of(partition string) int {
	if n, found := b.Partitions[partition]; found {
		return n
	}
	return b.Default
}

// Settings are those of one sink. A zero value means the default.
type Settings struct {
	// MaxAge of a sample (default 24 h) or a log record (default 168 h). Negative: no limit. Not used for traces.
	MaxAge time.Duration `mapstructure:"max_age"`
	// MaxAhead is how far ahead of the clock a time may be. Default 9m50s: Prometheus and Loki refuse from ten minutes on, by a clock of their own.
	MaxAhead time.Duration `mapstructure:"max_ahead"`
	// Delta: Prometheus runs with a feature flag that takes delta temporality.
	Delta bool `mapstructure:"delta"`
	// Series that a partition may have in an hour, and streams.
	Series  Budget `mapstructure:"series"`
	Streams Budget `mapstructure:"streams"`
	// MaxLineBytes of a log line, MaxMetadataBytes and MaxMetadataEntries of its structured metadata; as in Loki's limits_config.
	MaxLineBytes       int `mapstructure:"max_line_bytes"`
	MaxMetadataBytes   int `mapstructure:"max_metadata_bytes"`
	MaxMetadataEntries int `mapstructure:"max_metadata_entries"`
	// MaxLabelValueBytes of an index label, as Loki's max_label_value_length.
	MaxLabelValueBytes int `mapstructure:"max_label_value_bytes"`
	// IndexAttributes are the resource attributes that Loki's otlp_config makes index labels of.
	IndexAttributes []string `mapstructure:"index_attributes"`
}

const (
	defaultMetricsMaxAge = 24 * time.Hour
	defaultLogsMaxAge    = 168 * time.Hour
	defaultMaxAhead      = 10*time.Minute - 10*time.Second
)

// Rules of one sink. Safe for concurrent use.
type Rules struct {
	kind     string
	settings Settings
	index    map[string]bool

	mu         sync.Mutex
	partitions map[string]*partitionState
}

// Outcome of one batch.
type Outcome struct {
	// Repaired counts items by reason; nil when there are none.
	Repaired map[string]int
	TakenOut []TakenOut
	// Offender is set when a budget was exceeded.
	Offender *Offender
}

// Offender is what uses most of a budget.
type Offender struct {
	// Metric is empty for streams.
	Metric string
	// Workload is the service.name.
	Workload string
	// Attribute has the most distinct values, about Values of them.
	Attribute string
	Values    int
	// Series of this metric and workload that were new.
	Series int
}

func (o *Offender) String() string {
	text := fmt.Sprintf("metric %q of workload %q has most new series (%d)", clip(o.Metric), clip(o.Workload), o.Series)
	if o.Attribute == "" {
		return text
	}
	return fmt.Sprintf("%s, attribute %q most distinct values (about %d)", text, clip(o.Attribute), o.Values)
}

// TakenOut is an item that is not sent.
type TakenOut struct {
	Reason string
	Detail string
	// Payload is the OTLP protobuf of the item alone, with its resource and scope.
	Payload []byte
	Items   int
}

// New makes the rules of a kind of store.
func New(kind string, s Settings) (*Rules, error) {
	if s.MaxAhead == 0 {
		s.MaxAhead = defaultMaxAhead
	}
	if s.MaxAhead < 0 {
		return nil, fmt.Errorf("max_ahead must be positive, not %s", s.MaxAhead)
	}
	if s.MaxAge == 0 {
		s.MaxAge = map[string]time.Duration{Prometheus: defaultMetricsMaxAge, Loki: defaultLogsMaxAge}[kind]
	}
	setDefault(&s.MaxLineBytes, 16<<20)
	setDefault(&s.MaxMetadataBytes, 1<<20)
	setDefault(&s.MaxMetadataEntries, 1024)
	setDefault(&s.MaxLabelValueBytes, 2048)
	// what is cut must have room for the mark, and the fields that are no attributes must have theirs
	for name, least := range map[string][2]int{
		"max_line_bytes":        {s.MaxLineBytes, 128},
		"max_metadata_bytes":    {s.MaxMetadataBytes, 4096},
		"max_metadata_entries":  {s.MaxMetadataEntries, 32},
		"max_label_value_bytes": {s.MaxLabelValueBytes, 128},
	} {
		if least[0] < least[1] {
			return nil, fmt.Errorf("%s must be at least %d, not %d", name, least[1], least[0])
		}
	}
	if s.IndexAttributes == nil {
		s.IndexAttributes = []string{"service.name", "lkeobs.edge", "k8s.cluster.name", "k8s.namespace.name"}
	}
	switch kind {
	case Prometheus, Loki, Tempo:
	default:
		return nil, fmt.Errorf("unknown rules %q: prometheus, loki or tempo", kind)
	}
	r := &Rules{kind: kind, settings: s, index: map[string]bool{}, partitions: map[string]*partitionState{}}
	for _, key := range s.IndexAttributes {
		r.index[key] = true
	}
	return r, nil
}

func setDefault(n *int, value int) {
	if *n == 0 {
		*n = value
	}
}

// Metrics checks a batch in place; rules of another store than Prometheus leave it as it is.
func (r *Rules) Metrics(partition string, md pmetric.Metrics, now time.Time) Outcome {
	if r.kind != Prometheus {
		return Outcome{}
	}
	return r.prometheus(partition, md, now)
}

// Logs checks a batch in place; rules of another store than Loki leave it as it is.
func (r *Rules) Logs(partition string, ld plog.Logs, now time.Time) Outcome {
	if r.kind != Loki {
		return Outcome{}
	}
	return r.loki(partition, ld, now)
}

// Traces checks a batch in place; rules of another store than Tempo leave it as it is.
func (r *Rules) Traces(partition string, td ptrace.Traces, now time.Time) Outcome {
	if r.kind != Tempo {
		return Outcome{}
	}
	return r.tempo(td)
}

// repairs is a set of reasons of one item.
type repairs uint8

const (
	timeMissing repairs = 1 << iota
	timeUnit
	renamed
	valueCut
	utf8Repaired
	exemplarRemoved
	streamBudget
)

var repairNames = [...]string{TimeMissing, TimeUnit, Name, ValueCut, InvalidUTF8, ExemplarNoType, StreamBudget}

// tally counts repaired items.
type tally [len(repairNames)]int

func (t *tally) add(what repairs) {
	for i := range t {
		if what&(1<<i) != 0 {
			t[i]++
		}
	}
}

func (t *tally) counts() map[string]int {
	var counts map[string]int
	for i, n := range t {
		if n > 0 {
			if counts == nil {
				counts = map[string]int{}
			}
			counts[repairNames[i]] = n
		}
	}
	return counts
}

// clock judges times, as nanoseconds since 1970.
type clock struct {
	now, earliest, latest uint64
	nowTime               time.Time
}

func newClock(now time.Time, maxAge, maxAhead time.Duration) clock {
	ns := uint64(max(now.UnixNano(), 0))
	c := clock{now: ns, latest: ns + uint64(maxAhead), nowTime: now}
	if maxAge > 0 && uint64(maxAge) < ns {
		c.earliest = ns - uint64(maxAge)
	}
	return c
}

const (
	year2000   = 946_684_800_000_000_000
	unitWithin = uint64(48 * time.Hour)
)

// factor is what makes nanoseconds of a time that is certainly seconds, milliseconds or microseconds; 1 otherwise.
func (c *clock) factor(t uint64) uint64 {
	if t >= year2000 || t == 0 || c.now < year2000 {
		return 1
	}
	for _, factor := range [...]uint64{1e3, 1e6, 1e9} {
		if t >= (c.now-unitWithin)/factor && t <= (c.now+unitWithin)/factor {
			return factor
		}
	}
	return 1
}

// sameUnit repairs a second time of an item whose first was in another unit.
func sameUnit(t, factor, repaired uint64) uint64 {
	if t != 0 && t < year2000 && t <= repaired/factor {
		return t * factor
	}
	return t
}

func (c *clock) aheadDetail(t uint64) string {
	if t > 1<<63-1 {
		return fmt.Sprintf("its time is %d ns after 1970, out of range", t)
	}
	at := time.Unix(0, int64(t))
	return fmt.Sprintf("its time is %s, %s ahead of the clock", at.UTC().Format(time.RFC3339), at.Sub(c.nowTime).Round(time.Second))
}

func (c *clock) oldDetail(t uint64) string {
	at := time.Unix(0, int64(t))
	return fmt.Sprintf("its time is %s, %s ago; the limit is %s", at.UTC().Format(time.RFC3339), c.nowTime.Sub(at).Round(time.Second), time.Duration(c.now-c.earliest))
}

// hasWord: a name without an ASCII letter or digit becomes only underscores in Prometheus and Loki, and is refused.
func hasWord(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' {
			return true
		}
	}
	return false
}

const maxRenamed = 32

// asciiName spells a name as its code points, `地域` as `u5730_u57df`: always the same, and never that of another name.
func asciiName(name string) string {
	if name == "" {
		return "unnamed"
	}
	var b strings.Builder
	n := 0
	for i := 0; i < len(name); n++ {
		if n == maxRenamed {
			fmt.Fprintf(&b, "_h%016x", hashStable(name))
			break
		}
		r, size := utf8.DecodeRuneInString(name[i:])
		if n > 0 {
			b.WriteByte('_')
		}
		if r == utf8.RuneError && size <= 1 {
			fmt.Fprintf(&b, "x%02x", name[i])
		} else {
			fmt.Fprintf(&b, "u%04x", r)
		}
		i += size
	}
	return b.String()
}

// renameKeys gives every key without a word one that can be queried. It is called only when there is one.
func renameKeys(m pcommon.Map) {
	fixed := pcommon.NewMap()
	fixed.EnsureCapacity(m.Len())
	for key, value := range m.All() {
		if !hasWord(key) {
			key = asciiName(key)
		}
		if existing, found := fixed.Get(key); found && key == "unnamed" {
			// several without a name: their values stay, in one
			existing.SetStr(existing.AsString() + ";" + value.AsString())
			continue
		}
		// PutEmpty would overwrite, and a key that came twice stays twice only where nothing is renamed
		value.CopyTo(fixed.PutEmpty(key))
	}
	fixed.MoveTo(m)
}

const maxDepth = 128

// tooDeep: a store makes text of a nested value by recursion, or a name of every level.
func tooDeep(v pcommon.Value, levels int) bool {
	switch v.Type() {
	case pcommon.ValueTypeMap:
		if levels == 0 {
			return true
		}
		for _, inner := range v.Map().All() {
			if tooDeep(inner, levels-1) {
				return true
			}
		}
	case pcommon.ValueTypeSlice:
		if levels == 0 {
			return true
		}
		for _, inner := range v.Slice().All() {
			if tooDeep(inner, levels-1) {
				return true
			}
		}
	}
	return false
}

const tooDeepMark = "…[cut by lkeobs: nested too deeply]"

func cutTooDeep(v pcommon.Value) bool {
	if t := v.Type(); t != pcommon.ValueTypeMap && t != pcommon.ValueTypeSlice || !tooDeep(v, maxDepth) {
		return false
	}
	v.SetStr(tooDeepMark)
	return true
}

// cutText shortens a text to at most limit bytes, with a mark that says how long it was.
func cutText(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	mark := "…[cut by lkeobs: " + strconv.Itoa(len(text)) + " bytes]"
	keep := max(limit-len(mark), 0)
	for keep > 0 && !utf8.RuneStart(text[keep]) {
		keep--
	}
	return text[:keep] + mark
}

// clip is for messages.
func clip(text string) string {
	const limit = 120
	if len(text) > limit {
		text = text[:limit] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
