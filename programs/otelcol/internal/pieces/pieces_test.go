package pieces

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func text(r *rand.Rand) string { return strings.Repeat("x", r.IntN(40)) }

func attributes(r *rand.Rand, m pcommon.Map) {
	for i := range r.IntN(4) {
		m.PutStr(fmt.Sprint("k", i), text(r))
	}
}

func randomRequest(r *rand.Rand, signal Signal) []byte {
	serial := 0
	next := func() int { serial++; return serial }
	switch signal {
	case Logs:
		ld := plog.NewLogs()
		for range r.IntN(4) {
			rl := ld.ResourceLogs().AppendEmpty()
			attributes(r, rl.Resource().Attributes())
			rl.SetSchemaUrl(text(r))
			for range r.IntN(4) {
				sl := rl.ScopeLogs().AppendEmpty()
				sl.Scope().SetName(text(r))
				sl.SetSchemaUrl(text(r))
				for range r.IntN(6) {
					lr := sl.LogRecords().AppendEmpty()
					lr.Body().SetStr(fmt.Sprint(next(), text(r)))
					attributes(r, lr.Attributes())
				}
			}
		}
		b, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
		return b
	case Traces:
		td := ptrace.NewTraces()
		for range r.IntN(4) {
			rs := td.ResourceSpans().AppendEmpty()
			attributes(r, rs.Resource().Attributes())
			for range r.IntN(4) {
				ss := rs.ScopeSpans().AppendEmpty()
				ss.Scope().SetVersion(text(r))
				for range r.IntN(6) {
					span := ss.Spans().AppendEmpty()
					span.SetName(fmt.Sprint(next()))
					attributes(r, span.Attributes())
					span.Events().AppendEmpty().SetName(text(r))
				}
			}
		}
		b, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		return b
	}
	md := pmetric.NewMetrics()
	for range r.IntN(4) {
		rm := md.ResourceMetrics().AppendEmpty()
		attributes(r, rm.Resource().Attributes())
		rm.SetSchemaUrl(text(r))
		for range r.IntN(3) {
			sm := rm.ScopeMetrics().AppendEmpty()
			sm.Scope().SetName(text(r))
			for range r.IntN(4) {
				m := sm.Metrics().AppendEmpty()
				m.SetName(fmt.Sprint("m", next()))
				m.SetUnit(text(r))
				m.SetDescription(text(r))
				attributes(r, m.Metadata())
				points := r.IntN(5)
				switch r.IntN(6) {
				case 0:
					m.SetEmptyGauge()
					for range points {
						m.Gauge().DataPoints().AppendEmpty().SetIntValue(int64(next()))
					}
				case 1:
					m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
					m.Sum().SetIsMonotonic(true)
					for range points {
						m.Sum().DataPoints().AppendEmpty().SetDoubleValue(float64(next()))
					}
				case 2:
					m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
					for range points {
						p := m.Histogram().DataPoints().AppendEmpty()
						p.SetCount(uint64(next()))
						p.BucketCounts().FromRaw([]uint64{1, 2})
						p.ExplicitBounds().FromRaw([]float64{5})
					}
				case 3:
					m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
					for range points {
						m.ExponentialHistogram().DataPoints().AppendEmpty().SetCount(uint64(next()))
					}
				case 4:
					m.SetEmptySummary()
					for range points {
						m.Summary().DataPoints().AppendEmpty().SetCount(uint64(next()))
					}
				}
			}
		}
	}
	b, _ := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	return b
}

// items lists the items of payloads, each with its resource, scope and metric, as canonical JSON.
func items(t *testing.T, signal Signal, payloads ...[]byte) []string {
	t.Helper()
	var all []string
	for _, p := range payloads {
		x, err := New(signal, p)
		if err != nil {
			t.Fatal(err)
		}
		for i := range x.Items() {
			j, err := JSON(signal, x.Range(i, i+1))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(j))
		}
	}
	slices.Sort(all)
	return all
}

func count(t *testing.T, signal Signal, payload []byte) int {
	t.Helper()
	switch signal {
	case Metrics:
		md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(payload)
		if err != nil {
			t.Fatal(err)
		}
		return md.DataPointCount()
	case Logs:
		ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(payload)
		if err != nil {
			t.Fatal(err)
		}
		return ld.LogRecordCount()
	}
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(payload)
	if err != nil {
		t.Fatal(err)
	}
	return td.SpanCount()
}

func TestPiecesHaveTheSameItems(t *testing.T) {
	for _, signal := range []Signal{Metrics, Logs, Traces} {
		for seed := range uint64(150) {
			r := rand.New(rand.NewPCG(seed, 7))
			payload := randomRequest(r, signal)
			x, err := New(signal, payload)
			if err != nil {
				t.Fatal(err)
			}
			n := count(t, signal, payload)
			if x.Items() != n {
				t.Fatalf("%s seed %d: index has %d items, pdata %d", signal, seed, x.Items(), n)
			}
			want := items(t, signal, payload)
			half := n / 2
			if got := items(t, signal, x.Range(0, half), x.Range(half, n)); !slices.Equal(got, want) {
				t.Fatalf("%s seed %d: halves differ\n%v\n%v", signal, seed, got, want)
			}
			totals, err := Weigh(signal, payload)
			if err != nil {
				t.Fatal(err)
			}
			sum, heaviest := 0, 0
			for i := range n {
				sum += x.Weight(i)
				heaviest = max(heaviest, x.Weight(i))
			}
			if totals.Items != n || totals.Weight != sum || totals.Heaviest < heaviest {
				t.Fatalf("%s seed %d: totals %+v, want items %d weight %d heaviest %d", signal, seed, totals, n, sum, heaviest)
			}
			chunks, large := x.Split(3, 200, 400)
			var parts [][]byte
			for _, c := range chunks {
				if c.Items != count(t, signal, c.Payload) || c.Items > 3 || c.Items > 1 && c.Weight > 200 {
					t.Fatalf("%s seed %d: chunk %d items weight %d", signal, seed, c.Items, c.Weight)
				}
				parts = append(parts, c.Payload)
			}
			for _, c := range large {
				if c.Weight <= 400 {
					t.Fatal("not too large")
				}
				parts = append(parts, c.Payload)
			}
			if got := items(t, signal, parts...); !slices.Equal(got, want) {
				t.Fatalf("%s seed %d: chunks differ", signal, seed)
			}
		}
	}
}

func TestMalformedIsAnError(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		b := make([]byte, r.IntN(60))
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		for _, signal := range []Signal{Metrics, Logs, Traces} {
			if x, err := New(signal, b); err == nil {
				x.Split(2, 100, 0)
			}
			_, _ = Weigh(signal, b)
		}
	}
}

func TestDescribe(t *testing.T) {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "shop")
	rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	b, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	if d := Describe(Logs, b); d.Workload != "shop" {
		t.Fatal(d)
	}
}

func BenchmarkWeigh(b *testing.B) {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "shop")
	sl := rl.ScopeLogs().AppendEmpty()
	for range 1000 {
		sl.LogRecords().AppendEmpty().Body().SetStr(strings.Repeat("x", 200))
	}
	p, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Weigh(Logs, p)
	}
}
