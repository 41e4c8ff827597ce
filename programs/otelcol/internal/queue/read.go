package queue

import (
	"errors"
	"fmt"
	"io"
	"time"
)

const readAheadBytes = 64 << 10

var errDamaged = errors.New("checksum does not match")

// segmentReader reads records, and with them what lies next to them on the disk.
type segmentReader struct {
	q       *Queue
	segment *segment
	file    file
	window  []byte
	offset  int64 // of window in the file
}

func (r *segmentReader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// read returns the frame of a record. It tries again for a moment when the disk reports an error.
func (r *segmentReader) read(t takenRecord) (f frame, err error) {
	for attempt := 0; attempt < 3; attempt++ {
		if f, err = r.readOnce(t); err == nil {
			return f, nil
		}
		r.close()
		r.segment = nil
		if !errors.Is(err, errDamaged) {
			time.Sleep(50 * time.Millisecond)
		}
	}
	return f, err
}

func (r *segmentReader) readOnce(t takenRecord) (frame, error) {
	if r.segment != t.segment {
		r.close()
		r.window = nil
		f, err := r.q.fs.Open(r.q.segmentPath(t.segment.n))
		if err != nil {
			return frame{}, err
		}
		r.segment, r.file = t.segment, f
	}
	from, size := int64(t.entry.offset), int(t.entry.size)
	if from < r.offset || from+int64(size) > r.offset+int64(len(r.window)) {
		// A new window each time: payloads of the old one are still in use.
		window := make([]byte, max(size, readAheadBytes))
		n, err := r.file.ReadAt(window, from)
		if n < size {
			if err == nil || errors.Is(err, io.EOF) {
				err = errDamaged
			}
			return frame{}, err
		}
		r.window, r.offset = window[:n], from
	}
	f, _, ok := parseFrame(r.window[from-r.offset:][:size])
	if !ok || f.segment != t.segment.n || f.index != uint32(t.entry.index) {
		return frame{}, errDamaged
	}
	return f, nil
}

// readSegment reads the acknowledged part of a segment into the shared buffer. The caller holds scanMu as long
// as it uses the bytes.
func (q *Queue) readSegment(s *segment) ([]byte, error) {
	f, err := q.fs.Open(q.segmentPath(s.n))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if s.end > 0 {
		size = min(size, s.end)
	}
	if size > 4<<30 {
		return nil, fmt.Errorf("segment has %d bytes", size)
	}
	if int64(cap(q.scanBuffer)) < size {
		q.scanBuffer = make([]byte, max(size, defaultSegmentBytes+defaultSegmentBytes/4))
	}
	data := q.scanBuffer[:size]
	n, err := f.ReadAt(data, 0)
	if int64(n) == size || errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}
