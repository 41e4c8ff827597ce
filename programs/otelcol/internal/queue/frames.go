package queue

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A frame holds one record:
//
//	magic u32 | length of the body u32 | crc32c of length and body u32 | body
//
// The body is a fixed part, the partition, the replay id and the payload. All numbers are little endian.
const (
	frameMagic  = 0x71e5c0de
	framePrefix = 12
	frameFixed  = 72
	frameHead   = framePrefix + frameFixed
	// maxFrameBytes bounds what a damaged length may claim.
	maxFrameBytes = 1 << 30
)

var (
	castagnoli      = crc32.MakeTable(crc32.Castagnoli)
	frameMagicBytes = binary.LittleEndian.AppendUint32(nil, frameMagic)
)

// frame is the decoded form of a record on disk. Its slices and strings are copies, except payload.
type frame struct {
	segment uint64
	// salt is the random number of the segment. It keeps a payload that holds the bytes of another
	// queue's frame from being read as a frame.
	salt uint64
	// segmentStart is the running count of items at the start of the segment.
	segmentStart uint64
	// running is the count of all items that were appended before this record.
	running  uint64
	accepted int64 // Unix nanoseconds
	// movedFrom names the record that this one replaces; segment 0: none.
	movedFrom Ref
	index     uint32
	items     uint32
	weight    uint32 // bytes
	takers    uint16 // bit i: the sink in slot i gets the record
	kind      uint8
	partition string
	replayOf  string
	payload   []byte
}

// size returns the bytes of the frame on disk.
func (f *frame) size() int {
	return frameHead + len(f.partition) + len(f.replayOf) + len(f.payload)
}

// appendTo appends the encoded frame to buf.
func (f *frame) appendTo(buf []byte) []byte {
	start := len(buf)
	le := binary.LittleEndian
	buf = le.AppendUint32(buf, frameMagic)
	buf = le.AppendUint32(buf, uint32(f.size()-framePrefix))
	buf = le.AppendUint32(buf, 0)
	buf = le.AppendUint64(buf, f.segment)
	buf = le.AppendUint64(buf, f.salt)
	buf = le.AppendUint64(buf, f.segmentStart)
	buf = le.AppendUint64(buf, f.running)
	buf = le.AppendUint64(buf, uint64(f.accepted))
	buf = le.AppendUint64(buf, f.movedFrom.Segment)
	buf = le.AppendUint32(buf, f.movedFrom.Index)
	buf = le.AppendUint32(buf, f.index)
	buf = le.AppendUint32(buf, f.items)
	buf = le.AppendUint32(buf, f.weight)
	buf = le.AppendUint16(buf, f.takers)
	buf = append(buf, f.kind, 0)
	buf = le.AppendUint16(buf, uint16(len(f.partition)))
	buf = le.AppendUint16(buf, uint16(len(f.replayOf)))
	buf = append(buf, f.partition...)
	buf = append(buf, f.replayOf...)
	buf = append(buf, f.payload...)
	le.PutUint32(buf[start+8:], frameChecksum(buf[start:]))
	return buf
}

// frameChecksum returns the checksum of a whole frame: of its length and its body.
func frameChecksum(b []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, b[4:8]), castagnoli, b[framePrefix:])
}

// parseFrame decodes the frame at the start of b. payload aliases b. ok is false when the bytes are no intact frame.
func parseFrame(b []byte) (f frame, size int, ok bool) {
	le := binary.LittleEndian
	if len(b) < frameHead || le.Uint32(b) != frameMagic {
		return f, 0, false
	}
	length := le.Uint32(b[4:])
	if length < frameFixed || length > maxFrameBytes || int(length) > len(b)-framePrefix {
		return f, 0, false
	}
	size = framePrefix + int(length)
	b = b[:size]
	if le.Uint32(b[8:]) != frameChecksum(b) {
		return f, 0, false
	}
	h := b[framePrefix:]
	partition, replay := int(le.Uint16(h[68:])), int(le.Uint16(h[70:]))
	if frameFixed+partition+replay > len(h) {
		return f, 0, false
	}
	rest := h[frameFixed:]
	return frame{
		segment:      le.Uint64(h),
		salt:         le.Uint64(h[8:]),
		segmentStart: le.Uint64(h[16:]),
		running:      le.Uint64(h[24:]),
		accepted:     int64(le.Uint64(h[32:])),
		movedFrom:    Ref{Segment: le.Uint64(h[40:]), Index: le.Uint32(h[48:])},
		index:        le.Uint32(h[52:]),
		items:        le.Uint32(h[56:]),
		weight:       le.Uint32(h[60:]),
		takers:       le.Uint16(h[64:]),
		kind:         h[66],
		partition:    string(rest[:partition]),
		replayOf:     string(rest[partition : partition+replay]),
		payload:      rest[partition+replay:],
	}, size, true
}

// span is a range of bytes of a segment file, from included to excluded.
type span struct{ from, to int64 }

// scanFrames calls visit for every intact frame of a segment, in the order of the file, and returns the
// ranges that hold none. After a damaged range it goes on at the next intact frame of the same segment.
// salt 0 means unknown: then the first intact frame of the segment tells it.
func scanFrames(data []byte, segment, salt uint64, visit func(f *frame, offset int64, size int)) []span {
	var holes []span
	hole := int64(-1)
	next := uint32(0)
	for off := segmentHeadBytes; off < len(data); {
		var f frame
		size, ok := 0, false
		// Segment and salt come before the checksum: a payload full of false frames costs no time.
		if head := data[off:]; len(head) >= frameHead && binary.LittleEndian.Uint64(head[framePrefix:]) == segment &&
			(salt == 0 || binary.LittleEndian.Uint64(head[framePrefix+8:]) == salt) {
			f, size, ok = parseFrame(head)
		}
		if ok && f.index >= next && f.index < segmentRecords {
			if hole >= 0 {
				holes = append(holes, span{hole, int64(off)})
				hole = -1
			}
			salt, next = f.salt, f.index+1
			visit(&f, int64(off), size)
			off += size
			continue
		}
		if hole < 0 {
			hole = int64(off)
		}
		step := bytes.Index(data[off+1:], frameMagicBytes)
		if step < 0 {
			break
		}
		off += 1 + step
	}
	if hole >= 0 {
		holes = append(holes, span{hole, int64(len(data))})
	}
	return holes
}
