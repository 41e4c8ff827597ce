// Package deadletters keeps the items on disk that a sink refuses for good.
//
// A folder has files of JSON lines, each line a letter (its payload in base64) or a tombstone of one that was removed.
// Files are only appended to, and only removed from the oldest on, so that a tombstone outlives its letter. The index
// in memory has the metadata, not the payload.
package deadletters

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Letter is one item with the reason why it is here.
type Letter struct {
	ID       string    `json:"id"`
	Signal   string    `json:"signal"`
	Sink     string    `json:"sink"`
	Edge     string    `json:"edge"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
	Time     time.Time `json:"time"`
	Workload string    `json:"workload"`
	Items    int       `json:"items"`
	Bytes    int       `json:"bytes"`
	// ReplayOf is the letter that this item was before it was replayed.
	ReplayOf string `json:"replayOf,omitempty"`
	// Cut: the payload is too large to be kept whole, and cannot be replayed.
	Cut     bool   `json:"cut,omitempty"`
	Payload []byte `json:"payload,omitempty"`
}

// line of a file: a letter, or a tombstone.
type line struct {
	Letter
	Removed string `json:"removed,omitempty"`
}

// QueueID reads the id of a queue, or makes one: items of two queues must not have the same ids, though their segments have
// the same numbers. The id is usable also when there is an error; it is not kept then.
func QueueID(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(raw)); err == nil && len(id) == 32 {
		return id, nil
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	id := hex.EncodeToString(random)
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return id, err
	}
	_, err = f.WriteString(id + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return id, err
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return id, nil
}

// ID names an item by the queue and where it stands in it, so that the same item has the same id after a crash.
func ID(queue, sink, signal string, segment uint64, index uint32, kind string, ordinal int, payload []byte) string {
	h := sha256.New()
	for _, s := range []string{queue, sink, signal, kind} {
		_, _ = h.Write([]byte(s))
		_, _ = h.Write([]byte{0})
	}
	var b [20]byte
	binary.BigEndian.PutUint64(b[:], segment)
	binary.BigEndian.PutUint32(b[8:], index)
	binary.BigEndian.PutUint64(b[12:], uint64(ordinal))
	_, _ = h.Write(b[:])
	_, _ = h.Write(payload)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

type entry struct {
	Letter // without payload
	file   uint64
	offset int64
	length int
}

type file struct {
	number uint64
	bytes  int64
	live   int
}

// SinkTotals of one sink's letters.
type SinkTotals struct {
	Count   int64
	Bytes   int64
	Evicted int64
}

// Store is a folder of letters.
type Store struct {
	mu         sync.Mutex
	dir        string
	maxBytes   int64
	fileBytes  int64
	entries    map[string]*entry
	order      []string // ids, oldest first; may name removed ones
	files      []*file  // oldest first; the last is open
	open       *os.File
	bytes      int64 // of all files
	liveBytes  int64
	totals     map[string]*SinkTotals
	unreadable int64
	closed     bool
	sync       func(*os.File) error
}

// ErrClosed is the answer of a closed store.
var ErrClosed = errors.New("dead letters are closed")

// Open reads a folder. It always opens: lines that cannot be read are counted. An error is one of the folder itself.
func Open(dir string, maxBytes int64) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	s := &Store{
		dir: dir, maxBytes: maxBytes, fileBytes: max(min(maxBytes/16, 16<<20), 512),
		entries: map[string]*entry{}, totals: map[string]*SinkTotals{}, sync: (*os.File).Sync,
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		var number uint64
		if _, err := fmt.Sscanf(filepath.Base(name), "%016x.jsonl", &number); err != nil {
			continue
		}
		s.load(name, number)
	}
	s.removeEmptyFiles()
	return s, nil
}

func (s *Store) path(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x.jsonl", number))
}

func (s *Store) load(name string, number uint64) {
	f := &file{number: number}
	s.files = append(s.files, f)
	in, err := os.Open(name)
	if err != nil {
		s.unreadable++
		return
	}
	defer func() { _ = in.Close() }()
	r := bufio.NewReaderSize(in, 1<<20)
	for {
		raw, err := r.ReadBytes('\n')
		offset := f.bytes
		f.bytes += int64(len(raw))
		s.bytes += int64(len(raw))
		if text := bytes.TrimSpace(raw); len(text) > 0 {
			var l line
			switch {
			case json.Unmarshal(text, &l) != nil, err != nil && !json.Valid(text):
				s.unreadable++
			case l.Removed != "":
				s.forget(l.Removed)
			case l.ID == "":
				s.unreadable++
			default:
				if _, ok := s.entries[l.ID]; !ok {
					s.remember(l.Letter, f, offset, len(raw))
				}
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.unreadable++
			}
			return
		}
	}
}

func (s *Store) sink(name string) *SinkTotals {
	t := s.totals[name]
	if t == nil {
		t = &SinkTotals{}
		s.totals[name] = t
	}
	return t
}

func (s *Store) remember(l Letter, f *file, offset int64, length int) {
	l.Payload = nil
	s.entries[l.ID] = &entry{Letter: l, file: f.number, offset: offset, length: length}
	s.order = append(s.order, l.ID)
	f.live++
	s.liveBytes += int64(length)
	t := s.sink(l.Sink)
	t.Count++
	t.Bytes += int64(length)
}

// forget drops a letter from the index.
func (s *Store) forget(id string) bool {
	e := s.entries[id]
	if e == nil {
		return false
	}
	delete(s.entries, id)
	for _, f := range s.files {
		if f.number == e.file {
			f.live--
		}
	}
	s.liveBytes -= int64(e.length)
	t := s.sink(e.Sink)
	t.Count--
	t.Bytes -= int64(e.length)
	if len(s.order) > 64 && len(s.order) > 2*len(s.entries) {
		s.order = slices.DeleteFunc(s.order, func(id string) bool { return s.entries[id] == nil })
	}
	return true
}

// removeEmptyFiles removes files that have no letter any more, from the oldest on.
func (s *Store) removeEmptyFiles() {
	for len(s.files) > 0 && s.files[0].live == 0 {
		f := s.files[0]
		if len(s.files) == 1 && s.open != nil {
			return
		}
		_ = os.Remove(s.path(f.number))
		s.bytes -= f.bytes
		s.files = s.files[1:]
	}
}

// current is the file to append to.
func (s *Store) current(need int) (*file, error) {
	if s.open != nil {
		f := s.files[len(s.files)-1]
		if f.bytes == 0 || f.bytes+int64(need) <= s.fileBytes {
			return f, nil
		}
		if err := s.open.Close(); err != nil {
			return nil, err
		}
		s.open = nil
	}
	number := uint64(1)
	if n := len(s.files); n > 0 {
		number = s.files[n-1].number + 1
	}
	out, err := os.OpenFile(s.path(number), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if d, err := os.Open(s.dir); err == nil { // the name of the new file must survive a power cut too
		_ = d.Sync()
		_ = d.Close()
	}
	s.open = out
	f := &file{number: number}
	s.files = append(s.files, f)
	return f, nil
}

// write appends lines, syncs once, and rolls back what it wrote when that fails.
func (s *Store) write(lines []line, written func(l *line, f *file, offset int64, length int)) error {
	type place struct {
		l      *line
		f      *file
		offset int64
		length int
	}
	var places []place
	var f *file
	start := int64(0)
	flush := func(raw []byte) error {
		if len(raw) == 0 {
			return nil
		}
		_, err := s.open.WriteAt(raw, start)
		if err == nil {
			err = s.sync(s.open)
		}
		if err != nil {
			_ = s.open.Truncate(start)
			f.bytes = start
			return fmt.Errorf("dead letters: %w", err)
		}
		s.bytes += int64(len(raw))
		for _, p := range places {
			written(p.l, p.f, p.offset, p.length)
		}
		places = places[:0]
		return nil
	}
	var raw []byte
	for i := range lines {
		b, err := json.Marshal(&lines[i])
		if err != nil {
			return err
		}
		b = append(b, '\n')
		if f == nil || f.bytes > 0 && f.bytes+int64(len(b)) > s.fileBytes {
			if err := flush(raw); err != nil {
				return err
			}
			raw = raw[:0]
			if f, err = s.current(len(b)); err != nil {
				return fmt.Errorf("dead letters: %w", err)
			}
			start = f.bytes
		}
		places = append(places, place{&lines[i], f, f.bytes, len(b)})
		raw = append(raw, b...)
		f.bytes += int64(len(b))
	}
	return flush(raw)
}

// Append keeps letters: they are on disk when it returns nil. One whose id is there already is passed over. It returns
// those that are new. The oldest letters are evicted when there are too many bytes.
func (s *Store) Append(letters ...Letter) (added []Letter, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	var lines []line
	seen := map[string]bool{}
	for _, l := range letters {
		if s.entries[l.ID] != nil || seen[l.ID] {
			continue
		}
		seen[l.ID] = true
		l.Time = l.Time.UTC()
		lines = append(lines, line{Letter: l})
	}
	if len(lines) == 0 {
		return nil, nil
	}
	err = s.write(lines, func(l *line, f *file, offset int64, length int) {
		s.remember(l.Letter, f, offset, length)
		added = append(added, l.Letter)
	})
	s.bound()
	return added, err
}

// bound evicts the oldest letters, and rewrites the folder when most of it is of removed letters.
func (s *Store) bound() {
	s.removeEmptyFiles()
	if s.bytes > s.maxBytes && s.liveBytes < s.bytes/2 {
		s.compact()
	}
	for s.bytes > s.maxBytes && len(s.files) > 1 {
		oldest := s.files[0]
		s.order = slices.DeleteFunc(s.order, func(id string) bool {
			e := s.entries[id]
			if e == nil {
				return true
			}
			if e.file != oldest.number {
				return false
			}
			delete(s.entries, id)
			s.liveBytes -= int64(e.length)
			t := s.sink(e.Sink)
			t.Count--
			t.Bytes -= int64(e.length)
			t.Evicted++
			return true
		})
		oldest.live = 0
		s.removeEmptyFiles()
	}
}

// compact writes all letters into new files and removes the old ones, oldest first. A crash in between leaves some
// letters twice, which loading passes over.
func (s *Store) compact() {
	old := slices.Clone(s.files)
	last := old[len(old)-1].number
	if s.open != nil {
		_ = s.open.Close()
		s.open = nil
	}
	for _, id := range slices.Clone(s.order) {
		e := s.entries[id]
		if e == nil || e.file > last {
			continue
		}
		l, err := s.read(e)
		if err != nil {
			s.unreadable++
			s.forget(id)
			continue
		}
		if err := s.write([]line{{Letter: l}}, func(_ *line, f *file, offset int64, length int) {
			for _, o := range s.files {
				if o.number == e.file {
					o.live--
				}
			}
			f.live++
			e.file, e.offset, e.length = f.number, offset, length
		}); err != nil {
			return
		}
	}
	s.removeEmptyFiles()
}

func (s *Store) read(e *entry) (Letter, error) {
	in, err := os.Open(s.path(e.file))
	if err != nil {
		return Letter{}, err
	}
	defer func() { _ = in.Close() }()
	raw := make([]byte, e.length)
	if _, err := in.ReadAt(raw, e.offset); err != nil {
		return Letter{}, err
	}
	var l line
	if err := json.Unmarshal(raw, &l); err != nil {
		return Letter{}, err
	}
	if l.ID != e.ID {
		return Letter{}, errors.New("another letter stands in this one's place")
	}
	return l.Letter, nil
}

// Get reads a letter with its payload.
func (s *Store) Get(id string) (Letter, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return Letter{}, false, nil
	}
	l, err := s.read(e)
	return l, true, err
}

// Remove removes letters: they stay removed when it returns nil. It says how many were there.
func (s *Store) Remove(ids ...string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	var lines []line
	seen := map[string]bool{}
	for _, id := range ids {
		if s.entries[id] != nil && !seen[id] {
			seen[id] = true
			lines = append(lines, line{Removed: id})
		}
	}
	if len(lines) == 0 {
		return 0, nil
	}
	n := 0
	err := s.write(lines, func(l *line, _ *file, _ int64, _ int) {
		if s.forget(l.Removed) {
			n++
		}
	})
	s.removeEmptyFiles()
	return n, err
}

// MarshalJSON leaves the letter's fields out of a tombstone.
func (l line) MarshalJSON() ([]byte, error) {
	if l.Removed != "" {
		return json.Marshal(map[string]string{"removed": l.Removed})
	}
	return json.Marshal(l.Letter)
}

// UnmarshalJSON reads both kinds of lines.
func (l *line) UnmarshalJSON(raw []byte) error {
	var r struct {
		Removed string `json:"removed"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	l.Removed = r.Removed
	if r.Removed != "" {
		return nil
	}
	return json.Unmarshal(raw, &l.Letter)
}

// Filter of a list; an empty field matches everything.
type Filter struct {
	Signal, Sink, Edge, Reason string
	IDs                        []string
}

func (f *Filter) matches(l *Letter) bool {
	return (f.Signal == "" || f.Signal == l.Signal) && (f.Sink == "" || f.Sink == l.Sink) &&
		(f.Edge == "" || f.Edge == l.Edge) && (f.Reason == "" || f.Reason == l.Reason)
}

// List is the metadata of letters that match, oldest first.
func (s *Store) List(f Filter) []Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Letter{}
	if len(f.IDs) > 0 {
		for _, id := range f.IDs {
			if e := s.entries[id]; e != nil && f.matches(&e.Letter) {
				all = append(all, e.Letter)
			}
		}
		return all
	}
	for _, id := range s.order {
		if e := s.entries[id]; e != nil && f.matches(&e.Letter) {
			all = append(all, e.Letter)
		}
	}
	return all
}

// Totals by sink.
func (s *Store) Totals() map[string]SinkTotals {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]SinkTotals, len(s.totals))
	for name, t := range s.totals {
		all[name] = *t
	}
	return all
}

// Bytes on disk.
func (s *Store) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// MaxBytes is the bound.
func (s *Store) MaxBytes() int64 { return s.maxBytes }

// Unreadable lines of the files, since the start.
func (s *Store) Unreadable() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unreadable
}

// Close ends it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.open == nil {
		return nil
	}
	err := s.open.Close()
	s.open = nil
	if len(s.files) == 1 && s.files[0].live == 0 {
		s.removeEmptyFiles()
	}
	return err
}

// CleanText makes a text from elsewhere fit to be kept and shown: no control characters, at most 2 kB.
func CleanText(text string) string {
	const most = 2000
	cut := len(text) > most
	if cut {
		text = text[:most]
	}
	text = strings.ToValidUTF8(text, "\ufffd")
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	if cut {
		b.WriteString("…")
	}
	return b.String()
}
