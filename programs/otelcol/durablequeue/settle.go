package durablequeue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
}

type settlingBatch struct {
	b  *queue.Batch
	at time.Time
}

const startPageTimeout = 5 * time.Second

// taken ends a batch that the store has taken: at once, or when the store has had the time to write it down.
func (s *sink[T]) taken(b *queue.Batch) {
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
	s.settling.mu.Lock()
	s.settling.batches = append(s.settling.batches, settlingBatch{b, s.in.now()})
	s.settling.mu.Unlock()
}

// settleLoop ends batches after the time that the store needs to write them down, and sends them again when the store was
// started anew meanwhile. While the store does not say since when it runs, nothing is ended.
func (s *sink[T]) settleLoop() {
	every := min(max(s.cfg.Settle.After/5, 10*time.Millisecond), 3*time.Second)
	for tick := time.NewTicker(every); ; {
		s.settle()
		select {
		case <-s.in.read.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

func (s *sink[T]) settle() {
	s.settling.mu.Lock()
	waiting, known := len(s.settling.batches), s.settling.started
	s.settling.mu.Unlock()
	if waiting == 0 && known != 0 {
		return
	}
	asked := s.in.now()
	started, err := startOf(s.in.read, s.cfg.Settle.StartPage)
	if err != nil {
		if waiting > 0 {
			s.in.loud.warn("", s.name, "settle", "A store does not say since when it runs. What it took last is kept.", zap.Error(err))
		}
		return
	}
	if known != 0 && started != known && !s.resend(sinceOf(started)) {
		return
	}
	var ended []*queue.Batch
	s.settling.mu.Lock()
	s.settling.started = started
	var left []settlingBatch
	for _, one := range s.settling.batches {
		if asked.Sub(one.at) >= s.cfg.Settle.After {
			ended = append(ended, one.b)
		} else {
			left = append(left, one)
		}
	}
	s.settling.batches = left
	s.settling.mu.Unlock()
	for _, b := range ended {
		s.done(b)
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
// keeps once. It is false when reading ends.
func (s *sink[T]) resend(since time.Time) bool {
	s.settling.mu.Lock()
	all := s.settling.batches
	s.settling.batches = nil
	s.settling.mu.Unlock()
	items := 0
	for i, one := range all {
		if one.at.After(since) {
			s.settling.mu.Lock()
			s.settling.batches = append(s.settling.batches, one)
			s.settling.mu.Unlock()
			continue
		}
		isolated, ok := s.sendAgain(one.b)
		if !ok {
			s.settling.mu.Lock()
			s.settling.batches = append(append([]settlingBatch(nil), all[i:]...), s.settling.batches...)
			s.settling.mu.Unlock()
			return false
		}
		items += one.b.Items
		if isolated {
			continue
		}
		s.settling.mu.Lock()
		s.settling.batches = append(s.settling.batches, settlingBatch{one.b, s.in.now()})
		s.settling.mu.Unlock()
	}
	if items > 0 {
		s.in.log.Warn("A store was started anew. What it took in its last seconds is sent again.",
			zap.String("sink", s.name), zap.String("signal", s.in.signal), zap.Int("items", items))
	}
	return true
}

// sendAgain sends a batch until the store takes it. What the store refuses for good goes to the isolation once more, which
// finds the same dead letters. ok is false when reading ends.
func (s *sink[T]) sendAgain(b *queue.Batch) (isolated, ok bool) {
	if !s.q.Reload(b) {
		return false, true
	}
	for try := 1; ; try++ {
		j := &job{b: b, p: s.part(b.Partition), payload: b.Payload}
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
