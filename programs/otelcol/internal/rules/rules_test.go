package rules

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func made(t testing.TB, kind string, s Settings) *Rules {
	t.Helper()
	r, err := New(kind, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ns(t time.Time) pcommon.Timestamp { return pcommon.NewTimestampFromTime(t) }

// gauges makes a batch with a point of each edit.
func gauges(edits ...func(m pmetric.Metric, dp pmetric.NumberDataPoint)) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("meter")
	for i, edit := range edits {
		m := sm.Metrics().AppendEmpty()
		m.SetName(fmt.Sprintf("orders.%d", i))
		dp := m.SetEmptyGauge().DataPoints().AppendEmpty()
		dp.SetTimestamp(ns(now))
		dp.SetIntValue(int64(i))
		dp.Attributes().PutStr("k", "v")
		edit(m, dp)
	}
	return md
}

func fine(pmetric.Metric, pmetric.NumberDataPoint) {}

func reasons(o Outcome) map[string]int {
	counts := map[string]int{}
	for _, out := range o.TakenOut {
		counts[out.Reason] += out.Items
	}
	return counts
}

func check(t *testing.T, o Outcome, repaired, takenOut map[string]int) {
	t.Helper()
	if !maps.Equal(o.Repaired, repaired) {
		t.Errorf("repaired %v, not %v", o.Repaired, repaired)
	}
	if got := reasons(o); !maps.Equal(got, takenOut) {
		t.Errorf("taken out %v, not %v", got, takenOut)
	}
	for _, out := range o.TakenOut {
		if out.Detail == "" || len(out.Payload) == 0 || out.Items != 1 {
			t.Errorf("%+v", out)
		}
	}
}

func TestMetricsTimes(t *testing.T) {
	md := gauges(
		fine,
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(0) },
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) {
			dp.SetTimestamp(pcommon.Timestamp(now.UnixMilli()))
			dp.SetStartTimestamp(pcommon.Timestamp(now.Add(-time.Minute).UnixMilli()))
		},
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) {
			dp.SetTimestamp(pcommon.Timestamp(now.UnixMicro()))
		},
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(pcommon.Timestamp(now.Unix())) },
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(ns(now.Add(24 * time.Hour))) },
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(math.MaxUint64) },
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(ns(now.Add(-23 * time.Hour))) },
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.SetTimestamp(ns(now.Add(-25 * time.Hour))) },
		// milliseconds of a year ago: not certain
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) {
			dp.SetTimestamp(pcommon.Timestamp(now.AddDate(-1, 0, 0).UnixMilli()))
		},
		// starts after it ends: fine
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) {
			dp.SetStartTimestamp(ns(now.Add(time.Hour)))
		},
	)
	o := made(t, Prometheus, Settings{}).Metrics("e", md, now)
	check(t, o, map[string]int{TimeMissing: 1, TimeUnit: 3}, map[string]int{TimeAhead: 2, TooOld: 2})
	if md.DataPointCount() != 7 {
		t.Errorf("%d left", md.DataPointCount())
	}
	metrics := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	for i, resolution := range map[int]time.Duration{1: 1, 2: time.Millisecond, 3: time.Microsecond, 4: time.Second} {
		if got := metrics.At(i).Gauge().DataPoints().At(0).Timestamp().AsTime(); !got.Equal(now.Truncate(resolution)) {
			t.Errorf("%d: %s", i, got)
		}
	}
	if got := metrics.At(2).Gauge().DataPoints().At(0).StartTimestamp().AsTime(); !got.Equal(now.Add(-time.Minute)) {
		t.Errorf("start %s", got)
	}
	if text := o.TakenOut[0].Detail; !strings.Contains(text, "24h0m0s ahead") {
		t.Error(text)
	}
}

func TestMetricsNames(t *testing.T) {
	md := gauges(
		func(m pmetric.Metric, _ pmetric.NumberDataPoint) { m.SetName("") },
		func(m pmetric.Metric, _ pmetric.NumberDataPoint) { m.SetName("注文") },
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.Attributes().PutStr("地域", "東京") },
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.Attributes().PutStr("", "nameless") },
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { dp.Attributes().PutStr("__", "x") },
		func(_ pmetric.Metric, dp pmetric.NumberDataPoint) {
			dp.Attributes().PutStr("\xff\xfe", "bad \xff value")
		},
		fine,
	)
	o := made(t, Prometheus, Settings{}).Metrics("e", md, now)
	check(t, o, map[string]int{Name: 5, InvalidUTF8: 1}, map[string]int{NoName: 1})
	metrics := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	if metrics.At(0).Name() != "u6ce8_u6587" {
		t.Error(metrics.At(0).Name())
	}
	for i, want := range map[int]map[string]any{
		1: {"k": "v", "u5730_u57df": "東京"}, 2: {"k": "v", "unnamed": "nameless"}, 3: {"k": "v", "u005f_u005f": "x"}, 4: {"k": "v", "xff_xfe": "bad \uFFFD value"},
	} {
		if got := metrics.At(i).Gauge().DataPoints().At(0).Attributes().AsRaw(); !maps.Equal(got, want) {
			t.Errorf("%v, not %v", got, want)
		}
	}
	// resource: target_info has all of its attributes
	md = gauges(fine, fine)
	md.ResourceMetrics().At(0).Resource().Attributes().PutStr("地域", "東京")
	check(t, made(t, Prometheus, Settings{}).Metrics("e", md, now), map[string]int{Name: 2}, map[string]int{})
}

// A name that passes is one that Prometheus and Loki can translate, and the other way round.
func TestNamesAgainstTheTranslators(t *testing.T) {
	labels := []otlptranslator.LabelNamer{{}, {UnderscoreLabelSanitization: true, PreserveMultipleUnderscores: true}}
	metrics := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	seen := map[string]string{}
	letters := []rune("ab9_.:-/ é地域注文\u0000😀\uFFFD")
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"", "_", "__", "____", "\xff", "\xff\xfe", "__地__", strings.Repeat("地", 300), strings.Repeat("地", 300) + "域"}
	for range 3000 {
		var b strings.Builder
		for range random.IntN(6) {
			b.WriteRune(letters[random.IntN(len(letters))])
		}
		names = append(names, b.String())
	}
	for _, name := range names {
		fixed := name
		if !hasWord(name) {
			fixed = asciiName(name)
			if other, found := seen[fixed]; found && other != name {
				t.Fatalf("%q and %q are both %q", name, other, fixed)
			}
			seen[fixed] = name
			if len(fixed) > 300 {
				t.Errorf("%q is long", fixed)
			}
		} else if _, err := labels[0].Build(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		for _, namer := range labels {
			if got, err := namer.Build(fixed); err != nil || fixed != name && got != fixed {
				t.Errorf("%q: %q, %v", fixed, got, err)
			}
		}
		if got, err := metrics.Build(otlptranslator.Metric{Name: fixed}); err != nil || got == "" {
			t.Errorf("%q: %q, %v", fixed, got, err)
		}
	}
}

func TestMetricsKinds(t *testing.T) {
	build := func() pmetric.Metrics {
		md := gauges(fine)
		metrics := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
		next := func(name string) pmetric.Metric {
			m := metrics.AppendEmpty()
			m.SetName(name)
			return m
		}
		next("none")
		sum := next("delta").SetEmptySum()
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		sum.DataPoints().AppendEmpty().SetTimestamp(ns(now))
		sum.DataPoints().AppendEmpty().SetTimestamp(ns(now))
		next("unspecified").SetEmptyHistogram().DataPoints().AppendEmpty().SetTimestamp(ns(now))
		next("without.points").SetEmptySum()
		empty := next("empty").SetEmptySum()
		empty.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		exemplars := next("exemplars").SetEmptySum()
		exemplars.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		dp := exemplars.DataPoints().AppendEmpty()
		dp.SetTimestamp(ns(now))
		dp.Exemplars().AppendEmpty()
		dp.Exemplars().AppendEmpty().SetIntValue(3)
		h := next("odd.bounds").SetEmptyHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		odd := h.DataPoints().AppendEmpty()
		odd.SetTimestamp(ns(now))
		odd.ExplicitBounds().FromRaw([]float64{5, 1, math.NaN(), math.Inf(1)})
		odd.BucketCounts().FromRaw([]uint64{1})
		s := next("quantiles").SetEmptySummary().DataPoints().AppendEmpty()
		s.SetTimestamp(ns(now))
		s.QuantileValues().AppendEmpty().SetQuantile(7)
		return md
	}
	md := build()
	check(t, made(t, Prometheus, Settings{}).Metrics("e", md, now), map[string]int{ExemplarNoType: 1}, map[string]int{InvalidTemporality: 3})
	if md.DataPointCount() != 4 || md.MetricCount() != 5 {
		t.Errorf("%d points of %d metrics left", md.DataPointCount(), md.MetricCount())
	}
	md = build()
	check(t, made(t, Prometheus, Settings{Delta: true}).Metrics("e", md, now), map[string]int{ExemplarNoType: 1}, map[string]int{InvalidTemporality: 1})
}

func TestExponentialHistograms(t *testing.T) {
	type dp = pmetric.ExponentialHistogramDataPoint
	for name, c := range map[string]struct {
		edit  func(dp)
		fault string
	}{
		"right":         {func(dp) {}, ""},
		"a count":       {func(h dp) { h.SetCount(9) }, "its buckets hold 8 observations, its count is 9"},
		"no sum":        {func(h dp) { h.RemoveSum(); h.SetCount(7) }, "its count is 7"},
		"sum NaN, more": {func(h dp) { h.SetSum(math.NaN()); h.SetCount(9) }, ""},
		"sum NaN, less": {func(h dp) { h.SetSum(math.NaN()); h.SetCount(7) }, "its count is 7"},
		"stale":         {func(h dp) { h.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true)); h.SetCount(0) }, ""},
		"scale -5":      {func(h dp) { h.SetScale(-5) }, "scale is -5"},
		"scale 20":      {func(h dp) { h.SetScale(20) }, ""},
		"scale huge":    {func(h dp) { h.SetScale(math.MaxInt32) }, ""},
		"offset":        {func(h dp) { h.Positive().SetOffset(math.MaxInt32) }, "out of range"},
		"least offset":  {func(h dp) { h.Positive().SetOffset(math.MinInt32) }, ""},
		"counts":        {func(h dp) { h.Negative().BucketCounts().FromRaw([]uint64{math.MaxUint64}) }, "more than fits"},
		"counts wrap":   {func(h dp) { h.Negative().BucketCounts().FromRaw([]uint64{1 << 62, 1 << 62, 1 << 62, 1 << 62}) }, "more than fits"},
	} {
		md := gauges(fine)
		m := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
		m.SetName("took")
		h := m.SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := h.DataPoints().AppendEmpty()
		p.SetTimestamp(ns(now))
		p.SetCount(8)
		p.SetSum(12)
		p.SetScale(2)
		p.Positive().BucketCounts().FromRaw([]uint64{3, 5})
		c.edit(p)
		o := made(t, Prometheus, Settings{}).Metrics("e", md, now)
		if c.fault == "" && len(o.TakenOut) > 0 || c.fault != "" && (len(o.TakenOut) != 1 || o.TakenOut[0].Reason != InvalidHistogram || !strings.Contains(o.TakenOut[0].Detail, c.fault)) {
			t.Errorf("%s: %+v", name, o.TakenOut)
		}
	}
}

func TestTheSeriesBudgetNamesItsOffender(t *testing.T) {
	r := made(t, Prometheus, Settings{Series: Budget{Default: 100, Partitions: map[string]int{"big": 10000}}})
	batch := func(service string, from, to int) pmetric.Metrics {
		md := pmetric.NewMetrics()
		rm := md.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("service.name", service)
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName("http.requests")
		points := m.SetEmptyGauge().DataPoints()
		for i := from; i < to; i++ {
			dp := points.AppendEmpty()
			dp.SetTimestamp(ns(now))
			dp.Attributes().PutStr("method", "GET")
			dp.Attributes().PutInt("status", int64(i%5))
			dp.Attributes().PutStr("user.id", fmt.Sprint(i))
		}
		return md
	}
	good := batch("good", 0, 20)
	if o := r.Metrics("e", good, now); len(o.TakenOut) > 0 {
		t.Fatal(o)
	}
	bad := batch("shop", 0, 200)
	o := r.Metrics("e", bad, now)
	if reasons(o)[SeriesBudget] != 120 || bad.DataPointCount() != 80 {
		t.Fatalf("%v, %d left", reasons(o), bad.DataPointCount())
	}
	if f := o.Offender; f == nil || f.Metric != "http.requests" || f.Workload != "shop" || f.Attribute != "user.id" || f.Values < 150 || f.Values > 250 {
		t.Fatalf("%+v", f)
	}
	if text := o.TakenOut[0].Detail; !strings.Contains(text, `attribute "user.id"`) || !strings.Contains(text, `workload "shop"`) {
		t.Error(text)
	}
	// those that are there go on, for hours
	for minute := 0; minute < 300; minute += 7 {
		at := now.Add(time.Duration(minute) * time.Minute)
		good = batch("good", 0, 20)
		for _, dp := range good.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().All() {
			dp.SetTimestamp(ns(at))
		}
		if o := r.Metrics("e", good, at); len(o.TakenOut) > 0 {
			t.Fatal(minute, reasons(o))
		}
	}
	// the others are forgotten, and there is room again
	bad = batch("shop", 500, 580)
	at := now.Add(5 * time.Hour)
	for _, dp := range bad.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().All() {
		dp.SetTimestamp(ns(at))
	}
	if o := r.Metrics("e", bad, at); len(o.TakenOut) > 0 {
		t.Fatal(reasons(o))
	}
	if o := r.Metrics("big", batch("shop", 0, 5000), now); len(o.TakenOut) > 0 {
		t.Fatal("a budget of its own")
	}
	// a histogram is as many series as Prometheus makes of it
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("took")
	h := m.SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	for i := range 10 {
		dp := h.DataPoints().AppendEmpty()
		dp.SetTimestamp(ns(now))
		dp.Attributes().PutInt("i", int64(i))
		dp.ExplicitBounds().FromRaw(make([]float64, 17))
	}
	if o := r.Metrics("other", md, now); reasons(o)[SeriesBudget] != 5 {
		t.Fatal(reasons(o))
	}
}

func TestMemoryOfPartitionsIsBounded(t *testing.T) {
	r := made(t, Prometheus, Settings{Series: Budget{Default: 10}})
	for i := range maxPartitions + 10 {
		r.Metrics(fmt.Sprint(i), gauges(fine), now.Add(time.Duration(i)))
	}
	if len(r.partitions) != maxPartitions {
		t.Fatal(len(r.partitions))
	}
}

func logs(edits ...func(plog.LogRecord)) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "shop")
	sl := rl.ScopeLogs().AppendEmpty()
	for _, edit := range edits {
		record := sl.LogRecords().AppendEmpty()
		record.SetTimestamp(ns(now))
		record.Body().SetStr("hello")
		edit(record)
	}
	return ld
}

func records(ld plog.Logs) (all []plog.LogRecord) {
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				all = append(all, record)
			}
		}
	}
	return all
}

func TestLogsTimes(t *testing.T) {
	ld := logs(
		func(plog.LogRecord) {},
		func(l plog.LogRecord) { l.SetTimestamp(0) },
		func(l plog.LogRecord) { l.SetTimestamp(0); l.SetObservedTimestamp(ns(now.Add(-time.Hour))) },
		func(l plog.LogRecord) {
			l.SetTimestamp(pcommon.Timestamp(now.UnixMilli()))
			l.SetObservedTimestamp(pcommon.Timestamp(now.UnixMilli()))
		},
		func(l plog.LogRecord) { l.SetTimestamp(0); l.SetObservedTimestamp(pcommon.Timestamp(now.Unix())) },
		func(l plog.LogRecord) { l.SetTimestamp(ns(now.Add(-167 * time.Hour))) },
		func(l plog.LogRecord) { l.SetTimestamp(ns(now.Add(-169 * time.Hour))) },
		func(l plog.LogRecord) { l.SetTimestamp(ns(now.Add(24 * time.Hour))) },
		func(l plog.LogRecord) { l.SetTimestamp(math.MaxUint64) },
	)
	o := made(t, Loki, Settings{}).Logs("e", ld, now)
	check(t, o, map[string]int{TimeUnit: 2}, map[string]int{TooOld: 1, TimeAhead: 2})
	left := records(ld)
	if len(left) != 6 || !left[3].ObservedTimestamp().AsTime().Equal(now) || !left[4].ObservedTimestamp().AsTime().Equal(now) || left[1].Timestamp() != 0 {
		t.Fatalf("%d left", len(left))
	}
}

// lokiEntries counts structured metadata as Loki does.
func lokiEntries(m pcommon.Map, prefix string, skip map[string]bool) (entries, size int, bad error) {
	namer := otlptranslator.LabelNamer{}
	for key, value := range m.All() {
		if prefix == "" && skip[key] {
			continue
		}
		if prefix != "" {
			key = prefix + "_" + key
		}
		name, err := namer.Build(key)
		if err != nil {
			return 0, 0, err
		}
		if value.Type() == pcommon.ValueTypeMap {
			n, bytes, err := lokiEntries(value.Map(), name, nil)
			entries, size, bad = entries+n, size+bytes, err
		} else {
			entries, size = entries+1, size+len(name)+len(value.AsString())
		}
		if bad != nil {
			return
		}
	}
	return
}

func lokiFault(r *Rules, ld plog.Logs) error {
	s := r.settings
	for _, rl := range ld.ResourceLogs().All() {
		a, b, err := lokiEntries(rl.Resource().Attributes(), "", r.index)
		if err != nil {
			return err
		}
		for key := range r.index {
			if value, found := rl.Resource().Attributes().Get(key); found && (value.Type() == pcommon.ValueTypeMap || len(value.AsString()) > s.MaxLabelValueBytes || strings.ContainsRune(value.AsString(), utf8.RuneError)) {
				return fmt.Errorf("index label %s", key)
			}
		}
		for _, sl := range rl.ScopeLogs().All() {
			c, d, err := lokiEntries(sl.Scope().Attributes(), "", nil)
			if err != nil {
				return err
			}
			for _, record := range sl.LogRecords().All() {
				e, f, err := lokiEntries(record.Attributes(), "", nil)
				if err != nil {
					return err
				}
				if n := a + c + e + 11; n > s.MaxMetadataEntries {
					return fmt.Errorf("%d entries", n)
				}
				if n := b + d + f + 250 + len(record.SeverityText()) + len(sl.Scope().Name()) + len(sl.Scope().Version()); n > s.MaxMetadataBytes {
					return fmt.Errorf("%d bytes of metadata: %d of the resource, %d of the scope, %d of the record", n, b, d, f)
				}
				if n := len(record.Body().AsString()); n > s.MaxLineBytes {
					return fmt.Errorf("a line of %d bytes", n)
				}
			}
		}
	}
	return nil
}

func TestLogsAreCut(t *testing.T) {
	long := strings.Repeat("é", 10_000)
	r := made(t, Loki, Settings{MaxLineBytes: 1000, MaxMetadataBytes: 8192, MaxMetadataEntries: 64})
	ld := logs(
		func(l plog.LogRecord) { l.Body().SetStr(long) },
		func(l plog.LogRecord) { l.Body().SetEmptyMap().PutStr("x", long) },
		func(l plog.LogRecord) { l.Attributes().PutStr("stack", long); l.Attributes().PutStr("short", "s") },
		func(l plog.LogRecord) {
			for i := range 140 {
				l.Attributes().PutInt(fmt.Sprintf("a.%d", i), int64(i))
			}
		},
		func(l plog.LogRecord) { l.Attributes().PutEmptyMap("m").PutEmptyMap("n").PutStr("o", long) },
		func(l plog.LogRecord) { l.Attributes().PutStr("a"+long, "v") },
		func(l plog.LogRecord) { l.SetSeverityText(long) },
		func(plog.LogRecord) {},
	)
	o := r.Logs("e", ld, now)
	check(t, o, map[string]int{ValueCut: 7}, map[string]int{})
	left := records(ld)
	if body := left[0].Body().Str(); len(body) > 1000 || len(body) < 990 || !strings.HasSuffix(body, "é…[cut by lkeobs: 20000 bytes]") {
		t.Error(body)
	}
	if v, _ := left[2].Attributes().Get("short"); v.Str() != "s" {
		t.Error("a short value was cut")
	}
	if v, _ := left[2].Attributes().Get("stack"); !strings.HasSuffix(v.Str(), "…[cut by lkeobs: 20000 bytes]") || len(v.Str()) < 7000 {
		t.Error(v.Str())
	}
	if v, _ := left[3].Attributes().Get(cutKey); !strings.Contains(v.Str(), `"a.139":139`) {
		t.Error(v.Str())
	}
	if err := lokiFault(r, ld); err != nil {
		t.Error(err)
	}
}

func TestLogsNamesAndLabels(t *testing.T) {
	r := made(t, Loki, Settings{})
	ld := logs(
		func(l plog.LogRecord) { l.Attributes().PutStr("地域", "東京"); l.Attributes().PutStr("", "x") },
		func(l plog.LogRecord) { l.Attributes().PutEmptyMap("m").PutStr("地域", "東京") },
	)
	o := r.Logs("e", ld, now)
	check(t, o, map[string]int{Name: 1}, map[string]int{})
	if got := records(ld)[0].Attributes().AsRaw(); !maps.Equal(got, map[string]any{"u5730_u57df": "東京", "unnamed": "x"}) {
		t.Error(got)
	}
	ld = logs(func(plog.LogRecord) {}, func(plog.LogRecord) {})
	attributes := ld.ResourceLogs().At(0).Resource().Attributes()
	attributes.PutStr("service.name", "a\xff"+strings.Repeat("b", 3000))
	attributes.PutEmptyMap("k8s.namespace.name").PutStr("a", "b")
	ld.ResourceLogs().At(0).ScopeLogs().At(0).Scope().Attributes().PutStr("_", "x")
	check(t, r.Logs("e", ld, now), map[string]int{Name: 2, ValueCut: 2, InvalidUTF8: 2}, map[string]int{})
	if err := lokiFault(r, ld); err != nil {
		t.Error(err)
	}
}

func TestStreamsAboveTheBudgetShareOne(t *testing.T) {
	r := made(t, Loki, Settings{Streams: Budget{Default: 10}})
	streams := map[string]int{}
	repaired := 0
	for i := range 200 {
		ld := logs(func(plog.LogRecord) {})
		a := ld.ResourceLogs().At(0).Resource().Attributes()
		a.PutStr("service.name", fmt.Sprintf("job-%d", i))
		a.PutStr("k8s.namespace.name", fmt.Sprintf("ns-%d", i/2))
		o := r.Logs("e", ld, now)
		repaired += o.Repaired[StreamBudget]
		name, _ := a.Get("service.name")
		space, _ := a.Get("k8s.namespace.name")
		streams[name.Str()+space.Str()]++
		if i >= 10 {
			if got, _ := records(ld)[0].Attributes().Get("service.name.original"); got.AsString() != fmt.Sprintf("job-%d", i) {
				t.Fatal(records(ld)[0].Attributes().AsRaw())
			}
		}
		if i >= 150 {
			if got, _ := records(ld)[0].Attributes().Get("k8s.namespace.name.original"); got.AsString() != fmt.Sprintf("ns-%d", i/2) {
				t.Fatal(records(ld)[0].Attributes().AsRaw())
			}
		}
	}
	if len(streams) > 30 || repaired != 190 {
		t.Fatalf("%d streams, %d repaired", len(streams), repaired)
	}
	// one that is known stays as it is
	ld := logs(func(plog.LogRecord) {})
	a := ld.ResourceLogs().At(0).Resource().Attributes()
	a.PutStr("service.name", "job-3")
	a.PutStr("k8s.namespace.name", "ns-1")
	if o := r.Logs("e", ld, now.Add(20*time.Minute)); o.Repaired != nil {
		t.Fatal(o.Repaired)
	}
}

func TestTraces(t *testing.T) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("schema")
	rs.Resource().Attributes().PutStr("service.name", "shop")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range 4 {
		s := spans.AppendEmpty()
		s.SetName(fmt.Sprint(i))
		s.SetTraceID(pcommon.TraceID{1})
		s.SetSpanID(pcommon.SpanID{byte(i + 1)})
	}
	spans.At(0).SetTraceID(pcommon.TraceID{})
	spans.At(1).SetSpanID(pcommon.SpanID{})
	// ends before it begins, next year
	spans.At(2).SetStartTimestamp(ns(now.AddDate(1, 0, 0)))
	o := made(t, Tempo, Settings{}).Traces("e", td, now)
	check(t, o, nil, map[string]int{NoTraceID: 1, NoSpanID: 1})
	if td.SpanCount() != 2 {
		t.Fatal(td.SpanCount())
	}
	alone, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(o.TakenOut[1].Payload)
	if err != nil || alone.SpanCount() != 1 || alone.ResourceSpans().At(0).SchemaUrl() != "schema" || alone.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Name() != "1" {
		t.Fatal(err, alone)
	}
}

func TestAPayloadIsTheItemAlone(t *testing.T) {
	md := gauges(fine, func(m pmetric.Metric, dp pmetric.NumberDataPoint) {
		m.SetUnit("s")
		dp.SetTimestamp(ns(now.Add(time.Hour)))
	})
	o := made(t, Prometheus, Settings{}).Metrics("e", md, now)
	alone, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(o.TakenOut[0].Payload)
	if err != nil || alone.DataPointCount() != 1 {
		t.Fatal(err)
	}
	rm := alone.ResourceMetrics().At(0)
	m := rm.ScopeMetrics().At(0).Metrics().At(0)
	if service, _ := rm.Resource().Attributes().Get("service.name"); service.Str() != "shop" || rm.ScopeMetrics().At(0).Scope().Name() != "meter" || m.Unit() != "s" || m.Name() != "orders.1" || m.Gauge().DataPoints().At(0).IntValue() != 1 {
		t.Fatal(alone)
	}
}

func TestSettings(t *testing.T) {
	for _, s := range []Settings{{MaxAhead: -1}, {MaxLineBytes: 5}, {MaxMetadataBytes: -1}, {MaxMetadataEntries: 3}, {MaxLabelValueBytes: 1}} {
		if _, err := New(Loki, s); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
	if _, err := New("mimir", Settings{}); err == nil {
		t.Error("an unknown store was taken")
	}
	// of another signal: as it is
	if o := made(t, Loki, Settings{}).Metrics("e", gauges(func(m pmetric.Metric, _ pmetric.NumberDataPoint) { m.SetName("") }), now); o.TakenOut != nil {
		t.Error(o)
	}
}

func TestNestedTooDeeply(t *testing.T) {
	nest := func(v pcommon.Value, levels int) {
		for range levels {
			v = v.SetEmptyMap().PutEmpty("k")
		}
		v.SetStr("bottom")
	}
	ld := logs(
		func(l plog.LogRecord) { nest(l.Body(), 50_000) },
		func(l plog.LogRecord) { nest(l.Attributes().PutEmpty("a"), 50_000) },
		func(l plog.LogRecord) { nest(l.Attributes().PutEmpty("a"), 20) },
	)
	check(t, made(t, Loki, Settings{}).Logs("e", ld, now), map[string]int{ValueCut: 2}, map[string]int{})
	md := gauges(func(_ pmetric.Metric, dp pmetric.NumberDataPoint) { nest(dp.Attributes().PutEmpty("a"), 50_000) })
	check(t, made(t, Prometheus, Settings{Series: Budget{Default: 5}}).Metrics("e", md, now), map[string]int{ValueCut: 1}, map[string]int{})
}

func goodBatch(resources, perResource int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	for i := range resources {
		rm := md.ResourceMetrics().AppendEmpty()
		for _, key := range []string{"service.name", "service.instance.id", "k8s.namespace.name", "k8s.pod.name", "k8s.node.name", "lkeobs.edge", "k8s.cluster.name", "host.name"} {
			rm.Resource().Attributes().PutStr(key, fmt.Sprintf("some-value-%d", i))
		}
		sm := rm.ScopeMetrics().AppendEmpty()
		for j := range perResource / 10 {
			m := sm.Metrics().AppendEmpty()
			m.SetName(fmt.Sprintf("http.server.requests.%d", j))
			s := m.SetEmptySum()
			s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			s.SetIsMonotonic(true)
			for k := range 10 {
				dp := s.DataPoints().AppendEmpty()
				dp.SetTimestamp(ns(now))
				dp.SetStartTimestamp(ns(now.Add(-time.Hour)))
				dp.SetIntValue(int64(k))
				for _, key := range []string{"http.request.method", "http.route", "network.protocol.version", "server.address"} {
					dp.Attributes().PutStr(key, fmt.Sprintf("value-%d", k))
				}
				dp.Attributes().PutInt("http.response.status_code", 200)
				dp.Attributes().PutInt("server.port", 8080)
			}
		}
	}
	return md
}

// cpuTime is that of the process: on a machine that others use, the wall clock says little.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func report(b *testing.B, since time.Duration, items int) {
	b.ReportMetric(float64((cpuTime()-since).Nanoseconds())/float64(b.N*items), "cpu-ns/item")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*items), "ns/item")
}

func benchmarkMetrics(b *testing.B, s Settings) {
	r := made(b, Prometheus, s)
	md := goodBatch(8, 1024)
	items := md.DataPointCount()
	r.Metrics("edge-1", md, now)
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		if o := r.Metrics("edge-1", md, now); o.TakenOut != nil || o.Repaired != nil {
			b.Fatal(o)
		}
	}
	report(b, cpu, items)
}

func BenchmarkMetricsWithoutBudget(b *testing.B) { benchmarkMetrics(b, Settings{}) }
func BenchmarkMetricsWithBudget(b *testing.B) {
	benchmarkMetrics(b, Settings{Series: Budget{Default: 200_000}})
}

func BenchmarkLogs(b *testing.B) {
	edits := make([]func(plog.LogRecord), 8192)
	for i := range edits {
		edits[i] = func(l plog.LogRecord) {
			l.Body().SetStr(strings.Repeat("a line of some length ", 10))
			for _, key := range []string{"log.file.name", "k8s.container.name", "http.route", "exception.type", "thread.name", "user.id"} {
				l.Attributes().PutStr(key, "some value of it")
			}
		}
	}
	ld := logs(edits...)
	r := made(b, Loki, Settings{Streams: Budget{Default: 10_000}})
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		if o := r.Logs("edge-1", ld, now); o.TakenOut != nil || o.Repaired != nil {
			b.Fatal(o)
		}
	}
	report(b, cpu, len(edits))
}

func BenchmarkTraces(b *testing.B) {
	td := ptrace.NewTraces()
	spans := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i := range 8192 {
		s := spans.AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1, byte(i)})
		s.SetSpanID(pcommon.SpanID{1, byte(i)})
		for _, key := range []string{"http.request.method", "http.route", "network.protocol.version", "server.address", "x", "y"} {
			s.Attributes().PutStr(key, "value")
		}
	}
	r := made(b, Tempo, Settings{})
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		if o := r.Traces("edge-1", td, now); o.TakenOut != nil || o.Repaired != nil {
			b.Fatal(o)
		}
	}
	report(b, cpu, 8192)
}

// marshalled is for comparing.
func marshalled(md pmetric.Metrics) []byte {
	b, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		panic(err)
	}
	return b
}

func TestGoodBatchesAreNotTouched(t *testing.T) {
	md := goodBatch(3, 100)
	before := marshalled(md)
	if o := made(t, Prometheus, Settings{Series: Budget{Default: 1000}}).Metrics("e", md, now); o.Repaired != nil || o.TakenOut != nil || !bytes.Equal(before, marshalled(md)) {
		t.Fatal(o)
	}
}
