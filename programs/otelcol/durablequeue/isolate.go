package durablequeue

import (
	"slices"
	"sort"
	"time"

	"go.uber.org/zap"

	"lkeobs/programs/otelcol/internal/deadletters"
	"lkeobs/programs/otelcol/internal/pieces"
)

// waiting is a single item that a store does not take, and does not refuse for good either.
type waiting struct {
	j       *job
	item    int
	payload []byte
	size    int
	tries   int
	first   time.Time
	last    time.Time
	due     time.Time
	text    string
}

// isolate hands a batch that failed to the isolation of its partition. It is false when too much is there already.
func (s *sink[T]) isolate(j *job, err error) bool {
	size := int64(len(j.payload))
	s.mu.Lock()
	if s.held > 0 && s.held+size > isolatedBytes {
		s.mu.Unlock()
		return false
	}
	s.held += size
	j.size, j.firstErr, j.began = size, err, s.in.now()
	p := j.p
	p.jobs = append(p.jobs, j)
	p.active++
	if p.active == isolatedBatches {
		s.blockLocked(p, 1)
	}
	start := !p.running
	p.running = true
	s.mu.Unlock()
	s.q.Release(j.b)
	if start {
		s.in.workers.Add(1) // the caller is a worker, so that the count is not 0 here
		go func() {
			defer s.in.workers.Done()
			s.isolation(p)
		}()
	} else {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// release frees the data of a job.
func (s *sink[T]) release(j *job) {
	if j.released {
		return
	}
	j.released = true
	j.index, j.payload = nil, nil
	j.b.Payload = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= j.size
	j.p.active--
	if j.p.active == isolatedBatches-1 {
		s.blockLocked(j.p, -1)
	}
}

// isolation takes the batches of a partition apart, one after the other, until there is nothing left.
func (s *sink[T]) isolation(p *part) {
	var current *job
	for s.in.read.Err() == nil {
		if !s.retryDue(p) {
			return
		}
		if current == nil {
			s.mu.Lock()
			if len(p.jobs) > 0 {
				current = p.jobs[0]
				p.jobs = slices.Delete(p.jobs, 0, 1)
			} else if len(p.room) == 0 {
				p.running = false
				s.mu.Unlock()
				return
			}
			s.mu.Unlock()
			if current == nil {
				if !s.waitForWork(p) {
					return
				}
				continue
			}
			if !s.begin(current) {
				current = nil
				continue
			}
		}
		if !s.step(current) {
			return
		}
		if len(current.stack) == 0 {
			if !s.flush(current) {
				return
			}
			s.release(current)
			s.finish(current)
			current = nil
		}
	}
	if current != nil && len(current.letters) > 0 {
		_, _ = s.in.letters.Append(current.letters...) // they have the same ids when they are found again
	}
}

func (s *sink[T]) waitForWork(p *part) bool {
	due := p.room[0].due
	for _, w := range p.room {
		if w.due.Before(due) {
			due = w.due
		}
	}
	timer := time.NewTimer(max(due.Sub(s.in.now()), time.Millisecond))
	defer timer.Stop()
	select {
	case <-s.in.read.Done():
		return false
	case <-p.wake:
	case <-timer.C:
	}
	return true
}

// begin indexes a job. It is false when that is impossible and the job has ended.
func (s *sink[T]) begin(j *job) bool {
	index, err := pieces.New(s.in.codec.signal, j.payload)
	if err != nil || index.Items() == 0 {
		s.in.log.Error("A batch cannot be taken apart.", zap.Error(err), zap.String("sink", s.name), zap.String("edge", j.p.name))
		if err == nil || s.writeLetters(j.p, []deadletters.Letter{s.letter(j.b, 0, "unreadable", 0, "invalid-payload", "the batch cannot be taken apart", j.payload, max(j.b.Items, 1))}) {
			s.release(j)
			s.done(j.b)
		}
		return false
	}
	j.index = index
	j.remaining = index.Items()
	kept := j.kept
	if kept == nil {
		kept = j.b.RefItems
	}
	start := 0
	for _, n := range kept {
		j.starts = append(j.starts, start)
		start += n
	}
	j.stack = []piece{{from: 0, to: j.remaining}}
	return true
}

// letterOf an item of a job.
func (s *sink[T]) letterOf(j *job, item int, reason, detail string, payload []byte) deadletters.Letter {
	record := max(sort.SearchInts(j.starts, item+1)-1, 0)
	for record+1 < len(j.starts) && j.starts[record+1] <= item {
		record++
	}
	ordinal := item
	if record < len(j.starts) {
		ordinal -= j.starts[record]
	}
	return s.letter(j.b, record, "item", ordinal, reason, detail, payload, 1)
}

// step sends the next piece of a job. It is false when reading ends.
func (s *sink[T]) step(j *job) bool {
	if s.tooOld(j.b) {
		left := 0
		for _, piece := range j.stack {
			left += piece.to - piece.from
		}
		j.stack = nil
		j.remaining -= left
		s.dropOld(j, left)
		return true
	}
	piece := j.stack[len(j.stack)-1]
	j.stack = j.stack[:len(j.stack)-1]
	payload := j.index.Range(piece.from, piece.to)
	err := j.firstErr
	if err != nil {
		j.firstErr = nil // of the whole, by the consumer
	} else {
		if err = s.sendPayload(payload); err == nil {
			j.remaining -= piece.to - piece.from
			s.delivered(j.p, piece.to-piece.from)
			return true
		}
		if s.in.sending.Err() != nil {
			return false
		}
	}
	v := classify(err, s.cfg.Rules, s.agent)
	text := deadletters.CleanText(err.Error())
	now := s.in.now()
	single := piece.to-piece.from == 1
	halve := func() {
		middle := (piece.from + piece.to) / 2
		right, left := piece, piece
		left.to, right.from = middle, middle
		left.tries, right.tries = 0, 0
		j.stack = append(j.stack, right, left)
	}
	again := func() bool {
		j.stack = append(j.stack, piece)
		s.failed(j.p, v, text)
		if !s.flush(j) {
			return false
		}
		return s.wait(s.backoff(piece.tries, v.delay), v.delay)
	}
	switch {
	case v.class == permanent && single:
		return s.deadLetter(j, s.letterOf(j, piece.from, "refused", text, payload))
	case v.class == permanent:
		halve()
		return true
	case v.class == connection:
		piece.tries++
		return again()
	}
	piece.tries++
	if piece.failedAt.IsZero() {
		piece.failedAt = now
	}
	s.failed(j.p, v, text)
	works := s.deliveredSince(later(j.began, now.Add(-s.in.cfg.Retry.Max)))
	known := s.isLearned(text, now)
	if single {
		if known && works {
			return s.deadLetter(j, s.letterOf(j, piece.from, "stuck", text, payload))
		}
		if s.enterRoom(j, piece, payload, text, v, now) {
			return true
		}
		return again()
	}
	// While the sink takes other data, the cause is in this piece, and there is no use in repeating it.
	if piece.tries >= triesBeforeHalving || works && s.deliveredSince(piece.failedAt) || works && known {
		halve()
		if !works {
			return s.flush(j) && s.wait(s.backoff(1, v.delay), v.delay)
		}
		return true
	}
	return again()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *sink[T]) sendPayload(payload []byte) error {
	data, err := s.in.codec.unmarshal(payload)
	if err != nil {
		return err
	}
	return s.next(s.in.sending, data)
}

func (s *sink[T]) deadLetter(j *job, l deadletters.Letter) bool {
	j.letters = append(j.letters, l)
	j.remaining--
	if len(j.letters) >= letterGroup {
		return s.flush(j)
	}
	return true
}

// flush writes the dead letters of a job.
func (s *sink[T]) flush(j *job) bool {
	if len(j.letters) == 0 {
		return true
	}
	if !s.writeLetters(j.p, j.letters) {
		return false
	}
	j.letters = nil
	return true
}

func (s *sink[T]) finish(j *job) {
	if j.remaining <= 0 && len(j.stack) == 0 {
		s.taken(j)
	}
}

func (s *sink[T]) isLearned(text string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := normalize(text)
	at, ok := s.learned[key]
	if !ok || now.Sub(at) > learnedFor {
		return false
	}
	s.learned[key] = now
	return true
}

func (s *sink[T]) learn(text string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.learned) >= learnedTexts {
		clear(s.learned)
	}
	s.learned[normalize(text)] = now
}

// enterRoom lets a single item wait while the rest goes on. It is false when the room is full.
func (s *sink[T]) enterRoom(j *job, piece piece, payload []byte, text string, v verdict, now time.Time) bool {
	p := j.p
	if len(p.room) >= s.waitingItems || p.roomBytes+len(payload) > waitingBytes && len(p.room) > 0 {
		return false
	}
	s.mu.Lock()
	full := s.waiting+int64(len(payload)) > allWaitingBytes
	if !full {
		s.waiting += int64(len(payload))
	}
	s.mu.Unlock()
	if full {
		return false
	}
	p.room = append(p.room, &waiting{
		j: j, item: piece.from, payload: payload, size: len(payload), tries: piece.tries, first: piece.failedAt, last: now,
		due: now.Add(s.backoff(piece.tries, v.delay)), text: text,
	})
	p.roomBytes += len(payload)
	return true
}

// retryDue sends the items of the waiting room that are due. While the sink takes nothing, one of them is enough.
func (s *sink[T]) retryDue(p *part) bool {
	now := s.in.now()
	probed := false
	for i := 0; i < len(p.room); {
		w := p.room[i]
		if w.due.After(now) {
			i++
			continue
		}
		if s.in.read.Err() != nil {
			return false
		}
		leave := false
		if s.tooOld(w.j.b) {
			s.dropOld(w.j, 1)
			leave = true
		} else if probed {
			w.due = now.Add(s.backoff(w.tries, 0))
		} else {
			ok, worked := true, false
			leave, worked, ok = s.retryWaiting(w)
			if !ok {
				return false
			}
			now = s.in.now()
			probed = !leave && !worked
		}
		if !leave {
			i++
			continue
		}
		p.room = slices.Delete(p.room, i, i+1)
		p.roomBytes -= w.size
		s.mu.Lock()
		s.waiting -= int64(w.size)
		s.mu.Unlock()
		w.j.remaining--
		if w.j.released {
			s.finish(w.j)
		}
	}
	return true
}

// loadFactor: an answer that speaks of load (429, ResourceExhausted) may change for as long as the load lasts.
const loadFactor = 20

// stuckAfter is for how long a single item may fail, while the sink takes others, before it is a dead letter.
func (s *sink[T]) stuckAfter(v verdict) time.Duration {
	if v.load {
		return loadFactor * s.in.cfg.Retry.StuckAfter
	}
	return s.in.cfg.Retry.StuckAfter
}

// retryWaiting sends one item. leave: it is settled; worked: the sink took something else since its last try.
func (s *sink[T]) retryWaiting(w *waiting) (leave, worked, ok bool) {
	p := w.j.p
	err := s.sendPayload(w.payload)
	if err == nil {
		s.delivered(p, 1)
		return true, true, true
	}
	if s.in.sending.Err() != nil {
		return false, false, false
	}
	now := s.in.now()
	v := classify(err, s.cfg.Rules, s.agent)
	text := deadletters.CleanText(err.Error())
	worked = s.deliveredSince(w.last)
	w.text = text
	letter := func(reason string) (bool, bool, bool) {
		if !s.writeLetters(p, []deadletters.Letter{s.letterOf(w.j, w.item, reason, text, w.payload)}) {
			return false, worked, false
		}
		return true, worked, true
	}
	switch {
	case v.class == permanent:
		return letter("refused")
	case v.class == retryable && worked && s.isLearned(text, now):
		return letter("stuck")
	case v.class == retryable && worked && w.tries >= triesBeforeHalving && now.Sub(w.first) >= s.stuckAfter(v):
		if !v.bare && !v.load { // a bare status code says nothing of the cause, and load passes
			s.learn(text, now)
		}
		return letter("stuck")
	}
	if v.class == retryable {
		w.tries++
	} else {
		worked = false
	}
	s.failed(p, v, text)
	w.last = now
	w.due = now.Add(s.backoff(w.tries, v.delay))
	return false, worked, true
}
