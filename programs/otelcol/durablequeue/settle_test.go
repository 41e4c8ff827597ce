package durablequeue

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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
	started.Store(time.Now().Unix())
	time.Sleep(time.Second)
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

// What was not settled when the process ended is delivered again by the next one.
func TestSettleSurvivesARestartOfTheCollector(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "process_start_time_seconds 1000")
	}))
	defer page.Close()
	c := testConfig(t.TempDir())
	loki := c.Sinks["loki"]
	loki.Settle = SettleConfig{After: time.Hour, StartPage: page.URL}
	c.Sinks["loki"] = loki
	s := newStore(nil)
	in := start(t, c, map[string]*store{"loki": s})
	put(t, in, "edge-1", "a")
	eventually(t, "taken", func() bool { return s.count() == 1 })
	if err := in.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := newStore(nil)
	start(t, c, map[string]*store{"loki": next})
	eventually(t, "delivered again", func() bool { return next.count() == 1 })
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
