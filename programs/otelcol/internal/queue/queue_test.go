package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

func TestRecordsComeInOrderPerPartitionAndOnlyOnce(t *testing.T) {
	dir := t.TempDir()
	q, _ := mustOpen(t, testOptions(dir, "a", "b"))
	const n = 2000
	for i := 0; i < n; i += 10 {
		var recs []Record
		for j := i; j < i+10; j++ {
			recs = append(recs, record(fmt.Sprintf("edge-%d", j%3), j))
		}
		mustPut(t, q, recs...)
	}
	for _, name := range []string{"a", "b"} {
		got := drain(t, q.Sink(name))
		if !equal(all(got), upTo(n)) {
			t.Fatalf("sink %s got %d of %d records", name, count(got), n)
		}
		for p, list := range got {
			if !equal(list, sorted(list)) {
				t.Errorf("records of %s are out of order", p)
			}
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if files := segmentFiles(t, dir); len(files) != 0 || q.DiskBytes() != 0 || q.LiveBytes() != 0 {
		t.Errorf("left over: %v, %d bytes on disk, %d live", files, q.DiskBytes(), q.LiveBytes())
	}
}

func TestEntryTakesAtMost48Bytes(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size > 48 {
		t.Errorf("an entry takes %d bytes", size)
	}
}

func TestBatchWaitsForSizeItemsOrTime(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.Sinks[0] = SinkOptions{Name: "a", MaxItems: 10, MaxBytes: 1000, FlushAfter: time.Second}
	q, _ := mustOpen(t, o)
	s := q.Sink("a")
	for name, c := range map[string]struct {
		recs []Record
		late bool
	}{
		"weight":   {[]Record{{Items: 1, Payload: payload(1, 10), Weight: 1000}}, false},
		"items":    {[]Record{{Items: 10, Payload: payload(1, 10)}}, false},
		"too much": {[]Record{{Items: 99, Payload: payload(1, 5000)}}, false},
		"time":     {[]Record{{Items: 1, Payload: payload(1, 10)}, {Items: 1, Payload: payload(2, 10)}}, true},
	} {
		start := time.Now()
		mustPut(t, q, c.recs...)
		b := next(t, s, 5*time.Second)
		took := time.Since(start)
		if b == nil || len(b.Refs) != len(c.recs) {
			t.Fatalf("%s: batch %+v", name, b)
		}
		if late := took > 900*time.Millisecond; late != c.late {
			t.Errorf("%s: batch came after %v", name, took)
		}
		s.Done(b)
	}
}

func TestIdleQueueUsesNoCPU(t *testing.T) {
	o := testOptions(t.TempDir(), "a", "b")
	for i := range o.Sinks {
		o.Sinks[i].FlushAfter = time.Hour
	}
	q, _ := mustOpen(t, o)
	for i := 0; i < 50; i++ {
		mustPut(t, q, record(fmt.Sprint("edge-", i), i))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := 0; i < 4; i++ {
		for _, name := range []string{"a", "b"} {
			wg.Add(1)
			go func() { defer wg.Done(); q.Sink(name).Next(ctx) }()
		}
	}
	cpu := func() time.Duration {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	time.Sleep(50 * time.Millisecond)
	before := cpu()
	time.Sleep(500 * time.Millisecond)
	if used := cpu() - before; used > 50*time.Millisecond {
		t.Errorf("an idle queue used %v of CPU in 500 ms", used)
	}
	cancel()
	wg.Wait()
}

func TestBacklogDoesNotDelayAnotherPartition(t *testing.T) {
	q, _ := mustOpen(t, testOptions(t.TempDir(), "a"))
	s := q.Sink("a")
	for i := 0; i < 3000; i += 100 {
		var recs []Record
		for j := 0; j < 100; j++ {
			recs = append(recs, record("backlog", i+j))
		}
		mustPut(t, q, recs...)
	}
	for i := 0; i < 20; i++ {
		b := next(t, s, time.Second)
		mustPut(t, q, record("fresh", i))
		s.Done(b)
		for batches := 1; ; batches++ {
			b := next(t, s, time.Second)
			s.Done(b)
			if b.Partition == "fresh" {
				break
			}
			if batches > 1 {
				t.Fatalf("a fresh record waited for more than one batch of the backlog")
			}
		}
	}
}

func TestLargeRecordIsPaidForInLaterTurns(t *testing.T) {
	q, _ := mustOpen(t, testOptions(t.TempDir(), "a"))
	s := q.Sink("a")
	for i := 0; i < 8; i++ {
		mustPut(t, q, Record{Partition: "large", Items: 1, Payload: payload(i, 60<<10)}, Record{Partition: "small", Items: 100, Payload: payload(i, 15<<10)})
		mustPut(t, q, Record{Partition: "small", Items: 100, Payload: payload(i, 15<<10)})
	}
	var order []string
	for i := 0; i < 12; i++ {
		b := next(t, s, time.Second)
		order = append(order, b.Partition)
		s.Done(b)
	}
	large := 0
	for _, p := range order {
		if p == "large" {
			large++
		}
	}
	if large > 4 {
		t.Errorf("the partition with large records got %d of 12 turns: %v", large, order)
	}
}

func TestInFlightReleaseAndBlock(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.Sinks[0].MaxItems = 1
	o.Sinks[0].InFlight = 2
	q, _ := mustOpen(t, o)
	s := q.Sink("a")
	for i := 0; i < 4; i++ {
		mustPut(t, q, Record{Partition: "p", Items: 1, Payload: payload(i, 1)})
	}
	first, second := next(t, s, time.Second), next(t, s, time.Second)
	if b := next(t, s, 20*time.Millisecond); b != nil {
		t.Fatal("a third batch was in flight")
	}
	s.Release(first)
	third := next(t, s, time.Second)
	if third == nil {
		t.Fatal("no batch after Release")
	}
	if st := s.Stats()[0]; st.Items != 4 || st.Oldest.IsZero() {
		t.Errorf("stats %+v", st)
	}
	s.Block("p", true)
	s.Done(second)
	s.Done(third)
	s.Done(third)
	if b := next(t, s, 20*time.Millisecond); b != nil {
		t.Fatal("a blocked partition returned a batch")
	}
	s.Block("p", false)
	fourth := next(t, s, time.Second)
	if fourth == nil {
		t.Fatal("no batch after Block(false)")
	}
	s.Done(fourth)
	s.Done(first)
	if st := s.Stats()[0]; st.Items != 0 || st.Bytes != 0 || !st.Oldest.IsZero() {
		t.Errorf("stats %+v", st)
	}
}

func TestReleasedBatchComesAgainAfterRestart(t *testing.T) {
	dir := t.TempDir()
	q, _ := mustOpen(t, testOptions(dir, "a"))
	mustPut(t, q, record("p", 1))
	b := next(t, q.Sink("a"), time.Second)
	oldest := b.Oldest
	q.Sink("a").Release(b)
	q.Close()
	q, loss := mustOpen(t, testOptions(dir, "a"))
	b = next(t, q.Sink("a"), time.Second)
	if b == nil || !b.Oldest.Equal(oldest) || loss.Items != 0 {
		t.Errorf("batch %+v, accepted %v, loss %+v", b, oldest, loss)
	}
}

func TestSinksAddedRemovedAndAddedAgain(t *testing.T) {
	dir := t.TempDir()
	open := func(names ...string) *Queue { q, _ := mustOpen(t, testOptions(dir, names...)); return q }
	q := open("a", "b")
	mustPut(t, q, record("p", 0))
	q.Close()
	q = open("a", "c") // b removed, c added in its slot
	mustPut(t, q, record("p", 1))
	if got := all(drain(t, q.Sink("c"))); !equal(got, []int{1}) {
		t.Errorf("added sink got %v", got)
	}
	q.Close()
	q = open("b", "a", "c")
	mustPut(t, q, record("p", 2))
	for name, want := range map[string][]int{"a": {0, 1, 2}, "b": {2}, "c": {2}} {
		if got := all(drain(t, q.Sink(name))); !equal(got, want) {
			t.Errorf("sink %s got %v, want %v", name, got, want)
		}
	}
	q.Close()
	if files := segmentFiles(t, dir); len(files) > 0 {
		t.Errorf("left over: %v", files)
	}
}

func TestClosingSinkGetsOnlyOldRecords(t *testing.T) {
	dir := t.TempDir()
	q, _ := mustOpen(t, testOptions(dir, "a", "b"))
	mustPut(t, q, record("p", 0))
	q.Close()
	o := testOptions(dir, "a", "b")
	o.Sinks[1].Closing = true
	q, _ = mustOpen(t, o)
	mustPut(t, q, record("p", 1))
	q.Close()
	q, _ = mustOpen(t, testOptions(dir, "a", "b"))
	if got := all(drain(t, q.Sink("b"))); !equal(got, []int{0}) {
		t.Errorf("closing sink got %v", got)
	}
	if got := all(drain(t, q.Sink("a"))); !equal(got, []int{0, 1}) {
		t.Errorf("other sink got %v", got)
	}
}

func TestOnlySinkAndReplay(t *testing.T) {
	dir := t.TempDir()
	q, _ := mustOpen(t, testOptions(dir, "a", "b"))
	var durable atomic.Bool
	mustPut(t, q, Record{Partition: "p", Items: 1, Payload: payload(7, 1), OnlySink: "b", ReplayOf: "letter", Kind: 3,
		Durable: func() { durable.Store(true) }})
	if !durable.Load() {
		t.Error("Durable was not called")
	}
	if st := q.Sink("a").Stats(); len(st) > 0 && st[0].Items != 0 {
		t.Errorf("the other sink waits for %+v", st)
	}
	q.Close()
	_ = os.Remove(filepath.Join(dir, segmentName(1)+marksSuffix))
	q, _ = mustOpen(t, testOptions(dir, "a", "b"))
	if got := drain(t, q.Sink("a")); count(got) != 0 {
		t.Errorf("the other sink got %v", got)
	}
	if r := q.LiveReplays(); len(r) != 1 || r[0] != "letter" {
		t.Errorf("live replays %v", r)
	}
	mustPut(t, q, Record{Partition: "p", Items: 4, Payload: payload(8, 1), OnlySink: "b"})
	waits := func(s string) [2]int64 { st := q.Sink(s).Stats()[0]; return [2]int64{st.Replaying, st.Items} }
	if a, b := waits("a"), waits("b"); a != [2]int64{0, 0} || b != [2]int64{1, 5} {
		t.Errorf("replaying and waiting: %v, %v", a, b)
	}
	b := next(t, q.Sink("b"), time.Second)
	if b == nil || b.ReplayOf[0] != "letter" || b.Kinds[0] != 3 || b.RefItems[0] != 1 {
		t.Fatalf("batch %+v", b)
	}
	if !q.Sink("b").Needs(b.Refs[0]) || q.Sink("b").Needs(Ref{Segment: b.Refs[0].Segment + 9}) {
		t.Error("Needs does not know what was taken")
	}
	q.Sink("b").Done(b)
	if q.Sink("b").Needs(b.Refs[0]) {
		t.Error("what is done is needed")
	}
	if b := waits("b"); b[0] != 0 {
		t.Errorf("%d items are replaying after all", b[0])
	}
	if err := q.Put(context.Background(), Record{OnlySink: "nobody"}); err == nil {
		t.Error("a record for an unknown sink was accepted")
	}
}

func TestLimits(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.MaxBytes, o.MaxPartitionBytes = 100<<10, 40<<10
	q, _ := mustOpen(t, o)
	fill := func(p string) (n int, err error) {
		for ; err == nil; n++ {
			err = q.Put(context.Background(), Record{Partition: p, Items: 1, Payload: payload(n, 1000)})
		}
		return n - 1, err
	}
	var full *FullError
	n, err := fill("one")
	if !errors.As(err, &full) || !full.OfPartition || full.Partition != "one" || n < 35 || n > 40 {
		t.Fatalf("after %d: %v", n, err)
	}
	fill("two")
	if _, err = fill("three"); !errors.As(err, &full) || full.OfPartition || full.LimitBytes != o.MaxBytes {
		t.Fatal(err)
	}
	drain(t, q.Sink("a"))
	if n, _ = fill("one"); n < 35 {
		t.Errorf("after the drain only %d fit", n)
	}
}

func TestOnFullDropsTheOldestOfThatSinkOnly(t *testing.T) {
	o := testOptions(t.TempDir(), "store", "destination")
	o.Sinks[1].OnFullDrop, o.Sinks[1].LimitBytes = true, 50<<10
	q, _ := mustOpen(t, o)
	const n = 400
	for i := 0; i < n; i++ {
		mustPut(t, q, Record{Partition: fmt.Sprint("p", i%2), Items: 1, Payload: payload(i, 1000)})
	}
	wait(t, func() bool { return waitingBytes(q.Sink("destination")) <= 50<<10 })
	dropped := int64(0)
	for _, d := range q.Sink("destination").Dropped() {
		dropped += d
	}
	got := all(drain(t, q.Sink("destination")))
	if int(dropped)+len(got) != n || dropped < n/2 || got[0] < n/2 {
		t.Errorf("dropped %d, delivered %d from %d on", dropped, len(got), got[0])
	}
	if got := all(drain(t, q.Sink("store"))); !equal(got, upTo(n)) {
		t.Errorf("the other sink got %d", len(got))
	}
}

func TestFullShareDropsFromDroppingSinks(t *testing.T) {
	o := testOptions(t.TempDir(), "store", "destination")
	o.MaxPartitionBytes = 100 << 10
	o.Sinks[1].OnFullDrop, o.Sinks[1].LimitBytes = true, 1<<30
	q, _ := mustOpen(t, o)
	for i := 0; i < 500; i++ {
		rec := Record{Partition: "p", Items: 1, Payload: payload(i, 1000)}
		wait(t, func() bool { return q.Put(context.Background(), rec) == nil })
		b := next(t, q.Sink("store"), time.Second)
		q.Sink("store").Done(b)
	}
}

func TestMaxAgeDrops(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	o := testOptions(t.TempDir(), "a", "b")
	o.Now = func() time.Time { return time.Unix(0, now.Load()) }
	o.Sinks[0].MaxAge = time.Hour
	q, _ := mustOpen(t, o)
	q.Sink("a").Block("blocked", true)
	mustPut(t, q, record("p", 0), record("blocked", 1))
	now.Add(int64(2 * time.Hour))
	mustPut(t, q, record("p", 2))
	if got := all(drain(t, q.Sink("b"))); !equal(got, []int{0, 1, 2}) {
		t.Errorf("sink without a limit got %v", got)
	}
	b := next(t, q.Sink("a"), time.Second)
	if got := ids(t, b.Payload); !equal(got, []int{2}) {
		t.Errorf("got %v", got)
	}
	if d := q.Sink("a").Dropped(); d["p"] != 1 {
		t.Errorf("dropped %v", d)
	}
	q.Sink("a").dropOld()
	if d := q.Sink("a").Dropped(); d["blocked"] != 2 {
		t.Errorf("dropped %v", d)
	}
}

func TestColdSegments(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir, "fast", "slow")
	o.MaxIndexed = 200
	q, _ := mustOpen(t, o)
	const n = 6000
	var fast []int
	for i := 0; i < n; i += 20 {
		var recs []Record
		for j := i; j < i+20; j++ {
			p := "backlog"
			if j%97 == 0 {
				p = "rare"
			}
			recs = append(recs, record(p, j))
		}
		mustPut(t, q, recs...)
		fast = append(fast, all(drain(t, q.Sink("fast")))...)
	}
	check := func(q *Queue) {
		t.Helper()
		q.mu.Lock()
		indexed := q.indexed
		q.mu.Unlock()
		if indexed > 1500 {
			t.Errorf("%d records are indexed", indexed)
		}
	}
	check(q)
	if !equal(sorted(fast), upTo(n)) {
		t.Errorf("fast sink got %d", len(fast))
	}
	q.Close()
	q, _ = mustOpen(t, o)
	check(q)
	if items := q.Sink("slow").Stats(); len(items) != 2 {
		t.Errorf("stats %+v", items)
	}
	// The rare partition's records lie in cold segments and come soon all the same.
	seen := 0
	for i := 0; i < 4; i++ {
		b := next(t, q.Sink("slow"), time.Second)
		if b.Partition == "rare" {
			seen++
		}
		q.Sink("slow").Release(b)
	}
	if seen == 0 {
		t.Error("the rare partition got no turn")
	}
	q.Close()
	q, _ = mustOpen(t, o)
	got := drain(t, q.Sink("slow"))
	if !equal(all(got), upTo(n)) {
		t.Errorf("slow sink got %d", count(got))
	}
	if got := drain(t, q.Sink("fast")); count(got) != 0 {
		t.Errorf("fast sink got %d again", count(got))
	}
}

func TestStragglersMove(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir, "a", "b")
	o.SegmentBytes = 8 << 20
	q, _ := mustOpen(t, o)
	big := make([]byte, 100<<10)
	put := func(i int) {
		mustPut(t, q, Record{Partition: "bulk", Items: 1, Payload: big})
		if i%100 == 0 {
			mustPut(t, q, record("rare", i/100))
		}
	}
	q.Sink("b").Block("rare", true)
	for i := 0; i < 1200; i++ {
		put(i)
		for _, name := range []string{"a", "b"} {
			b := next(t, q.Sink(name), time.Second)
			for b != nil && b.Partition == "rare" {
				q.Sink(name).Done(b)
				b = next(t, q.Sink(name), time.Second)
			}
			q.Sink(name).Done(b)
		}
	}
	wait(t, func() bool { return q.DiskBytes() < 80<<20 })
	if got := all(drain(t, q.Sink("a"))); len(got) > 0 && len(got) != 1 {
		t.Errorf("moved records came again: %v", got)
	}
	q.Sink("b").Block("rare", false)
	if got := all(drain(t, q.Sink("b"))); !equal(got, upTo(12)) {
		t.Errorf("got %v", got)
	}
}

func TestIdleSegmentIsRemoved(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir, "a")
	o.SegmentBytes = 0
	q, _ := mustOpen(t, o)
	for i := 0; i < 30; i++ {
		mustPut(t, q, Record{Partition: "p", Items: 1, Payload: payload(i, 100<<10)})
	}
	drain(t, q.Sink("a"))
	wait(t, func() bool { return len(segmentFiles(t, dir)) == 0 && q.DiskBytes() == 0 })
}

func TestCommitIntervalLimitsSyncsUnderLoad(t *testing.T) {
	fs := &faultyFiles{}
	o := testOptions(t.TempDir(), "a")
	o.fs, o.CommitInterval, o.SegmentBytes = fs, 20*time.Millisecond, 1<<20
	q, _ := mustOpen(t, o)
	mustPut(t, q, record("p", 0))
	before, start := fs.syncs, time.Now()
	var wg sync.WaitGroup
	for w := 0; w < 32; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; i < 10; i++ {
				mustPut(t, q, record("p", i))
			}
		}()
	}
	wg.Wait()
	took := time.Since(start)
	fs.mu.Lock()
	syncs := fs.syncs - before
	fs.mu.Unlock()
	if limit := int(took/(20*time.Millisecond)) + 2; syncs > limit {
		t.Errorf("%d syncs in %v", syncs, took)
	}
	time.Sleep(30 * time.Millisecond)
	start = time.Now()
	mustPut(t, q, record("p", 0))
	if took := time.Since(start); took > 18*time.Millisecond {
		t.Logf("a lone record took %v", took)
	}
}

func TestPutHonoursItsContextAndClose(t *testing.T) {
	q, _ := mustOpen(t, testOptions(t.TempDir(), "a"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Put(ctx, record("p", 0)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	done := make(chan error)
	go func() { _, err := q.Sink("a").Next(context.Background()); done <- err }()
	time.Sleep(10 * time.Millisecond)
	q.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Next: %v", err)
	}
	if err := q.Put(context.Background(), record("p", 0)); !errors.Is(err, ErrClosed) {
		t.Errorf("Put: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir, "a", "b")
	o.MaxIndexed = 500
	for i := range o.Sinks {
		o.Sinks[i].InFlight, o.Sinks[i].FlushAfter = 2, 2*time.Millisecond
	}
	q, _ := mustOpen(t, o)
	const writers, each = 8, 300
	var wg sync.WaitGroup
	for w := 0; w < writers; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; i < each; i++ {
				mustPut(t, q, record(fmt.Sprint("p", w%4), w*each+i))
			}
		}()
	}
	var mu sync.Mutex
	got := map[string][]int{}
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		for c := 0; c < 3; c++ {
			readers.Add(1)
			go func() {
				defer readers.Done()
				for {
					b, err := q.Sink(name).Next(ctx)
					if err != nil {
						return
					}
					mu.Lock()
					got[name] = append(got[name], ids(t, b.Payload)...)
					mu.Unlock()
					q.Sink(name).Done(b)
				}
			}()
		}
	}
	wg.Wait()
	wait(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got["a"]) >= writers*each && len(got["b"]) >= writers*each
	})
	cancel()
	readers.Wait()
	for name, list := range got {
		if !equal(sorted(list), upTo(writers*each)) {
			t.Errorf("sink %s got %d", name, len(list))
		}
	}
}

func waitingBytes(s *Sink) (n int64) {
	for _, st := range s.Stats() {
		n += st.Bytes
	}
	return n
}

func wait(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not become true within 10 s")
		}
	}
}
