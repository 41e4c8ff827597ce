package durablequeue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"lkeobs/programs/otelcol/internal/queue"
)

// settling is what a store has answered with success and holds in memory only. Tempo keeps spans so until its next sweep
// (ingester.flush_check_period), and loses them when it is killed before.
type settling struct {
	mu      sync.Mutex
	batches []settlingBatch
	// started is when the store's process began, as it says itself, at the last look; 0: not known.
	started float64
	// known is closed when the store has said it for the first time.
	known chan struct{}
	// journal names batches, and what is left of before.
	journal journal
	// before is what the journal of an earlier process of the collector names: when the store began that took a record.
	before map[queue.Ref]float64
	// deadline for the first answer of the store, while what it may have is not sent.
	deadline time.Time
}

type settlingBatch struct {
	b *queue.Batch
	// from is a time before which none of it was sent, at is when the last of it was taken.
	from, at time.Time
	// started is when the process of the store began that was the last known one before any of it was sent; 0: none was.
	started float64
	// strict: some of it was taken long before at, so that the store that runs at that time need not have it.
	strict bool
}

const (
	startPageTimeout = 5 * time.Second
	// startWait is for how long a start of the collector waits for the store to say since when it runs.
	startWait = 5 * time.Second
	// askAgain is how often a store is asked that has not answered yet.
	askAgain = 500 * time.Millisecond
)

// openJournal reads what the store took from an earlier process of the collector.
func (s *sink[T]) openJournal(dir string) {
	t := &s.settling
	t.known = make(chan struct{})
	t.journal.path = journalPath(dir, s.name)
	t.before = readJournal(t.journal.path)
	for ref := range t.before {
		if !s.q.Needs(ref) {
			delete(t.before, ref)
		}
	}
	t.deadline = time.Now().Add(startWait)
}

// awaitStart waits, after a start of the collector, until it is known what the store still has. It is false when reading ends.
func (s *sink[T]) awaitStart() bool {
	if s.cfg.Settle.After == 0 {
		return true
	}
	t := &s.settling
	t.mu.Lock()
	left := time.Until(t.deadline)
	ready := t.started != 0 || len(t.before) == 0 || left <= 0
	t.mu.Unlock()
	if ready {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-s.in.read.Done():
		return false
	case <-t.known:
	case <-timer.C:
	}
	return true
}

// takenBefore tells which records of a batch the store took from an earlier process of the collector and still has; nil: none.
// It also returns since when the store runs.
func (s *sink[T]) takenBefore(b *queue.Batch) (held []bool, started float64) {
	t := &s.settling
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started == 0 || len(t.before) == 0 {
		return nil, t.started
	}
	for i, ref := range b.Refs {
		if t.before[ref] == t.started {
			if held == nil {
				held = make([]bool, len(b.Refs))
			}
			held[i] = true
		}
	}
	return held, t.started
}

// taken ends a batch that the store has taken: at once, or when the store has had the time to write it down.
func (s *sink[T]) taken(j *job) {
	b := j.b
	if s.cfg.Settle.After == 0 {
		s.done(b)
		return
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.q.Hold(b)
		s.partLocked(b.Partition).failingSince = time.Time{}
	}
	s.mu.Unlock()
	if closed {
		return
	}
	one := settlingBatch{b: b, at: s.in.now(), started: j.started, strict: j.held || !j.began.IsZero()}
	one.from = one.at
	if one.strict {
		one.from = j.prepared
	}
	s.addTaken(one)
}

// addTaken adds a batch that was taken.
func (s *sink[T]) addTaken(one settlingBatch) {
	t := &s.settling
	t.mu.Lock()
	defer t.mu.Unlock()
	t.batches = append(t.batches, one)
	for _, ref := range one.b.Refs {
		delete(t.before, ref)
	}
	if one.started != 0 {
		s.journalFailed(t.journal.add(journalLine{one.started, one.b.Refs}))
	}
}

func (s *sink[T]) journalFailed(err error) {
	if err != nil {
		s.in.loud.warn("", s.name, "journal", "What a store took last cannot be written down. It is sent again when the collector is killed now.", zap.Error(err))
	}
}

// rewriteJournal follows the batches. The caller holds settling.mu.
func (s *sink[T]) rewriteJournal() {
	t := &s.settling
	by := map[float64][]queue.Ref{}
	for _, one := range t.batches {
		if one.started != 0 {
			by[one.started] = append(by[one.started], one.b.Refs...)
		}
	}
	for ref, started := range t.before {
		if s.q.Needs(ref) {
			by[started] = append(by[started], ref)
		} else {
			delete(t.before, ref)
		}
	}
	lines := make([]journalLine, 0, len(by))
	for _, started := range slices.Sorted(maps.Keys(by)) { // of a record in two lines, the last one counts
		lines = append(lines, journalLine{started, by[started]})
	}
	s.journalFailed(t.journal.rewrite(lines))
}

// closeJournal keeps the journal as it is.
func (s *sink[T]) closeJournal() {
	t := &s.settling
	t.mu.Lock()
	defer t.mu.Unlock()
	t.journal.end()
	t.journal.path = ""
}

// settleLoop ends batches after the time that the store needs to write them down, and sends them again when the store was
// started anew meanwhile. While the store does not say since when it runs, nothing is ended.
func (s *sink[T]) settleLoop() {
	every := min(max(s.cfg.Settle.After/5, 10*time.Millisecond), 3*time.Second)
	for {
		s.settle()
		s.settling.mu.Lock()
		known := s.settling.started != 0
		s.settling.mu.Unlock()
		pause := every
		if !known {
			pause = min(every, askAgain)
		}
		timer := time.NewTimer(pause)
		select {
		case <-s.in.read.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (s *sink[T]) settle() {
	t := &s.settling
	t.mu.Lock()
	waiting, known := len(t.batches), t.started
	t.mu.Unlock()
	if waiting == 0 && known != 0 {
		return
	}
	asked := s.in.now()
	started, err := startOf(s.in.read, s.cfg.Settle.StartPage)
	if err == nil && started <= 0 {
		err = fmt.Errorf("%s says that the store runs since %v", s.cfg.Settle.StartPage, started)
	}
	if err != nil {
		if waiting > 0 {
			s.in.loud.warn("", s.name, "settle", "A store does not say since when it runs. What it took last is kept.", zap.Error(err))
		}
		return
	}
	changed, ok := s.resend(started)
	if !ok {
		return
	}
	var ended []*queue.Batch
	t.mu.Lock()
	t.started = started
	if known == 0 {
		close(t.known)
	}
	var left []settlingBatch
	for _, one := range t.batches {
		if one.started == started && asked.Sub(one.at) >= s.cfg.Settle.After {
			ended = append(ended, one.b)
		} else {
			left = append(left, one)
		}
	}
	t.batches = left
	t.mu.Unlock()
	for _, b := range ended {
		s.done(b)
	}
	if changed || len(ended) > 0 {
		t.mu.Lock()
		s.rewriteJournal()
		t.mu.Unlock()
	}
}

// firstAnswer is less than a store needs from its start to its first answer.
const firstAnswer = 300 * time.Millisecond

// sinceOf is the time from which on answers are of the process that began at started. The clocks of store and collector are
// taken to agree.
func sinceOf(started float64) time.Time {
	return time.Unix(0, int64(started*1e9)).Add(firstAnswer)
}

// resend sends what the store took before it was started anew, and has not ended yet. What the store has of it on disk it
// keeps once. ok is false when reading ends; changed: the journal is not up to date.
func (s *sink[T]) resend(started float64) (changed, ok bool) {
	t := &s.settling
	since := sinceOf(started)
	t.mu.Lock()
	var again, kept []settlingBatch
	for _, one := range t.batches {
		switch {
		case one.started == started:
		case (one.started == 0 || !one.strict) && one.from.After(since):
			one.started, changed = started, true
		default:
			again = append(again, one)
			continue
		}
		kept = append(kept, one)
	}
	t.batches = kept
	t.mu.Unlock()
	items := 0
	for i, one := range again {
		isolated, ok := s.sendAgain(one.b)
		if !ok {
			t.mu.Lock()
			t.batches = append(again[i:len(again):len(again)], t.batches...)
			t.mu.Unlock()
			return changed, false
		}
		changed = true
		items += one.b.Items
		if isolated {
			continue
		}
		now := s.in.now()
		t.mu.Lock()
		t.batches = append(t.batches, settlingBatch{b: one.b, from: now, at: now, started: started})
		t.mu.Unlock()
	}
	if items > 0 {
		s.in.log.Warn("A store was started anew. What it took in its last seconds is sent again.",
			zap.String("sink", s.name), zap.String("signal", s.in.signal), zap.Int("items", items))
	}
	return changed, true
}

// sendAgain sends a batch until the store takes it. What the store refuses for good goes to the isolation once more, which
// finds the same dead letters. ok is false when reading ends.
func (s *sink[T]) sendAgain(b *queue.Batch) (isolated, ok bool) {
	if !s.q.Reload(b) {
		return false, true
	}
	for try := 1; ; try++ {
		j := &job{b: b, p: s.part(b.Partition), payload: b.Payload, prepared: s.in.now()}
		data, items := s.prepareAgain(j)
		if items == 0 {
			break
		}
		err := s.next(s.in.sending, data)
		if err == nil {
			break
		}
		if s.in.sending.Err() != nil {
			return false, false
		}
		v := classify(err, s.cfg.Rules, s.agent)
		if v.class == permanent && s.isolate(j, err) {
			return true, true
		}
		if !s.wait(s.backoff(try, v.delay), v.delay) {
			return false, false
		}
	}
	b.Payload = nil
	return false, true
}

// prepareAgain applies the rules to a batch that was delivered before: what they take out is a dead letter already.
func (s *sink[T]) prepareAgain(j *job) (data T, items int) {
	first := true
	for _, record := range recordsOf(j.b) {
		one, err := s.in.codec.unmarshal(record)
		if err != nil {
			continue
		}
		if s.rules != nil {
			s.in.codec.apply(s.rules, j.b.Partition, one, s.in.now())
		}
		items += s.in.codec.items(one)
		if first {
			data, first = one, false
		} else {
			s.in.codec.moveTo(one, data)
		}
	}
	return data, items
}

// startOf reads process_start_time_seconds from a page in Prometheus' text format.
func startOf(ctx context.Context, page string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, startPageTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return 0, err
	}
	answer, err := startClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s", page, answer.Status)
	}
	lines := bufio.NewScanner(io.LimitReader(answer.Body, 16<<20))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "process_start_time_seconds "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, errors.New(page + " has no process_start_time_seconds")
}

// startClient does not use a proxy: the store is a neighbour.
var startClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
