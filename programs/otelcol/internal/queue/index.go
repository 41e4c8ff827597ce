package queue

import "sort"

// entry is a record in memory (32 bytes).
type entry struct {
	accepted int64 // Unix nanoseconds
	offset   uint32
	size     uint32 // bytes of the frame
	items    uint32
	weight   uint32 // bytes
	takers   uint16
	index    uint16 // in its segment
	replay   bool   // of a dead letter
}

// replays returns the items of a record that repeats a dead letter, 0 of any other.
func (e *entry) replays() int64 {
	if e.replay {
		return int64(e.items)
	}
	return 0
}

// entryOf is an entry with its partition.
type entryOf struct {
	entry
	partition *partition
}

// sinkShare is what a sink has not taken yet of a part of a segment.
type sinkShare struct {
	next    uint32 // index in the segment of the next record to look at
	records int32
	items   int64
	bytes   int64 // of frames
	weight  int64
	replays int64 // items of records that repeat dead letters
}

func (a *sinkShare) add(e *entry) {
	a.records++
	a.items += int64(e.items)
	a.bytes += int64(e.size)
	a.weight += int64(e.weight)
	a.replays += e.replays()
}

func (a *sinkShare) subtract(e *entry) {
	a.records--
	a.items -= int64(e.items)
	a.bytes -= int64(e.size)
	a.weight -= int64(e.weight)
	a.replays -= e.replays()
}

// segmentPart is the part of a segment that belongs to one partition. It is hot when its entries are in memory.
type segmentPart struct {
	segment  *segment
	position int // absolute position in partition.parts
	oldest   int64
	hot      bool
	loading  bool
	entries  []entry
	shares   []sinkShare // by sink
}

// taken reports whether no sink has anything left to take.
func (sp *segmentPart) taken() bool {
	for i := range sp.shares {
		if sp.shares[i].records > 0 {
			return false
		}
	}
	return true
}

// from returns the position in entries of the first entry with at least this index in the segment.
func (sp *segmentPart) from(index uint32) int {
	if n := len(sp.entries); n > 0 && uint32(sp.entries[n-1].index) < index {
		return n
	}
	return sort.Search(len(sp.entries), func(i int) bool { return uint32(sp.entries[i].index) >= index })
}

// partition is the queue of one edge. Queue.mu guards it.
type partition struct {
	name     string
	live     int64 // bytes of frames that some sink still needs
	reserved int64 // bytes of requests that are being written
	base     int   // absolute position of parts[0]
	parts    []*segmentPart
	sinks    []*sinkPartition
}

// trim forgets the oldest parts that every sink has taken. The active segment stays: it still grows.
func (p *partition) trim() {
	for len(p.parts) > 0 {
		sp := p.parts[0]
		if !sp.segment.sealed || sp.segment.moving || !sp.taken() {
			return
		}
		p.parts[0] = nil
		p.parts = p.parts[1:]
		p.base++
	}
}

// sinkPartition is what one sink sees of one partition. Queue.mu guards it.
type sinkPartition struct {
	sink      *Sink
	partition *partition
	cursor    int       // absolute position of the part to take from
	left      sinkShare // not taken
	waitItems int64     // not done, including those in flight
	waitBytes int64
	replays   int64 // of waitItems
	inFlight  int
	batches   map[*Batch]struct{} // taken and not done
	blocked   bool
	deficit   int64
}

// head returns the part to take from, nil when nothing is left.
func (sp *sinkPartition) head() *segmentPart {
	p := sp.partition
	if sp.cursor < p.base {
		sp.cursor = p.base
	}
	for sp.cursor < p.base+len(p.parts) {
		part := p.parts[sp.cursor-p.base]
		if part.shares[sp.sink.number].records > 0 {
			return part
		}
		sp.cursor++
	}
	return nil
}

// oldest returns the time of acceptance of the oldest record that is not taken; 0: none.
func (sp *sinkPartition) oldest() int64 {
	part := sp.head()
	if part == nil {
		return 0
	}
	share := &part.shares[sp.sink.number]
	if part.hot {
		if i := part.from(share.next); i < len(part.entries) {
			return part.entries[i].accepted
		}
	}
	return part.oldest
}

// forget takes records out of the counts of what waits. The caller holds Queue.mu.
func (sp *sinkPartition) forget(gone sinkShare) {
	sp.left.records -= gone.records
	sp.left.items -= gone.items
	sp.left.bytes -= gone.bytes
	sp.left.weight -= gone.weight
	sp.left.replays -= gone.replays
	sp.waitItems -= gone.items
	sp.replays -= gone.replays
	sp.waitBytes -= gone.bytes
	sp.sink.waitBytes -= gone.bytes
}

// remember is the reverse of forget. The caller holds Queue.mu.
func (sp *sinkPartition) remember(share sinkShare) {
	sp.forget(sinkShare{0, -share.records, -share.items, -share.bytes, -share.weight, -share.replays})
}

// ensurePartition returns a partition and makes it when it is new. The caller holds Queue.mu.
func (q *Queue) ensurePartition(name string) *partition {
	p := q.partitions[name]
	if p == nil {
		p = &partition{name: name}
		for _, s := range q.sinks {
			sp := &sinkPartition{sink: s, partition: p, batches: map[*Batch]struct{}{}}
			p.sinks = append(p.sinks, sp)
			s.partitions = append(s.partitions, sp)
		}
		q.partitions[name] = p
	}
	return p
}

// ensurePart returns the part of a segment that belongs to a partition. The caller holds Queue.mu.
func (q *Queue) ensurePart(s *segment, p *partition) *segmentPart {
	part := s.parts[p]
	if part == nil {
		part = &segmentPart{segment: s, hot: true, shares: make([]sinkShare, len(q.sinks)), position: p.base + len(p.parts)}
		s.parts[p] = part
		p.parts = append(p.parts, part)
	}
	return part
}

// cool takes the entries of a part out of memory. The caller holds Queue.mu.
func (q *Queue) cool(part *segmentPart) {
	if part.hot {
		q.indexed -= len(part.entries)
		part.entries, part.hot = nil, false
	}
}

// coolBeyondLimit takes entries out of memory, newest segments first, until the limit holds. It keeps the
// parts that a sink reads now, and the active segment.
func (q *Queue) coolBeyondLimit() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.indexed <= q.maxIndexed {
		return
	}
	numbers := q.segmentNumbers()
	for i := len(numbers) - 1; i >= 0 && q.indexed > q.maxIndexed; i-- {
		s := q.segments[numbers[i]]
		if !s.sealed {
			continue
		}
		for p, part := range s.parts {
			if part.hot && !part.loading && (part.taken() || !p.isRead(part)) {
				q.cool(part)
			}
		}
	}
}

// isRead reports whether a part is the next one of some sink.
func (p *partition) isRead(part *segmentPart) bool {
	for _, sp := range p.sinks {
		if sp.head() == part {
			return true
		}
	}
	return false
}

// load reads the entries of a part from the disk, and of the other parts of that segment as long as the
// limit allows. The caller set part.loading and does not hold Queue.mu.
func (q *Queue) load(p *partition, part *segmentPart) {
	s := part.segment
	byPartition := map[string][]entry{}
	q.scanMu.Lock()
	data, err := q.readSegment(s)
	for attempt := 0; err != nil && attempt < 3; attempt++ {
		data, err = q.readSegment(s)
	}
	scanFrames(data, s.n, s.salt, func(f *frame, offset int64, size int) {
		byPartition[f.partition] = append(byPartition[f.partition], entryFrom(f, offset, size))
	})
	q.scanMu.Unlock()

	q.mu.Lock()
	part.loading = false
	q.install(p, part, byPartition[p.name])
	for other, otherPart := range s.parts {
		entries := byPartition[other.name]
		if !otherPart.hot && !otherPart.loading && !otherPart.taken() && q.indexed+len(entries) <= q.maxIndexed {
			q.install(other, otherPart, entries)
		}
	}
	now := q.now().UnixNano()
	for _, sp := range p.sinks {
		sp.sink.notify(sp, now)
	}
	q.mu.Unlock()
	q.coolBeyondLimit()
}

// install puts entries into a cold part. When the disk holds fewer records than before, the difference is
// taken from the counts and reported as lost. The caller holds Queue.mu.
func (q *Queue) install(p *partition, part *segmentPart, entries []entry) {
	if part.hot || part.segment.moving {
		return
	}
	s := part.segment
	part.entries = make([]entry, 0, len(entries))
	for _, e := range entries {
		if uint32(e.index) < s.records {
			part.entries = append(part.entries, e)
		}
	}
	part.hot = true
	q.indexed += len(part.entries)
	entitled := q.entitled(s.n)
	var lost sinkShare
	for i, sink := range q.sinks {
		share := &part.shares[i]
		now := sinkShare{next: share.next}
		for _, e := range part.entries[part.from(share.next):] {
			if s.needs(sink.slot, entitled, e.takers, uint32(e.index)) {
				now.add(&e)
			}
		}
		gone := sinkShare{0, share.records - now.records, share.items - now.items, share.bytes - now.bytes, share.weight - now.weight, share.replays - now.replays}
		if gone.records <= 0 {
			continue
		}
		p.sinks[i].forget(gone)
		*share = now
		if gone.records > lost.records {
			lost = gone
		}
	}
	if lost.records > 0 {
		s.live -= int(lost.records)
		s.liveBytes -= lost.bytes
		q.live -= lost.bytes
		p.live -= lost.bytes
		q.addLoss(lost.items, lost.bytes, s.n)
	}
}

func entryFrom(f *frame, offset int64, size int) entry {
	return entry{accepted: f.accepted, offset: uint32(offset), size: uint32(size), items: f.items,
		weight: f.weight, takers: f.takers, index: uint16(f.index), replay: f.replayOf != ""}
}
