package durablequeue

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"lkeobs/programs/otelcol/internal/queue"
)

// journal is a file of the records that a store has taken and that are not marked yet, so that the next process of the
// collector does not send them again. Each line has a checksum, the start time of the store's process (0: no line), and
// the records. It is written without a sync: a lost line costs that its records are sent again.
type journal struct {
	path string
	file *os.File // nil: none, or closed
}

type journalLine struct {
	started float64
	refs    []queue.Ref
}

const (
	// maxJournalBytes are read. A journal that is larger is no journal.
	maxJournalBytes = 256 << 20
	// refsOfLine bounds a line of a journal that is written whole.
	refsOfLine = 1000
)

var journalSums = crc32.MakeTable(crc32.Castagnoli)

func journalPath(dir, sink string) string {
	return filepath.Join(dir, "taken-"+url.PathEscape(sink)+".journal")
}

func (l journalLine) appendTo(buf []byte) []byte {
	body := strconv.AppendUint(nil, math.Float64bits(l.started), 16)
	for _, ref := range l.refs {
		body = append(body, ' ')
		body = strconv.AppendUint(body, ref.Segment, 10)
		body = append(body, ':')
		body = strconv.AppendUint(body, uint64(ref.Index), 10)
	}
	// The line break before it ends what a failed write left.
	buf = fmt.Appendf(buf, "\n%08x ", crc32.Checksum(body, journalSums))
	return append(append(buf, body...), '\n')
}

func parseJournalLine(text []byte) (l journalLine, ok bool) {
	sum, body, _ := strings.Cut(string(text), " ")
	if want, err := strconv.ParseUint(sum, 16, 32); err != nil || len(sum) != 8 || uint32(want) != crc32.Checksum([]byte(body), journalSums) {
		return l, false
	}
	fields := strings.Fields(body)
	if len(fields) == 0 {
		return l, false
	}
	bits, err := strconv.ParseUint(fields[0], 16, 64)
	if err != nil {
		return l, false
	}
	l.started = math.Float64frombits(bits)
	for _, field := range fields[1:] {
		segment, index, _ := strings.Cut(field, ":")
		n, err := strconv.ParseUint(segment, 10, 64)
		if err != nil {
			return l, false
		}
		i, err := strconv.ParseUint(index, 10, 32)
		if err != nil {
			return l, false
		}
		l.refs = append(l.refs, queue.Ref{Segment: n, Index: uint32(i)})
	}
	return l, l.started > 0
}

// readJournal returns the start time of the store for each record that the journal names. Lines that are torn or garbage
// are passed over.
func readJournal(path string) map[queue.Ref]float64 {
	named := map[queue.Ref]float64{}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > maxJournalBytes {
		return named
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return named
	}
	for text := range bytes.SplitSeq(data, []byte{'\n'}) {
		if l, ok := parseJournalLine(text); ok {
			for _, ref := range l.refs {
				named[ref] = l.started
			}
		}
	}
	return named
}

// add appends a line, with one write.
func (j *journal) add(l journalLine) error {
	if j.path == "" {
		return nil
	}
	if j.file == nil {
		f, err := os.OpenFile(j.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		j.file = f
	}
	_, err := j.file.Write(l.appendTo(nil))
	return err
}

// rewrite replaces the journal. The old one stays when that fails: it names too much, and never too little of what it may.
func (j *journal) rewrite(lines []journalLine) error {
	if j.path == "" {
		return nil
	}
	if len(lines) == 0 {
		j.end()
		if err := os.Remove(j.path); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	var data []byte
	for _, l := range lines {
		for from := 0; from < len(l.refs); from += refsOfLine {
			data = journalLine{l.started, l.refs[from:min(from+refsOfLine, len(l.refs))]}.appendTo(data)
		}
	}
	temporary := j.path + ".tmp"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		_ = os.Remove(temporary)
		return err
	}
	if err := os.Rename(temporary, j.path); err != nil {
		return err
	}
	j.end()
	return nil
}

// end closes the file. The next line opens it again.
func (j *journal) end() {
	if j.file != nil {
		_ = j.file.Close()
		j.file = nil
	}
}
