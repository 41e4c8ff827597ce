// Package pieces splits OTLP requests in their protobuf form. It never decodes an item: it reads the lengths of the
// nested messages, so that to weigh a request costs nanoseconds an item, and to split one copies bytes.
//
// An item is a data point, a log record or a span. Its weight is its own bytes plus the bytes of its resource, scope
// and metric (name, unit, description), because stores multiply these by the number of items.
package pieces

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Signal of a request.
type Signal string

// The signals.
const (
	Metrics Signal = "metrics"
	Logs    Signal = "logs"
	Traces  Signal = "traces"
)

var errMalformed = errors.New("malformed protobuf")

type field struct {
	number     int
	wire       int
	start, end int // with the tag
	body       int // start of the content of a length-delimited field
}

func nextField(b []byte, pos int) (field, error) {
	tag, n := binary.Uvarint(b[pos:])
	if n <= 0 {
		return field{}, errMalformed
	}
	f := field{number: int(tag >> 3), wire: int(tag & 7), start: pos}
	pos += n
	switch f.wire {
	case 0:
		_, n = binary.Uvarint(b[pos:])
		if n <= 0 {
			return field{}, errMalformed
		}
		pos += n
	case 1:
		pos += 8
	case 5:
		pos += 4
	case 2:
		size, n := binary.Uvarint(b[pos:])
		if n <= 0 || size > uint64(len(b)) {
			return field{}, errMalformed
		}
		f.body = pos + n
		pos = f.body + int(size)
	default:
		return field{}, errMalformed
	}
	if pos > len(b) {
		return field{}, errMalformed
	}
	f.end = pos
	return f, nil
}

// header is what a message has beside its children.
type header []byte

// span of a parent: its header and its own parent.
type parent struct {
	header header
	up     int32 // index in the level above
}

// metricParent is a metric with the kind of its data points.
type metricParent struct {
	header     header // of the metric: name, unit, description, metadata
	scope      int32
	dataField  int    // 5 gauge, 7 sum, 9 histogram, 10 exponential histogram, 11 summary
	dataHeader header // temporality, monotonic
}

type item struct {
	start, end int   // with the tag, in the payload
	up         int32 // index of its scope, or of its metric
}

// Index of the items of a request.
type Index struct {
	signal    Signal
	payload   []byte
	resources []parent
	scopes    []parent
	metrics   []metricParent
	items     []item
}

// New reads a request.
func New(signal Signal, payload []byte) (*Index, error) {
	x := &Index{signal: signal, payload: payload}
	return x, x.read()
}

func (x *Index) read() error {
	return eachField(x.payload, 0, len(x.payload), func(f field) error {
		if f.number != 1 || f.wire != 2 {
			return nil // unknown
		}
		resource := int32(len(x.resources))
		x.resources = append(x.resources, parent{})
		err := eachField(x.payload, f.body, f.end, func(f field) error {
			if f.number != 2 || f.wire != 2 {
				x.resources[resource].header = append(x.resources[resource].header, x.payload[f.start:f.end]...)
				return nil
			}
			scope := int32(len(x.scopes))
			x.scopes = append(x.scopes, parent{up: resource})
			return eachField(x.payload, f.body, f.end, func(f field) error {
				switch {
				case f.number != 2 || f.wire != 2:
					x.scopes[scope].header = append(x.scopes[scope].header, x.payload[f.start:f.end]...)
				case x.signal == Metrics:
					return x.readMetric(f, scope)
				default:
					x.items = append(x.items, item{start: f.start, end: f.end, up: scope})
				}
				return nil
			})
		})
		return err
	})
}

func isPoints(number int) bool {
	switch number {
	case 5, 7, 9, 10, 11:
		return true
	}
	return false
}

func (x *Index) readMetric(f field, scope int32) error {
	metric := int32(len(x.metrics))
	m := metricParent{scope: scope}
	err := eachField(x.payload, f.body, f.end, func(f field) error {
		if !isPoints(f.number) || f.wire != 2 {
			m.header = append(m.header, x.payload[f.start:f.end]...)
			return nil
		}
		m.dataField = f.number
		return eachField(x.payload, f.body, f.end, func(f field) error {
			if f.number == 1 && f.wire == 2 {
				x.items = append(x.items, item{start: f.start, end: f.end, up: metric})
			} else {
				m.dataHeader = append(m.dataHeader, x.payload[f.start:f.end]...)
			}
			return nil
		})
	})
	x.metrics = append(x.metrics, m)
	return err
}

func eachField(b []byte, pos, end int, do func(field) error) error {
	for pos < end {
		f, err := nextField(b[:end], pos)
		if err != nil {
			return err
		}
		if err := do(f); err != nil {
			return err
		}
		pos = f.end
	}
	return nil
}

// Items is the number of items.
func (x *Index) Items() int { return len(x.items) }

// Weight of an item: its bytes, and those of its resource, scope and metric.
func (x *Index) Weight(i int) int {
	it := x.items[i]
	weight := it.end - it.start
	up := it.up
	if x.signal == Metrics {
		m := &x.metrics[up]
		weight += len(m.header) + len(m.dataHeader)
		up = m.scope
	}
	scope := &x.scopes[up]
	return weight + len(scope.header) + len(x.resources[scope.up].header)
}

func appendMessage(to []byte, number int, body []byte) []byte {
	to = binary.AppendUvarint(to, uint64(number)<<3|2)
	to = binary.AppendUvarint(to, uint64(len(body)))
	return append(to, body...)
}

// Range is a request with the items from (included) to to (excluded), in their order.
func (x *Index) Range(from, to int) []byte {
	var out, resource, scope, metric, data []byte
	inResource, inScope, inMetric := int32(-1), int32(-1), int32(-1)
	closeMetric := func() {
		if inMetric >= 0 {
			m := &x.metrics[inMetric]
			metric = append(metric[:0], m.header...)
			metric = appendMessage(metric, m.dataField, data)
			scope = appendMessage(scope, 2, metric)
			inMetric = -1
		}
	}
	closeScope := func() {
		closeMetric()
		if inScope >= 0 {
			resource = appendMessage(resource, 2, scope)
			inScope = -1
		}
	}
	closeResource := func() {
		closeScope()
		if inResource >= 0 {
			out = appendMessage(out, 1, resource)
			inResource = -1
		}
	}
	for _, it := range x.items[from:to] {
		up := it.up
		if x.signal == Metrics {
			up = x.metrics[up].scope
		}
		if up != inScope {
			if r := x.scopes[up].up; r != inResource {
				closeResource()
				resource = append(resource[:0], x.resources[r].header...)
				inResource = r
			} else {
				closeScope()
			}
			scope = append(scope[:0], x.scopes[up].header...)
			inScope = up
		}
		if x.signal != Metrics {
			scope = append(scope, x.payload[it.start:it.end]...)
			continue
		}
		if it.up != inMetric {
			closeMetric()
			data = append(data[:0], x.metrics[it.up].dataHeader...)
			inMetric = it.up
		}
		data = append(data, x.payload[it.start:it.end]...)
	}
	closeResource()
	return out
}

// Chunk is a part of a request that fits into a batch.
type Chunk struct {
	Payload []byte
	Items   int
	Weight  int
}

// Split cuts a request into chunks of at most maxItems items and maxWeight. An item that is heavier than maxWeight is a
// chunk of its own; one that is heavier than maxItem (0: no limit) is returned alone in tooLarge.
func (x *Index) Split(maxItems, maxWeight, maxItem int) (chunks, tooLarge []Chunk) {
	start, weight := 0, 0
	flush := func(end int) {
		if end > start {
			chunks = append(chunks, Chunk{x.Range(start, end), end - start, weight})
		}
		start, weight = end, 0
	}
	for i := range x.items {
		w := x.Weight(i)
		if maxItem > 0 && w > maxItem {
			flush(i)
			tooLarge = append(tooLarge, Chunk{x.Range(i, i+1), 1, w})
			start = i + 1
			continue
		}
		if i > start && (weight+w > maxWeight || i-start >= maxItems) {
			flush(i)
		}
		weight += w
	}
	flush(len(x.items))
	return chunks, tooLarge
}

// Totals of a request, without an index of it.
type Totals struct {
	Items    int
	Weight   int
	Heaviest int // weight of its heaviest item
}

// Weigh reads a request once, and allocates nothing.
func Weigh(signal Signal, payload []byte) (Totals, error) {
	var all Totals
	for pos := 0; pos < len(payload); {
		f, err := nextField(payload, pos)
		if err != nil {
			return all, err
		}
		pos = f.end
		if f.number != 1 || f.wire != 2 {
			continue
		}
		t, err := weighLevel(signal, payload, f.body, f.end, 0)
		if err != nil {
			return all, err
		}
		all.Items += t.Items
		all.Weight += t.Weight
		all.Heaviest = max(all.Heaviest, t.Heaviest)
	}
	return all, nil
}

// weighLevel weighs a message and what is below it: level 0 a resource's message, 1 a scope's, 2 a metric, 3 its data.
func weighLevel(signal Signal, b []byte, pos, end, level int) (Totals, error) {
	var t Totals
	headerBytes := 0
	for pos < end {
		f, err := nextField(b[:end], pos)
		if err != nil {
			return t, err
		}
		pos = f.end
		var isChild, isItem bool
		switch level {
		case 0:
			isChild = f.number == 2
		case 1:
			isChild = f.number == 2
			isItem = isChild && signal != Metrics
		case 2:
			isChild = isPoints(f.number)
		case 3:
			isChild = f.number == 1
			isItem = isChild
		}
		switch {
		case !isChild || f.wire != 2:
			headerBytes += f.end - f.start
		case isItem:
			t.Items++
			t.Weight += f.end - f.start
			t.Heaviest = max(t.Heaviest, f.end-f.start)
		default:
			below, err := weighLevel(signal, b, f.body, f.end, level+1)
			if err != nil {
				return t, err
			}
			t.Items += below.Items
			t.Weight += below.Weight
			t.Heaviest = max(t.Heaviest, below.Heaviest)
		}
	}
	if t.Items > 0 {
		t.Weight += headerBytes * t.Items
		t.Heaviest += headerBytes
	}
	return t, nil
}

// Description of a single item's payload.
type Description struct{ Workload string }

// Describe reads service.name from the first resource.
func Describe(signal Signal, payload []byte) (d Description) {
	name := func(attributes interface {
		AsRaw() map[string]any
	}) {
		if s, ok := attributes.AsRaw()["service.name"].(string); ok {
			d.Workload = s
		}
	}
	switch signal {
	case Metrics:
		if md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(payload); err == nil && md.ResourceMetrics().Len() > 0 {
			name(md.ResourceMetrics().At(0).Resource().Attributes())
		}
	case Logs:
		if ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(payload); err == nil && ld.ResourceLogs().Len() > 0 {
			name(ld.ResourceLogs().At(0).Resource().Attributes())
		}
	case Traces:
		if td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(payload); err == nil && td.ResourceSpans().Len() > 0 {
			name(td.ResourceSpans().At(0).Resource().Attributes())
		}
	}
	return d
}

// JSON is a payload as OTLP/JSON.
func JSON(signal Signal, payload []byte) ([]byte, error) {
	switch signal {
	case Metrics:
		md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(payload)
		if err != nil {
			return nil, err
		}
		return (&pmetric.JSONMarshaler{}).MarshalMetrics(md)
	case Logs:
		ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(payload)
		if err != nil {
			return nil, err
		}
		return (&plog.JSONMarshaler{}).MarshalLogs(ld)
	case Traces:
		td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(payload)
		if err != nil {
			return nil, err
		}
		return (&ptrace.JSONMarshaler{}).MarshalTraces(td)
	}
	return nil, fmt.Errorf("unknown signal %q", signal)
}
