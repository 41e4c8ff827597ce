package queue

import (
	"context"
	"fmt"
	"time"
)

const (
	maxNameBytes = 1 << 15
	// idleSegmentBytes is the size above which the active segment is closed once no sink needs its records.
	idleSegmentBytes = 1 << 20
	// keptBufferBytes is the largest write buffer that is kept between commits.
	keptBufferBytes = 32 << 20
)

// request is one Put: its records become durable and visible together.
type request struct {
	frames  []frame
	parts   []*partition // by frame
	durable []func()
	bytes   int64
	arrived time.Time
	answer  chan error
}

// Put writes records to the disk. It returns nil when they are durable; then every sink that gets them will
// see them, also after a crash. The records of one call become visible together, as long as they are at
// most 8,192. The queue keeps the payloads: do not change them afterwards.
//
// *FullError, *DiskError and ErrClosed are retryable and leave no record behind. The error of ctx is returned
// only when nothing was written.
func (q *Queue) Put(ctx context.Context, recs ...Record) error {
	const most = segmentRecords / 2
	for len(recs) > most {
		if err := q.put(ctx, recs[:most]); err != nil {
			return err
		}
		recs = recs[most:]
	}
	return q.put(ctx, recs)
}

func (q *Queue) put(ctx context.Context, recs []Record) error {
	if len(recs) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{frames: make([]frame, len(recs)), parts: make([]*partition, len(recs)), answer: make(chan error, 1)}
	now := q.now().UnixNano()
	for i := range recs {
		rec := &recs[i]
		takers := q.takers
		if rec.OnlySink != "" {
			sink := q.byName[rec.OnlySink]
			if sink == nil {
				return fmt.Errorf("queue has no sink %q", rec.OnlySink)
			}
			takers = 1 << sink.slot
		}
		if takers == 0 {
			return ErrNoSink
		}
		if len(rec.Payload) > maxFrameBytes/2 || len(rec.Partition) > maxNameBytes || len(rec.ReplayOf) > maxNameBytes {
			return fmt.Errorf("record of partition %.100q is too large for the queue: %d bytes", rec.Partition, len(rec.Payload))
		}
		weight := rec.Weight
		if weight <= 0 {
			weight = len(rec.Payload)
		}
		r.frames[i] = frame{accepted: now, items: uint32(max(rec.Items, 0)), weight: uint32(min(weight, 1<<31)), takers: takers,
			kind: rec.Kind, partition: rec.Partition, replayOf: rec.ReplayOf, payload: rec.Payload}
		r.bytes += int64(r.frames[i].size())
		if rec.Durable != nil {
			r.durable = append(r.durable, rec.Durable)
		}
	}
	if err := q.reserve(r, true); err != nil {
		return err
	}
	return q.submit(ctx, r)
}

// reserve counts the bytes of a request against the limits. enforce false counts them without a limit.
func (q *Queue) reserve(r *request, enforce bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	for i := range r.frames {
		r.parts[i] = q.ensurePartition(r.frames[i].partition)
	}
	if enforce {
		if err := q.checkLimits(r); err != nil {
			q.full(err)
			return err
		}
	}
	q.reserved += r.bytes
	for i, p := range r.parts {
		p.reserved += int64(r.frames[i].size())
	}
	return nil
}

// checkLimits returns the limit that a request would exceed. The caller holds Queue.mu.
func (q *Queue) checkLimits(r *request) *FullError {
	name := r.frames[0].partition
	if q.maxBytes > 0 {
		if used := q.live + q.reserved; used+r.bytes > q.maxBytes {
			return &FullError{Partition: name, Bytes: used, LimitBytes: q.maxBytes}
		}
		// Records that are done take disk space until their whole segment is done.
		if used, limit := q.disk+q.reserved, q.maxBytes+q.slack(); used+r.bytes > limit {
			return &FullError{Partition: name, Bytes: used, LimitBytes: limit}
		}
	}
	if q.maxPartitionBytes > 0 {
		var added map[*partition]int64
		if len(r.parts) > 1 {
			added = map[*partition]int64{}
		}
		for i, p := range r.parts {
			bytes := int64(r.frames[i].size())
			if added != nil {
				added[p] += bytes
				bytes = added[p]
			}
			if used := p.live + p.reserved; used+bytes > q.maxPartitionBytes {
				return &FullError{Partition: p.name, Bytes: used, LimitBytes: q.maxPartitionBytes, OfPartition: true}
			}
		}
	}
	return nil
}

// slack is how many bytes the files may hold beyond the limit of the live bytes.
func (q *Queue) slack() int64 { return max(64<<20, q.maxBytes/10) }

// unreserve takes back reserve. The caller holds Queue.mu.
func (q *Queue) unreserve(r *request) {
	q.reserved -= r.bytes
	for i, p := range r.parts {
		p.reserved -= int64(r.frames[i].size())
	}
}

// submit hands a reserved request to the committer and waits for its answer.
func (q *Queue) submit(ctx context.Context, r *request) error {
	r.arrived = time.Now()
	q.commitMu.Lock()
	if q.stopping {
		q.commitMu.Unlock()
		q.withdraw(r)
		return ErrClosed
	}
	q.pending = append(q.pending, r)
	q.commitCond.Signal()
	q.commitMu.Unlock()
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
	}
	q.commitMu.Lock()
	for i, other := range q.pending {
		if other == r {
			q.pending = append(q.pending[:i:i], q.pending[i+1:]...)
			q.commitMu.Unlock()
			q.withdraw(r)
			return ctx.Err()
		}
	}
	q.commitMu.Unlock()
	// The request is being written: its answer is the truth and comes soon.
	return <-r.answer
}

func (q *Queue) withdraw(r *request) {
	q.mu.Lock()
	q.unreserve(r)
	q.mu.Unlock()
}

// commitLoop writes what waits, with one sync for all of it. It is the only writer of segments.
func (q *Queue) commitLoop() {
	defer close(q.committed)
	var started, ended time.Time
	last := 0
	for {
		q.commitMu.Lock()
		for len(q.pending) == 0 && !q.stopping && !q.retire {
			q.commitCond.Wait()
		}
		if len(q.pending) == 0 {
			retire, stop := q.retire, q.stopping
			q.retire = false
			q.commitMu.Unlock()
			if stop {
				return
			}
			if retire {
				q.retireActive()
			}
			continue
		}
		// A lone request came after the answer to the one before it: no other request is waiting.
		lone := len(q.pending) == 1 && last <= 1 && q.pending[0].arrived.After(ended)
		if wait := q.commitInterval - time.Since(started); !lone && wait > 0 && !q.stopping {
			q.commitMu.Unlock()
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-q.stop:
				timer.Stop()
			}
			q.commitMu.Lock()
		}
		group := q.pending
		q.pending = nil
		q.commitMu.Unlock()
		if len(group) == 0 {
			continue
		}
		started = time.Now()
		last = len(group)
		q.commit(group)
		ended = time.Now()
	}
}

// commit writes a group of requests and answers them.
func (q *Queue) commit(group []*request) {
	for len(group) > 0 {
		s, err := q.ensureActive()
		if err != nil {
			q.fail(group, &DiskError{"create", err})
			return
		}
		buf := q.buffer[:0]
		records, running := s.records, s.running
		n := 0
		for ; n < len(group); n++ {
			r := group[n]
			tooLong := s.end+int64(len(buf))+r.bytes > q.segmentBytes && records > 0
			if tooLong || int(records)+len(r.frames) > segmentRecords {
				break
			}
			for i := range r.frames {
				f := &r.frames[i]
				f.segment, f.salt, f.segmentStart = s.n, s.salt, s.start
				f.index, f.running = records, running
				records++
				running += uint64(f.items)
				buf = f.appendTo(buf)
			}
		}
		if cap(buf) <= keptBufferBytes {
			q.buffer = buf
		}
		if n == 0 {
			q.sealActive()
			continue
		}
		if err := q.append(s, buf); err != nil {
			q.fail(group, err)
			return
		}
		q.publish(s, group[:n], int64(len(buf)), records, running)
		group = group[n:]
	}
}

// append writes bytes at the end of a segment and makes them durable. When it fails, the file ends where it
// ended before, so that a record that was refused never appears.
func (q *Queue) append(s *segment, buf []byte) error {
	op := "write"
	_, err := s.file.WriteAt(buf, s.end)
	if err == nil {
		op = "sync"
		err = s.file.Sync()
	}
	if err == nil {
		return nil
	}
	truncateErr := s.file.Truncate(s.end)
	if op == "sync" || truncateErr != nil {
		// After a failed sync the kernel may have dropped the written pages, and after a failed truncate the
		// refused bytes are still there: the seal says where the segment ends, and a new segment follows.
		if truncateErr != nil {
			q.untruncated = s
		}
		q.sealActive()
	}
	return &DiskError{op, err}
}

func (q *Queue) fail(group []*request, err error) {
	q.warn("records were refused", 0, err)
	q.mu.Lock()
	for _, r := range group {
		q.unreserve(r)
	}
	q.mu.Unlock()
	for _, r := range group {
		r.answer <- err
	}
}

// publish makes durable records visible to the sinks and answers their requests.
func (q *Queue) publish(s *segment, group []*request, written int64, records uint32, running uint64) {
	q.writeCounts(counts{segment: s.n, start: s.start, running: running, end: uint64(s.end + written), index: records})
	for _, r := range group {
		for _, durable := range r.durable {
			durable()
		}
	}
	now := q.now().UnixNano()
	q.mu.Lock()
	offset := s.end
	for _, r := range group {
		q.unreserve(r)
		for i := range r.frames {
			f, p := &r.frames[i], r.parts[i]
			size := f.size()
			e := entryFrom(f, offset, size)
			offset += int64(size)
			part := q.ensurePart(s, p)
			part.entries = append(part.entries, e)
			q.indexed++
			if part.oldest == 0 {
				part.oldest = e.accepted
			}
			s.live++
			s.liveBytes += int64(size)
			q.live += int64(size)
			p.live += int64(size)
			q.cache.add(Ref{s.n, f.index}, content{f.payload, f.replayOf, f.kind})
			for _, sp := range p.sinks {
				if e.takers&(1<<sp.sink.slot) == 0 {
					continue
				}
				wasEmpty := sp.left.records == 0
				part.shares[sp.sink.number].add(&e)
				sp.left.add(&e)
				sp.waitItems += int64(e.items)
				sp.replays += e.replays()
				sp.waitBytes += int64(e.size)
				sp.sink.waitBytes += int64(e.size)
				sp.cursor = min(sp.cursor, part.position)
				if wasEmpty || sp.isFull() {
					sp.sink.notify(sp, now)
				}
			}
		}
	}
	s.end += written
	s.records, s.running = records, running
	s.disk += written
	q.disk += written
	q.running = running
	drop := false
	for _, sink := range q.sinks {
		drop = drop || sink.limitBytes > 0 && sink.waitBytes > sink.limitBytes
	}
	q.mu.Unlock()
	for _, r := range group {
		r.answer <- nil
	}
	if drop {
		q.kick()
	}
}

// ensureActive returns the segment to append to. It makes both files durable before the first record.
func (q *Queue) ensureActive() (*segment, error) {
	if q.active != nil {
		return q.active, nil
	}
	if q.unwrittenTable != nil {
		// A record must not exist before the table names its sinks.
		if err := q.writeSinkTable(*q.unwrittenTable); err != nil {
			return nil, err
		}
		q.unwrittenTable = nil
	}
	untruncated := q.untruncated
	if untruncated != nil {
		// The seal may have failed together with the record that was refused.
		q.writeSeal(untruncated)
		q.untruncated = nil
	}
	s := &segment{n: q.nextSegment, salt: q.random(), start: q.running, running: q.running, end: segmentHeadBytes,
		disk: segmentHeadBytes + marksBytes, parts: map[*partition]*segmentPart{}}
	marksPath, segmentPath := q.marksPath(s.n), q.segmentPath(s.n)
	var err error
	defer func() {
		if err == nil {
			return
		}
		q.untruncated = untruncated
		if s.file != nil {
			s.file.Close()
		}
		if s.marks != nil {
			s.marks.Close()
		}
		_ = q.fs.Remove(segmentPath)
		_ = q.fs.Remove(marksPath)
	}()
	if s.marks, err = q.fs.Create(marksPath); err != nil {
		return nil, err
	}
	if _, err = s.marks.WriteAt(s.encodeMarks(q.owners(), nil), 0); err != nil {
		return nil, err
	}
	if err = s.marks.Sync(); err != nil {
		return nil, err
	}
	if s.file, err = q.fs.Create(segmentPath); err != nil {
		return nil, err
	}
	if _, err = s.file.WriteAt(s.encodeHead(), 0); err != nil {
		return nil, err
	}
	if err = s.file.Sync(); err != nil {
		return nil, err
	}
	if err = q.fs.SyncDir(q.dir); err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.nextSegment++
	q.segments[s.n] = s
	q.active = s
	q.disk += s.disk
	q.mu.Unlock()
	return s, nil
}

// sealActive ends the active segment. The next record starts a new one.
func (q *Queue) sealActive() {
	s := q.active
	q.writeSeal(s)
	s.marksMu.Lock()
	_ = s.marks.Sync()
	s.marks.Close()
	s.marks = nil
	s.marksMu.Unlock()
	s.file.Close()
	q.writeCounts(counts{segment: q.nextSegment, start: q.running, running: q.running})
	if q.countsFile != nil {
		// After a power cut, older counts would take the removal of this segment for a loss.
		_ = q.countsFile.Sync()
	}
	q.mu.Lock()
	s.file = nil
	s.sealed = true
	q.active = nil
	for p, part := range s.parts {
		if part.taken() {
			q.cool(part)
		}
		p.trim()
	}
	q.mu.Unlock()
	q.coolBeyondLimit()
	q.kick()
}

// retireActive ends the active segment when no sink needs its records and it is not small.
func (q *Queue) retireActive() {
	q.mu.Lock()
	idle := q.active != nil && q.active.live == 0 && q.active.end > idleSegmentBytes
	q.mu.Unlock()
	if idle {
		q.sealActive()
	}
}

// full logs, at most once in ten seconds for a partition, that records are refused. The caller holds Queue.mu.
func (q *Queue) full(err *FullError) {
	q.pressed[err.Partition] = err.OfPartition
	q.kick()
	if now := time.Now(); now.Sub(q.fullLogged[err.Partition]) > 10*time.Second {
		q.fullLogged[err.Partition] = now
		q.logWarn("queue full: the requests of this edge are refused until space is free", err.Partition, err)
	}
}
