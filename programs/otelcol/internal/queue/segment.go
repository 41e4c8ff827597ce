package queue

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

const (
	segmentMagic     = 0x316765736f656b6c // "lkeoseg1"
	segmentHeadBytes = 64
	// segmentRecords is the most records of one segment.
	segmentRecords = 16384

	bitmapBytes = segmentRecords / 8
	// finishedSlot is the bitmap of the records that no sink needs any more.
	finishedSlot  = maxSinks
	marksHead     = 4096
	marksSealAt   = 512
	marksItemsAt  = 1024
	marksFreedAt  = 1032
	marksBytes    = marksHead + (maxSinks+1)*bitmapBytes
	nameDigits    = 20
	segmentSuffix = ".seg"
	marksSuffix   = ".done"
)

// segment is one file of frames and its file of marks. The fields below mu are guarded by Queue.mu.
type segment struct {
	n     uint64
	salt  uint64
	start uint64 // running count of items at its start

	// file and marks are open while the segment is appended to, nil afterwards.
	file  file
	marks file
	// marksMu orders the writes of marks. It is taken before Queue.mu.
	marksMu sync.Mutex
	// noMarks: the file of marks could not be written when the segment was recovered.
	noMarks bool
	// unwritten: an earlier write of marks failed, so that the next one writes all of them.
	unwritten bool

	// mu: guarded by Queue.mu
	end       int64  // bytes of the file that are acknowledged
	running   uint64 // running count of items at the end
	records   uint32
	disk      int64 // bytes of both files
	sealed    bool
	live      int   // records that some sink still needs
	liveBytes int64 // bytes of their frames
	doneItems uint64
	flight    int // records that sinks took and neither marked nor gave up, over all sinks
	moving    bool
	freed     bool // the files are being removed
	bits      [maxSinks + 1][]byte
	parts     map[*partition]*segmentPart
}

func segmentName(n uint64) string { return fmt.Sprintf("%0*d", nameDigits, n) }

func (q *Queue) segmentPath(n uint64) string {
	return filepath.Join(q.dir, segmentName(n)+segmentSuffix)
}
func (q *Queue) marksPath(n uint64) string { return filepath.Join(q.dir, segmentName(n)+marksSuffix) }

// parseSegmentName returns the number of a segment's file. ok is false for any other file.
func parseSegmentName(name, suffix string) (n uint64, ok bool) {
	digits, found := strings.CutSuffix(name, suffix)
	if !found || len(digits) != nameDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0 && n < 1<<62
}

func (s *segment) encodeHead() []byte {
	b := make([]byte, 0, segmentHeadBytes)
	le := binary.LittleEndian
	b = le.AppendUint64(b, segmentMagic)
	b = le.AppendUint64(b, s.n)
	b = le.AppendUint64(b, s.salt)
	b = le.AppendUint64(b, s.start)
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return b[:segmentHeadBytes]
}

// decodeSegmentHead reads salt and start of segment n. ok is false when the head is damaged.
func decodeSegmentHead(b []byte, n uint64) (salt, start uint64, ok bool) {
	le := binary.LittleEndian
	if len(b) < segmentHeadBytes || le.Uint64(b) != segmentMagic || le.Uint64(b[8:]) != n ||
		le.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli) {
		return 0, 0, false
	}
	return le.Uint64(b[16:]), le.Uint64(b[24:]), true
}

// seal is what a segment held when the last record was appended.
type seal struct {
	end     uint64 // bytes
	running uint64
	records uint32
}

func (s seal) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, s.end)
	b = le.AppendUint64(b, s.running)
	b = le.AppendUint32(b, s.records)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli)^1)
}

// marksHeader is the decoded head of a file of marks.
type marksHeader struct {
	salt, start uint64
	owners      [maxSinks]uint64 // hash of the sink of each slot when the segment was created; 0: none
	sealed      bool
	seal        seal
	doneItems   uint64
	freed       bool
}

// encodeMarks returns the whole content of the file of marks.
func (s *segment) encodeMarks(owners [maxSinks]uint64, sealed *seal) []byte {
	le := binary.LittleEndian
	b := make([]byte, marksBytes)
	h := le.AppendUint64(b[:0], segmentMagic^1)
	h = le.AppendUint64(h, s.n)
	h = le.AppendUint64(h, s.salt)
	h = le.AppendUint64(h, s.start)
	for _, o := range owners {
		h = le.AppendUint64(h, o)
	}
	le.AppendUint32(h, crc32.Checksum(h, castagnoli))
	if sealed != nil {
		copy(b[marksSealAt:], sealed.encode())
	}
	le.PutUint64(b[marksItemsAt:], s.doneItems)
	for slot, bits := range s.bits {
		copy(b[marksHead+slot*bitmapBytes:], bits)
	}
	return b
}

// decodeMarks reads the head of the marks of segment n. ok is false when it is damaged.
func decodeMarks(b []byte, n uint64) (h marksHeader, ok bool) {
	le := binary.LittleEndian
	const fixed = 32 + 8*maxSinks
	if len(b) < marksHead || le.Uint64(b) != segmentMagic^1 || le.Uint64(b[8:]) != n ||
		le.Uint32(b[fixed:]) != crc32.Checksum(b[:fixed], castagnoli) {
		return h, false
	}
	h.salt, h.start = le.Uint64(b[16:]), le.Uint64(b[24:])
	for i := range h.owners {
		h.owners[i] = le.Uint64(b[32+8*i:])
	}
	e := b[marksSealAt:]
	if le.Uint32(e[20:]) == crc32.Checksum(e[:20], castagnoli)^1 {
		h.sealed = true
		h.seal = seal{le.Uint64(e), le.Uint64(e[8:]), le.Uint32(e[16:])}
	}
	h.doneItems = le.Uint64(b[marksItemsAt:])
	h.freed = b[marksFreedAt] == 1
	return h, true
}

func (s *segment) isSet(slot int, index uint32) bool {
	bits := s.bits[slot]
	return bits != nil && bits[index/8]&(1<<(index%8)) != 0
}

func (s *segment) set(slot int, index uint32) {
	if s.bits[slot] == nil {
		s.bits[slot] = make([]byte, bitmapBytes)
	}
	s.bits[slot][index/8] |= 1 << (index % 8)
}

// needs reports whether the sink in a slot still needs a record. entitled is the set of slots whose sinks
// get records of this segment at all.
func (s *segment) needs(slot int, entitled, takers uint16, index uint32) bool {
	return entitled&takers&(1<<slot) != 0 && !s.isSet(slot, index) && !s.isSet(finishedSlot, index)
}

// needed reports whether any sink still needs a record.
func (s *segment) needed(entitled, takers uint16, index uint32) bool {
	if s.isSet(finishedSlot, index) {
		return false
	}
	for slot := 0; slot < maxSinks; slot++ {
		if s.needs(slot, entitled, takers, index) {
			return true
		}
	}
	return false
}

// byteRange is a range of bytes of one bitmap that has to be written.
type byteRange struct {
	slot, from, to int // to excluded
}

func (r *byteRange) add(index uint32) {
	at := int(index / 8)
	if r.to == 0 {
		r.from, r.to = at, at+1
		return
	}
	r.from, r.to = min(r.from, at), max(r.to, at+1)
}

// finish marks records of one segment: as done for one sink, or (slot finishedSlot) as needed by no sink.
// The marks reach the file without a sync: they outlive the process, and a power cut repeats a record.
func (q *Queue) finish(s *segment, slot int, entries []entryOf) {
	s.marksMu.Lock()
	defer s.marksMu.Unlock()
	q.mu.Lock()
	if s.freed || q.closed {
		q.mu.Unlock()
		return
	}
	own := byteRange{slot: slot}
	finished := byteRange{slot: finishedSlot}
	entitled := q.entitled(s.n)
	for _, e := range entries {
		index := uint32(e.index)
		wasNeeded := s.needed(entitled, e.takers, index)
		s.set(slot, index)
		own.add(index)
		if wasNeeded && !s.needed(entitled, e.takers, index) {
			s.set(finishedSlot, index)
			finished.add(index)
			s.live--
			s.liveBytes -= int64(e.size)
			s.doneItems += uint64(e.items)
			q.live -= int64(e.size)
			e.partition.live -= int64(e.size)
			q.cache.remove(Ref{s.n, index})
		}
	}
	write := make([]struct {
		at   int64
		data []byte
	}, 0, 2)
	for i, r := range []byteRange{own, finished} {
		if r.to == 0 || i == 1 && slot == finishedSlot {
			continue
		}
		write = append(write, struct {
			at   int64
			data []byte
		}{int64(marksHead + r.slot*bitmapBytes + r.from), append([]byte(nil), s.bits[r.slot][r.from:r.to]...)})
	}
	items := s.doneItems
	q.mu.Unlock()

	err := q.withMarks(s, func(f file) error {
		for _, w := range write {
			if _, err := f.WriteAt(w.data, w.at); err != nil {
				return err
			}
		}
		if finished.to == 0 {
			return nil
		}
		_, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, items), marksItemsAt)
		return err
	})
	if err != nil {
		s.unwritten = true
		q.warn("marks of delivered records were not written; a restart may deliver these records again", s.n, err)
	}
}

// withMarks calls write with the open file of marks. It creates the file when it is missing and rewrites it
// when an earlier write failed. The caller holds marksMu.
func (q *Queue) withMarks(s *segment, write func(f file) error) error {
	f := s.marks
	if f == nil {
		opened, err := q.fs.Open(q.marksPath(s.n))
		if err != nil || s.noMarks {
			if err == nil {
				opened.Close()
			}
			if opened, err = q.fs.Create(q.marksPath(s.n)); err != nil {
				return err
			}
			s.unwritten = true
		}
		defer opened.Close()
		f = opened
	}
	if s.unwritten {
		q.mu.Lock()
		var sealed *seal
		if s.sealed {
			sealed = &seal{uint64(s.end), s.running, s.records}
		}
		all := s.encodeMarks(q.owners(), sealed)
		q.mu.Unlock()
		if _, err := f.WriteAt(all, 0); err != nil {
			return err
		}
		s.noMarks, s.unwritten = false, false
	}
	return write(f)
}

// writeSeal stores where a segment ends, so that a later cut can be counted.
func (q *Queue) writeSeal(s *segment) {
	s.marksMu.Lock()
	defer s.marksMu.Unlock()
	q.mu.Lock()
	e := seal{uint64(s.end), s.running, s.records}
	freed := s.freed
	q.mu.Unlock()
	if freed {
		return
	}
	if err := q.withMarks(s, func(f file) error {
		_, err := f.WriteAt(e.encode(), marksSealAt)
		return err
	}); err != nil {
		s.unwritten = true
	}
}

// removeSegment removes the files of a segment that no sink needs.
func (q *Queue) removeSegment(s *segment) {
	s.marksMu.Lock()
	defer s.marksMu.Unlock()
	q.mu.Lock()
	if s.freed || !s.sealed || s.live > 0 {
		q.mu.Unlock()
		return
	}
	s.freed = true
	q.mu.Unlock()
	// The flag tells a restart between the two removals that the missing segment is no loss.
	_ = q.withMarks(s, func(f file) error {
		_, err := f.WriteAt([]byte{1}, marksFreedAt)
		return err
	})
	if err := q.fs.Remove(q.segmentPath(s.n)); err != nil {
		q.warn("a segment that is not needed was not removed", s.n, err)
	}
	_ = q.fs.Remove(q.marksPath(s.n))
	q.mu.Lock()
	q.disk -= s.disk
	delete(q.segments, s.n)
	for p := range s.parts {
		p.trim()
	}
	q.mu.Unlock()
}
