package rules

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// With real stores: LKEOBS_TEST_PROMETHEUS=http://127.0.0.1:9090 LKEOBS_TEST_LOKI=http://127.0.0.1:3100 go test -run TestStore -v.
// What a store answers to a batch as it is, is printed; a batch that went through the rules must be taken whole.

func post(t *testing.T, url string, payload []byte) (int, string) {
	t.Helper()
	answer, err := http.Post(url, "application/x-protobuf", bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
	return answer.StatusCode, strings.TrimSpace(strings.ToValidUTF8(string(text), "."))
}

func TestStorePrometheus(t *testing.T) {
	base := os.Getenv("LKEOBS_TEST_PROMETHEUS")
	if base == "" {
		t.Skip("LKEOBS_TEST_PROMETHEUS is not set")
	}
	at := time.Now()
	type edit = func(pmetric.Metric, pmetric.NumberDataPoint)
	sum := func(m pmetric.Metric, temporality pmetric.AggregationTemporality) pmetric.NumberDataPoint {
		s := m.SetEmptySum()
		s.SetAggregationTemporality(temporality)
		dp := s.DataPoints().AppendEmpty()
		dp.SetTimestamp(ns(at))
		return dp
	}
	exponential := func(change func(pmetric.ExponentialHistogramDataPoint)) edit {
		return func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			h := m.SetEmptyExponentialHistogram()
			h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			p := h.DataPoints().AppendEmpty()
			p.SetTimestamp(ns(at))
			p.SetCount(8)
			p.SetScale(2)
			p.Positive().BucketCounts().FromRaw([]uint64{3, 5})
			change(p)
		}
	}
	cases := []struct {
		name string
		edit edit
	}{
		{"good", fine},
		{"no name", func(m pmetric.Metric, _ pmetric.NumberDataPoint) { m.SetName("") }},
		{"metric name", func(m pmetric.Metric, _ pmetric.NumberDataPoint) { m.SetName("注文") }},
		{"attribute name", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.Attributes().PutStr("地域", "東京") }},
		{"one letter", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.Attributes().PutStr("地", "東京") }},
		{"attribute without name", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.Attributes().PutStr("", "x") }},
		{"attribute ____", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.Attributes().PutStr("____", "x") }},
		{"two that collapse", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) {
			dp.Attributes().PutStr("a.b", "x")
			dp.Attributes().PutStr("a-b", "y")
		}},
		{"no UTF-8", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.Attributes().PutStr("bad", "a\xff") }},
		{"time 0", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(0) }},
		{"milliseconds", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) {
			dp.SetTimestamp(pcommon.Timestamp(at.UnixMilli()))
		}},
		{"a day ahead", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(ns(at.Add(24 * time.Hour))) }},
		{"5 minutes ahead", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(ns(at.Add(5 * time.Minute))) }},
		{"23 hours old", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(ns(at.Add(-23 * time.Hour))) }},
		{"30 hours old", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(ns(at.Add(-30 * time.Hour))) }},
		{"starts after it ends", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetStartTimestamp(ns(at.Add(time.Hour))) }},
		{"NaN", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetDoubleValue(math.NaN()) }},
		{"stale", func(_ pmetric.Metric, dp pmetric.NumberDataPoint) {
			dp.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		}},
		{"delta", func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			sum(m, pmetric.AggregationTemporalityDelta)
		}},
		{"unspecified temporality", func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			sum(m, pmetric.AggregationTemporalityUnspecified)
		}},
		{"exemplar without a value", func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			sum(m, pmetric.AggregationTemporalityCumulative).Exemplars().AppendEmpty()
		}},
		{"exemplar of another time", func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			e := sum(m, pmetric.AggregationTemporalityCumulative).Exemplars().AppendEmpty()
			e.SetIntValue(1)
			e.SetTimestamp(ns(at.Add(48 * time.Hour)))
		}},
		{"of no type", func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			pmetric.NewMetric().CopyTo(m)
			m.SetName("x")
		}},
		{"bounds not sorted", func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			h := m.SetEmptyHistogram()
			h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			p := h.DataPoints().AppendEmpty()
			p.SetTimestamp(ns(at))
			p.ExplicitBounds().FromRaw([]float64{5, 1, 1, math.NaN()})
			p.BucketCounts().FromRaw([]uint64{1, 2, 3})
		}},
		{"quantile 7", func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			p := m.SetEmptySummary().DataPoints().AppendEmpty()
			p.SetTimestamp(ns(at))
			p.QuantileValues().AppendEmpty().SetQuantile(7)
			p.QuantileValues().AppendEmpty().SetQuantile(7)
		}},
		{"exponential", exponential(func(pmetric.ExponentialHistogramDataPoint) {})},
		{"exponential, count", exponential(func(p pmetric.ExponentialHistogramDataPoint) { p.SetCount(9) })},
		{"exponential, scale -5", exponential(func(p pmetric.ExponentialHistogramDataPoint) { p.SetScale(-5) })},
		{"exponential, scale 30", exponential(func(p pmetric.ExponentialHistogramDataPoint) { p.SetScale(30) })},
		{"exponential, scale huge", exponential(func(p pmetric.ExponentialHistogramDataPoint) { p.SetScale(math.MaxInt32) })},
		{"exponential, offset", exponential(func(p pmetric.ExponentialHistogramDataPoint) { p.Positive().SetOffset(math.MaxInt32 - 1) })},
		{"exponential, least offset", exponential(func(p pmetric.ExponentialHistogramDataPoint) { p.Positive().SetOffset(math.MinInt32) })},
		{"exponential, last offset", exponential(func(p pmetric.ExponentialHistogramDataPoint) { p.Positive().SetOffset(math.MaxInt32 - 3) })},
	}
	run := fmt.Sprintf("%x", at.UnixNano())
	request := 0
	build := func(edits ...edit) pmetric.Metrics {
		md := gauges(edits...)
		request++
		md.ResourceMetrics().At(0).Resource().Attributes().PutStr("service.instance.id", fmt.Sprint(run, request))
		for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			if m.Type() != pmetric.MetricTypeGauge {
				continue
			}
			for _, dp := range m.Gauge().DataPoints().All() {
				if dp.Timestamp() == ns(now) {
					dp.SetTimestamp(ns(at))
				}
			}
		}
		return md
	}
	url := base + "/api/v1/otlp/v1/metrics"
	if status, text := post(t, url, remarshal(build(fine))); status != 200 {
		t.Fatal(status, text)
	}
	rules := made(t, Prometheus, Settings{MaxAge: 24 * time.Hour})
	var all []edit
	for _, c := range cases {
		all = append(all, c.edit)
		status, text := post(t, url, remarshal(build(fine, c.edit)))
		md := build(fine, c.edit)
		o := rules.Metrics("e", md, time.Now())
		after, said := post(t, url, remarshal(md))
		t.Logf("%-26s as it is %d %-60.60s | repaired %v, taken out %v: %d %s", c.name, status, text, o.Repaired, reasons(o), after, said)
		if after != 200 {
			t.Errorf("%s: refused after the rules: %d %s", c.name, after, said)
		}
		if status == 200 && len(o.TakenOut) > 0 {
			t.Logf("  taken out although Prometheus takes it: %v", reasons(o))
		}
	}
	md := build(all...)
	rules.Metrics("e", md, time.Now())
	if status, text := post(t, url, remarshal(md)); status != 200 {
		t.Errorf("all of them: %d %s", status, text)
	}
	t.Logf("all of them: %d points stored", md.DataPointCount())
}

func TestStoreLoki(t *testing.T) {
	base := os.Getenv("LKEOBS_TEST_LOKI")
	if base == "" {
		t.Skip("LKEOBS_TEST_LOKI is not set")
	}
	at := time.Now()
	good := func(plog.LogRecord) {}
	cases := []struct {
		name string
		edit func(plog.LogRecord)
	}{
		{"good", good},
		{"attribute name", func(l plog.LogRecord) { l.Attributes().PutStr("地域", "東京") }},
		{"attribute without name", func(l plog.LogRecord) { l.Attributes().PutStr("", "x") }},
		{"nested, without name", func(l plog.LogRecord) { l.Attributes().PutEmptyMap("m").PutStr("地域", "x") }},
		{"no UTF-8", func(l plog.LogRecord) { l.Attributes().PutStr("bad", "a\xff"); l.Body().SetStr("b\xff") }},
		{"no time", func(l plog.LogRecord) { l.SetTimestamp(0) }},
		{"milliseconds", func(l plog.LogRecord) { l.SetTimestamp(pcommon.Timestamp(at.UnixMilli())) }},
		{"a day ahead", func(l plog.LogRecord) { l.SetTimestamp(ns(at.Add(24 * time.Hour))) }},
		{"of last year", func(l plog.LogRecord) { l.SetTimestamp(ns(at.AddDate(-1, 0, 0))) }},
		{"a line of 300 kB", func(l plog.LogRecord) { l.Body().SetStr(strings.Repeat("x", 300<<10)) }},
		{"an attribute of 70 kB", func(l plog.LogRecord) { l.Attributes().PutStr("stack", strings.Repeat("x", 70<<10)) }},
		{"an attribute of 1.5 MB", func(l plog.LogRecord) { l.Attributes().PutStr("stack", strings.Repeat("x", 3<<19)) }},
		{"140 attributes", func(l plog.LogRecord) {
			for i := range 140 {
				l.Attributes().PutInt(fmt.Sprintf("a.%d", i), 1)
			}
		}},
		{"1400 attributes", func(l plog.LogRecord) {
			for i := range 1400 {
				l.Attributes().PutInt(fmt.Sprintf("a.%d", i), 1)
			}
		}},
	}
	run := fmt.Sprintf("%x", at.UnixNano())
	service := 0
	build := func(edits ...func(plog.LogRecord)) plog.Logs {
		ld := logs(edits...)
		service++
		ld.ResourceLogs().At(0).Resource().Attributes().PutStr("service.name", fmt.Sprintf("s-%s-%d", run, service))
		for _, record := range records(ld) {
			if record.Timestamp() == ns(now) {
				record.SetTimestamp(ns(at))
			}
		}
		return ld
	}
	url := base + "/otlp/v1/logs"
	rules := made(t, Loki, Settings{})
	try := func(name string, make func() plog.Logs) {
		status, text := post(t, url, remarshal(make()))
		ld := make()
		o := rules.Logs("e", ld, time.Now())
		after, said := post(t, url, remarshal(ld))
		t.Logf("%-26s as it is %d %-60.60s | repaired %v, taken out %v: %d %s", name, status, text, o.Repaired, reasons(o), after, said)
		if after/100 != 2 {
			t.Errorf("%s: refused after the rules: %d %s", name, after, said)
		}
	}
	for _, c := range cases {
		try(c.name, func() plog.Logs { return build(good, c.edit) })
	}
	for name, change := range map[string]func(pcommon.Map){
		"label no UTF-8":     func(m pcommon.Map) { m.PutStr("service.name", "x\xff") },
		"label U+FFFD":       func(m pcommon.Map) { m.PutStr("service.name", "x\uFFFD") },
		"label, odd letters": func(m pcommon.Map) { m.PutStr("service.name", "\x00\n\"\\'{}=,\u2028\u0085\U000E0001😀` ") },
		"label, empty":       func(m pcommon.Map) { m.PutStr("service.name", "") },
		"label, only spaces": func(m pcommon.Map) { m.PutStr("service.name", "  ") },
		"label, a slice":     func(m pcommon.Map) { m.PutEmptySlice("service.name").AppendEmpty().SetStr("x\xff") },
		"label, bytes":       func(m pcommon.Map) { m.PutEmptyBytes("service.name").FromRaw([]byte{255}) },
		"label of 3 kB":      func(m pcommon.Map) { m.PutStr("service.name", strings.Repeat("x", 3000)) },
		"label, nested":      func(m pcommon.Map) { _ = m.PutEmptyMap("k8s.namespace.name").FromRaw(wide(40)) },
		"resource name":      func(m pcommon.Map) { m.PutStr("地域", "x") },
		"resource of 1.5 MB": func(m pcommon.Map) { m.PutStr("x", strings.Repeat("x", 3<<19)) },
	} {
		try(name, func() plog.Logs {
			ld := build(good, good)
			change(ld.ResourceLogs().At(0).Resource().Attributes())
			return ld
		})
	}
}

func wide(n int) map[string]any {
	m := map[string]any{}
	for i := range n {
		m[fmt.Sprint("k", i)] = "v"
	}
	return m
}
