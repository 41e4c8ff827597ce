package durablequeue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

func logsExporter(t *testing.T, f exporter.Factory, settings map[string]any) exporter.Logs {
	t.Helper()
	cfg := f.CreateDefaultConfig()
	settings["sending_queue"] = map[string]any{"enabled": false}
	settings["retry_on_failure"] = map[string]any{"enabled": false}
	if err := confmap.NewFromStringMap(settings).Unmarshal(cfg); err != nil {
		t.Fatal(err)
	}
	e, err := f.CreateLogs(context.Background(), exporter.Settings{ID: component.NewID(f.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown(context.Background()) })
	return e
}

func httpExporter(t *testing.T, endpoint string) exporter.Logs {
	return logsExporter(t, otlphttpexporter.NewFactory(), map[string]any{"endpoint": endpoint, "timeout": "1s"})
}

func grpcExporter(t *testing.T, endpoint string) exporter.Logs {
	return logsExporter(t, otlpexporter.NewFactory(), map[string]any{"endpoint": endpoint, "timeout": "1s", "tls": map[string]any{"insecure": true}})
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestHTTPAnswers(t *testing.T) {
	type answer struct {
		code    int
		message string
		header  string
	}
	var current atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		now := current.Load().(answer)
		if now.header != "" {
			w.Header().Set("Retry-After", now.header)
		}
		if now.code == 0 {
			if h, ok := w.(http.Hijacker); ok {
				c, _, _ := h.Hijack()
				_ = c.Close()
			}
			return
		}
		if now.code == -1 {
			time.Sleep(1500 * time.Millisecond)
			return
		}
		w.WriteHeader(now.code)
		body, _ := proto.Marshal(&spb.Status{Message: now.message})
		_, _ = w.Write(body)
	}))
	defer server.Close()
	e := httpExporter(t, server.URL)
	for _, c := range []struct {
		answer answer
		kind   string
		want   class
		agent  class
		delay  time.Duration
	}{
		{answer{400, "entry too far behind", ""}, "loki", permanent, permanent, 0},
		{answer{401, "", ""}, "", connection, connection, 0},
		{answer{403, "", ""}, "", connection, connection, 0},
		{answer{404, "", ""}, "", connection, connection, 0},
		{answer{405, "", ""}, "", connection, connection, 0},
		{answer{408, "", ""}, "", retryable, connection, 0},
		{answer{413, "request body too large", ""}, "", permanent, permanent, 0},
		{answer{422, "missing streams", ""}, "loki", permanent, permanent, 0},
		{answer{429, "ingestion rate limit exceeded", ""}, "loki", retryable, connection, 0},
		{answer{429, "", "7"}, "", retryable, connection, 7 * time.Second},
		{answer{500, "", ""}, "prometheus", retryable, connection, 0},
		{answer{500, `invalid temporality and type combination for metric "a"`, ""}, "prometheus", permanent, connection, 0},
		{answer{500, `invalid temporality and type combination for metric "a"`, ""}, "loki", retryable, connection, 0},
		{answer{500, "unsupported metric type", ""}, "prometheus", permanent, connection, 0},
		{answer{500, "could not get aggregation temporality for a as it has unsupported metric type Empty", ""}, "prometheus", permanent, connection, 0},
		{answer{500, "unsupported exemplar value type: Empty", ""}, "prometheus", permanent, connection, 0},
		{answer{500, "cannot convert exponential to native histogram. Scale must be >= -4, was -5", ""}, "prometheus", permanent, connection, 0},
		{answer{500, `normalization for metric "\u6ce8" resulted in empty name`, ""}, "prometheus", permanent, connection, 0},
		{answer{500, `normalization for label name "a" resulted in invalid name "b"`, ""}, "prometheus", permanent, connection, 0},
		{answer{500, "label name is empty", ""}, "prometheus", permanent, connection, 0},
		{answer{500, `label name "__" contains only underscores`, ""}, "prometheus", permanent, connection, 0},
		{answer{500, "8 observations found in buckets, but the Count field is 7: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)", ""}, "prometheus", permanent, connection, 0},
		{answer{500, "positive side: span number 1 ends at bucket index 9: histogram has a span whose bucket index is out of range", ""}, "prometheus", permanent, connection, 0},
		{answer{500, `label name "a" is not unique: invalid sample`, ""}, "prometheus", permanent, connection, 0},
		{answer{500, "write to WAL: log samples: write /prometheus/wal/00000001: no space left on device", ""}, "prometheus", retryable, connection, 0},
		{answer{500, "unsupported metric type\nwrite to WAL: write /prometheus/wal/00000001: input/output error", ""}, "prometheus", retryable, connection, 0},
		{answer{500, "label name is empty\ncontext canceled", ""}, "prometheus", retryable, connection, 0},
		{answer{500, "native histograms are disabled", ""}, "prometheus", retryable, connection, 0},
		{answer{500, "out of memory", ""}, "prometheus", retryable, connection, 0},
		{answer{502, "", ""}, "", retryable, connection, 0},
		{answer{503, "at least 2 live replicas required", ""}, "loki", retryable, connection, 0},
		{answer{503, "no schema config found for time 1970", ""}, "loki", permanent, connection, 0},
		{answer{503, "no schema config found for time 1970", ""}, "prometheus", retryable, connection, 0},
		{answer{503, "", "3"}, "", retryable, connection, 3 * time.Second},
		{answer{504, "", ""}, "", retryable, connection, 0},
		{answer{0, "", ""}, "", retryable, connection, 0},  // broken off
		{answer{-1, "", ""}, "", retryable, connection, 0}, // no answer in time
	} {
		current.Store(c.answer)
		err := e.ConsumeLogs(context.Background(), request("edge-1", "x"))
		if err == nil {
			t.Fatal(c.answer, "no error")
		}
		v, agent := classify(err, c.kind, false), classify(err, c.kind, true)
		if v.class != c.want || agent.class != c.agent || v.delay != c.delay {
			t.Errorf("%+v (%s): %v, agent %v, delay %v: %v", c.answer, c.kind, v.class, agent.class, v.delay, err)
		}
		if c.answer.code > 0 && v.bare != (c.answer.message == "") {
			t.Errorf("%+v: bare %v: %v", c.answer, v.bare, err)
		}
	}
	for name, endpoint := range map[string]string{"refused": "http://" + freePort(t), "no such host": "http://no-such-host.invalid:1", "https to http": "https" + server.URL[4:]} {
		err := httpExporter(t, endpoint).ConsumeLogs(context.Background(), request("edge-1", "x"))
		if v := classify(err, "loki", false); v.class != connection {
			t.Errorf("%s: %v: %v", name, v.class, err)
		}
	}
	tlsServer := httptest.NewTLSServer(http.NotFoundHandler())
	defer tlsServer.Close()
	err := httpExporter(t, tlsServer.URL).ConsumeLogs(context.Background(), request("edge-1", "x"))
	if v := classify(err, "", false); v.class != connection {
		t.Errorf("unknown certificate: %v: %v", v.class, err)
	}
}

type grpcStore struct {
	plogotlp.UnimplementedGRPCServer
	mu      sync.Mutex
	err     error
	partial int64
}

func (g *grpcStore) Export(context.Context, plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	response := plogotlp.NewExportResponse()
	if g.partial > 0 {
		response.PartialSuccess().SetRejectedLogRecords(g.partial)
		response.PartialSuccess().SetErrorMessage("too old")
	}
	return response, g.err
}

func (g *grpcStore) set(err error, partial int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err, g.partial = err, partial
}

func TestGRPCAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	store := &grpcStore{}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(20_000))
	plogotlp.RegisterGRPCServer(server, store)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	e := grpcExporter(t, l.Addr().String())
	for _, c := range []struct {
		code  codes.Code
		text  string
		delay time.Duration
		kind  string
		want  class
		agent class
	}{
		{codes.Canceled, "", 0, "", retryable, connection},
		{codes.Unknown, "something", 0, "", retryable, connection},
		{codes.InvalidArgument, "trace ids must be 128 bit", 0, "tempo", permanent, permanent},
		{codes.DeadlineExceeded, "", 0, "", retryable, connection},
		{codes.NotFound, "", 0, "", permanent, connection},
		{codes.PermissionDenied, "", 0, "", connection, connection},
		{codes.ResourceExhausted, "RATE_LIMITED: ingestion rate limit exceeded", 0, "tempo", retryable, connection},
		{codes.ResourceExhausted, "RATE_LIMITED: batch size (9 bytes) exceeds ingestion limit", 0, "tempo", permanent, connection},
		{codes.ResourceExhausted, "more than its share", 4 * time.Second, "", retryable, connection},
		{codes.FailedPrecondition, "", 0, "", permanent, connection},
		{codes.Aborted, "", 0, "", retryable, connection},
		{codes.OutOfRange, "", 0, "", retryable, connection},
		{codes.Unimplemented, "", 0, "", connection, connection},
		{codes.Internal, "grpc: error unmarshalling request", 0, "", permanent, permanent},
		{codes.Internal, "oops", 0, "", retryable, connection},
		{codes.Unavailable, "the queue is full", 0, "", retryable, connection},
		{codes.DataLoss, "", 0, "", retryable, connection},
		{codes.Unauthenticated, "", 0, "", connection, connection},
	} {
		st := status.New(c.code, c.text)
		if c.delay > 0 {
			st, _ = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(c.delay)})
		}
		store.set(st.Err(), 0)
		err := e.ConsumeLogs(context.Background(), request("edge-1", "x"))
		v, agent := classify(err, c.kind, false), classify(err, c.kind, true)
		if v.class != c.want || agent.class != c.agent || v.delay != c.delay {
			t.Errorf("%v %q: %v, agent %v, delay %v: %v", c.code, c.text, v.class, agent.class, v.delay, err)
		}
	}
	store.set(nil, 0)
	err = e.ConsumeLogs(context.Background(), request("edge-1", numbered(fmt.Sprintf("%01000d", 1), 100)...))
	if err != nil { // compressed by default, so that it may fit
		if v := classify(err, "", true); v.class != permanent {
			t.Errorf("too large: %v: %v", v.class, err)
		}
	}
	// What this project cannot see: a partial success is no error.
	store.set(nil, 1)
	if err := e.ConsumeLogs(context.Background(), request("edge-1", "x")); err != nil {
		t.Error(err)
	}
	err = grpcExporter(t, freePort(t)).ConsumeLogs(context.Background(), request("edge-1", "x"))
	if v := classify(err, "", false); v.class != connection {
		t.Errorf("refused: %v: %v", v.class, err)
	}
}

func TestOtherErrors(t *testing.T) {
	for text, want := range map[string]class{
		`Permanent error: HTTP "/services/collector" 400 "Bad Request"`:              permanent,
		`Permanent error: HTTP "/services/collector" 403 "Forbidden"`:                connection,
		`Throttle (5s), error: HTTP "/services/collector" 503 "Service Unavailable"`: retryable,
		`HTTP "/services/collector" 500 "Internal Server Error"`:                     retryable,
		`Post "https://splunk": dial tcp: lookup splunk: no such host`:               connection,
		`unexpected EOF`: retryable,
	} {
		if v := classify(errors.New(text), "", false); v.class != want {
			t.Errorf("%s: %v", text, v.class)
		}
	}
	if v := classify(errors.New(`Throttle (5s), error: HTTP "/x" 503 "Service Unavailable"`), "", false); v.delay != 5*time.Second || !v.bare {
		t.Error(v)
	}
	if v := classify(fmt.Errorf("x: %w", context.DeadlineExceeded), "", false); v.class != retryable {
		t.Error(v.class)
	}
}

func TestNormalize(t *testing.T) {
	a := normalize(`Throttle (5s), error: entry for stream '{app="a"}' has timestamp 2026-01-01T00:00:00Z, id 4bf92f3577b34da6a3ce929d0e0e4736`)
	b := normalize(`entry for stream '{app="bc"}' has timestamp 2025-12-31T01:20:00Z, id 00f067aa0ba902b7`)
	if a != b {
		t.Fatalf("%s\n%s", a, b)
	}
	if normalize("rate limit") == normalize("schema config") {
		t.Fatal("different causes are equal")
	}
}
