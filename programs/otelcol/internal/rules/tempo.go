package rules

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// What Tempo refuses was read in tempo v2.8 (1.5.1-0.20250529124718): modules/distributor/distributor.go. A span without a trace id
// makes it refuse the request; spans without an id of their own are taken for one and the same when a trace is put together.
// Attributes above max_attribute_bytes it cuts itself, without a mark.

func (r *Rules) tempo(td ptrace.Traces) Outcome {
	var out Outcome
	var counts tally
	resources := td.ResourceSpans()
	removed := false
	for i := range resources.Len() {
		rs := resources.At(i)
		resourceFix := cutDeepValues(rs.Resource().Attributes())
		for j := range rs.ScopeSpans().Len() {
			ss := rs.ScopeSpans().At(j)
			scopeFix := resourceFix | cutDeepValues(ss.Scope().Attributes())
			ss.Spans().RemoveIf(func(span ptrace.Span) bool {
				reason, detail := "", ""
				switch {
				case span.TraceID().IsEmpty():
					reason, detail = NoTraceID, "the span has no trace id"
				case span.SpanID().IsEmpty():
					reason, detail = NoSpanID, "the span has no id"
				default:
					fix := scopeFix | cutDeepValues(span.Attributes())
					for n := range span.Events().Len() {
						fix |= cutDeepValues(span.Events().At(n).Attributes())
					}
					for n := range span.Links().Len() {
						fix |= cutDeepValues(span.Links().At(n).Attributes())
					}
					if fix != 0 {
						counts.add(fix)
					}
					return false
				}
				removed = true
				alone := ptrace.NewTraces()
				oneResource := alone.ResourceSpans().AppendEmpty()
				rs.Resource().CopyTo(oneResource.Resource())
				oneResource.SetSchemaUrl(rs.SchemaUrl())
				oneScope := oneResource.ScopeSpans().AppendEmpty()
				ss.Scope().CopyTo(oneScope.Scope())
				oneScope.SetSchemaUrl(ss.SchemaUrl())
				span.CopyTo(oneScope.Spans().AppendEmpty())
				payload, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(alone)
				if err != nil {
					detail += "; its payload: " + err.Error()
				}
				out.TakenOut = append(out.TakenOut, TakenOut{Reason: reason, Detail: detail, Payload: payload, Items: 1})
				return true
			})
		}
	}
	if removed {
		resources.RemoveIf(func(rs ptrace.ResourceSpans) bool {
			rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool { return ss.Spans().Len() == 0 })
			return rs.ScopeSpans().Len() == 0
		})
	}
	out.Repaired = counts.counts()
	return out
}

func cutDeepValues(m pcommon.Map) (fix repairs) {
	for _, value := range m.All() {
		if cutTooDeep(value) {
			fix |= valueCut
		}
	}
	return fix
}
