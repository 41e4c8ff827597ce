package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// What Loki refuses was read in loki v3.7.8: pkg/loghttp/push/otlp.go (the whole request: a name without an ASCII letter or digit),
// pkg/distributor/validator.go (single records; it stores the rest, and answers 400 all the same), pkg/ingester/stream.go,
// pkg/validation/limits.go.

// Besides its attributes a record has up to eleven entries of structured metadata: observed_timestamp, severity_number,
// severity_text, flags, trace_id, span_id, dropped_attributes_count, three of the scope, detected_level.
const (
	fieldEntries = 12
	fieldBytes   = 512
	// severity_text and the scope's name and version are metadata too
	maxFieldText = 512
	cutKey       = "lkeobs.cut"
	overflowName = "otel.log.overflow"
	originalKey  = ".original"
)

type logsPass struct {
	rules  *Rules
	clock  clock
	state  *partitionState
	limit  int
	tally  tally
	result Outcome

	resource    plog.ResourceLogs
	resourceFix repairs
	shared      metadataSize
	scope       plog.ScopeLogs
	scopeFix    repairs
	scopeShared metadataSize
	originals   []original
}

// original is a resource attribute that a stream budget replaced.
type original struct{ key, value string }

func (r *Rules) loki(partition string, ld plog.Logs, now time.Time) Outcome {
	p := &logsPass{rules: r, clock: newClock(now, r.settings.MaxAge, r.settings.MaxAhead), limit: r.settings.Streams.of(partition)}
	if p.limit > 0 {
		p.state = r.state(partition, now)
		p.state.mu.Lock()
		defer p.state.mu.Unlock()
		p.state.streams.rotate(now)
		p.state.overflow.rotate(now)
	}
	removed := false
	for i := range ld.ResourceLogs().Len() {
		p.resource = ld.ResourceLogs().At(i)
		p.checkResource()
		for j := range p.resource.ScopeLogs().Len() {
			p.scope = p.resource.ScopeLogs().At(j)
			p.checkScope()
			p.scope.LogRecords().RemoveIf(func(record plog.LogRecord) bool {
				out := p.checkRecord(record)
				removed = removed || out
				return out
			})
		}
	}
	if removed {
		ld.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
			rl.ScopeLogs().RemoveIf(func(sl plog.ScopeLogs) bool { return sl.LogRecords().Len() == 0 })
			return rl.ScopeLogs().Len() == 0
		})
	}
	p.result.Repaired = p.tally.counts()
	return p.result
}

func (p *logsPass) checkResource() {
	attributes := p.resource.Resource().Attributes()
	p.resourceFix, p.shared = 0, metadataSize{}
	p.originals = p.originals[:0]
	s := &p.rules.settings
	for key, value := range attributes.All() {
		if !hasWord(key) {
			p.resourceFix |= renamed
		}
		if cutTooDeep(value) {
			p.resourceFix |= valueCut
		}
		if !p.rules.index[key] {
			p.shared.add(key, value)
			continue
		}
		switch value.Type() {
		case pcommon.ValueTypeStr:
		case pcommon.ValueTypeMap:
			// Loki would make a label of each of its keys
			value.SetStr(value.AsString())
			p.resourceFix |= renamed
		case pcommon.ValueTypeSlice, pcommon.ValueTypeBytes:
			if text := value.AsString(); len(text) > s.MaxLabelValueBytes {
				value.SetStr(text)
			}
		}
		if value.Type() != pcommon.ValueTypeStr {
			continue
		}
		// a label that is no UTF-8 makes Loki drop the records, and say yes; one with U+FFFD it refuses as invalid
		if text := value.Str(); !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) {
			value.SetStr(strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\uFFFD", "?"))
			p.resourceFix |= utf8Repaired
		}
		if len(value.Str()) > s.MaxLabelValueBytes {
			value.SetStr(cutText(value.Str(), s.MaxLabelValueBytes))
			p.resourceFix |= valueCut
		}
	}
	if p.resourceFix&renamed != 0 {
		renameKeys(attributes)
		p.shared = p.sizeOf(attributes)
	}
	// what all records share may take half of what one may have
	if p.shared.entries > s.MaxMetadataEntries/2 || p.shared.bytes > s.MaxMetadataBytes/2 {
		if p.fit(attributes, s.MaxMetadataEntries/2, s.MaxMetadataBytes/2, true) {
			p.resourceFix |= valueCut
		}
		p.shared = p.sizeOf(attributes)
	}
	if p.limit > 0 {
		p.checkStream(attributes)
	}
}

// sizeOf a resource's attributes that are no index labels.
func (p *logsPass) sizeOf(attributes pcommon.Map) (size metadataSize) {
	for key, value := range attributes.All() {
		if !p.rules.index[key] {
			size.add(key, value)
		}
	}
	return size
}

// checkStream puts the records of a new stream above the budget into one that is there, so that Loki refuses none.
func (p *logsPass) checkStream(attributes pcommon.Map) {
	if ok, _ := p.state.streams.admit(p.streamHash(attributes), 1, p.limit); ok {
		return
	}
	p.overflowTo(attributes, "service.name")
	// a partition may have some of these besides, one for each namespace; then there is only one
	if ok, _ := p.state.overflow.admit(p.streamHash(attributes), 1, 16+p.limit/16); ok {
		return
	}
	for _, key := range p.rules.settings.IndexAttributes {
		// the edge's own names come from its credential
		if key != "service.name" && key != "lkeobs.edge" && key != "k8s.cluster.name" {
			p.overflowTo(attributes, key)
		}
	}
}

func (p *logsPass) overflowTo(attributes pcommon.Map, key string) {
	if value, found := attributes.Get(key); found {
		p.originals = append(p.originals, original{key, value.AsString()})
	} else if key != "service.name" {
		return
	}
	attributes.PutStr(key, overflowName)
}

func (p *logsPass) streamHash(attributes pcommon.Map) uint64 {
	var sum uint64
	for _, key := range p.rules.settings.IndexAttributes {
		if value, found := attributes.Get(key); found {
			sum += mix(hashString(key), hashValue(value))
		}
	}
	return sum
}

func (p *logsPass) checkScope() {
	s := &p.rules.settings
	own := repairs(0)
	scope := p.scope.Scope()
	attributes := scope.Attributes()
	size := metadataSize{}
	for key, value := range attributes.All() {
		if !hasWord(key) {
			own |= renamed
		}
		if cutTooDeep(value) {
			own |= valueCut
		}
		size.add(key, value)
	}
	if own&renamed != 0 {
		renameKeys(attributes)
		size = metadataSize{}
		for key, value := range attributes.All() {
			size.add(key, value)
		}
	}
	if size.entries > s.MaxMetadataEntries/8 || size.bytes > s.MaxMetadataBytes/8 {
		if p.fit(attributes, s.MaxMetadataEntries/8, s.MaxMetadataBytes/8, false) {
			own |= valueCut
		}
		size = metadataSize{}
		for key, value := range attributes.All() {
			size.add(key, value)
		}
	}
	if limit := min(maxFieldText, s.MaxMetadataBytes/32); len(scope.Name()) > limit || len(scope.Version()) > limit {
		scope.SetName(cutText(scope.Name(), limit))
		scope.SetVersion(cutText(scope.Version(), limit))
		own |= valueCut
	}
	p.scopeFix = p.resourceFix | own
	p.scopeShared = metadataSize{entries: p.shared.entries + size.entries, bytes: p.shared.bytes + size.bytes + len(scope.Name()) + len(scope.Version())}
}

// checkRecord tells whether a record must not be sent.
func (p *logsPass) checkRecord(record plog.LogRecord) bool {
	s := &p.rules.settings
	fix := p.scopeFix
	// without any time Loki takes that of its arrival
	t := uint64(record.Timestamp())
	if t == 0 {
		t = uint64(record.ObservedTimestamp())
	}
	if t != 0 && (t > p.clock.latest || t < p.clock.earliest || t < year2000) {
		factor := p.clock.factor(t)
		repaired := t * factor
		switch {
		case repaired > p.clock.latest:
			p.takeOut(record, TimeAhead, p.clock.aheadDetail(repaired))
			return true
		case repaired < p.clock.earliest:
			p.takeOut(record, TooOld, p.clock.oldDetail(repaired))
			return true
		case factor == 1:
		case record.Timestamp() == 0:
			record.SetObservedTimestamp(pcommon.Timestamp(repaired))
			fix |= timeUnit
		default:
			record.SetTimestamp(pcommon.Timestamp(repaired))
			record.SetObservedTimestamp(pcommon.Timestamp(sameUnit(uint64(record.ObservedTimestamp()), factor, repaired)))
			fix |= timeUnit
		}
	}

	body := record.Body()
	switch body.Type() {
	case pcommon.ValueTypeStr:
		if len(body.Str()) > s.MaxLineBytes {
			body.SetStr(cutText(body.Str(), s.MaxLineBytes))
			fix |= valueCut
		}
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice, pcommon.ValueTypeBytes:
		if cutTooDeep(body) {
			fix |= valueCut
			break
		}
		var size metadataSize
		size.add("", body)
		if size.bytes > s.MaxLineBytes {
			if text := body.AsString(); len(text) > s.MaxLineBytes {
				body.SetStr(cutText(text, s.MaxLineBytes))
				fix |= valueCut
			}
		}
	}

	if limit := min(maxFieldText, s.MaxMetadataBytes/32); len(record.SeverityText()) > limit {
		record.SetSeverityText(cutText(record.SeverityText(), limit))
		fix |= valueCut
	}
	attributes := record.Attributes()
	for _, o := range p.originals {
		attributes.PutStr(o.key+originalKey, o.value)
	}
	if len(p.originals) > 0 {
		fix |= streamBudget
	}
	size := p.scopeShared
	own := repairs(0)
	for key, value := range attributes.All() {
		if !hasWord(key) {
			own |= renamed
		}
		if t := value.Type(); (t == pcommon.ValueTypeMap || t == pcommon.ValueTypeSlice) && cutTooDeep(value) {
			own |= valueCut
		}
		size.add(key, value)
	}
	if own&renamed != 0 {
		renameKeys(attributes)
		size = p.scopeShared
		for key, value := range attributes.All() {
			size.add(key, value)
		}
	}
	fix |= own
	if size.entries+fieldEntries > s.MaxMetadataEntries || size.bytes+fieldBytes > s.MaxMetadataBytes {
		if p.fit(attributes, s.MaxMetadataEntries-fieldEntries-p.scopeShared.entries, s.MaxMetadataBytes-fieldBytes-p.scopeShared.bytes, false) {
			fix |= valueCut
		}
	}
	if fix != 0 {
		p.tally.add(fix)
	}
	return false
}

// metadataSize is at least what Loki counts: nested values are entries of their own, and numbers and JSON are text.
type metadataSize struct{ entries, bytes int }

func (m *metadataSize) add(key string, value pcommon.Value) {
	// a name that starts with a digit gets a prefix
	const prefix = 4
	m.bytes += len(key) + prefix
	switch value.Type() {
	case pcommon.ValueTypeStr:
		m.entries++
		m.bytes += len(value.Str())
	case pcommon.ValueTypeMap:
		inner := metadataSize{}
		for k, v := range value.Map().All() {
			inner.add(k, v)
		}
		m.entries += inner.entries
		m.bytes += inner.bytes + inner.entries*(len(key)+1)
	case pcommon.ValueTypeSlice:
		m.entries++
		m.bytes += jsonBytes(value)
	case pcommon.ValueTypeBytes:
		m.entries++
		m.bytes += value.Bytes().Len()*4/3 + 4
	default:
		m.entries++
		m.bytes += 25
	}
}

// jsonBytes is at least the length of a value as JSON: a letter can become six.
func jsonBytes(value pcommon.Value) int {
	switch value.Type() {
	case pcommon.ValueTypeStr:
		return 6*len(value.Str()) + 3
	case pcommon.ValueTypeMap:
		n := 2
		for k, v := range value.Map().All() {
			n += 6*len(k) + 4 + jsonBytes(v)
		}
		return n
	case pcommon.ValueTypeSlice:
		n := 2
		for _, v := range value.Slice().All() {
			n += 1 + jsonBytes(v)
		}
		return n
	case pcommon.ValueTypeBytes:
		return value.Bytes().Len()*4/3 + 6
	default:
		return 26
	}
}

// fit makes attributes keep to a limit: those above the count go as text into one attribute, and the longest values are cut.
// Index labels of a resource are left alone. It tells whether something was cut.
func (p *logsPass) fit(attributes pcommon.Map, entries, bytes int, ofResource bool) bool {
	entries, bytes = max(entries, 1), max(bytes, 256)
	exempt := func(key string) bool { return ofResource && p.rules.index[key] }
	cut := false

	// the count, exactly as Loki makes it
	total := 0
	for key, value := range attributes.All() {
		if !exempt(key) {
			total += countEntries(value)
		}
	}
	if total > entries {
		gathered := pcommon.NewMap()
		kept := 0
		attributes.RemoveIf(func(key string, value pcommon.Value) bool {
			n := countEntries(value)
			if exempt(key) {
				return false
			}
			if kept+n <= entries-1 {
				kept += n
				return false
			}
			value.CopyTo(gathered.PutEmpty(key))
			return true
		})
		all := pcommon.NewValueMap()
		gathered.MoveTo(all.Map())
		attributes.PutStr(cutKey, all.AsString())
		cut = true
	}

	// sizes, as text
	type item struct {
		key       string
		value     pcommon.Value
		name, len int
	}
	var items []item
	size := 0
	for key, value := range attributes.All() {
		if exempt(key) {
			continue
		}
		it := item{key: key, value: value, name: len(key) + 4}
		switch value.Type() {
		case pcommon.ValueTypeStr:
			it.len = len(value.Str())
		case pcommon.ValueTypeMap:
			var m metadataSize
			m.add(key, value)
			it.len = m.bytes - it.name
		default:
			it.len = len(value.AsString())
		}
		size += it.name + it.len
		items = append(items, it)
	}
	if size <= bytes {
		return cut
	}
	slices.SortFunc(items, func(a, b item) int { return a.len - b.len })
	room := bytes
	for _, it := range items {
		room -= it.name
	}
	const least = 64
	if room < least*len(items) {
		// names alone, or very many of them, are too long: one text of all
		all := pcommon.NewMap()
		attributes.RemoveIf(func(key string, value pcommon.Value) bool {
			if exempt(key) {
				return false
			}
			value.CopyTo(all.PutEmpty(key))
			return true
		})
		whole := pcommon.NewValueMap()
		all.MoveTo(whole.Map())
		attributes.PutStr(cutKey, cutText(whole.AsString(), bytes-len(cutKey)-4))
		return true
	}
	// the short ones whole, the rest alike
	for i, it := range items {
		share := room / (len(items) - i)
		if it.len > share {
			text := it.value.AsString()
			if len(text) > share || it.value.Type() == pcommon.ValueTypeMap {
				it.value.SetStr(cutText(text, share))
				cut = true
			}
			room -= min(len(text), share)
			continue
		}
		room -= it.len
	}
	return cut
}

func countEntries(value pcommon.Value) int {
	if value.Type() != pcommon.ValueTypeMap {
		return 1
	}
	n := 0
	for _, v := range value.Map().All() {
		n += countEntries(v)
	}
	return n
}

func (p *logsPass) takeOut(record plog.LogRecord, reason, detail string) {
	alone := plog.NewLogs()
	rl := alone.ResourceLogs().AppendEmpty()
	p.resource.Resource().CopyTo(rl.Resource())
	// the letter holds what came in
	for _, o := range p.originals {
		rl.Resource().Attributes().PutStr(o.key, o.value)
	}
	rl.SetSchemaUrl(p.resource.SchemaUrl())
	sl := rl.ScopeLogs().AppendEmpty()
	p.scope.Scope().CopyTo(sl.Scope())
	sl.SetSchemaUrl(p.scope.SchemaUrl())
	record.CopyTo(sl.LogRecords().AppendEmpty())
	payload, err := (&plog.ProtoMarshaler{}).MarshalLogs(alone)
	if err != nil {
		detail += "; its payload: " + err.Error()
	}
	if service, found := rl.Resource().Attributes().Get("service.name"); found {
		detail += fmt.Sprintf("; of workload %q", clip(service.AsString()))
	}
	p.result.TakenOut = append(p.result.TakenOut, TakenOut{Reason: reason, Detail: detail, Payload: payload, Items: 1})
}
