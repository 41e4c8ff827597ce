package queueadmin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension"

	"lkeobs/programs/otelcol/internal/deadletters"
	"lkeobs/programs/otelcol/internal/registry"
)

func TestValidate(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"127.0.0.1:17322": true, "[::1]:17322": true, "localhost:17322": true, "127.9.9.9:1": true,
		"0.0.0.0:17322": false, ":17322": false, "10.0.0.1:17322": false, "[::]:1": false, "example.org:1": false, "127.0.0.1": false, "127.0.0.1:x": false, "127.0.0.1:70000": false, "": false,
	} {
		err := (&Config{Endpoint: endpoint}).Validate()
		if (err == nil) != ok {
			t.Errorf("%q: %v", endpoint, err)
		}
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("endpoint: %q", endpoint)) {
			t.Errorf("%q: the error does not name key and value: %v", endpoint, err)
		}
	}
	if err := (&Config{Endpoint: "127.0.0.1:1", TokenFile: "token"}).Validate(); err == nil {
		t.Error("a relative path")
	}
	if err := componenttest.CheckConfigStruct(NewFactory().CreateDefaultConfig()); err != nil {
		t.Error(err)
	}
}

type fakeQueue struct {
	letters  []deadletters.Letter
	replayed deadletters.Filter
	fail     error
}

func (q *fakeQueue) State() registry.State {
	return registry.State{Component: "durable_queue/stores", Signal: "logs", Sinks: []registry.Sink{{Name: "loki", Edges: []registry.Edge{{Edge: "edge-1"}}}}}
}

func (q *fakeQueue) Letters(f deadletters.Filter) (all []deadletters.Letter) {
	for _, l := range q.letters {
		if f.Edge == "" || f.Edge == l.Edge {
			all = append(all, l)
		}
	}
	return all
}

func (q *fakeQueue) Letter(id string) (deadletters.Letter, json.RawMessage, bool, error) {
	for _, l := range q.letters {
		if l.ID == id {
			return l, json.RawMessage(`{"resourceLogs":[]}`), true, nil
		}
	}
	return deadletters.Letter{}, nil, false, nil
}

func (q *fakeQueue) Replay(_ context.Context, f deadletters.Filter) (int, error) {
	q.replayed = f
	return len(q.Letters(f)), q.fail
}

func (q *fakeQueue) Drop(f deadletters.Filter) (int, error) { return len(q.Letters(f)), nil }

func serve(t *testing.T, c *Config) *admin {
	t.Helper()
	c.Endpoint = "127.0.0.1:0"
	e, err := NewFactory().Create(context.Background(), extension.Settings{ID: component.MustNewID("queue_admin"), TelemetrySettings: componenttest.NewNopTelemetrySettings()}, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown(context.Background()) })
	return e.(*admin)
}

func ask(t *testing.T, a *admin, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+a.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, _ := io.ReadAll(response.Body)
	return response.StatusCode, strings.TrimSpace(string(raw))
}

func TestAPI(t *testing.T) {
	q := &fakeQueue{}
	for i := range 5 {
		q.letters = append(q.letters, deadletters.Letter{ID: fmt.Sprint("id", i), Signal: "logs", Sink: "loki", Edge: fmt.Sprint("edge-", i%2), Reason: "refused", Detail: "bad", Time: time.Unix(int64(i), 0), Workload: "shop", Bytes: 9})
	}
	q.letters[4].ReplayOf = "id-before"
	defer registry.Register("durable_queue/stores", "logs", q)()
	a := serve(t, &Config{})
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/state", "", 200, `{"queues":[{"component":"durable_queue/stores","signal":"logs"`},
		{"GET", "/v1/dead-letters?limit=2", "", 200, `"next":"id1","total":5`},
		{"GET", "/v1/dead-letters?limit=2&after=id1", "", 200, `"next":"id3","total":5`},
		{"GET", "/v1/dead-letters?limit=2&after=id3", "", 200, `"next":null,"total":5`},
		{"GET", "/v1/dead-letters?edge=edge-1", "", 200, `{"deadLetters":[{"id":"id1","signal":"logs","sink":"loki","edge":"edge-1","reason":"refused","detail":"bad","time":"1970-01-01T00:00:01Z","bytes":9,"workload":"shop"},`},
		{"GET", "/v1/dead-letters?edge=none", "", 200, `{"deadLetters":[],"next":null,"total":0}`},
		{"GET", "/v1/dead-letters?limit=0", "", 400, `limit`},
		{"GET", "/v1/dead-letters?egde=x", "", 400, `egde`},
		{"GET", "/v1/dead-letters?after=gone", "", 410, `gone`},
		{"GET", "/v1/dead-letters?after=id3", "", 200, `"workload":"shop","replayOf":"id-before"}`},
		{"GET", "/v1/dead-letters/id2", "", 200, `"item":{"resourceLogs":[]}`},
		{"GET", "/v1/dead-letters/none", "", 404, `none`},
		{"POST", "/v1/dead-letters/replay", `{"ids":["id1"]}`, 200, `{"replayed":5}`},
		{"POST", "/v1/dead-letters/replay", `{"edge":"edge-1"}`, 200, `{"replayed":2}`},
		{"POST", "/v1/dead-letters/drop", `{"edge":"edge-0"}`, 200, `{"dropped":3}`},
		{"POST", "/v1/dead-letters/drop", `{}`, 400, `at least one`},
		{"POST", "/v1/dead-letters/drop", `{"ids":[]}`, 400, `at least one`},
		{"POST", "/v1/dead-letters/drop", `{"all":true}`, 400, `all`},
		{"POST", "/v1/dead-letters/drop", `nonsense`, 400, `cannot be read`},
		{"POST", "/v1/dead-letters/drop", `{"ids":["` + strings.Repeat("x", maxBodyBytes) + `"]}`, 413, `too large`},
		{"DELETE", "/v1/dead-letters", ``, 405, ``},
		{"GET", "/", ``, 404, ``},
	} {
		code, body := ask(t, a, c.method, c.path, c.body)
		if code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %.80s: %d %.300s", c.method, c.path, c.body, code, body)
		}
	}
	q.fail = errors.New("the queue is full")
	if code, body := ask(t, a, "POST", "/v1/dead-letters/replay", `{"sink":"loki"}`); code != 503 || !strings.Contains(body, "the queue is full") {
		t.Error(code, body)
	}
	if code, _ := ask(t, a, "GET", "/v1/state", "", "Host", "evil.example"); code != 403 {
		t.Error("another Host", code)
	}
	if code, _ := ask(t, a, "POST", "/v1/dead-letters/drop", `{"sink":"loki"}`, "Origin", "http://evil.example"); code != 403 {
		t.Error("a web page", code)
	}
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "admin-token")
	a := serve(t, &Config{TokenFile: file})
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(err, info)
	}
	raw, err := os.ReadFile(file)
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{64}\n$`).Match(raw) {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(raw))
	if code, _ := ask(t, a, "GET", "/v1/state", ""); code != 401 {
		t.Fatal(code)
	}
	if code, _ := ask(t, a, "GET", "/v1/state", "", "Authorization", "Bearer "+token[1:]); code != 401 {
		t.Fatal(code)
	}
	if code, _ := ask(t, a, "GET", "/v1/state", "", "Authorization", "Bearer "+token); code != 200 {
		t.Fatal(code)
	}
	if again, err := readToken(file); err != nil || again != token {
		t.Fatal("the token changed", err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readToken(file); err == nil || strings.Contains(err.Error(), token) {
		t.Fatal("a token that others can read", err)
	}
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readToken(file); err == nil {
		t.Fatal("a short token")
	}
}
