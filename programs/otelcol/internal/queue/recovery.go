package queue

import (
	"fmt"
	"path/filepath"
	"sort"

	"go.uber.org/zap"
)

const (
	damagedDir = "damaged"
	// maxDamagedBytes bounds the copies of damaged files.
	maxDamagedBytes = 256 << 20
)

// recover reads the folder. The newest segment comes first, because a later segment tells where the one before
// ended and which records of older segments were moved.
func (q *Queue) recover() error {
	names, err := q.fs.ReadDir(q.dir)
	if err != nil {
		return fmt.Errorf("folder of the queue cannot be read: %w", err)
	}
	isSegment, hasMarks := map[uint64]bool{}, map[uint64]bool{}
	var numbers []uint64
	add := func(n uint64) {
		if !isSegment[n] && !hasMarks[n] {
			numbers = append(numbers, n)
		}
	}
	for _, e := range names {
		if e.IsDir() {
			continue
		}
		if n, ok := parseSegmentName(e.Name(), segmentSuffix); ok {
			add(n)
			isSegment[n] = true
		} else if n, ok := parseSegmentName(e.Name(), marksSuffix); ok {
			add(n)
			hasMarks[n] = true
		}
	}
	sort.Slice(numbers, func(i, j int) bool { return numbers[i] > numbers[j] })

	data, _ := q.fs.ReadFile(filepath.Join(q.dir, countsFile))
	last, lastKnown := decodeCounts(data)
	q.countsSequence = last.sequence
	q.nextSegment = 1
	if lastKnown {
		q.running = last.running
		q.nextSegment = last.segment
		if last.index > 0 {
			q.nextSegment++
		}
	} else {
		// Without the counts the numbers of removed segments are unknown. The clock is ahead of them.
		q.nextSegment = max(1, uint64(max(q.now().Unix(), 1)))
	}
	if len(numbers) > 0 {
		q.nextSegment = max(q.nextSegment, numbers[0]+1)
	}
	if err := q.assignSlots(numbers); err != nil {
		q.logger.Warn("table of sinks was not written; it is written with the next record", zap.String("directory", q.dir), zap.Error(err))
	}

	r := recovery{q: q, last: last, lastKnown: lastKnown, moved: map[Ref]bool{}}
	if lastKnown && !isSegment[last.segment] && !hasMarks[last.segment] && last.running > last.start {
		q.addLoss(int64(last.running-last.start), int64(last.end)-segmentHeadBytes, last.segment)
	}
	for _, n := range numbers {
		r.segment(n, isSegment[n], hasMarks[n])
	}
	for _, p := range q.partitions {
		// The segments came newest first.
		for i, j := 0, len(p.parts)-1; i < j; i, j = i+1, j-1 {
			p.parts[i], p.parts[j] = p.parts[j], p.parts[i]
		}
		for i, part := range p.parts {
			part.position = i
		}
		for _, sp := range p.sinks {
			sp.cursor = 0
		}
	}
	q.scanBuffer = nil
	q.writeCounts(counts{segment: q.nextSegment, start: q.running, running: q.running})
	if len(q.loss.Files) > 0 {
		q.logger.Error("files of the queue are damaged; every intact record is used",
			zap.String("directory", q.dir), zap.Strings("files", q.loss.Files), zap.Int64("lost_items", q.loss.Items),
			zap.Int64("lost_bytes", q.loss.Bytes), zap.Bool("items_known", q.loss.ItemsKnown))
	}
	return nil
}

// assignSlots gives every sink the slot it had, and a new sink a free slot and the records from now on.
func (q *Queue) assignSlots(numbers []uint64) error {
	data, err := q.fs.ReadFile(filepath.Join(q.dir, sinksFile))
	old, ok := decodeSinkTable(data)
	if err != nil || !ok {
		old = q.slotsFromMarks(numbers)
	}
	known := map[string]sinkSlot{}
	for _, s := range old.Sinks {
		known[s.Name] = s
		q.nextSegment = max(q.nextSegment, s.First)
	}
	used := uint16(0)
	for _, s := range q.sinks {
		if k, ok := known[s.name]; ok {
			s.slot, s.first = k.Slot, k.First
			used |= 1 << k.Slot
		}
	}
	var table sinkTable
	for _, s := range q.sinks {
		if _, ok := known[s.name]; !ok {
			for s.slot = 0; used&(1<<s.slot) != 0; s.slot++ {
			}
			used |= 1 << s.slot
			s.first = q.nextSegment
			if len(old.Sinks) == 0 {
				// Nothing tells whose the records are: every sink gets them.
				s.first = 0
			}
		}
		table.Sinks = append(table.Sinks, sinkSlot{s.name, s.slot, s.first})
		if !s.options.Closing {
			q.takers |= 1 << s.slot
		}
	}
	// The table is replaced before the first record of a new sink can exist.
	if err := q.writeSinkTable(table); err != nil {
		q.unwrittenTable = &table
		return err
	}
	return nil
}

// slotsFromMarks rebuilds a lost table of sinks from the owners that each file of marks names. A segment whose
// marks cannot be read counts as one that names the sink: a record comes twice rather than never.
func (q *Queue) slotsFromMarks(numbers []uint64) (t sinkTable) {
	read := map[uint64]*marksHeader{}
	unread := uint64(0)         // the oldest of the newest segments whose marks cannot be read
	for _, n := range numbers { // newest first
		data, _ := q.fs.ReadFile(q.marksPath(n))
		if h, ok := decodeMarks(data, n); ok {
			read[n] = &h
		} else if len(read) == 0 {
			unread = n
		}
	}
	used := uint16(0)
	var unnamed []*Sink
	for _, s := range q.sinks {
		slot, first := -1, uint64(0)
		for _, n := range numbers {
			h := read[n]
			if h == nil {
				first = n
				continue
			}
			at := -1
			for i, owner := range h.owners {
				if owner == sinkHash(s.name) {
					at = i
				}
			}
			if at < 0 || slot >= 0 && at != slot {
				break
			}
			slot, first = at, n
		}
		switch {
		case slot >= 0 && used&(1<<slot) == 0:
			used |= 1 << slot
			if first == numbers[len(numbers)-1] {
				first = 0
			}
			t.Sinks = append(t.Sinks, sinkSlot{s.name, slot, first})
		case len(read) > 0 && unread > 0:
			unnamed = append(unnamed, s)
		}
	}
	// A sink that was added after the last marks that can be read has the lowest slot that was free.
	for _, s := range unnamed {
		slot := 0
		for used&(1<<slot) != 0 {
			slot++
		}
		used |= 1 << slot
		t.Sinks = append(t.Sinks, sinkSlot{s.name, slot, unread})
	}
	return t
}

// recovery is the state of reading a folder, from the newest segment to the oldest.
type recovery struct {
	q         *Queue
	last      counts
	lastKnown bool
	moved     map[Ref]bool // records of older segments that newer ones replace

	nextNumber uint64 // of the segment read before, 0: none
	nextStart  uint64 // its running count of items at its start
	nextKnown  bool
	hot        []*segmentPart // parts whose entries are in memory, newest first
}

// segment reads one segment and makes its records visible.
func (r *recovery) segment(n uint64, isSegment, hasMarks bool) {
	q := r.q
	s := &segment{n: n, sealed: true, parts: map[*partition]*segmentPart{}}
	var marks marksHeader
	var marksData []byte
	marksOk := false
	if hasMarks {
		marksData, _ = q.fs.ReadFile(q.marksPath(n))
		marks, marksOk = decodeMarks(marksData, n)
	}
	if marksOk && marks.freed {
		_ = q.fs.Remove(q.segmentPath(n))
		_ = q.fs.Remove(q.marksPath(n))
		return
	}
	s.noMarks = !marksOk
	if marksOk {
		s.doneItems = marks.doneItems
		for slot := range s.bits {
			if from := marksHead + slot*bitmapBytes; from < len(marksData) {
				bits := make([]byte, bitmapBytes)
				copy(bits, marksData[from:])
				for _, b := range bits {
					if b != 0 {
						s.bits[slot] = bits
						break
					}
				}
			}
		}
		// A file that was cut off is written whole again.
		s.unwritten = len(marksData) < marksBytes
	}

	var data []byte
	if isSegment {
		var err error
		if data, err = q.readSegment(s); err != nil {
			q.logger.Error("segment cannot be read to its end", zap.String("directory", q.dir), zap.Uint64("segment", n), zap.Error(err))
		}
	}
	fileBytes := int64(len(data))
	headSalt, headStart, headOk := decodeSegmentHead(data, n)
	startKnown := headOk || marksOk
	salt, start := headSalt, headStart
	if !headOk && marksOk {
		salt, start = marks.salt, marks.start
	}

	most := uint32(segmentRecords)
	if marksOk && marks.sealed {
		// What lies behind the seal was refused.
		most = marks.seal.records
	}
	type found struct {
		entry     entry
		partition string
	}
	var frames []found
	var good struct{ items, finishedItems uint64 }
	present := make([]byte, bitmapBytes)
	lastEnd := int64(segmentHeadBytes)
	end, endKnown := uint64(0), false
	var count uint32
	holes := scanFrames(data, n, salt, func(f *frame, offset int64, size int) {
		if f.index >= most {
			return
		}
		if !startKnown {
			start, startKnown = f.segmentStart, true
		}
		s.salt = f.salt
		present[f.index/8] |= 1 << (f.index % 8)
		good.items += uint64(f.items)
		if s.isSet(finishedSlot, f.index) {
			good.finishedItems += uint64(f.items)
		}
		lastEnd, count = offset+int64(size), f.index+1
		end = f.running + uint64(f.items)
		if f.movedFrom.Segment != 0 {
			r.moved[f.movedFrom] = true
		}
		if f.replayOf != "" && s.needed(q.entitled(n), f.takers, f.index) {
			q.replays = append(q.replays, f.replayOf)
		}
		frames = append(frames, found{entryFrom(f, offset, size), f.partition})
	})
	if salt != 0 {
		s.salt = salt
	}
	lastItems := end

	// Where the segment ended when the last record was acknowledged.
	endBytes := lastEnd
	switch {
	case marksOk && marks.sealed:
		end, endKnown = marks.seal.running, true
		endBytes, count = int64(marks.seal.end), marks.seal.records
	case r.lastKnown && r.last.segment == n:
		endKnown = true
		end = max(lastItems, r.last.running)
		endBytes, count = max(lastEnd, int64(r.last.end)), max(count, r.last.index)
	}
	if r.nextKnown && r.nextNumber == n+1 && !(marksOk && marks.sealed) {
		end, endKnown = max(r.nextStart, lastItems), true
	}
	if !endKnown {
		end = lastItems
	}

	// What is missing, and what of it no sink needed any more.
	missingRecords, missingFinished := 0, 0
	for i := uint32(0); i < count && i < segmentRecords; i++ {
		if present[i/8]&(1<<(i%8)) != 0 {
			continue
		}
		missingRecords++
		if s.isSet(finishedSlot, i) {
			missingFinished++
		}
	}
	var holeBytes int64
	for _, h := range holes {
		if from, to := max(h.from, segmentHeadBytes), min(h.to, endBytes); to > from {
			holeBytes += to - from
		}
	}
	if fileBytes < endBytes {
		holeBytes += endBytes - max(fileBytes, segmentHeadBytes)
	}
	var missingItems uint64
	exact := startKnown && endKnown
	if exact && end > start+good.items {
		missingItems = end - start - good.items
	}
	if s.doneItems > good.finishedItems {
		missingItems -= min(missingItems, s.doneItems-good.finishedItems)
	}
	switch {
	case missingRecords > 0 && missingRecords == missingFinished, !isSegment && missingRecords == 0 && missingItems == 0:
		// Every missing record was done.
	case missingRecords > missingFinished || missingItems > 0:
		r.copyAside(n, data)
		q.addLoss(int64(missingItems), max(holeBytes, 0), n)
		q.loss.ItemsKnown = q.loss.ItemsKnown && exact
		s.doneItems += missingItems
		s.unwritten = true
	case !endKnown && isSegment:
		// Without any count, bytes at the end that are no record may have been one.
		tail := fileBytes - lastEnd
		zero := true
		for _, b := range data[min(lastEnd, fileBytes):] {
			zero = zero && b == 0
		}
		if tail > 0 && !zero {
			r.copyAside(n, data)
			q.addLoss(0, tail, n)
			q.loss.ItemsKnown = false
		}
	}
	for i := uint32(0); i < count && i < segmentRecords; i++ {
		if present[i/8]&(1<<(i%8)) == 0 && !s.isSet(finishedSlot, i) {
			// Counted once: the next start takes these records for done.
			s.set(finishedSlot, i)
			s.unwritten = true
		}
	}
	s.start, s.running, s.records, s.end = start, end, min(count, segmentRecords), endBytes
	r.nextNumber, r.nextStart, r.nextKnown = n, start, startKnown
	if endKnown || len(frames) > 0 {
		q.running = max(q.running, end)
	}

	entitled := q.entitled(n)
	newest := len(r.hot)
	for i := range frames {
		f := &frames[i]
		e, index := &f.entry, uint32(f.entry.index)
		if r.moved[Ref{n, index}] && !s.isSet(finishedSlot, index) {
			s.set(finishedSlot, index)
			s.doneItems += uint64(e.items)
			s.unwritten = true
		}
		if !s.needed(entitled, e.takers, index) {
			continue
		}
		p := q.ensurePartition(f.partition)
		part := s.parts[p]
		if part == nil {
			part = q.ensurePart(s, p)
			part.oldest = e.accepted
			r.hot = append(r.hot, part)
		}
		part.entries = append(part.entries, *e)
		q.indexed++
		s.live++
		s.liveBytes += int64(e.size)
		q.live += int64(e.size)
		p.live += int64(e.size)
		for _, sp := range p.sinks {
			if s.needs(sp.sink.slot, entitled, e.takers, index) {
				part.shares[sp.sink.number].add(e)
				sp.left.add(e)
				sp.waitItems += int64(e.items)
				sp.replays += e.replays()
				sp.waitBytes += int64(e.size)
				sp.sink.waitBytes += int64(e.size)
			}
		}
	}
	for _, part := range r.hot[newest:] {
		part.entries = append(make([]entry, 0, len(part.entries)), part.entries...)
	}
	for len(r.hot) > 0 && q.indexed > q.maxIndexed {
		q.cool(r.hot[0])
		r.hot = r.hot[1:]
	}

	s.disk = max(fileBytes, 0) + marksBytes
	q.disk += s.disk
	q.segments[n] = s
	if s.live > 0 && (s.unwritten || s.noMarks || !marks.sealed) {
		q.writeSeal(s)
		if f, err := q.fs.Open(q.marksPath(n)); err == nil {
			_ = f.Sync()
			f.Close()
		}
	}
	if s.live == 0 {
		q.removeSegment(s)
	}
}

// copyAside keeps a copy of a damaged segment for whoever wants to look at it.
func (r *recovery) copyAside(n uint64, data []byte) {
	q := r.q
	dir := filepath.Join(q.dir, damagedDir)
	if len(data) == 0 || q.fs.MkdirAll(dir) != nil {
		return
	}
	kept := int64(len(data))
	if entries, err := q.fs.ReadDir(dir); err == nil {
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				kept += info.Size()
			}
		}
	}
	if kept > maxDamagedBytes {
		return
	}
	if err := writeDurably(q.fs, filepath.Join(dir, segmentName(n)+segmentSuffix), data); err != nil {
		q.logger.Warn("damaged segment was not copied", zap.String("directory", q.dir), zap.Uint64("segment", n), zap.Error(err))
	}
}
