package queue

import (
	"context"
	"time"
)

const (
	// Old segments with few needed records are emptied when the files hold more than twice the needed bytes and this.
	moveSlackBytes = 64 << 20
	maxMovedAtOnce = 64
)

// kick wakes the maintenance.
func (q *Queue) kick() {
	select {
	case q.kicks <- struct{}{}:
	default:
	}
}

// maintain removes segments, drops what is over a limit and moves stragglers, whenever something changed.
func (q *Queue) maintain() {
	defer close(q.maintained)
	var ages <-chan time.Time
	var shortest time.Duration
	for _, s := range q.sinks {
		if age := s.options.MaxAge; age > 0 && (shortest == 0 || age < shortest) {
			shortest = age
		}
	}
	if shortest > 0 {
		ticker := time.NewTicker(min(max(shortest/20, 100*time.Millisecond), time.Minute))
		defer ticker.Stop()
		ages = ticker.C
	}
	for {
		select {
		case <-q.stop:
			return
		case <-ages:
			for _, s := range q.sinks {
				s.dropOld()
			}
		case <-q.kicks:
		}
		q.mu.Lock()
		retire := q.active != nil && q.active.live == 0 && q.active.end > idleSegmentBytes
		q.mu.Unlock()
		if retire {
			q.commitMu.Lock()
			q.retire = true
			q.commitCond.Signal()
			q.commitMu.Unlock()
		}
		q.dropOverLimit()
		q.removeUnneeded()
		for i := 0; i < maxMovedAtOnce && q.moveStragglers(); i++ {
			q.removeUnneeded()
		}
	}
}

// removeUnneeded removes the segments that no sink needs.
func (q *Queue) removeUnneeded() {
	var unneeded []*segment
	q.mu.Lock()
	for _, s := range q.segments {
		if s.sealed && s.live <= 0 && s.flight == 0 && !s.moving && !s.freed {
			unneeded = append(unneeded, s)
		}
	}
	q.mu.Unlock()
	for _, s := range unneeded {
		q.removeSegment(s)
	}
}

// dropOld drops the records of a sink that are older than MaxAge, also in blocked partitions.
func (s *Sink) dropOld() {
	age := int64(s.options.MaxAge)
	if age <= 0 {
		return
	}
	q := s.q
	q.mu.Lock()
	before := q.now().UnixNano() - age
	partitions := append([]*sinkPartition(nil), s.partitions...)
	q.mu.Unlock()
	for _, sp := range partitions {
		for s.dropFrom(sp, 1024, func(e *entry) bool { return e.accepted < before }) {
		}
	}
}

// dropFrom drops records from the head of a partition, up to a number and while more says so. It returns
// whether it dropped any, or loaded records to look at.
func (s *Sink) dropFrom(sp *sinkPartition, most int, more func(e *entry) bool) bool {
	q := s.q
	q.mu.Lock()
	part := sp.head()
	if part == nil || part.loading || q.closed {
		q.mu.Unlock()
		return false
	}
	if !part.hot {
		part.loading = true
		q.mu.Unlock()
		q.load(sp.partition, part)
		return true
	}
	old := &Batch{of: sp}
	share := &part.shares[s.number]
	entitled := q.entitled(part.segment.n)
	for _, e := range part.entries[part.from(share.next):] {
		if !part.segment.needs(s.slot, entitled, e.takers, uint32(e.index)) {
			continue
		}
		if len(old.taken) == most || !more(&e) {
			break
		}
		sp.drop(old, part, &e)
	}
	q.mu.Unlock()
	if len(old.taken) == 0 {
		return false
	}
	s.settle(old)
	return true
}

// dropOverLimit drops the oldest records of the sinks that drop when they are full.
func (q *Queue) dropOverLimit() {
	q.mu.Lock()
	pressed := q.pressed
	q.pressed = map[string]bool{}
	q.mu.Unlock()
	for _, s := range q.sinks {
		if !s.options.OnFullDrop {
			continue
		}
		for s.limitBytes > 0 {
			q.mu.Lock()
			over := s.waitBytes - s.limitBytes
			var oldest *sinkPartition
			at := int64(0)
			for _, sp := range s.partitions {
				if o := sp.oldest(); o != 0 && (oldest == nil || o < at) {
					oldest, at = sp, o
				}
			}
			q.mu.Unlock()
			if over <= 0 || oldest == nil {
				break
			}
			if !s.dropFrom(oldest, 64, func(e *entry) bool { over -= int64(e.size); return over+int64(e.size) > 0 }) {
				break
			}
		}
		// A destination that is down must not fill the share of an edge, or the queue, for the stores.
		for name, own := range pressed {
			q.mu.Lock()
			p := q.partitions[name]
			limit := q.maxBytes
			if own {
				limit = q.maxPartitionBytes
			}
			q.mu.Unlock()
			if p == nil {
				continue
			}
			for free := max(limit/20, 1); free > 0; {
				sp := p.sinks[s.number]
				if !own {
					sp = s.fullest()
				}
				if sp == nil || !s.dropFrom(sp, 1024, func(e *entry) bool { free -= int64(e.size); return free+int64(e.size) > 0 }) {
					break
				}
			}
		}
	}
}

// fullest returns the partition with the most bytes left for this sink, nil when nothing is left.
func (s *Sink) fullest() (fullest *sinkPartition) {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	for _, sp := range s.partitions {
		if sp.left.bytes > 0 && (fullest == nil || sp.left.bytes > fullest.left.bytes) {
			fullest = sp
		}
	}
	return fullest
}

// moveStragglers appends the needed records of one old segment again, so that its file can be removed. It does
// so for a segment with less than 5 % needed bytes while the files hold far more than what is needed, and for
// one with less than half while the files are near their limit. It returns whether it moved one.
func (q *Queue) moveStragglers() bool {
	q.mu.Lock()
	wasteful := q.disk > 2*q.live+moveSlackBytes
	near := q.maxBytes > 0 && q.disk > (q.maxBytes+q.slack())/10*9
	var s *segment
	if wasteful || near {
		for _, n := range q.segmentNumbers() {
			c := q.segments[n]
			few := c.liveBytes*20 < c.end || near && c.liveBytes*2 < c.end
			if c.sealed && c.live > 0 && c.flight == 0 && !c.moving && !c.freed && few && !c.isLoading() {
				s = c
				break
			}
		}
	}
	if s == nil {
		q.mu.Unlock()
		return false
	}
	// The records leave the sinks' view while they move.
	s.moving = true
	saved := map[*segmentPart][]sinkShare{}
	for p, part := range s.parts {
		saved[part] = append([]sinkShare(nil), part.shares...)
		for i := range part.shares {
			p.sinks[i].forget(part.shares[i])
			part.shares[i] = sinkShare{next: part.shares[i].next}
		}
	}
	entitled := q.entitled(s.n)
	q.mu.Unlock()

	r := &request{answer: make(chan error, 1)}
	q.scanMu.Lock()
	data, err := q.readSegment(s)
	if err == nil {
		scanFrames(data, s.n, s.salt, func(f *frame, _ int64, _ int) {
			q.mu.Lock()
			defer q.mu.Unlock()
			takers := uint16(0)
			for _, sink := range q.sinks {
				if s.needs(sink.slot, entitled, f.takers, f.index) {
					takers |= 1 << sink.slot
				}
			}
			if takers == 0 || f.index >= s.records {
				return
			}
			moved := *f
			moved.takers = takers
			moved.movedFrom = Ref{s.n, f.index}
			moved.payload = append([]byte(nil), f.payload...)
			r.frames = append(r.frames, moved)
			r.bytes += int64(moved.size())
		})
	}
	q.scanMu.Unlock()
	if err == nil && len(r.frames) > 0 {
		r.parts = make([]*partition, len(r.frames))
		if err = q.reserve(r, false); err == nil {
			err = q.submit(context.Background(), r)
		}
	}

	q.mu.Lock()
	s.moving = false
	if err != nil {
		now := q.now().UnixNano()
		for p, part := range s.parts {
			for i, share := range saved[part] {
				sp := p.sinks[i]
				part.shares[i] = share
				sp.remember(share)
				sp.cursor = min(sp.cursor, part.position)
				sp.sink.notify(sp, now)
			}
		}
		q.mu.Unlock()
		return false
	}
	missing := s.live - len(r.frames)
	for _, part := range s.parts {
		q.cool(part)
	}
	for i, p := range r.parts {
		p.live -= int64(r.frames[i].size())
	}
	q.live -= s.liveBytes
	if missing > 0 {
		q.addLoss(0, 0, s.n)
		q.loss.ItemsKnown = false
	}
	s.live, s.liveBytes = 0, 0
	q.mu.Unlock()
	return true
}

// isLoading reports whether a part is being read. The caller holds Queue.mu.
func (s *segment) isLoading() bool {
	for _, part := range s.parts {
		if part.loading {
			return true
		}
	}
	return false
}
