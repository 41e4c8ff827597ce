package rules

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// hostile makes values that no SDK makes, and some that all make.
type hostile struct{ *rand.Rand }

func (h hostile) one(n int) bool { return h.IntN(n) == 0 }

func (h hostile) text() string {
	switch h.IntN(9) {
	case 0:
		return ""
	case 1:
		return "\xff\xfe\x00"
	case 2:
		return "地域"
	case 3:
		return "_"
	case 4:
		return strings.Repeat("é", h.IntN(3000))
	case 5:
		return "a\xc3"
	case 6:
		return "__name__"
	default:
		return string(rune('a' + h.IntN(26)))
	}
}

func (h hostile) number() uint64 {
	switch h.IntN(6) {
	case 0:
		return 0
	case 1:
		return math.MaxUint64 - uint64(h.IntN(3))
	case 2:
		return uint64(1) << h.IntN(64)
	case 3:
		return uint64(now.UnixMilli())
	case 4:
		return uint64(now.Unix())
	default:
		return uint64(now.UnixNano())
	}
}

func (h hostile) float() float64 { return math.Float64frombits(h.Uint64()) }

func (h hostile) value(v pcommon.Value, depth int) {
	switch h.IntN(8) {
	case 0:
	case 1:
		v.SetInt(int64(h.Uint64()))
	case 2:
		v.SetDouble(h.float())
	case 3:
		v.SetBool(true)
	case 4:
		v.SetEmptyBytes().FromRaw([]byte(h.text()))
	case 5:
		if depth > 0 {
			h.fill(v.SetEmptyMap(), depth-1)
		}
	case 6:
		if depth > 0 {
			s := v.SetEmptySlice()
			for range h.IntN(3) {
				h.value(s.AppendEmpty(), depth-1)
			}
		}
	default:
		v.SetStr(h.text())
	}
}

func (h hostile) fill(m pcommon.Map, depth int) {
	for range h.IntN(5) {
		h.value(m.PutEmpty(h.text()), depth)
	}
	if h.one(30) {
		v := m.PutEmpty("deep")
		for range 300 {
			v = v.SetEmptyMap().PutEmpty(h.text())
		}
	}
	if h.one(20) {
		for range h.IntN(200) {
			h.value(m.PutEmpty("a"+h.text()), 0)
		}
	}
	if h.one(3) {
		h.value(m.PutEmpty("service.name"), depth)
	}
}

func (h hostile) metrics() pmetric.Metrics {
	md := pmetric.NewMetrics()
	for range h.IntN(3) {
		rm := md.ResourceMetrics().AppendEmpty()
		h.fill(rm.Resource().Attributes(), 4)
		for range h.IntN(3) {
			sm := rm.ScopeMetrics().AppendEmpty()
			h.fill(sm.Scope().Attributes(), 2)
			for range h.IntN(4) {
				m := sm.Metrics().AppendEmpty()
				m.SetName(h.text())
				m.SetUnit(h.text())
				exemplars := func(es pmetric.ExemplarSlice) {
					for range h.IntN(3) {
						e := es.AppendEmpty()
						if h.one(2) {
							e.SetDoubleValue(h.float())
						}
						e.SetTimestamp(pcommon.Timestamp(h.number()))
						h.fill(e.FilteredAttributes(), 1)
					}
				}
				number := func(dp pmetric.NumberDataPoint) {
					dp.SetTimestamp(pcommon.Timestamp(h.number()))
					dp.SetStartTimestamp(pcommon.Timestamp(h.number()))
					dp.SetDoubleValue(h.float())
					h.fill(dp.Attributes(), 3)
					exemplars(dp.Exemplars())
				}
				switch n := h.IntN(4); h.IntN(6) {
				case 1:
					for range n {
						number(orEmpty(m.Gauge, m.SetEmptyGauge, m.Type() == pmetric.MetricTypeGauge).DataPoints().AppendEmpty())
					}
				case 2:
					sum := m.SetEmptySum()
					sum.SetAggregationTemporality(pmetric.AggregationTemporality(h.IntN(4)))
					for range n {
						number(sum.DataPoints().AppendEmpty())
					}
				case 3:
					hist := m.SetEmptyHistogram()
					hist.SetAggregationTemporality(pmetric.AggregationTemporality(h.IntN(4)))
					for range n {
						dp := hist.DataPoints().AppendEmpty()
						dp.SetTimestamp(pcommon.Timestamp(h.number()))
						dp.ExplicitBounds().FromRaw([]float64{h.float(), h.float()})
						dp.BucketCounts().FromRaw([]uint64{h.number()})
						h.fill(dp.Attributes(), 3)
						exemplars(dp.Exemplars())
					}
				case 4:
					hist := m.SetEmptyExponentialHistogram()
					hist.SetAggregationTemporality(pmetric.AggregationTemporality(h.IntN(4)))
					for range n {
						dp := hist.DataPoints().AppendEmpty()
						dp.SetTimestamp(pcommon.Timestamp(h.number()))
						dp.SetScale(int32(h.Uint32()))
						dp.SetCount(h.number())
						dp.Positive().SetOffset(int32(h.Uint32()))
						dp.Positive().BucketCounts().FromRaw([]uint64{h.number(), h.number()})
						h.fill(dp.Attributes(), 3)
					}
				case 5:
					summary := m.SetEmptySummary()
					for range n {
						dp := summary.DataPoints().AppendEmpty()
						dp.SetTimestamp(pcommon.Timestamp(h.number()))
						dp.QuantileValues().AppendEmpty().SetQuantile(h.float())
						h.fill(dp.Attributes(), 3)
					}
				}
			}
		}
	}
	return md
}

func orEmpty[T any](have, empty func() T, is bool) T {
	if is {
		return have()
	}
	return empty()
}

func (h hostile) logs() plog.Logs {
	ld := plog.NewLogs()
	for range h.IntN(3) {
		rl := ld.ResourceLogs().AppendEmpty()
		h.fill(rl.Resource().Attributes(), 4)
		for range h.IntN(3) {
			sl := rl.ScopeLogs().AppendEmpty()
			sl.Scope().SetName(h.text())
			h.fill(sl.Scope().Attributes(), 3)
			for range h.IntN(5) {
				record := sl.LogRecords().AppendEmpty()
				record.SetTimestamp(pcommon.Timestamp(h.number()))
				record.SetObservedTimestamp(pcommon.Timestamp(h.number()))
				record.SetSeverityText(h.text())
				h.value(record.Body(), 4)
				h.fill(record.Attributes(), 4)
			}
		}
	}
	return ld
}

func (h hostile) traces() ptrace.Traces {
	td := ptrace.NewTraces()
	for range h.IntN(3) {
		rs := td.ResourceSpans().AppendEmpty()
		h.fill(rs.Resource().Attributes(), 4)
		for range h.IntN(3) {
			ss := rs.ScopeSpans().AppendEmpty()
			for range h.IntN(5) {
				s := ss.Spans().AppendEmpty()
				s.SetTraceID(pcommon.TraceID{byte(h.IntN(3))})
				s.SetSpanID(pcommon.SpanID{byte(h.IntN(3))})
				s.SetStartTimestamp(pcommon.Timestamp(h.number()))
				h.fill(s.Attributes(), 3)
				h.fill(s.Events().AppendEmpty().Attributes(), 3)
				h.fill(s.Links().AppendEmpty().Attributes(), 3)
			}
		}
	}
	return td
}

// applied runs the rules, checks the sum of items, and that a second run finds nothing more. It tells the fault.
func (h hostile) apply(t testing.TB, rules map[string]*Rules, signal string, payload []byte, remarshal func(data any) []byte, data any) {
	t.Helper()
	var before, left int
	var o, again Outcome
	var first []byte
	switch data := data.(type) {
	case pmetric.Metrics:
		before = data.DataPointCount()
		o = rules[Prometheus].Metrics("e", data, now)
		left, first = data.DataPointCount(), remarshal(data)
		again = rules[Prometheus].Metrics("e", data, now)
	case plog.Logs:
		before = data.LogRecordCount()
		o = rules[Loki].Logs("e", data, now)
		left, first = data.LogRecordCount(), remarshal(data)
		if err := lokiFault(rules[Loki], data); err != nil {
			t.Fatalf("%s: Loki would refuse: %v", signal, err)
		}
		again = rules[Loki].Logs("e", data, now)
	case ptrace.Traces:
		before = data.SpanCount()
		o = rules[Tempo].Traces("e", data, now)
		left, first = data.SpanCount(), remarshal(data)
		again = rules[Tempo].Traces("e", data, now)
	}
	out := 0
	for _, one := range o.TakenOut {
		out += one.Items
		var n int
		var err error
		switch signal {
		case "metrics":
			var md pmetric.Metrics
			if md, err = (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(one.Payload); err == nil {
				n = md.DataPointCount()
			}
		case "logs":
			var ld plog.Logs
			if ld, err = (&plog.ProtoUnmarshaler{}).UnmarshalLogs(one.Payload); err == nil {
				n = ld.LogRecordCount()
			}
		case "traces":
			var td ptrace.Traces
			if td, err = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(one.Payload); err == nil {
				n = td.SpanCount()
			}
		}
		if err != nil || n != 1 {
			t.Fatalf("%s: payload of %d items, %v", signal, n, err)
		}
	}
	if before != left+out {
		t.Fatalf("%s: %d items came, %d are left, %d taken out", signal, before, left, out)
	}
	if len(again.TakenOut) > 0 && !slices.ContainsFunc(again.TakenOut, func(o TakenOut) bool { return o.Reason == SeriesBudget }) {
		t.Fatalf("%s: a second run takes out %+v", signal, again.TakenOut[0].Reason)
	}
	if o.Repaired == nil && o.TakenOut == nil && left > 0 && signal != "metrics" && !bytes.Equal(first, payload) {
		t.Fatalf("%s: changed, and nothing said", signal)
	}
}

func hostileRules(t testing.TB) map[string]*Rules {
	return map[string]*Rules{
		Prometheus: made(t, Prometheus, Settings{Series: Budget{Default: 20_000}}),
		Loki:       made(t, Loki, Settings{MaxLineBytes: 500, MaxMetadataBytes: 8192, MaxMetadataEntries: 96, Streams: Budget{Default: 50}}),
		Tempo:      made(t, Tempo, Settings{}),
	}
}

func remarshal(data any) []byte {
	var b []byte
	switch data := data.(type) {
	case pmetric.Metrics:
		b, _ = (&pmetric.ProtoMarshaler{}).MarshalMetrics(data)
	case plog.Logs:
		b, _ = (&plog.ProtoMarshaler{}).MarshalLogs(data)
	case ptrace.Traces:
		b, _ = (&ptrace.ProtoMarshaler{}).MarshalTraces(data)
	}
	return b
}

func applyPayload(t testing.TB, rules map[string]*Rules, signal string, payload []byte) {
	t.Helper()
	h := hostile{}
	switch signal {
	case "metrics":
		if md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(payload); err == nil {
			h.apply(t, rules, signal, remarshal(md), remarshal, md)
		}
	case "logs":
		if ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(payload); err == nil {
			h.apply(t, rules, signal, remarshal(ld), remarshal, ld)
		}
	case "traces":
		if td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(payload); err == nil {
			h.apply(t, rules, signal, remarshal(td), remarshal, td)
		}
	}
}

var signals = []string{"metrics", "logs", "traces"}

func (h hostile) payload(signal string) []byte {
	switch signal {
	case "metrics":
		return remarshal(h.metrics())
	case "logs":
		return remarshal(h.logs())
	default:
		return remarshal(h.traces())
	}
}

func TestHostileBatches(t *testing.T) {
	for seed := range uint64(80) {
		rules := hostileRules(t)
		h := hostile{rand.New(rand.NewPCG(seed, 7))}
		for _, signal := range signals {
			payload := h.payload(signal)
			applyPayload(t, rules, signal, payload)
			// wire that is valid, of other content
			for range 20 {
				changed := slices.Clone(payload)
				for range 1 + h.IntN(4) {
					if len(changed) > 0 {
						changed[h.IntN(len(changed))] = byte(h.Uint32())
					}
				}
				applyPayload(t, rules, signal, changed)
			}
		}
	}
}

// A good item beside hostile ones comes out as it went in.
func TestGoodItemsBesideHostileOnes(t *testing.T) {
	for seed := range uint64(60) {
		rules := hostileRules(t)
		h := hostile{rand.New(rand.NewPCG(seed, 9))}
		md := h.metrics()
		good := goodBatch(1, 50)
		want := remarshal(good)
		good.ResourceMetrics().At(0).CopyTo(md.ResourceMetrics().AppendEmpty())
		rules[Prometheus].Metrics("e", md, now)
		last := pmetric.NewMetrics()
		md.ResourceMetrics().At(md.ResourceMetrics().Len() - 1).CopyTo(last.ResourceMetrics().AppendEmpty())
		if !bytes.Equal(remarshal(last), want) {
			t.Fatal(seed)
		}
	}
}

func FuzzRules(f *testing.F) {
	for seed := range uint64(5) {
		h := hostile{rand.New(rand.NewPCG(seed, 3))}
		for _, signal := range signals {
			f.Add(h.payload(signal))
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		rules := hostileRules(t)
		for _, signal := range signals {
			applyPayload(t, rules, signal, payload)
		}
	})
}

func TestHashesDiffer(t *testing.T) {
	seen := map[uint64]string{}
	text := strings.Repeat("ab", 40)
	for n := range 80 {
		for i := range n {
			for _, letter := range []byte{'x', 'y'} {
				changed := []byte(text[:n])
				changed[i] = letter
				for _, one := range []string{string(changed), text[:n]} {
					h := hashString(one)
					if other, found := seen[h]; found && other != one {
						t.Fatalf("%q and %q", one, other)
					}
					seen[h] = one
				}
			}
		}
	}
	for i := range 200_000 {
		one := fmt.Sprint("user-", i)
		if other, found := seen[hashString(one)]; found {
			t.Fatalf("%q and %q", one, other)
		}
		seen[hashString(one)] = one
	}
}
