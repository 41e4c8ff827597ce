package durablequeue

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
)

// A store that is started anew before it has written down what it took gets that again, once.
func TestSettleSendsAgainAfterARestartOfTheStore(t *testing.T) {
	var started atomic.Int64
	started.Store(1000)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if started.Load() == 0 {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %d\n", started.Load())
	}))
	defer page.Close()
	c := testConfig(t.TempDir())
	loki := c.Sinks["loki"]
	loki.Settle = SettleConfig{After: 400 * time.Millisecond, StartPage: page.URL}
	c.Sinks["loki"] = loki
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s := newStore(nil)
	in := start(t, c, map[string]*store{"loki": s})
	put(t, in, "edge-1", "a", "b")
	eventually(t, "taken", func() bool { return s.count() == 2 })
	for _, p := range in.sinks[0].q.Stats() {
		if p.Items != 0 || !p.Oldest.IsZero() {
			t.Fatalf("what the store took still waits: %+v", p)
		}
	}
	eventually(t, "looked at", func() bool {
		in.sinks[0].settling.mu.Lock()
		defer in.sinks[0].settling.mu.Unlock()
		return in.sinks[0].settling.started == 1000
	})
	s.forget()
	started.Store(0) // it is away
	time.Sleep(600 * time.Millisecond)
	if n := settlingBatches(in); n == 0 {
		t.Fatal("ended while the store did not say since when it runs")
	}
	started.Store(time.Now().Unix() + 1) // of whole seconds, so that it is after what was taken
	time.Sleep(2*time.Second + firstAnswer)
	put(t, in, "edge-1", "c") // the process that runs now has it, and does not get it again

	eventually(t, "sent again", func() bool { return s.count() == 3 })
	eventually(t, "ended", func() bool { return settlingBatches(in) == 0 })
	for item, n := range s.items() {
		if n != 1 {
			t.Fatalf("%s was sent again %d times", item, n)
		}
	}
	if live := in.queue.LiveBytes(); live != 0 {
		t.Fatalf("%d bytes are left", live)
	}
}

// settlePage says since when a store runs; 0: it does not answer.
func settlePage(t *testing.T) (url string, started *atomic.Int64) {
	started = &atomic.Int64{}
	started.Store(1000)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if started.Load() == 0 {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "process_start_time_seconds", started.Load())
	}))
	t.Cleanup(page.Close)
	return page.URL, started
}

func settleConfig(t *testing.T, page, dir string, after time.Duration) *Config {
	t.Helper()
	c := testConfig(dir)
	loki := c.Sinks["loki"]
	loki.Settle = SettleConfig{After: after, StartPage: page}
	c.Sinks["loki"] = loki
	return c
}

func knowsStart(in *instance[plog.Logs]) func() bool {
	return func() bool {
		s := &in.sinks[0].settling
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.started != 0
	}
}

// killedWhileSettling leaves a folder of a collector that was killed when the store had taken a and b, and not c, which is in
// the same partition.
func killedWhileSettling(t *testing.T, page string) string {
	t.Helper()
	dir := t.TempDir()
	s := newStore(has(err503, "c"))
	in := start(t, settleConfig(t, page, dir, time.Hour), map[string]*store{"loki": s})
	eventually(t, "known", knowsStart(in))
	put(t, in, "edge-1", "a")
	eventually(t, "taken", func() bool { return settlingItems(in) == 1 })
	put(t, in, "edge-1", "b")
	eventually(t, "taken", func() bool { return settlingItems(in) == 2 })
	put(t, in, "edge-1", "c")
	killed := copyFolder(t, dir)
	if files, _ := filepath.Glob(filepath.Join(killed, "logs", "taken-loki.journal")); len(files) != 1 {
		t.Fatal("no journal")
	}
	return killed
}

func settlingItems(in *instance[plog.Logs]) (n int) {
	s := &in.sinks[0].settling
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.batches {
		n += one.b.Items
	}
	return n
}

func TestAKilledCollectorSendsOnlyWhatTheStoreDoesNotHave(t *testing.T) {
	page, started := settlePage(t)
	killed := killedWhileSettling(t, page)
	journal := filepath.Join(killed, "logs", "taken-loki.journal")
	data, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		started int64
		journal []byte
		again   bool
		rules   string
	}{
		"the same process":      {1000, data, false, ""},
		"the same, with rules":  {1000, data, false, "loki"},
		"another process":       {1001, data, true, ""},
		"no journal":            {1000, nil, true, ""},
		"garbage":               {1000, bytes.Repeat([]byte("\x00\xffgarbage 1:2\n"), 1000), true, ""},
		"wrong sums":            {1000, bytes.ReplaceAll(data, []byte(":"), []byte(":1")), true, ""},
		"torn line at the end":  {1000, append(append([]byte(nil), data...), data[:len(data)/4]...), false, ""},
		"torn before the lines": {1000, append(append([]byte(nil), data[1:9]...), data...), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyFolder(t, killed)
			if err := os.WriteFile(filepath.Join(dir, "logs", "taken-loki.journal"), c.journal, 0o600); err != nil {
				t.Fatal(err)
			}
			started.Store(c.started)
			config := settleConfig(t, page, dir, 300*time.Millisecond)
			loki := config.Sinks["loki"]
			loki.Rules = c.rules
			config.Sinks["loki"] = loki
			s := newStore(nil)
			in := start(t, config, map[string]*store{"loki": s})
			eventually(t, "ended", func() bool { return empty(in)() && settlingBatches(in) == 0 && in.queue.LiveBytes() == 0 })
			want := []string{"c"}
			if c.again {
				want = []string{"a", "b", "c"}
			}
			once(t, s.items(), want)
			eventually(t, "no journal", func() bool {
				_, err := os.Stat(filepath.Join(dir, "logs", "taken-loki.journal"))
				return os.IsNotExist(err)
			})
		})
	}
}

// Some lines of the journal are torn away: their records are sent again, the others are not.
func TestATornJournalCountsByLine(t *testing.T) {
	page, _ := settlePage(t)
	killed := killedWhileSettling(t, page)
	journal := filepath.Join(killed, "logs", "taken-loki.journal")
	data, _ := os.ReadFile(journal)
	if err := os.Truncate(journal, int64(len(data)-2)); err != nil {
		t.Fatal(err)
	}
	s := newStore(nil)
	in := start(t, settleConfig(t, page, killed, time.Hour), map[string]*store{"loki": s})
	eventually(t, "held", func() bool { return settlingItems(in) == 3 })
	if got := s.items(); got["c"] != 1 || got["a"] != 0 || got["b"] != 1 {
		t.Fatal(got)
	}
}

// The store is started anew after a record was held back for it: it gets that record.
func TestWhatWasHeldBackIsSentToTheNextProcessOfTheStore(t *testing.T) {
	page, started := settlePage(t)
	killed := killedWhileSettling(t, page)
	s := newStore(nil)
	in := start(t, settleConfig(t, page, killed, 2*time.Second), map[string]*store{"loki": s})
	eventually(t, "held", func() bool { return settlingItems(in) == 3 })
	once(t, s.items(), []string{"c"})
	s.forget()
	started.Store(time.Now().Unix() + 1)
	eventually(t, "sent", func() bool { return s.count() == 3 })
	eventually(t, "ended", func() bool { return in.queue.LiveBytes() == 0 })
	once(t, s.items(), []string{"a", "b", "c"})
}

// The store does not say since when it runs: a start waits a moment for it, and then sends all.
func TestAStartDoesNotWaitLongForTheStore(t *testing.T) {
	page, started := settlePage(t)
	killed := killedWhileSettling(t, page)
	dir := copyFolder(t, killed)
	started.Store(0)
	s := newStore(nil)
	began := time.Now()
	in := start(t, settleConfig(t, page, killed, time.Hour), map[string]*store{"loki": s})
	time.Sleep(300 * time.Millisecond)
	if s.count() != 0 {
		t.Fatal("sent before the store said since when it runs")
	}
	eventually(t, "sent", func() bool { return s.count() == 3 })
	if took := time.Since(began); took > startWait+5*time.Second {
		t.Fatal(took)
	}
	_ = in.Shutdown(t.Context())
	// It answers a little later.
	s = newStore(nil)
	in = start(t, settleConfig(t, page, dir, time.Hour), map[string]*store{"loki": s})
	time.Sleep(200 * time.Millisecond)
	started.Store(1000)
	eventually(t, "held", func() bool { return settlingItems(in) == 3 })
	once(t, s.items(), []string{"c"})
}

// A collector that is stopped and started again sends nothing twice, and the journal is of the same form after each round.
func TestSettleSurvivesRestartsOfTheCollector(t *testing.T) {
	page, _ := settlePage(t)
	dir := t.TempDir()
	all := []string{}
	s := newStore(nil)
	for round := range 4 {
		in := start(t, settleConfig(t, page, dir, time.Hour), map[string]*store{"loki": s})
		eventually(t, "known", knowsStart(in))
		body := fmt.Sprint("r", round)
		put(t, in, "edge-1", body)
		all = append(all, body)
		eventually(t, "taken", func() bool { return settlingItems(in) == round+1 })
		if err := in.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	once(t, s.items(), all)
}

func (s *store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = map[string]int{}
}

func settlingBatches(in *instance[plog.Logs]) int {
	s := &in.sinks[0].settling
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.batches)
}
