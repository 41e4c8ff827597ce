package durablequeue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"lkeobs/programs/otelcol/internal/deadletters"
	"lkeobs/programs/otelcol/internal/registry"
	"lkeobs/programs/otelcol/internal/shares"
)

var (
	errRefused = errors.New("dial tcp 127.0.0.1:3100: connect: connection refused")
	errDown    = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	err503     = status.Error(codes.Unavailable, "error exporting items, request to http://loki responded with HTTP Status Code 503, Message=at least 2 live replicas required, Details=[]")
)

// store is a scripted sink: it takes a batch unless the script has an error for it.
type store struct {
	mu     sync.Mutex
	script func(bodies []string) error
	got    map[string]int
	calls  int
	hang   chan struct{}
}

func newStore(script func([]string) error) *store {
	return &store{script: script, got: map[string]int{}}
}

func (s *store) consume(ctx context.Context, ld plog.Logs) error {
	var bodies []string
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				bodies = append(bodies, lr.Body().Str())
				lr.Body().SetStr("changed by the exporter") // a retry must not see this
			}
		}
	}
	s.mu.Lock()
	s.calls++
	script, hang := s.script, s.hang
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if script != nil {
		if err := script(bodies); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range bodies {
		s.got[b]++
	}
	return nil
}

func (s *store) set(script func([]string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

func (s *store) items() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.got)
}

func (s *store) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *store) count() int { return len(s.items()) }

// has is an error for every batch that has one of the items.
func has(err error, bad ...string) func([]string) error {
	return func(bodies []string) error {
		for _, b := range bad {
			if slices.Contains(bodies, b) {
				return err
			}
		}
		return nil
	}
}

func always(err error) func([]string) error { return func([]string) error { return err } }

func permanentError(text string) error { return consumererror.NewPermanent(errors.New(text)) }

func testConfig(dir string) *Config {
	c := createDefaultConfig().(*Config)
	c.Directory = dir
	c.PartitionBy = "lkeobs.edge"
	c.CommitInterval = time.Millisecond
	c.Batch.FlushAfter = 5 * time.Millisecond
	c.Retry = RetryConfig{Initial: 5 * time.Millisecond, Max: 40 * time.Millisecond, StuckAfter: 200 * time.Millisecond}
	c.Sinks = map[string]SinkConfig{"loki": {Pipelines: []string{"logs/loki"}, Exporter: "otlp_http/loki", Consumers: 4}}
	return c
}

func start(t *testing.T, c *Config, stores map[string]*store) *instance[plog.Logs] {
	t.Helper()
	in := prepareInstance(t, c, stores, zap.NewNop())
	if err := in.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Shutdown(context.Background()) })
	return in
}

func prepareInstance(t *testing.T, c *Config, stores map[string]*store, log *zap.Logger) *instance[plog.Logs] {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	set := connector.Settings{ID: component.MustNewIDWithName("durable_queue", t.Name()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	set.Logger = log
	send := map[string]func(context.Context, plog.Logs) error{}
	for name, s := range stores {
		send[name] = s.consume
	}
	in, err := newInstance(set, c, &logsCodec, send)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func request(edge string, bodies ...string) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("lkeobs.edge", edge)
	rl.Resource().Attributes().PutStr("service.name", "shop")
	sl := rl.ScopeLogs().AppendEmpty()
	for _, b := range bodies {
		sl.LogRecords().AppendEmpty().Body().SetStr(b)
	}
	return ld
}

func numbered(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint(prefix, i)
	}
	return all
}

func put(t *testing.T, in *instance[plog.Logs], edge string, bodies ...string) {
	t.Helper()
	if err := in.admit(context.Background(), request(edge, bodies...)); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not reached: " + what)
		}
	}
}

func edgeState(in *instance[plog.Logs], sink, edge string) registry.Edge {
	for _, s := range in.State().Sinks {
		if s.Name != sink {
			continue
		}
		for _, e := range s.Edges {
			if e.Edge == edge {
				return e
			}
		}
	}
	return registry.Edge{}
}

func empty(in *instance[plog.Logs]) func() bool {
	return func() bool {
		for _, s := range in.sinks {
			for _, p := range s.q.Stats() {
				if p.Items > 0 {
					return false
				}
			}
		}
		return true
	}
}

func once(t *testing.T, got map[string]int, want []string) {
	t.Helper()
	for _, b := range want {
		if got[b] != 1 {
			t.Fatalf("%s was stored %d times", b, got[b])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("stored %d, want %d", len(got), len(want))
	}
}

func without(all []string, drop ...string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(b string) bool { return slices.Contains(drop, b) })
}

func letterBodies(t *testing.T, in *instance[plog.Logs]) map[string]deadletters.Letter {
	t.Helper()
	all := map[string]deadletters.Letter{}
	for _, meta := range in.Letters(deadletters.Filter{}) {
		l, _, err := in.letters.Get(meta.ID)
		if err != nil {
			t.Fatal(err)
		}
		ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(l.Payload)
		if err != nil || ld.LogRecordCount() != 1 {
			t.Fatal(err)
		}
		body := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().Str()
		if _, ok := all[body]; ok {
			t.Fatalf("%s has two dead letters", body)
		}
		all[body] = l
	}
	return all
}

func TestOneBadItem(t *testing.T) {
	s := newStore(has(permanentError("entry too far behind"), "n37"))
	in := start(t, testConfig(t.TempDir()), map[string]*store{"loki": s})
	all := numbered("n", 100)
	put(t, in, "edge-1", all...)
	eventually(t, "empty", empty(in))
	once(t, s.items(), without(all, "n37"))
	l := letterBodies(t, in)["n37"]
	if l.Reason != "refused" || l.Edge != "edge-1" || l.Sink != "loki" || l.Workload != "shop" || !strings.Contains(l.Detail, "entry too far behind") {
		t.Fatalf("%+v", l)
	}
	e := edgeState(in, "loki", "edge-1")
	if e.Accepted != 100 || e.Stored != 99 || e.TakenOut["refused"] != 1 || e.WaitingItems != 0 {
		t.Fatalf("%+v", e)
	}
}

func TestSeveralBadItems(t *testing.T) {
	s := newStore(has(permanentError("bad"), "n0", "n1", "n50", "n99"))
	in := start(t, testConfig(t.TempDir()), map[string]*store{"loki": s})
	all := numbered("n", 100)
	put(t, in, "edge-1", all[:60]...)
	put(t, in, "edge-1", all[60:]...)
	eventually(t, "empty", empty(in))
	once(t, s.items(), without(all, "n0", "n1", "n50", "n99"))
	if n := len(letterBodies(t, in)); n != 4 {
		t.Fatal(n)
	}
}

func TestAllBad(t *testing.T) {
	s := newStore(always(permanentError("bad")))
	in := start(t, testConfig(t.TempDir()), map[string]*store{"loki": s})
	put(t, in, "edge-1", numbered("n", 1000)...)
	eventually(t, "empty", empty(in))
	if n := len(letterBodies(t, in)); n != 1000 || s.count() != 0 {
		t.Fatal(n, s.count())
	}
}

func TestABadItemThatFailsRetryably(t *testing.T) {
	cause := `error exporting items, request to http://loki responded with HTTP Status Code 503, Message=cannot store stream {app="%s"} at %d, Details=[]`
	s := newStore(func(bodies []string) error {
		for i, b := range bodies {
			if strings.HasPrefix(b, "bad") {
				return status.Error(codes.Unavailable, fmt.Sprintf(cause, b, time.Now().UnixNano()+int64(i)))
			}
		}
		return nil
	})
	in := start(t, testConfig(t.TempDir()), map[string]*store{"loki": s})
	put(t, in, "edge-1", append(numbered("n", 50), "bad1")...)
	began := time.Now()
	stop := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
				put(t, in, "edge-2", fmt.Sprint("other", i))
			}
		}
	})
	eventually(t, "dead letter", func() bool { return len(in.Letters(deadletters.Filter{})) == 1 })
	if took := time.Since(began); took < in.cfg.Retry.StuckAfter {
		t.Fatalf("a dead letter after %v", took)
	}
	if l := letterBodies(t, in)["bad1"]; l.Reason != "stuck" {
		t.Fatalf("%+v", l)
	}
	// The reason is learned: the next one does not wait.
	began = time.Now()
	put(t, in, "edge-1", append(numbered("m", 50), "bad2")...)
	eventually(t, "second dead letter", func() bool { return len(in.Letters(deadletters.Filter{})) == 2 })
	if took := time.Since(began); took > in.cfg.Retry.StuckAfter {
		t.Fatalf("a known reason took %v", took)
	}
	close(stop)
	other.Wait()
	eventually(t, "empty", empty(in))
	for _, b := range append(numbered("n", 50), numbered("m", 50)...) {
		if s.items()[b] != 1 {
			t.Fatal(b, s.items()[b])
		}
	}
}

func TestAStoreThatIsDownCostsNothing(t *testing.T) {
	for name, err := range map[string]error{"refused": errRefused, "dial": fmt.Errorf("failed to make an HTTP request: %w", errDown), "503": err503, "401": consumererror.NewPermanent(status.Error(codes.Unauthenticated, "error exporting items, request to http://loki responded with HTTP Status Code 401"))} {
		t.Run(name, func(t *testing.T) {
			s := newStore(always(err))
			in := start(t, testConfig(t.TempDir()), map[string]*store{"loki": s})
			all := numbered("n", 40)
			for i := range all {
				put(t, in, fmt.Sprint("edge-", i%3), all[i])
			}
			time.Sleep(3 * in.cfg.Retry.StuckAfter)
			if e := edgeState(in, "loki", "edge-0"); e.HeadFailingSeconds <= 0 || e.LastError == "" || e.WaitingItems == 0 || e.OldestSeconds == nil {
				t.Fatalf("%+v", e)
			}
			s.set(nil)
			eventually(t, "empty", empty(in))
			once(t, s.items(), all)
			if n := len(in.Letters(deadletters.Filter{})); n != 0 {
				t.Fatal(n, "dead letters of a store that was down")
			}
			if e := edgeState(in, "loki", "edge-0"); e.HeadFailingSeconds != 0 {
				t.Fatalf("%+v", e)
			}
		})
	}
}

func TestAPartitionUnderIsolationDelaysNoOther(t *testing.T) {
	s := newStore(func(bodies []string) error {
		if strings.HasPrefix(bodies[0], "bad") {
			return err503
		}
		return nil
	})
	c := testConfig(t.TempDir())
	c.Retry = RetryConfig{Initial: time.Second, Max: 15 * time.Second, StuckAfter: time.Minute}
	in := start(t, c, map[string]*store{"loki": s})
	for i := range 50 {
		put(t, in, "edge-1", fmt.Sprint("bad", i), fmt.Sprint("bad-too", i))
	}
	time.Sleep(50 * time.Millisecond)
	slowest := time.Duration(0)
	for i := range 20 {
		body := fmt.Sprint("good", i)
		began := time.Now()
		put(t, in, "edge-2", body)
		eventually(t, body, func() bool { return s.items()[body] == 1 })
		slowest = max(slowest, time.Since(began))
	}
	if slowest > 500*time.Millisecond {
		t.Fatalf("an item of another edge took %v", slowest)
	}
	// and an edge's own next batch passes a bad one
	put(t, in, "edge-3", "bad-one", "x")
	time.Sleep(30 * time.Millisecond)
	began := time.Now()
	put(t, in, "edge-3", "good-one")
	eventually(t, "good-one", func() bool { return s.items()["good-one"] == 1 })
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Fatalf("the next batch took %v", took)
	}
}

// copyFolder is what kill -9 leaves: the files as they are at this moment.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), raw, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestAKillDuringIsolationMakesOneDeadLetter(t *testing.T) {
	dir := t.TempDir()
	s := newStore(func(bodies []string) error {
		if err := has(permanentError("bad"), "bad1", "bad2")(bodies); err != nil {
			return err
		}
		return has(err503, "later")(bodies)
	})
	in := start(t, testConfig(dir), map[string]*store{"loki": s})
	put(t, in, "edge-1", "a", "bad1", "b")
	put(t, in, "edge-1", "later", "c", "bad2", "d")
	eventually(t, "two dead letters", func() bool { return len(in.Letters(deadletters.Filter{})) == 2 })
	if empty(in)() {
		t.Fatal("nothing waits")
	}
	killed := copyFolder(t, dir)
	ids := []string{}
	for _, l := range in.Letters(deadletters.Filter{}) {
		ids = append(ids, l.ID)
	}
	s2 := newStore(has(permanentError("bad"), "bad1", "bad2"))
	again := start(t, testConfig(killed), map[string]*store{"loki": s2})
	eventually(t, "empty", empty(again))
	if n := len(letterBodies(t, again)); n != 2 {
		t.Fatal(n)
	}
	for _, l := range again.Letters(deadletters.Filter{}) {
		if !slices.Contains(ids, l.ID) {
			t.Fatal("another id after the kill")
		}
	}
	if s2.items()["later"] != 1 || edgeState(again, "loki", "edge-1").TakenOut["refused"] != 0 {
		t.Fatal(s2.items(), edgeState(again, "loki", "edge-1"))
	}
}

func TestTheWaitingRoomIsBounded(t *testing.T) {
	s := newStore(func(bodies []string) error {
		for _, b := range bodies {
			if strings.HasPrefix(b, "bad") {
				return err503
			}
		}
		return nil
	})
	c := testConfig(t.TempDir())
	c.Retry.StuckAfter = time.Hour
	in := prepareInstance(t, c, map[string]*store{"loki": s}, zap.NewNop())
	in.sinks[0].waitingItems = 10
	if err := in.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Shutdown(context.Background()) }()
	for i := range 12 {
		bodies := append(numbered(fmt.Sprint("bad", i, "-"), 5), numbered(fmt.Sprint("good", i, "-"), 5)...)
		put(t, in, "edge-1", bodies...)
		time.Sleep(8 * time.Millisecond) // batches of their own
	}
	time.Sleep(800 * time.Millisecond)
	p := in.sinks[0].part("edge-1")
	in.sinks[0].mu.Lock()
	active := p.active
	in.sinks[0].mu.Unlock()
	if active > isolatedBatches || len(in.Letters(deadletters.Filter{})) != 0 {
		t.Fatal(active)
	}
	put(t, in, "edge-2", "other")
	eventually(t, "other", func() bool { return s.items()["other"] == 1 })
	s.set(nil)
	eventually(t, "empty", empty(in))
	if s.count() != 121 {
		t.Fatal(s.count())
	}
	if len(p.room) != 0 {
		t.Fatal(len(p.room))
	}
}

func TestReplayIsStoredOnce(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	c.Sinks["other"] = SinkConfig{Pipelines: []string{"logs/other"}}
	s, other := newStore(has(permanentError("bad"), "n3", "n4")), newStore(nil)
	in := start(t, c, map[string]*store{"loki": s, "other": other})
	all := numbered("n", 10)
	put(t, in, "edge-1", all...)
	eventually(t, "empty", empty(in))
	if n := len(in.Letters(deadletters.Filter{Sink: "loki"})); n != 2 {
		t.Fatal(n)
	}
	// Refused again: a dead letter again.
	if n, err := in.Replay(context.Background(), deadletters.Filter{Sink: "loki", Reason: "refused"}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "refused again", func() bool { return len(in.Letters(deadletters.Filter{})) == 2 && empty(in)() })
	s.set(nil)
	ids := in.Letters(deadletters.Filter{})
	if n, err := in.Replay(context.Background(), deadletters.Filter{IDs: []string{ids[0].ID, ids[1].ID, ids[0].ID}}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n := len(in.Letters(deadletters.Filter{})); n != 0 {
		t.Fatal(n)
	}
	eventually(t, "empty", func() bool { return s.count() == 10 && empty(in)() })
	once(t, s.items(), all)
	once(t, other.items(), all)
}

func TestAKillDuringReplay(t *testing.T) {
	dir := t.TempDir()
	s := newStore(has(permanentError("bad"), "x"))
	in := start(t, testConfig(dir), map[string]*store{"loki": s})
	put(t, in, "edge-1", "x")
	eventually(t, "dead letter", func() bool { return len(in.Letters(deadletters.Filter{})) == 1 && empty(in)() })
	letters := copyFolder(t, filepath.Join(dir, "logs", "dead-letters"))
	s.mu.Lock()
	s.script, s.hang = nil, make(chan struct{})
	s.mu.Unlock()
	if n, err := in.Replay(context.Background(), deadletters.Filter{Sink: "loki"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	// The process ends after the record is durable and before the letter is removed.
	killed := copyFolder(t, dir)
	if err := os.RemoveAll(filepath.Join(killed, "logs", "dead-letters")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(killed, "logs", "dead-letters"), os.DirFS(letters)); err != nil {
		t.Fatal(err)
	}
	s2 := newStore(nil)
	again := start(t, testConfig(killed), map[string]*store{"loki": s2})
	if n := len(again.Letters(deadletters.Filter{})); n != 0 {
		t.Fatal("the letter is there though its replay is in the queue")
	}
	eventually(t, "stored", func() bool { return s2.items()["x"] == 1 && empty(again)() })
	close(s.hang)
}

// What a letter was before it was replayed, and what of replays still waits.
func TestALetterNamesTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	s := newStore(has(permanentError("bad"), "n1"))
	in := start(t, testConfig(dir), map[string]*store{"loki": s})
	put(t, in, "edge-1", numbered("n", 3)...)
	eventually(t, "empty", empty(in))
	first := in.Letters(deadletters.Filter{})
	if len(first) != 1 || first[0].ReplayOf != "" {
		t.Fatalf("%+v", first)
	}
	if _, err := in.Replay(context.Background(), deadletters.Filter{Sink: "loki"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refused again", func() bool { return len(in.Letters(deadletters.Filter{})) == 1 && empty(in)() })
	if again := in.Letters(deadletters.Filter{})[0]; again.ReplayOf != first[0].ID || again.ID == first[0].ID {
		t.Fatalf("%+v after %s", again, first[0].ID)
	}
	if n := edgeState(in, "loki", "edge-1").Replaying; n != 0 {
		t.Fatal(n)
	}
	s.set(always(errRefused))
	if _, err := in.Replay(context.Background(), deadletters.Filter{Sink: "loki"}); err != nil {
		t.Fatal(err)
	}
	put(t, in, "edge-1", "live1", "live2")
	if e := edgeState(in, "loki", "edge-1"); e.Replaying != 1 || e.WaitingItems != 3 {
		t.Fatalf("%+v", e)
	}
	if err := in.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	in = start(t, testConfig(dir), map[string]*store{"loki": s})
	if e := edgeState(in, "loki", "edge-1"); e.Replaying != 1 || e.WaitingItems != 3 {
		t.Fatalf("after a restart: %+v", e)
	}
	s.set(nil)
	eventually(t, "empty", empty(in))
	if e := edgeState(in, "loki", "edge-1"); e.Replaying != 0 {
		t.Fatalf("%+v", e)
	}
}

// The same item at the same place of another queue, or of this one after its folder was removed, has another id.
func TestIDsOfTwoQueuesDiffer(t *testing.T) {
	ids := map[string]bool{}
	for range 3 {
		in := start(t, testConfig(t.TempDir()), map[string]*store{"loki": newStore(always(permanentError("bad")))})
		put(t, in, "edge-1", "x")
		eventually(t, "empty", empty(in))
		for _, l := range in.Letters(deadletters.Filter{}) {
			ids[l.ID] = true
		}
	}
	if len(ids) != 3 {
		t.Fatal(ids)
	}
}

// A letter that cannot be removed when it is replayed is not put into the queue twice.
func TestALetterThatCannotBeRemovedIsReplayedOnce(t *testing.T) {
	dir := t.TempDir()
	s := newStore(has(permanentError("bad"), "x"))
	in := start(t, testConfig(dir), map[string]*store{"loki": s})
	put(t, in, "edge-1", "x")
	eventually(t, "dead letter", func() bool { return len(in.Letters(deadletters.Filter{})) == 1 && empty(in)() })
	if err := in.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	// The next line of dead letters would go into this file.
	obstacle := filepath.Join(dir, "logs", "dead-letters", fmt.Sprintf("%016x.jsonl", 2))
	block := func() {
		if err := os.Mkdir(obstacle, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.set(always(errRefused))
	in = start(t, testConfig(dir), map[string]*store{"loki": s})
	block()
	for i, want := range []int{1, 0, 0} {
		if n, err := in.Replay(context.Background(), deadletters.Filter{Sink: "loki"}); n != want || err != nil {
			t.Fatal(i, n, err)
		}
	}
	if n := edgeState(in, "loki", "edge-1").WaitingItems; n != 1 {
		t.Fatal(n)
	}
	// A restart cannot remove it either.
	killed := copyFolder(t, dir)
	if err := os.Mkdir(filepath.Join(killed, "logs", "dead-letters", fmt.Sprintf("%016x.jsonl", 3)), 0o700); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	s2 := newStore(nil)
	again := start(t, testConfig(killed), map[string]*store{"loki": s2})
	if n, err := again.Replay(context.Background(), deadletters.Filter{Sink: "loki"}); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "stored", func() bool { return s2.items()["x"] == 1 && empty(again)() })
	if n, err := again.Replay(context.Background(), deadletters.Filter{Sink: "loki"}); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	s.set(nil)
	eventually(t, "removed", func() bool { return len(in.Letters(deadletters.Filter{})) == 0 && empty(in)() })
	once(t, s.items(), []string{"x"})
}

func TestDrop(t *testing.T) {
	s := newStore(always(permanentError("bad")))
	in := start(t, testConfig(t.TempDir()), map[string]*store{"loki": s})
	put(t, in, "edge-1", numbered("n", 5)...)
	put(t, in, "edge-2", "m")
	eventually(t, "empty", empty(in))
	if n, err := in.Drop(deadletters.Filter{Edge: "edge-1"}); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if left := letterBodies(t, in); len(left) != 1 || left["m"].ID == "" {
		t.Fatal(left)
	}
}

func TestOnFullDrop(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Batch.MaxBytes = 20_000 // what is on its way is not dropped
	c.Sinks["splunk"] = SinkConfig{Pipelines: []string{"logs/splunk"}, OnFull: "drop", MaxBytes: 200_000}
	s, splunk := newStore(nil), newStore(always(errRefused))
	in := start(t, c, map[string]*store{"loki": s, "splunk": splunk})
	body := strings.Repeat("x", 1000)
	for i := range 600 {
		put(t, in, "edge-1", fmt.Sprint(i, body))
	}
	eventually(t, "stored and dropped", func() bool {
		return s.count() == 600 && edgeState(in, "splunk", "edge-1").Dropped["full"] > 200
	})
	e := edgeState(in, "splunk", "edge-1")
	if e.WaitingBytes > 300_000 || edgeState(in, "loki", "edge-1").Dropped["full"] != 0 {
		t.Fatalf("%+v", e)
	}
	splunk.set(nil)
	eventually(t, "empty", empty(in))
	e = edgeState(in, "splunk", "edge-1")
	if e.Stored+e.Dropped["full"] != 600 || splunk.items()[fmt.Sprint(599, body)] != 1 {
		t.Fatalf("%+v", e)
	}
}

func TestMaxAge(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Sinks["splunk"] = SinkConfig{Pipelines: []string{"logs/splunk"}, MaxAge: 100 * time.Millisecond}
	s, splunk := newStore(nil), newStore(always(errRefused))
	in := start(t, c, map[string]*store{"loki": s, "splunk": splunk})
	put(t, in, "edge-1", numbered("n", 10)...)
	put(t, in, "edge-1", numbered("m", 10)...)
	eventually(t, "dropped", func() bool { return edgeState(in, "splunk", "edge-1").Dropped["too-old"] == 20 && empty(in)() })
	if s.count() != 20 || splunk.count() != 0 {
		t.Fatal(s.count(), splunk.count())
	}
	// under isolation too
	splunk.set(always(err503))
	put(t, in, "edge-1", numbered("o", 10)...)
	eventually(t, "dropped", func() bool { return edgeState(in, "splunk", "edge-1").Dropped["too-old"] == 30 && empty(in)() })
}

func TestAgent(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Sinks = map[string]SinkConfig{"hub": {Pipelines: []string{"logs/hub"}, Refusals: "retry", Consumers: 4, InFlight: 4}}
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied, codes.Internal, codes.ResourceExhausted, codes.Unimplemented, codes.Unknown, codes.NotFound, codes.FailedPrecondition} {
		s := newStore(always(consumererror.NewPermanent(status.Error(code, "no"))))
		c.Directory = t.TempDir()
		in := start(t, c, map[string]*store{"hub": s})
		put(t, in, "hub", numbered("n", 20)...)
		eventually(t, "tried again", func() bool { return s.called() >= 3 })
		if n := len(in.Letters(deadletters.Filter{})); n != 0 {
			t.Fatal(code, n)
		}
		s.set(nil)
		eventually(t, "empty", empty(in))
		once(t, s.items(), numbered("n", 20))
		_ = in.Shutdown(context.Background())
	}
	s := newStore(func(bodies []string) error {
		if slices.Contains(bodies, "n3") {
			return consumererror.NewPermanent(status.Error(codes.InvalidArgument, "1 items are too large"))
		}
		if slices.Contains(bodies, "n5") {
			return consumererror.NewPermanent(status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9000000 vs. 4194304)"))
		}
		return nil
	})
	c.Directory = t.TempDir()
	in := start(t, c, map[string]*store{"hub": s})
	put(t, in, "hub", numbered("n", 20)...)
	eventually(t, "empty", empty(in))
	if l := letterBodies(t, in); len(l) != 2 || l["n3"].ID == "" || l["n5"].ID == "" {
		t.Fatal(l)
	}
}

func TestShutdownDuringAHangingSink(t *testing.T) {
	dir := t.TempDir()
	s := newStore(nil)
	s.hang = make(chan struct{})
	in := start(t, testConfig(dir), map[string]*store{"loki": s})
	put(t, in, "edge-1", numbered("n", 10)...)
	eventually(t, "a call", func() bool { return s.called() > 0 })
	began := time.Now()
	if err := in.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < waitForSends-time.Second || took > waitForSends+3*time.Second {
		t.Fatalf("shutdown took %v", took)
	}
	if err := in.admit(context.Background(), request("edge-1", "late")); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	s2 := newStore(nil)
	again := start(t, testConfig(dir), map[string]*store{"loki": s2})
	eventually(t, "empty", empty(again))
	once(t, s2.items(), numbered("n", 10))
}

func TestShutdownDuringBackoffIsQuick(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Retry = RetryConfig{Initial: 15 * time.Second, Max: 15 * time.Second, StuckAfter: time.Minute}
	c.Sinks["held"] = SinkConfig{Pipelines: []string{"logs/held"}}
	in := start(t, c, map[string]*store{"loki": newStore(always(err503)), "held": newStore(always(errRefused))})
	put(t, in, "edge-1", numbered("n", 10)...)
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	if err := in.Shutdown(context.Background()); err != nil || time.Since(began) > time.Second {
		t.Fatal(err, time.Since(began))
	}
}

func TestAdmission(t *testing.T) {
	c := testConfig(t.TempDir())
	c.MaxItemBytes = 2000
	c.Batch.MaxBytes = 4000
	c.Batch.MaxItems = 7
	c.MaxBytes = map[string]any{"logs": 1 << 20}
	c.MaxPartitionBytes = 50_000
	c.Shares = &shares.Config{Default: shares.Share{}, Edges: map[string]shares.Share{"small": {ItemsPerSecond: 1, BytesPerSecond: 1000}}}
	s := newStore(nil)
	in := start(t, c, map[string]*store{"loki": s})

	// too large
	huge := strings.Repeat("x", 3000)
	put(t, in, "edge-1", "a", huge, "b")
	eventually(t, "stored", func() bool { return s.count() == 2 && empty(in)() })
	list := in.Letters(deadletters.Filter{})
	if len(list) != 1 || list[0].Reason != "too-large" || !list[0].Cut || list[0].Edge != "edge-1" {
		t.Fatalf("%+v", list)
	}
	err := in.admit(context.Background(), request("edge-1", huge))
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "2000") {
		t.Fatal(err)
	}
	if e := edgeState(in, "loki", "edge-1"); e.Accepted != 2 || e.Refused["too-large"] != 2 {
		t.Fatalf("%+v", e)
	}
	if n, err := in.Replay(context.Background(), deadletters.Filter{Edge: "edge-1"}); n != 0 || err != nil {
		t.Fatal(n, err)
	}

	// a request that is larger than a batch
	put(t, in, "edge-1", numbered("n", 100)...)
	eventually(t, "stored", func() bool { return s.count() == 102 && empty(in)() })

	// over the share
	for range 200 {
		if err = in.admit(context.Background(), request("small", numbered("s", 20)...)); err != nil {
			break
		}
	}
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted || len(st.Details()) != 1 {
		t.Fatal(err)
	}
	if _, ok := st.Details()[0].(*errdetails.RetryInfo); !ok || consumererror.IsPermanent(err) {
		t.Fatal("no RetryInfo")
	}
	if edgeState(in, "loki", "small").Refused["share"] == 0 {
		t.Fatal("not counted")
	}

	// full
	s.set(always(errRefused))
	for range 300 {
		if err = in.admit(context.Background(), request("edge-3", strings.Repeat("y", 1500))); err != nil {
			break
		}
	}
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "edge-3") || edgeState(in, "loki", "edge-3").Refused["full"] == 0 {
		t.Fatal(err)
	}
	put(t, in, "edge-4", "still") // another partition has room

	// no items, no attribute
	if err := in.admit(context.Background(), plog.NewLogs()); err != nil {
		t.Fatal(err)
	}
	ld := request("edge-1", "without")
	ld.ResourceLogs().At(0).Resource().Attributes().Remove("lkeobs.edge")
	if err := in.admit(context.Background(), ld); err != nil || edgeState(in, "loki", "hub").Accepted != 1 {
		t.Fatal(err)
	}
}

func TestRules(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Sinks["loki"] = SinkConfig{Pipelines: []string{"logs/loki"}, Rules: "loki"}
	s := newStore(has(permanentError("bad"), "bad"))
	in := start(t, c, map[string]*store{"loki": s})
	ld := request("edge-1", "old", "ahead", "bad", "fine")
	records := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	for i, at := range []time.Time{time.Now().Add(-30 * 24 * time.Hour), time.Now().Add(5 * time.Hour), time.Now(), time.Now()} {
		records.At(i).SetTimestamp(pcommon.NewTimestampFromTime(at))
		records.At(i).SetObservedTimestamp(pcommon.NewTimestampFromTime(at))
	}
	if err := in.admit(context.Background(), ld); err != nil {
		t.Fatal(err)
	}
	eventually(t, "empty", empty(in))
	got := letterBodies(t, in)
	if got["bad"].Reason != "refused" || s.items()["fine"] != 1 {
		t.Fatalf("%+v %v", got, s.items())
	}
	e := edgeState(in, "loki", "edge-1")
	sum := e.Stored
	for _, n := range e.TakenOut {
		sum += n
	}
	if sum != 4 || len(got)+s.count() != 4 {
		t.Fatalf("%+v", e)
	}
}

func TestLoudLinesAreLimited(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	in := prepareInstance(t, testConfig(t.TempDir()), map[string]*store{"loki": newStore(always(errors.New("connection refused \x1b[31m" + strings.Repeat("z", 5000))))}, zap.New(core))
	if err := in.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	put(t, in, "edge-1", "a")
	put(t, in, "edge-2", "b")
	time.Sleep(200 * time.Millisecond)
	_ = in.Shutdown(context.Background())
	lines := logs.FilterMessage("A sink does not take a batch.").All()
	if len(lines) != 2 {
		t.Fatal(len(lines))
	}
	text := lines[0].ContextMap()["error"].(string)
	if len(text) > 2100 || strings.Contains(text, "\x1b") {
		t.Fatal(len(text))
	}
}

func BenchmarkAdmit(b *testing.B) {
	c := testConfig(b.TempDir())
	set := connector.Settings{ID: component.MustNewIDWithName("durable_queue", "bench"), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	in, err := newInstance(set, c, &logsCodec, map[string]func(context.Context, plog.Logs) error{"loki": func(context.Context, plog.Logs) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	if err := in.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Shutdown(context.Background()) }()
	ld := request("edge-1", numbered(strings.Repeat("x", 200), 100)...)
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := in.admit(context.Background(), ld); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
