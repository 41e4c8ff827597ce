package storeanswers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensionmiddleware"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

func newExtension(t *testing.T) extension.Extension {
	t.Helper()
	f := NewFactory()
	made, err := f.Create(context.Background(), extension.Settings{ID: component.NewID(Type), TelemetrySettings: componenttest.NewNopTelemetrySettings()}, f.CreateDefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Shutdown(context.Background()) })
	return made
}

// export sends a log record by the real otlp_http exporter, and returns its error.
func export(t *testing.T, useMiddleware bool, store http.Handler) error {
	t.Helper()
	server := httptest.NewServer(store)
	t.Cleanup(server.Close)
	settings := map[string]any{
		"endpoint":         server.URL,
		"sending_queue":    map[string]any{"enabled": false},
		"retry_on_failure": map[string]any{"enabled": false},
	}
	if useMiddleware {
		settings["middlewares"] = []any{map[string]any{"id": "store_answers"}} // as gateway.ts renders it
	}
	f := otlphttpexporter.NewFactory()
	config := f.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(settings).Unmarshal(config); err != nil {
		t.Fatal(err)
	}
	e, err := f.CreateLogs(context.Background(), exporter.Settings{ID: component.NewID(f.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(context.Background(), host{component.NewID(Type): newExtension(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown(context.Background()) })
	logs := plog.NewLogs()
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("line")
	return e.ConsumeLogs(context.Background(), logs)
}

func statusBytes(message string) []byte {
	b, err := proto.Marshal(&status.Status{Message: message})
	if err != nil {
		panic(err)
	}
	return b
}

func TestExporterSaysTheText(t *testing.T) {
	answers := map[string]struct {
		code        int
		contentType string
		body        string
		want        string
	}{
		"text":                {400, "text/plain; charset=utf-8", "invalid temporality and type combination\n", "Status Code 400, Message=invalid temporality and type combination, Details=[]"},
		"5xx":                 {500, "text/plain", "unsupported metric type", "Status Code 500, Message=unsupported metric type, Details=[]"},
		"JSON":                {422, "application/json", `{"error":"no"}`, `Status Code 422, Message={"error":"no"}, Details=[]`},
		"protobuf":            {400, "application/x-protobuf", string(statusBytes("of the store")), "Status Code 400, Message=of the store, Details=[]"},
		"Loki's octet stream": {503, "application/octet-stream", string(statusBytes("no schema config found for time")), "Status Code 503, Message=no schema config found for time, Details=[]"},
		"empty":               {502, "text/plain", "", "Status Code 502, Message=, Details=[]"},
		"not UTF-8":           {400, "text/plain", "a\xffb", "Message=a\uFFFDb, Details=[]"},
		"no type":             {400, "", "plain", "Message=plain, Details=[]"},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			err := export(t, true, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil // no guess
				if answer.contentType != "" {
					w.Header().Set("Content-Type", answer.contentType)
				}
				w.WriteHeader(answer.code)
				_, _ = io.WriteString(w, answer.body)
			}))
			if err == nil || !strings.HasSuffix(err.Error(), answer.want) {
				t.Errorf("got %v, want …%s", err, answer.want)
			}
		})
	}
}

func TestStockExporterDropsTheText(t *testing.T) {
	err := export(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "out of bounds", http.StatusBadRequest)
	}))
	if err == nil || strings.Contains(err.Error(), "out of bounds") {
		t.Errorf("the middleware is no longer needed: %v", err)
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	err := export(t, true, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	}))
	if err == nil || !strings.Contains(err.Error(), "Throttle (7s)") || !strings.Contains(err.Error(), "Message=slow down") {
		t.Error(err)
	}
}

func TestEncodedBodyIsLeftAlone(t *testing.T) {
	// gzip, which net/http asked for, it has undone
	err := export(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "zstd")
		http.Error(w, "packed", http.StatusBadRequest)
	}))
	if err == nil || strings.Contains(err.Error(), "packed") {
		t.Errorf("an encoded body was taken for a text: %v", err)
	}
}

func TestSuccessIsLeftAlone(t *testing.T) {
	if err := export(t, true, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "fine")
	})); err != nil {
		t.Error(err)
	}
}

// body counts what is read of it.
type body struct {
	io.Reader
	read   int
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

func (b *body) Close() error {
	b.closed = true
	return nil
}

type next func(*http.Request) (*http.Response, error)

func (n next) RoundTrip(r *http.Request) (*http.Response, error) { return n(r) }

func roundTrip(t *testing.T, response *http.Response, failure error) (*http.Response, error) {
	t.Helper()
	wrap, err := newExtension(t).(extensionmiddleware.HTTPClient).GetHTTPRoundTripper(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	tripper, err := wrap(context.Background(), next(func(*http.Request) (*http.Response, error) { return response, failure }))
	if err != nil {
		t.Fatal(err)
	}
	return tripper.RoundTrip(httptest.NewRequest(http.MethodPost, "/", http.NoBody))
}

func answerOf(code int, b io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"text/plain"}, "X-Other": {"kept"}}, Body: b, ContentLength: -1}
}

func messageOf(t *testing.T, response *http.Response) string {
	t.Helper()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(all)) != response.ContentLength {
		t.Errorf("%d bytes, Content-Length %d", len(all), response.ContentLength)
	}
	var s status.Status
	if err := proto.Unmarshal(all, &s); err != nil {
		t.Fatal(err)
	}
	return s.Message
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	text := "x" + strings.Repeat("é", 10_000)
	b := &body{Reader: strings.NewReader(text)}
	response, err := roundTrip(t, answerOf(400, b), nil)
	if err != nil {
		t.Fatal(err)
	}
	message := messageOf(t, response)
	if len(message) != maxTextBytes-1 || !utf8.ValidString(message) || !strings.HasPrefix(text, message) {
		t.Errorf("%d bytes", len(message))
	}
	if b.read != len(text) || !b.closed {
		t.Errorf("read %d of %d, closed %v", b.read, len(text), b.closed)
	}
	if response.StatusCode != 400 || response.Header.Get("X-Other") != "kept" || response.Header.Get("Content-Type") != protobufType {
		t.Errorf("%d %v", response.StatusCode, response.Header)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }

func TestEndlessTextIsNotDrainedForEver(t *testing.T) {
	b := &body{Reader: endless{}}
	if _, err := roundTrip(t, answerOf(500, b), nil); err != nil {
		t.Fatal(err)
	}
	if b.read > maxReadBytes+maxDrainBytes+32<<10 || !b.closed {
		t.Errorf("read %d, closed %v", b.read, b.closed)
	}
}

func TestTextThatBreaksOffIsKept(t *testing.T) {
	b := &body{Reader: io.MultiReader(strings.NewReader("half of"), &failing{})}
	response, err := roundTrip(t, answerOf(500, b), nil)
	if err != nil || messageOf(t, response) != "half of" || !b.closed {
		t.Errorf("%v, closed %v", err, b.closed)
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestNoAnswerIsPassedOn(t *testing.T) {
	failure := errors.New("connection refused")
	if _, err := roundTrip(t, nil, failure); !errors.Is(err, failure) {
		t.Error(err)
	}
}

func TestRedirectKeepsItsPlace(t *testing.T) {
	response := answerOf(307, &body{Reader: strings.NewReader("moved")})
	response.Header.Set("Location", "/other")
	got, err := roundTrip(t, response, nil)
	if err != nil || got.StatusCode != 307 || got.Header.Get("Location") != "/other" {
		t.Errorf("%v %v", got, err)
	}
}
