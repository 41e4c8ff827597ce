package durablequeue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pipeline"

	"lkeobs/programs/otelcol/internal/pieces"
	"lkeobs/programs/otelcol/internal/rules"
)

var componentType = component.MustNewType("durable_queue")

// NewFactory makes the factory of durable_queue.
func NewFactory() connector.Factory {
	return connector.NewFactory(componentType, createDefaultConfig,
		connector.WithMetricsToMetrics(createMetrics, component.StabilityLevelBeta),
		connector.WithLogsToLogs(createLogs, component.StabilityLevelBeta),
		connector.WithTracesToTraces(createTraces, component.StabilityLevelBeta))
}

// codec is what delivery needs to know about a signal.
type codec[T any] struct {
	signal    pieces.Signal
	unmarshal func([]byte) (T, error)
	marshal   func(T) ([]byte, error)
	items     func(T) int
	// moveTo appends one's resources to another.
	moveTo func(from, to T)
	apply  func(r *rules.Rules, partition string, data T, now time.Time) rules.Outcome
	// resource is the first one.
	resource func(T) (pcommon.Resource, bool)
}

var metricsCodec = codec[pmetric.Metrics]{
	signal:    pieces.Metrics,
	unmarshal: (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics,
	marshal:   (&pmetric.ProtoMarshaler{}).MarshalMetrics,
	items:     pmetric.Metrics.DataPointCount,
	moveTo:    func(from, to pmetric.Metrics) { from.ResourceMetrics().MoveAndAppendTo(to.ResourceMetrics()) },
	apply:     (*rules.Rules).Metrics,
	resource: func(md pmetric.Metrics) (pcommon.Resource, bool) {
		if md.ResourceMetrics().Len() == 0 {
			return pcommon.Resource{}, false
		}
		return md.ResourceMetrics().At(0).Resource(), true
	},
}

var logsCodec = codec[plog.Logs]{
	signal:    pieces.Logs,
	unmarshal: (&plog.ProtoUnmarshaler{}).UnmarshalLogs,
	marshal:   (&plog.ProtoMarshaler{}).MarshalLogs,
	items:     plog.Logs.LogRecordCount,
	moveTo:    func(from, to plog.Logs) { from.ResourceLogs().MoveAndAppendTo(to.ResourceLogs()) },
	apply:     (*rules.Rules).Logs,
	resource: func(ld plog.Logs) (pcommon.Resource, bool) {
		if ld.ResourceLogs().Len() == 0 {
			return pcommon.Resource{}, false
		}
		return ld.ResourceLogs().At(0).Resource(), true
	},
}

var tracesCodec = codec[ptrace.Traces]{
	signal:    pieces.Traces,
	unmarshal: (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces,
	marshal:   (&ptrace.ProtoMarshaler{}).MarshalTraces,
	items:     ptrace.Traces.SpanCount,
	moveTo:    func(from, to ptrace.Traces) { from.ResourceSpans().MoveAndAppendTo(to.ResourceSpans()) },
	apply:     (*rules.Rules).Traces,
	resource: func(td ptrace.Traces) (pcommon.Resource, bool) {
		if td.ResourceSpans().Len() == 0 {
			return pcommon.Resource{}, false
		}
		return td.ResourceSpans().At(0).Resource(), true
	},
}

// outputs finds the consumer of each sink of a signal. A pipeline that does not read from the connector, and one that
// no sink names, are errors.
func outputs[C any](cfg *Config, signal string, known []pipeline.ID, find func(...pipeline.ID) (C, error)) (map[string]C, error) {
	all := map[string]C{}
	named := map[pipeline.ID]bool{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Sinks)) {
		s := cfg.Sinks[name]
		id, ok := s.pipelineOf(signal)
		if !ok {
			continue
		}
		if !slices.Contains(known, id) {
			return nil, fmt.Errorf("sinks.%s.pipelines: %s: no such pipeline has this connector as a receiver (there are: %v)", name, id, known)
		}
		next, err := find(id)
		if err != nil {
			return nil, fmt.Errorf("sinks.%s.pipelines: %s: %w", name, id, err)
		}
		all[name], named[id] = next, true
	}
	for _, id := range known {
		if !named[id] {
			return nil, fmt.Errorf("sinks: the pipeline %s has this connector as a receiver, but no sink names it", id)
		}
	}
	return all, nil
}

func createMetrics(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics) (connector.Metrics, error) {
	router, ok := next.(connector.MetricsRouterAndConsumer)
	if !ok {
		return nil, fmt.Errorf("expected a router of pipelines, got %T", next)
	}
	c := cfg.(*Config)
	out, err := outputs(c, "metrics", router.PipelineIDs(), router.Consumer)
	if err != nil {
		return nil, err
	}
	in, err := newInstance(set, c, &metricsCodec, sends(out, consumer.Metrics.ConsumeMetrics))
	if err != nil {
		return nil, err
	}
	return &metricsConnector{in}, nil
}

func createLogs(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs) (connector.Logs, error) {
	router, ok := next.(connector.LogsRouterAndConsumer)
	if !ok {
		return nil, fmt.Errorf("expected a router of pipelines, got %T", next)
	}
	c := cfg.(*Config)
	out, err := outputs(c, "logs", router.PipelineIDs(), router.Consumer)
	if err != nil {
		return nil, err
	}
	in, err := newInstance(set, c, &logsCodec, sends(out, consumer.Logs.ConsumeLogs))
	if err != nil {
		return nil, err
	}
	return &logsConnector{in}, nil
}

func createTraces(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Traces) (connector.Traces, error) {
	router, ok := next.(connector.TracesRouterAndConsumer)
	if !ok {
		return nil, fmt.Errorf("expected a router of pipelines, got %T", next)
	}
	c := cfg.(*Config)
	out, err := outputs(c, "traces", router.PipelineIDs(), router.Consumer)
	if err != nil {
		return nil, err
	}
	in, err := newInstance(set, c, &tracesCodec, sends(out, consumer.Traces.ConsumeTraces))
	if err != nil {
		return nil, err
	}
	return &tracesConnector{in}, nil
}

func sends[C, T any](out map[string]C, consume func(C, context.Context, T) error) map[string]func(context.Context, T) error {
	all := make(map[string]func(context.Context, T) error, len(out))
	for name, next := range out {
		all[name] = func(ctx context.Context, data T) error { return consume(next, ctx, data) }
	}
	return all
}

type metricsConnector struct{ *instance[pmetric.Metrics] }

func (c *metricsConnector) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	return c.admit(ctx, md)
}

type logsConnector struct{ *instance[plog.Logs] }

func (c *logsConnector) ConsumeLogs(ctx context.Context, ld plog.Logs) error { return c.admit(ctx, ld) }

type tracesConnector struct{ *instance[ptrace.Traces] }

func (c *tracesConnector) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	return c.admit(ctx, td)
}
