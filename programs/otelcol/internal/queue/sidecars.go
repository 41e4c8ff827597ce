package queue

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"hash/fnv"
	"path/filepath"
)

const (
	countsFile = "counts"
	sinksFile  = "sinks.json"
	countsSlot = 64 // bytes of one of the two copies
	maxSinks   = 16
)

// counts says what was acknowledged last. The file holds two copies that are written in turn, so that
// one of them is always whole.
type counts struct {
	sequence uint64
	segment  uint64 // the segment that is appended to, or the number of the next one
	start    uint64 // running count of items at the start of that segment
	running  uint64 // running count of items
	end      uint64 // bytes of that segment
	index    uint32 // records of that segment
}

func (c counts) encode() []byte {
	b := make([]byte, 0, countsSlot)
	le := binary.LittleEndian
	b = le.AppendUint64(b, c.sequence)
	b = le.AppendUint64(b, c.segment)
	b = le.AppendUint64(b, c.start)
	b = le.AppendUint64(b, c.running)
	b = le.AppendUint64(b, c.end)
	b = le.AppendUint32(b, c.index)
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return b[:countsSlot]
}

// decodeCounts returns the newer intact copy. ok is false when there is none.
func decodeCounts(data []byte) (newest counts, ok bool) {
	le := binary.LittleEndian
	for _, at := range []int{0, countsSlot} {
		if len(data) < at+48 {
			break
		}
		b := data[at:]
		if le.Uint32(b[44:]) != crc32.Checksum(b[:44], castagnoli) {
			continue
		}
		c := counts{le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint32(b[40:])}
		if c.segment == 0 {
			continue
		}
		if !ok || c.sequence > newest.sequence {
			newest, ok = c, true
		}
	}
	return newest, ok
}

// writeCounts stores what was acknowledged. A failure costs only the exact count of a later loss.
func (q *Queue) writeCounts(c counts) {
	if q.countsFile == nil {
		f, err := q.fs.Create(filepath.Join(q.dir, countsFile))
		if err != nil {
			return
		}
		if _, err = f.WriteAt(make([]byte, 2*countsSlot), 0); err != nil {
			f.Close()
			return
		}
		q.countsFile = f
	}
	q.countsSequence++
	c.sequence = q.countsSequence
	_, _ = q.countsFile.WriteAt(c.encode(), int64(c.sequence%2)*countsSlot)
}

// sinkSlot is a line of the table of sinks.
type sinkSlot struct {
	Name string `json:"name"`
	Slot int    `json:"slot"`
	// First is the first segment whose records the sink gets.
	First uint64 `json:"firstSegment"`
}

type sinkTable struct {
	Sinks []sinkSlot `json:"sinks"`
}

func decodeSinkTable(data []byte) (t sinkTable, ok bool) {
	if json.Unmarshal(data, &t) != nil {
		return sinkTable{}, false
	}
	used := 0
	for _, s := range t.Sinks {
		if s.Slot < 0 || s.Slot >= maxSinks || s.Name == "" || used&(1<<s.Slot) != 0 {
			return sinkTable{}, false
		}
		used |= 1 << s.Slot
	}
	return t, true
}

func (q *Queue) writeSinkTable(t sinkTable) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(q.dir, sinksFile)
	if err := writeDurably(q.fs, name+".tmp", append(data, '\n')); err != nil {
		return err
	}
	if err := q.fs.Rename(name+".tmp", name); err != nil {
		return err
	}
	return q.fs.SyncDir(q.dir)
}

// sinkHash identifies the owner of a slot in the marks of a segment.
func sinkHash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64() | 1
}
