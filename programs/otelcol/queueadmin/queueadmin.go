// Package queueadmin is the extension queue_admin: it shows the durable queues of this collector over HTTP on loopback,
// and lists, replays and drops their dead letters.
package queueadmin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"lkeobs/programs/otelcol/internal/deadletters"
	"lkeobs/programs/otelcol/internal/registry"
)

const (
	maxBodyBytes = 1 << 20
	defaultLimit = 1000
	maxLimit     = 10_000
)

// Config of the extension.
type Config struct {
	// Endpoint is a loopback address with port.
	Endpoint string `mapstructure:"endpoint"`
	// TokenFile holds the bearer token that requests must have; it is made when it is absent. Empty: no token.
	TokenFile string `mapstructure:"token_file"`
}

// Validate implements xconfmap.Validator.
func (c *Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Endpoint)
	if err != nil {
		return fmt.Errorf("endpoint: %q: must be HOST:PORT: %w", c.Endpoint, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("endpoint: %q: the port must be a number up to 65535", c.Endpoint)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("endpoint: %q: the host must be a loopback address, such as 127.0.0.1", c.Endpoint)
	}
	if c.TokenFile != "" && !filepath.IsAbs(c.TokenFile) {
		return fmt.Errorf("token_file: %q: must be an absolute path", c.TokenFile)
	}
	return nil
}

// NewFactory makes the factory of queue_admin.
func NewFactory() extension.Factory {
	return extension.NewFactory(component.MustNewType("queue_admin"),
		func() component.Config { return &Config{Endpoint: "127.0.0.1:17322"} },
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return &admin{cfg: cfg.(*Config), set: set.TelemetrySettings}, nil
		}, component.StabilityLevelBeta)
}

type admin struct {
	cfg    *Config
	set    component.TelemetrySettings
	token  string
	server *http.Server
	ended  chan struct{}
	addr   string
}

var tokenForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readToken reads the token, and makes it when the file is absent.
func readToken(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		b := make([]byte, 32)
		if _, err := rand.Read(b); err != nil {
			return "", err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", err
		}
		token := hex.EncodeToString(b)
		temporary := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
		defer func() { _ = os.Remove(temporary) }()
		if err := os.WriteFile(temporary, []byte(token+"\n"), 0o600); err != nil {
			return "", err
		}
		// A link does not replace the file that another process made meanwhile.
		if err := os.Link(temporary, path); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
		raw, err = os.ReadFile(path)
		if err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(raw))
	if !tokenForm.MatchString(token) {
		return "", fmt.Errorf("%s does not hold 64 hexadecimal digits: remove it, and a new one is made", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others (mode %o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return token, nil
}

// Start implements component.Component.
func (a *admin) Start(ctx context.Context, host component.Host) error {
	if a.cfg.TokenFile != "" {
		token, err := readToken(a.cfg.TokenFile)
		if err != nil {
			return fmt.Errorf("token_file: %w", err)
		}
		a.token = token
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Endpoint)
	if err != nil {
		return fmt.Errorf("endpoint: %s: %w", a.cfg.Endpoint, err)
	}
	a.addr = listener.Addr().String()
	a.server = &http.Server{
		Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 5 * time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: zap.NewStdLog(a.set.Logger),
	}
	a.ended = make(chan struct{})
	go func() {
		defer close(a.ended)
		if err := a.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(err))
		}
	}()
	return nil
}

// Shutdown implements component.Component.
func (a *admin) Shutdown(ctx context.Context) error {
	if a.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := a.server.Shutdown(ctx); err != nil {
		_ = a.server.Close()
	}
	<-a.ended
	return nil
}

func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/state", a.state)
	mux.HandleFunc("GET /v1/dead-letters", a.list)
	mux.HandleFunc("GET /v1/dead-letters/{id}", a.one)
	mux.HandleFunc("POST /v1/dead-letters/replay", a.replay)
	mux.HandleFunc("POST /v1/dead-letters/drop", a.drop)
	want := sha256.Sum256([]byte("Bearer " + a.token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page of a browser must not reach this by a name that resolves to loopback.
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			fail(w, http.StatusForbidden, "the Host header must name a loopback address")
			return
		}
		if r.Header.Get("Origin") != "" {
			fail(w, http.StatusForbidden, "requests of web pages are refused")
			return
		}
		if a.token != "" {
			got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
			if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				fail(w, http.StatusUnauthorized, "the request needs the token of token_file: Authorization: Bearer TOKEN")
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, code int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		code, raw = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(append(raw, '\n'))
}

func fail(w http.ResponseWriter, code int, text string) {
	answer(w, code, map[string]string{"error": text})
}

func (a *admin) state(w http.ResponseWriter, _ *http.Request) {
	states := []registry.State{}
	for _, q := range registry.All() {
		states = append(states, q.State())
	}
	answer(w, http.StatusOK, map[string]any{"queues": states})
}

// letterView is a letter as the API shows it.
type letterView struct {
	ID       string          `json:"id"`
	Signal   string          `json:"signal"`
	Sink     string          `json:"sink"`
	Edge     string          `json:"edge"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`
	Time     string          `json:"time"`
	Bytes    int             `json:"bytes"`
	Workload string          `json:"workload"`
	ReplayOf string          `json:"replayOf,omitempty"`
	Item     json.RawMessage `json:"item,omitempty"`
}

func viewOf(l *deadletters.Letter) letterView {
	return letterView{
		ID: l.ID, Signal: l.Signal, Sink: l.Sink, Edge: l.Edge, Reason: l.Reason, Detail: l.Detail, Time: l.Time.UTC().Format(time.RFC3339Nano), Bytes: l.Bytes, Workload: l.Workload, ReplayOf: l.ReplayOf,
	}
}

func (a *admin) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	for key := range query {
		if !slices.Contains([]string{"signal", "sink", "edge", "reason", "limit", "after"}, key) {
			fail(w, http.StatusBadRequest, fmt.Sprintf("%q is not a parameter: signal, sink, edge, reason, limit, after", key))
			return
		}
	}
	limit := defaultLimit
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			fail(w, http.StatusBadRequest, fmt.Sprintf("limit: %q: must be between 1 and %d", text, maxLimit))
			return
		}
		limit = n
	}
	f := deadletters.Filter{Signal: query.Get("signal"), Sink: query.Get("sink"), Edge: query.Get("edge"), Reason: query.Get("reason")}
	all := []deadletters.Letter{}
	for _, q := range registry.All() {
		all = append(all, q.Letters(f)...)
	}
	total := len(all)
	if after := query.Get("after"); after != "" {
		at := slices.IndexFunc(all, func(l deadletters.Letter) bool { return l.ID == after })
		if at < 0 {
			fail(w, http.StatusGone, fmt.Sprintf("after: %q: this dead letter is not there any more: list from the beginning", after))
			return
		}
		all = all[at+1:]
	}
	var next *string
	if len(all) > limit {
		all = all[:limit]
		next = &all[limit-1].ID
	}
	views := make([]letterView, 0, len(all))
	for i := range all {
		views = append(views, viewOf(&all[i]))
	}
	answer(w, http.StatusOK, map[string]any{"deadLetters": views, "total": total, "next": next})
}

func (a *admin) one(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	for _, q := range registry.All() {
		l, item, found, err := q.Letter(id)
		if !found {
			continue
		}
		if err != nil {
			fail(w, http.StatusInternalServerError, fmt.Sprintf("dead letter %s cannot be read: %v", id, err))
			return
		}
		view := viewOf(&l)
		view.Item = item
		answer(w, http.StatusOK, view)
		return
	}
	fail(w, http.StatusNotFound, fmt.Sprintf("there is no dead letter %q", deadletters.CleanText(id)))
}

// selection is the body of replay and drop.
type selection struct {
	IDs    []string `json:"ids"`
	Signal string   `json:"signal"`
	Sink   string   `json:"sink"`
	Edge   string   `json:"edge"`
	Reason string   `json:"reason"`
}

func (a *admin) selection(w http.ResponseWriter, r *http.Request) (f deadletters.Filter, ok bool) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	decoder.DisallowUnknownFields()
	var s selection
	if err := decoder.Decode(&s); err != nil {
		code := http.StatusBadRequest
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			code = http.StatusRequestEntityTooLarge
		}
		fail(w, code, fmt.Sprintf("the body cannot be read: %v", err))
		return f, false
	}
	if s.IDs != nil && len(s.IDs) == 0 || s.IDs == nil && s.Signal == "" && s.Sink == "" && s.Edge == "" && s.Reason == "" {
		fail(w, http.StatusBadRequest, "the body must have ids, or at least one of signal, sink, edge, reason")
		return f, false
	}
	return deadletters.Filter{IDs: s.IDs, Signal: s.Signal, Sink: s.Sink, Edge: s.Edge, Reason: s.Reason}, true
}

func (a *admin) replay(w http.ResponseWriter, r *http.Request) {
	f, ok := a.selection(w, r)
	if !ok {
		return
	}
	replayed := 0
	for _, q := range registry.All() {
		n, err := q.Replay(r.Context(), f)
		replayed += n
		if err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]any{"error": err.Error(), "replayed": replayed})
			return
		}
	}
	answer(w, http.StatusOK, map[string]int{"replayed": replayed})
}

func (a *admin) drop(w http.ResponseWriter, r *http.Request) {
	f, ok := a.selection(w, r)
	if !ok {
		return
	}
	dropped := 0
	for _, q := range registry.All() {
		n, err := q.Drop(f)
		dropped += n
		if err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]any{"error": err.Error(), "dropped": dropped})
			return
		}
	}
	answer(w, http.StatusOK, map[string]int{"dropped": dropped})
}
