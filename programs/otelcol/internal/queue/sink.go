package queue

import (
	"context"
	"sort"
	"time"
)

// Sink hands the records of the queue to one consumer pipeline, with marks of its own.
// All methods may be called from several goroutines.
type Sink struct {
	q       *Queue
	name    string
	number  int // position in Queue.sinks
	slot    int // position of its marks
	first   uint64
	options SinkOptions

	limitBytes int64 // above it the oldest records are dropped; 0: never

	// guarded by Queue.mu
	partitions []*sinkPartition
	turn       int   // position in partitions of the partition whose turn it is
	waitBytes  int64 // bytes of frames that are not done
	dropped    map[string]int64
	waiters    []chan struct{}
	timer      *time.Timer
	timerAt    time.Time
}

// Batch is the records of one partition that a sink takes at once.
type Batch struct {
	Partition string
	// Payload is the concatenated payloads: as OTLP protobuf, one merged request. Do not change it.
	Payload []byte
	Items   int
	// Bytes is the sum of the weights of the records.
	Bytes int
	// Oldest is the time of acceptance of the oldest record.
	Oldest time.Time
	// Refs, RefItems, RefBytes, Kinds and ReplayOf describe the records, in the order of Payload.
	// RefBytes are the bytes of each record's payload; ReplayOf is '' for a record that is no replay.
	Refs     []Ref
	RefItems []int
	RefBytes []int
	Kinds    []uint8
	ReplayOf []string

	of       *sinkPartition
	taken    []takenRecord
	released bool
	held     bool
	done     bool
}

type takenRecord struct {
	segment *segment
	entry   entry
}

// Name returns the name of the sink.
func (s *Sink) Name() string { return s.name }

// isFull reports whether a batch is ready by its size.
func (sp *sinkPartition) isFull() bool {
	o := &sp.sink.options
	return sp.left.items >= int64(o.MaxItems) || sp.left.weight >= int64(o.MaxBytes)
}

// readyIn returns how long a partition has to wait for its next batch, in nanoseconds: 0 when it is ready.
// ok is false when only another call (Done, Release, Block, Put) can make it ready.
func (sp *sinkPartition) readyIn(now int64) (wait int64, ok bool) {
	if sp.left.records == 0 || sp.blocked || sp.inFlight >= sp.sink.options.InFlight {
		return 0, false
	}
	part := sp.head()
	if part == nil || part.loading {
		return 0, false
	}
	if sp.isFull() {
		return 0, true
	}
	age := now - sp.oldest()
	// A record of the future was accepted before the clock was set back: it does not wait again.
	if flush := int64(sp.sink.options.FlushAfter); age >= 0 && age < flush {
		return flush - age, true
	}
	return 0, true
}

// notify wakes a consumer when a partition is ready, or sets the timer for the time when it will be.
// The caller holds Queue.mu.
func (s *Sink) notify(sp *sinkPartition, now int64) {
	wait, ok := sp.readyIn(now)
	switch {
	case !ok:
	case wait == 0:
		s.wake()
	default:
		s.wakeIn(time.Duration(wait))
	}
}

// wake wakes one consumer that waits. The caller holds Queue.mu.
func (s *Sink) wake() {
	if n := len(s.waiters); n > 0 {
		close(s.waiters[n-1])
		s.waiters = s.waiters[:n-1]
	}
}

// wakeIn sets the timer, unless it fires earlier anyway. The caller holds Queue.mu.
func (s *Sink) wakeIn(wait time.Duration) {
	at := time.Now().Add(wait)
	if !s.timerAt.IsZero() && !at.Before(s.timerAt) {
		return
	}
	s.timerAt = at
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, func() {
			s.q.mu.Lock()
			s.timerAt = time.Time{}
			s.wake()
			s.q.mu.Unlock()
		})
		return
	}
	s.timer.Reset(wait)
}

// Next waits for a batch that is ready and takes it. The batch stays the caller's until Done or Release.
// It returns the error of ctx, or ErrClosed.
func (s *Sink) Next(ctx context.Context) (*Batch, error) {
	q := s.q
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return nil, ErrClosed
		}
		b, old, cold, wait := s.take()
		if b == nil && cold == nil && old == nil {
			waiter := make(chan struct{})
			s.waiters = append(s.waiters, waiter)
			if wait > 0 {
				s.wakeIn(time.Duration(wait))
			}
			q.mu.Unlock()
			select {
			case <-waiter:
			case <-ctx.Done():
				s.leave(waiter)
			}
			continue
		}
		if b != nil {
			// Another consumer takes what else is ready.
			s.wake()
		}
		q.mu.Unlock()
		if old != nil {
			s.settle(old)
		}
		if cold != nil {
			q.load(cold.partition, cold.part)
		}
		if b != nil && s.fill(b) {
			return b, nil
		}
	}
}

// leave removes a waiter whose context ended. When it was woken at the same time, another one takes its place.
func (s *Sink) leave(waiter chan struct{}) {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	for i, w := range s.waiters {
		if w == waiter {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			return
		}
	}
	s.wake()
}

// coldHead is a partition whose next records are not in memory.
type coldHead struct {
	partition *partition
	part      *segmentPart
}

// take chooses the partition whose turn it is and takes a batch, without its payload. It returns the records
// that became too old on the way, the part that has to be loaded first, or the time until the next batch is
// ready (0: none). Partitions take turns by bytes: each turn allows MaxBytes, and what a large record takes
// beyond that is missing at the next turn. The caller holds Queue.mu.
func (s *Sink) take() (b *Batch, old *Batch, cold *coldHead, wait int64) {
	now := s.q.now().UnixNano()
	quantum := int64(s.options.MaxBytes)
	for {
		debt := false
		wait = 0
		for range s.partitions {
			if s.turn >= len(s.partitions) {
				s.turn = 0
			}
			sp := s.partitions[s.turn]
			s.turn++
			in, ok := sp.readyIn(now)
			if !ok || in > 0 {
				if ok && (wait == 0 || in < wait) {
					wait = in
				}
				continue
			}
			// What a partition did not use at its last turn is no credit for this one.
			sp.deficit = min(sp.deficit+quantum, quantum)
			if sp.deficit <= 0 {
				debt = true
				continue
			}
			b, old, cold = sp.takeBatch(now)
			if b != nil {
				sp.deficit = max(sp.deficit-int64(b.Bytes), -4*quantum)
			}
			if b != nil || cold != nil || old != nil {
				return b, old, cold, 0
			}
		}
		if !debt {
			return nil, nil, nil, wait
		}
	}
}

// takeBatch takes the oldest records of a partition, up to the limits of a batch. The caller holds Queue.mu.
func (sp *sinkPartition) takeBatch(now int64) (b *Batch, old *Batch, cold *coldHead) {
	s, q := sp.sink, sp.sink.q
	o := &s.options
	tooOld := int64(-1 << 62)
	if o.MaxAge > 0 {
		tooOld = now - int64(o.MaxAge)
	}
	for {
		part := sp.head()
		if part == nil {
			return b, old, nil
		}
		if !part.hot {
			if b == nil && old == nil && !part.loading {
				part.loading = true
				cold = &coldHead{sp.partition, part}
			}
			return b, old, cold
		}
		share := &part.shares[s.number]
		entitled := q.entitled(part.segment.n)
		for i := part.from(share.next); i < len(part.entries); i++ {
			e := part.entries[i]
			if !part.segment.needs(s.slot, entitled, e.takers, uint32(e.index)) {
				continue
			}
			if e.accepted < tooOld {
				if old == nil {
					old = &Batch{of: sp}
				}
				if len(old.taken) == 1024 {
					return b, old, nil
				}
				sp.drop(old, part, &e)
				continue
			}
			if b != nil && (b.Items+int(e.items) > o.MaxItems || b.Bytes+int(e.weight) > o.MaxBytes) {
				return b, old, nil
			}
			if b == nil {
				b = &Batch{Partition: sp.partition.name, of: sp, Oldest: time.Unix(0, e.accepted)}
				sp.inFlight++
				sp.batches[b] = struct{}{}
			}
			sp.remove(b, part, &e)
			b.Items += int(e.items)
			b.Bytes += int(e.weight)
			if at := time.Unix(0, e.accepted); at.Before(b.Oldest) {
				b.Oldest = at
			}
			if share.records == 0 {
				break
			}
		}
		if share.records != 0 {
			// No entry is left: the counts follow what is there.
			sp.forget(*share)
			*share = sinkShare{next: segmentRecords}
		}
		if part.segment.sealed && part.taken() {
			q.cool(part)
			sp.partition.trim()
		}
	}
}

// remove moves a record from what is left to a batch. The caller holds Queue.mu.
func (sp *sinkPartition) remove(b *Batch, part *segmentPart, e *entry) {
	share := &part.shares[sp.sink.number]
	share.next = uint32(e.index) + 1
	share.subtract(e)
	sp.left.subtract(e)
	part.segment.flight++
	b.taken = append(b.taken, takenRecord{part.segment, *e})
}

// drop counts a record as dropped. The caller holds Queue.mu and settles the batch afterwards.
func (sp *sinkPartition) drop(b *Batch, part *segmentPart, e *entry) {
	sp.remove(b, part, e)
	sp.sink.dropped[sp.partition.name] += int64(e.items)
}

// fill reads the payloads of a batch. Records that are damaged on the disk are left out and counted as lost.
// It returns false when no record is left.
func (s *Sink) fill(b *Batch) bool {
	q := s.q
	payloads := make([][]byte, 0, len(b.taken))
	cached := make([]content, len(b.taken))
	q.mu.Lock()
	for i := range b.taken {
		t := &b.taken[i]
		cached[i] = q.cache.records[Ref{t.segment.n, uint32(t.entry.index)}]
	}
	q.mu.Unlock()
	reader := segmentReader{q: q}
	defer reader.close()
	kept := b.taken[:0]
	var lost []takenRecord
	total := 0
	b.Items, b.Bytes = 0, 0
	for i, t := range b.taken {
		c := cached[i]
		if c.payload == nil {
			f, err := reader.read(t)
			if err != nil {
				q.warn("a record cannot be read and is lost", t.segment.n, err)
				lost = append(lost, t)
				continue
			}
			c = content{f.payload, f.replayOf, f.kind}
		}
		kept = append(kept, t)
		payloads = append(payloads, c.payload)
		total += len(c.payload)
		b.Refs = append(b.Refs, Ref{t.segment.n, uint32(t.entry.index)})
		b.RefItems = append(b.RefItems, int(t.entry.items))
		b.RefBytes = append(b.RefBytes, len(c.payload))
		b.Kinds = append(b.Kinds, c.kind)
		b.ReplayOf = append(b.ReplayOf, c.replayOf)
		b.Items += int(t.entry.items)
		b.Bytes += int(t.entry.weight)
	}
	if len(lost) > 0 {
		rest := &Batch{of: b.of, taken: lost, held: b.held}
		q.mu.Lock()
		b.taken = append([]takenRecord(nil), kept...)
		for _, t := range lost {
			if index := uint32(t.entry.index); !t.segment.isSet(finishedSlot, index) && !q.lostRefs[Ref{t.segment.n, index}] {
				q.lostRefs[Ref{t.segment.n, index}] = true
				q.addLoss(int64(t.entry.items), int64(t.entry.size), t.segment.n)
			}
		}
		q.mu.Unlock()
		s.settle(rest)
		if len(kept) == 0 {
			s.finishBatch(b)
			return false
		}
	}
	if len(payloads) == 1 {
		b.Payload = payloads[0][:total:total]
		return true
	}
	b.Payload = make([]byte, 0, total)
	for _, p := range payloads {
		b.Payload = append(b.Payload, p...)
	}
	return true
}

// Done marks the records of a batch as done by this sink, for good.
func (s *Sink) Done(b *Batch) {
	s.q.mu.Lock()
	already := b.done
	b.done = true
	s.q.mu.Unlock()
	if already {
		return
	}
	// The marks are written before the next batch of the partition may be taken.
	s.settle(b)
	s.finishBatch(b)
}

// settle writes the marks of a batch and takes its records out of the waiting ones.
func (s *Sink) settle(b *Batch) {
	q := s.q
	entries := make([]entryOf, 0, len(b.taken))
	for i := 0; i < len(b.taken); {
		segment := b.taken[i].segment
		entries = entries[:0]
		for ; i < len(b.taken) && b.taken[i].segment == segment; i++ {
			entries = append(entries, entryOf{b.taken[i].entry, b.of.partition})
		}
		q.finish(segment, s.slot, entries)
	}
	idle := false
	q.mu.Lock()
	for _, t := range b.taken {
		t.segment.flight--
		if b.held {
			continue
		}
		b.of.waitItems -= int64(t.entry.items)
		b.of.replays -= t.entry.replays()
		b.of.waitBytes -= int64(t.entry.size)
		s.waitBytes -= int64(t.entry.size)
		if g := t.segment; g.flight == 0 && g.live <= 0 && (g.sealed || g.end > idleSegmentBytes) {
			idle = true
		}
	}
	q.mu.Unlock()
	if idle {
		q.kick()
	}
}

// freePlace frees the place in flight of a batch, once. The caller holds Queue.mu.
func (s *Sink) freePlace(b *Batch) {
	if !b.released {
		b.of.inFlight--
	}
	b.released = true
	s.notify(b.of, s.q.now().UnixNano())
}

// finishBatch frees the place in flight of a batch that is settled.
func (s *Sink) finishBatch(b *Batch) {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(b.of.batches, b)
	s.freePlace(b)
}

// Release frees the place in flight of a batch without marking its records. The caller keeps the batch and
// calls Done later; until then its records count as waiting, and a restart delivers them again.
func (s *Sink) Release(b *Batch) {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if b.released || b.done {
		return
	}
	s.freePlace(b)
}

// Hold takes a batch that was delivered out of what waits, without marking its records: until Done, Reload
// brings its payload back, and a restart of this process delivers it again.
func (s *Sink) Hold(b *Batch) {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if b.held || b.done {
		return
	}
	b.held = true
	b.Payload = nil
	for _, t := range b.taken {
		b.of.waitItems -= int64(t.entry.items)
		b.of.replays -= t.entry.replays()
		b.of.waitBytes -= int64(t.entry.size)
		s.waitBytes -= int64(t.entry.size)
	}
	delete(b.of.batches, b)
	s.freePlace(b)
}

// Reload reads the payload of a held batch again. It returns false when no record of it can be read any more;
// the batch is done then.
func (s *Sink) Reload(b *Batch) bool {
	b.Refs, b.RefItems, b.RefBytes, b.Kinds, b.ReplayOf = nil, nil, nil, nil, nil
	return s.fill(b)
}

// Needs reports whether a record may still come to this sink, or is with a caller of Next: it is on the disk and not
// marked as done.
func (s *Sink) Needs(r Ref) bool {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.segments[r.Segment]
	return g != nil && !g.freed && r.Index < segmentRecords && r.Segment >= s.first && !g.isSet(s.slot, r.Index) && !g.isSet(finishedSlot, r.Index)
}

// Block keeps Next from returning batches of a partition until it is called with false.
func (s *Sink) Block(partition string, blocked bool) {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	sp := q.ensurePartition(partition).sinks[s.number]
	sp.blocked = blocked
	s.notify(sp, q.now().UnixNano())
}

// Stats returns what waits for this sink, including what is in flight, sorted by partition.
func (s *Sink) Stats() []PartitionStats {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	stats := make([]PartitionStats, 0, len(s.partitions))
	for _, sp := range s.partitions {
		st := PartitionStats{Partition: sp.partition.name, Items: sp.waitItems, Bytes: sp.waitBytes, Replaying: sp.replays}
		if at := sp.oldest(); at != 0 {
			st.Oldest = time.Unix(0, at)
		}
		for b := range sp.batches {
			if st.Oldest.IsZero() || b.Oldest.Before(st.Oldest) {
				st.Oldest = b.Oldest
			}
		}
		stats = append(stats, st)
	}
	sort.Slice(stats, func(i, j int) bool { return stats[i].Partition < stats[j].Partition })
	return stats
}

// Dropped returns the items that were dropped because the sink's waiting bytes exceeded LimitBytes or because
// they were older than MaxAge, by partition, since Open.
func (s *Sink) Dropped() map[string]int64 {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	dropped := make(map[string]int64, len(s.dropped))
	for p, n := range s.dropped {
		dropped[p] = n
	}
	return dropped
}
