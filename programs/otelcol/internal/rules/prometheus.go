package rules

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// What Prometheus refuses, and with it the whole request, was read in prometheus v0.316.0: storage/remote/write_otlp_handler.go,
// storage/remote/otlptranslator/prometheusremotewrite, tsdb/head_append*.go, model/histogram, and in otlptranslator v1.0.0.

// metricsPass is one batch.
type metricsPass struct {
	rules  *Rules
	clock  clock
	state  *partitionState
	limit  int
	tally  tally
	result Outcome

	resource     pmetric.ResourceMetrics
	resourceHash uint64
	resourceFix  repairs
	workload     string
	// arrival is the time of a point that has none
	arrival uint64
	scope   pmetric.ScopeMetrics

	metric     pmetric.Metric
	metricHash uint64
	metricFix  repairs
	// of all points of the metric; empty where it is fine
	metricReason, metricDetail string
	overBudget                 bool
}

func (r *Rules) prometheus(partition string, md pmetric.Metrics, now time.Time) Outcome {
	p := &metricsPass{rules: r, clock: newClock(now, r.settings.MaxAge, r.settings.MaxAhead), limit: r.settings.Series.of(partition)}
	if p.limit > 0 {
		p.state = r.state(partition, now)
		p.state.mu.Lock()
		defer p.state.mu.Unlock()
		p.state.series.rotate(now)
	}
	resources := md.ResourceMetrics()
	for i := range resources.Len() {
		p.resource = resources.At(i)
		// points of one series that came in several requests must not have the same time
		p.arrival = p.clock.now - uint64(resources.Len()-1-i)*uint64(time.Millisecond)
		attributes := p.resource.Resource().Attributes()
		p.resourceFix, p.resourceHash = repairAttributes(attributes, p.limit > 0)
		p.workload = ""
		if name, found := attributes.Get("service.name"); found && name.Type() == pcommon.ValueTypeStr {
			p.workload = name.Str()
		}
		for j := range p.resource.ScopeMetrics().Len() {
			p.scope = p.resource.ScopeMetrics().At(j)
			p.scope.Metrics().RemoveIf(p.checkMetric)
		}
		p.resource.ScopeMetrics().RemoveIf(func(s pmetric.ScopeMetrics) bool { return s.Metrics().Len() == 0 })
	}
	resources.RemoveIf(func(rm pmetric.ResourceMetrics) bool { return rm.ScopeMetrics().Len() == 0 })
	p.result.Repaired = p.tally.counts()
	if p.overBudget {
		p.result.Offender = p.state.offender.worst()
		if p.result.Offender != nil {
			text := fmt.Sprintf("the edge has %d series in an hour, its budget; %s", p.limit, p.result.Offender)
			for i := range p.result.TakenOut {
				if out := &p.result.TakenOut[i]; out.Reason == SeriesBudget {
					out.Detail = text
				}
			}
		}
	}
	return p.result
}

// repairAttributes of a resource or a point, in place, and hash them in the same pass where a budget needs it.
func repairAttributes(m pcommon.Map, hashed bool) (fix repairs, sum uint64) {
	for key, value := range m.All() {
		if !hasWord(key) {
			fix |= renamed
		}
		kind := value.Type()
		switch kind {
		case pcommon.ValueTypeStr:
			text := value.Str()
			if !utf8.ValidString(text) {
				text = strings.ToValidUTF8(text, "\uFFFD")
				value.SetStr(text)
				fix |= utf8Repaired
			}
			if hashed {
				sum += mix(hashString(key), hashString(text))
			}
			continue
		case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
			if cutTooDeep(value) {
				fix |= valueCut
			}
		}
		if hashed {
			sum += mix(hashString(key), hashValue(value))
		}
	}
	if fix&renamed != 0 {
		renameKeys(m)
		if hashed {
			sum = hashMap(m)
		}
	}
	return fix, sum
}

// checkMetric tells whether nothing of a metric is left.
func (p *metricsPass) checkMetric(m pmetric.Metric) bool {
	p.metric, p.metricFix, p.metricReason, p.metricDetail = m, p.resourceFix, "", ""
	temporality, has := pmetric.AggregationTemporalityCumulative, true
	switch m.Type() {
	case pmetric.MetricTypeSum:
		temporality = m.Sum().AggregationTemporality()
	case pmetric.MetricTypeHistogram:
		temporality = m.Histogram().AggregationTemporality()
	case pmetric.MetricTypeExponentialHistogram:
		temporality = m.ExponentialHistogram().AggregationTemporality()
	case pmetric.MetricTypeEmpty:
		// no item is in it, and Prometheus refuses all that comes with it
		return true
	default:
		has = false
	}
	name := m.Name()
	switch {
	case name == "":
		p.metricReason, p.metricDetail = NoName, "the metric has no name"
	case has && temporality != pmetric.AggregationTemporalityCumulative && !(temporality == pmetric.AggregationTemporalityDelta && p.rules.settings.Delta):
		p.metricReason = InvalidTemporality
		p.metricDetail = fmt.Sprintf("metric %q has %s temporality; Prometheus takes cumulative", clip(name), strings.ToLower(temporality.String()))
	case !hasWord(name) && !strings.Contains(name, ":"):
		m.SetName(asciiName(name))
		p.metricFix |= renamed
	}
	if p.limit > 0 {
		p.metricHash = mix(p.resourceHash, mix(hashString(m.Name()), hashString(m.Unit())+uint64(m.Type())))
	}
	var before, left int
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		points := m.Gauge().DataPoints()
		before = points.Len()
		points.RemoveIf(p.checkNumber)
		left = points.Len()
	case pmetric.MetricTypeSum:
		points := m.Sum().DataPoints()
		before = points.Len()
		points.RemoveIf(p.checkNumber)
		left = points.Len()
	case pmetric.MetricTypeHistogram:
		points := m.Histogram().DataPoints()
		before = points.Len()
		points.RemoveIf(p.checkHistogram)
		left = points.Len()
	case pmetric.MetricTypeExponentialHistogram:
		points := m.ExponentialHistogram().DataPoints()
		before = points.Len()
		points.RemoveIf(p.checkExponential)
		left = points.Len()
	case pmetric.MetricTypeSummary:
		points := m.Summary().DataPoints()
		before = points.Len()
		points.RemoveIf(p.checkSummary)
		left = points.Len()
	}
	// one that came without points says nothing; Prometheus warns, or refuses the request for its name
	return left == 0 && (before > 0 || p.metricReason != "")
}

// point is what all kinds of points have.
type point interface {
	Attributes() pcommon.Map
	Timestamp() pcommon.Timestamp
	SetTimestamp(pcommon.Timestamp)
	StartTimestamp() pcommon.Timestamp
	SetStartTimestamp(pcommon.Timestamp)
}

// judge repairs a point; a reason means that it must not be sent.
func judge[P point](p *metricsPass, dp P, fix repairs, weight int) (reason, detail string) {
	if p.metricReason != "" {
		return p.metricReason, p.metricDetail
	}
	fix |= p.metricFix
	switch t := uint64(dp.Timestamp()); {
	case t == 0:
		dp.SetTimestamp(pcommon.Timestamp(p.arrival))
		fix |= timeMissing
	case t > p.clock.latest:
		return TimeAhead, p.clock.aheadDetail(t)
	case t < p.clock.earliest || t < year2000:
		factor := p.clock.factor(t)
		if factor == 1 {
			if t >= p.clock.earliest {
				break
			}
			return TooOld, p.clock.oldDetail(t)
		}
		repaired := t * factor
		if repaired > p.clock.latest {
			return TimeAhead, p.clock.aheadDetail(repaired)
		}
		if repaired < p.clock.earliest {
			return TooOld, p.clock.oldDetail(repaired)
		}
		dp.SetTimestamp(pcommon.Timestamp(repaired))
		dp.SetStartTimestamp(pcommon.Timestamp(sameUnit(uint64(dp.StartTimestamp()), factor, repaired)))
		fix |= timeUnit
	}
	attributes := dp.Attributes()
	repaired, sum := repairAttributes(attributes, p.limit > 0)
	fix |= repaired
	if p.limit > 0 {
		h := mix(p.metricHash, sum)
		ok, isNew := p.state.series.admit(h, weight, p.limit)
		if isNew {
			p.state.offender.add(hashString(p.metric.Name()), p.metric.Name(), p.workload, attributes, p.clock.nowTime)
		}
		if !ok {
			p.overBudget = true
			return SeriesBudget, ""
		}
	}
	if fix != 0 {
		p.tally.add(fix)
	}
	return "", ""
}

func (p *metricsPass) checkNumber(dp pmetric.NumberDataPoint) bool {
	fix := removeBadExemplars(p.metric.Type() != pmetric.MetricTypeGauge, dp.Exemplars())
	reason, detail := judge(p, dp, fix, 1)
	if reason == "" {
		return false
	}
	p.takeOut(reason, detail, func(alone pmetric.Metric) {
		if p.metric.Type() == pmetric.MetricTypeGauge {
			dp.CopyTo(alone.SetEmptyGauge().DataPoints().AppendEmpty())
			return
		}
		sum := alone.SetEmptySum()
		sum.SetAggregationTemporality(p.metric.Sum().AggregationTemporality())
		sum.SetIsMonotonic(p.metric.Sum().IsMonotonic())
		dp.CopyTo(sum.DataPoints().AppendEmpty())
	})
	return true
}

func (p *metricsPass) checkHistogram(dp pmetric.HistogramDataPoint) bool {
	fix := removeBadExemplars(true, dp.Exemplars())
	// bounds, _count, _sum, and the bucket of +Inf
	reason, detail := judge(p, dp, fix, dp.ExplicitBounds().Len()+3)
	if reason == "" {
		return false
	}
	p.takeOut(reason, detail, func(alone pmetric.Metric) {
		histogram := alone.SetEmptyHistogram()
		histogram.SetAggregationTemporality(p.metric.Histogram().AggregationTemporality())
		dp.CopyTo(histogram.DataPoints().AppendEmpty())
	})
	return true
}

func (p *metricsPass) checkExponential(dp pmetric.ExponentialHistogramDataPoint) bool {
	fix := removeBadExemplars(true, dp.Exemplars())
	reason, detail := InvalidHistogram, exponentialFault(dp)
	if detail == "" || p.metricReason != "" {
		reason, detail = judge(p, dp, fix, 1)
	}
	if reason == "" {
		return false
	}
	p.takeOut(reason, detail, func(alone pmetric.Metric) {
		histogram := alone.SetEmptyExponentialHistogram()
		histogram.SetAggregationTemporality(p.metric.ExponentialHistogram().AggregationTemporality())
		dp.CopyTo(histogram.DataPoints().AppendEmpty())
	})
	return true
}

func (p *metricsPass) checkSummary(dp pmetric.SummaryDataPoint) bool {
	reason, detail := judge(p, dp, 0, dp.QuantileValues().Len()+2)
	if reason == "" {
		return false
	}
	p.takeOut(reason, detail, func(alone pmetric.Metric) {
		dp.CopyTo(alone.SetEmptySummary().DataPoints().AppendEmpty())
	})
	return true
}

func (p *metricsPass) takeOut(reason, detail string, fill func(alone pmetric.Metric)) {
	alone := pmetric.NewMetrics()
	rm := alone.ResourceMetrics().AppendEmpty()
	p.resource.Resource().CopyTo(rm.Resource())
	rm.SetSchemaUrl(p.resource.SchemaUrl())
	sm := rm.ScopeMetrics().AppendEmpty()
	p.scope.Scope().CopyTo(sm.Scope())
	sm.SetSchemaUrl(p.scope.SchemaUrl())
	metric := sm.Metrics().AppendEmpty()
	metric.SetName(p.metric.Name())
	metric.SetDescription(p.metric.Description())
	metric.SetUnit(p.metric.Unit())
	p.metric.Metadata().CopyTo(metric.Metadata())
	fill(metric)
	payload, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(alone)
	if err != nil {
		detail += "; its payload: " + err.Error()
	}
	p.result.TakenOut = append(p.result.TakenOut, TakenOut{Reason: reason, Detail: detail, Payload: payload, Items: 1})
}

// removeBadExemplars: one without a value makes Prometheus refuse the request. It looks at no exemplar of a gauge.
func removeBadExemplars(looked bool, exemplars pmetric.ExemplarSlice) repairs {
	if !looked {
		return 0
	}
	n := exemplars.Len()
	if n == 0 {
		return 0
	}
	exemplars.RemoveIf(func(e pmetric.Exemplar) bool { return e.ValueType() == pmetric.ExemplarValueTypeEmpty })
	if exemplars.Len() < n {
		return exemplarRemoved
	}
	return 0
}

const (
	minScale = -4
	maxScale = 8
)

// exponentialFault is what model/histogram would refuse.
func exponentialFault(dp pmetric.ExponentialHistogramDataPoint) string {
	scale := dp.Scale()
	if scale < minScale {
		return fmt.Sprintf("its scale is %d, and Prometheus takes %d and above", scale, minScale)
	}
	total := dp.ZeroCount()
	for i, side := range [2]pmetric.ExponentialHistogramDataPointBuckets{dp.Positive(), dp.Negative()} {
		counts := side.BucketCounts()
		if counts.Len() == 0 {
			continue
		}
		name := [2]string{"positive", "negative"}[i]
		if last := int64(side.Offset()) + int64(counts.Len()); last >= math.MaxInt32 {
			return fmt.Sprintf("its %s buckets end at index %d, out of range", name, last)
		}
		var sum uint64
		for n := range counts.Len() {
			c := counts.At(n)
			// buckets are joined when the scale is reduced, as signed numbers
			if c > math.MaxInt64 || sum > math.MaxInt64-c {
				return fmt.Sprintf("its %s buckets hold more than fits", name)
			}
			sum += c
		}
		total += sum
	}
	count := dp.Count()
	switch {
	case dp.Flags().NoRecordedValue():
		return ""
	case dp.HasSum() && math.IsNaN(dp.Sum()):
		if total > count {
			return fmt.Sprintf("its buckets hold %d observations, its count is %d", total, count)
		}
	case total != count:
		return fmt.Sprintf("its buckets hold %d observations, its count is %d", total, count)
	}
	return ""
}
