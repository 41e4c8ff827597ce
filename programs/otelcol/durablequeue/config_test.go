package durablequeue

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pipeline"

	"lkeobs/programs/otelcol/internal/pieces"
)

func load(t *testing.T, settings map[string]any) (*Config, error) {
	t.Helper()
	c := createDefaultConfig().(*Config)
	if err := confmap.NewFromStringMap(settings).Unmarshal(c); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

func valid() map[string]any {
	return map[string]any{
		"directory": "/var/lib/queue", "partition_by": "lkeobs.edge", "partition": "hub",
		"max_bytes":    map[string]any{"metrics": 1 << 30, "logs": 2 << 30, "traces": 3 << 30},
		"batch":        map[string]any{"max_items": 100, "max_bytes": 1000, "flush_after": "1s"},
		"retry":        map[string]any{"initial": "1s", "max": "15s", "stuck_after": "2m"},
		"dead_letters": map[string]any{"max_bytes": 1000},
		"shares": map[string]any{
			"default": map[string]any{"items_per_second": 10, "bytes_per_second": 100, "series": 5, "streams": 6},
			"edges":   map[string]any{"edge-1": map[string]any{"series": 7}},
		},
		"sinks": map[string]any{
			"loki":   map[string]any{"pipelines": []any{"logs/loki"}, "exporter": "otlp_http/loki", "rules": "loki", "consumers": 4},
			"splunk": map[string]any{"pipelines": []any{"metrics/splunk", "logs/splunk"}, "on_full": "drop", "max_bytes": 5 << 20, "max_age": "24h", "closing": true},
			"hub":    map[string]any{"pipelines": []any{"traces"}, "refusals": "retry", "in_flight": 4},
		},
		"rule_settings": map[string]any{"max_age": map[string]any{"metrics": "26h", "logs": "168h"}, "max_ahead": "10m", "loki": map[string]any{"max_age": "1h"}},
	}
}

func TestConfig(t *testing.T) {
	if err := componenttest.CheckConfigStruct(createDefaultConfig()); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, valid())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.maxBytes("logs"); n != 2<<30 || err != nil {
		t.Fatal(n, err)
	}
	s, err := c.ruleSettings("prometheus", pieces.Metrics)
	if err != nil || s.MaxAge != 26*time.Hour || s.MaxAhead != 10*time.Minute || s.Series.Default != 5 || s.Series.Partitions["edge-1"] != 7 || s.Streams.Default != 6 {
		t.Fatal(s, err)
	}
	if s, err = c.ruleSettings("loki", pieces.Logs); err != nil || s.MaxAge != time.Hour {
		t.Fatal(s, err)
	}
}

func TestConfigErrorsNameKeyAndValue(t *testing.T) {
	sink := func(key string, value any) func(map[string]any) {
		return func(m map[string]any) { m["sinks"].(map[string]any)["loki"].(map[string]any)[key] = value }
	}
	top := func(key string, value any) func(map[string]any) { return func(m map[string]any) { m[key] = value } }
	for want, change := range map[string]func(map[string]any){
		`directory: "queue"`:                     top("directory", "queue"),
		`max_bytes: 5`:                           top("max_bytes", 5),
		`max_bytes: lots`:                        top("max_bytes", "lots"),
		`"profiles" is not a signal`:             top("max_bytes", map[string]any{"profiles": 1 << 30}),
		`max_partition_bytes: -1`:                top("max_partition_bytes", -1),
		`max_item_bytes: -3`:                     top("max_item_bytes", -3),
		`batch.max_items: -4`:                    top("batch", map[string]any{"max_items": -4}),
		`batch.max_bytes: -5`:                    top("batch", map[string]any{"max_bytes": -5}),
		`retry.max: 1ms`:                         top("retry", map[string]any{"max": "1ms"}),
		`dead_letters.max_bytes: -6`:             top("dead_letters", map[string]any{"max_bytes": -6}),
		`sinks: {}`:                              top("sinks", map[string]any{}),
		`sinks.loki.pipelines: []`:               sink("pipelines", []any{}),
		`sinks.loki.pipelines: profiles/x`:       sink("pipelines", []any{"profiles/x"}),
		`sinks.loki.pipelines: logs/b: a sink`:   sink("pipelines", []any{"logs/a", "logs/b"}),
		`is a pipeline of the sink loki already`: sink("pipelines", []any{"logs/splunk"}),
		`sinks.loki.rules: mimir`:                sink("rules", "mimir"),
		`sinks.loki.refusals: drop`:              sink("refusals", "drop"),
		`sinks.loki.on_full: block`:              sink("on_full", "block"),
		`sinks.loki.max_bytes: 7`:                sink("max_bytes", 7),
		`sinks.loki.max_age: -1s`:                sink("max_age", "-1s"),
		`sinks.loki.consumers: 100`:              sink("consumers", 100),
		`sinks.loki.in_flight: -1`:               sink("in_flight", -1),
		`rule_settings`:                          top("rule_settings", map[string]any{"max_agee": "1h"}),
		`unknown`:                                top("rule_settings", map[string]any{"loki": map[string]any{"unknown": 1}}),
		`commit_interval: -1s`:                   top("commit_interval", "-1s"),
		`batch.flush_after: -1s`:                 top("batch", map[string]any{"flush_after": "-1s"}),
		`has invalid keys: dirctory`:             top("dirctory", "/x"),
	} {
		settings := valid()
		change(settings)
		if _, err := load(t, settings); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestFactory(t *testing.T) {
	c, err := load(t, valid())
	if err != nil {
		t.Fatal(err)
	}
	c.Directory = t.TempDir()
	f := NewFactory()
	set := connector.Settings{ID: component.MustNewIDWithName("durable_queue", "stores"), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	id := func(signal, name string) pipeline.ID {
		one, err := pipelineID(signal + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
	traces := new(consumertest.TracesSink)
	next := connector.NewTracesRouter(map[pipeline.ID]consumer.Traces{pipeline.NewID(pipeline.SignalTraces): traces})
	ts, err := f.CreateTracesToTraces(context.Background(), set, c, next)
	if err != nil {
		t.Fatal(err)
	}
	metrics := new(consumertest.MetricsSink)
	ms, err := f.CreateMetricsToMetrics(context.Background(), set, c, connector.NewMetricsRouter(map[pipeline.ID]consumer.Metrics{id("metrics", "splunk"): metrics}))
	if err != nil {
		t.Fatal(err)
	}
	c.Sinks["splunk"] = SinkConfig{Pipelines: []string{"metrics/splunk", "logs/splunk"}}
	for _, one := range []component.Component{ts, ms} {
		if err := one.Start(context.Background(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = one.Shutdown(context.Background()) }()
	}
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("x")
	if err := ts.ConsumeTraces(context.Background(), td); err != nil {
		t.Fatal(err)
	}
	md := pmetric.NewMetrics()
	md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(1)
	if err := ms.ConsumeMetrics(context.Background(), md); err == nil {
		t.Fatal("a closing sink alone takes nothing new")
	}
	eventually(t, "traces", func() bool { return traces.SpanCount() == 1 })

	_, err = f.CreateLogsToLogs(context.Background(), set, c, connector.NewLogsRouter(map[pipeline.ID]consumer.Logs{id("logs", "loki"): consumertest.NewNop()}))
	if err == nil || !strings.Contains(err.Error(), "sinks.splunk.pipelines: logs/splunk") {
		t.Fatal(err)
	}
	_, err = f.CreateLogsToLogs(context.Background(), set, c, connector.NewLogsRouter(map[pipeline.ID]consumer.Logs{
		id("logs", "loki"): consumertest.NewNop(), id("logs", "splunk"): consumertest.NewNop(), id("logs", "more"): consumertest.NewNop(),
	}))
	if err == nil || !strings.Contains(err.Error(), "logs/more") {
		t.Fatal(err)
	}
}
