package durablequeue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"

	"lkeobs/programs/otelcol/internal/deadletters"
)

func series(t *testing.T, r sdk.Reader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	add := func(name string, set attribute.Set, v float64) {
		var labels []string
		for _, kv := range set.ToSlice() {
			labels = append(labels, fmt.Sprintf("%s=%s", kv.Key, kv.Value.AsString()))
		}
		slices.Sort(labels)
		got[name+"{"+strings.Join(labels, ",")+"}"] = v
	}
	for _, sm := range all.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			}
		}
	}
	return got
}

func TestCounters(t *testing.T) {
	reader := sdk.NewManualReader()
	c := testConfig(t.TempDir())
	c.Sinks["down"] = SinkConfig{Pipelines: []string{"logs/down"}, Exporter: "otlp_grpc/down"}
	s := newStore(has(permanentError("bad"), "n1"))
	in := prepareInstance(t, c, map[string]*store{"loki": s, "down": newStore(always(errRefused))}, zap.NewNop())
	in.set.MeterProvider = sdk.NewMeterProvider(sdk.WithReader(reader))
	if err := in.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Shutdown(context.Background()) }()
	put(t, in, "edge-1", numbered("n", 10)...)
	eventually(t, "stored", func() bool { return edgeState(in, "loki", "edge-1").WaitingItems == 0 && s.count() == 9 })
	eventually(t, "failed", func() bool { return edgeState(in, "down", "edge-1").HeadFailingSeconds > 0 })
	s.set(nil)
	if n, err := in.Replay(context.Background(), deadletters.Filter{Sink: "loki"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "replayed", func() bool { return s.count() == 10 })
	eventually(t, "marked", func() bool { return edgeState(in, "loki", "edge-1").WaitingItems == 0 })
	got := series(t, reader)
	for name, want := range map[string]float64{
		"lkeobs_queue_accepted_items{edge=edge-1,signal=logs}":                           10,
		"lkeobs_queue_stored_items{edge=edge-1,signal=logs,sink=loki}":                   10,
		"lkeobs_queue_taken_out_items{edge=edge-1,reason=refused,signal=logs,sink=loki}": 1,
		"lkeobs_queue_replayed_items{edge=edge-1,signal=logs,sink=loki}":                 1,
		"lkeobs_queue_waiting_items{edge=edge-1,signal=logs,sink=down}":                  10,
		"lkeobs_queue_waiting_items{edge=edge-1,signal=logs,sink=loki}":                  0,
		"lkeobs_queue_oldest_seconds{edge=edge-1,signal=logs,sink=loki}":                 0,
		"lkeobs_queue_head_failing_seconds{edge=edge-1,signal=logs,sink=loki}":           0,
		"lkeobs_queue_capacity_bytes{signal=logs}":                                       defaultMaxBytes,
		"lkeobs_queue_dead_letters{signal=logs,sink=loki}":                               0,
		"otelcol_exporter_queue_size{data_type=logs,exporter=otlp_http/loki}":            0,
		"otelcol_exporter_queue_size{data_type=logs,exporter=otlp_grpc/down}":            10,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	for _, name := range []string{"lkeobs_queue_waiting_bytes{edge=edge-1,signal=logs,sink=down}", "lkeobs_queue_head_failing_seconds{edge=edge-1,signal=logs,sink=down}", "lkeobs_queue_disk_bytes{signal=logs}"} {
		if got[name] <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
}
