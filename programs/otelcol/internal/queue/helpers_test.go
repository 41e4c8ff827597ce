package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

func testOptions(dir string, sinks ...string) Options {
	o := Options{Dir: dir, MaxBytes: 1 << 30, CommitInterval: time.Millisecond, SegmentBytes: 64 << 10}
	for _, name := range sinks {
		o.Sinks = append(o.Sinks, SinkOptions{Name: name, MaxItems: 100, MaxBytes: 16 << 10})
	}
	return o
}

func mustOpen(t testing.TB, o Options) (*Queue, Loss) {
	t.Helper()
	q, loss, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { q.Close() })
	return q, loss
}

// payload returns a payload that carries its number and is self-delimiting: length, number, filling.
func payload(id, size int) []byte {
	b := make([]byte, 12+size)
	binary.LittleEndian.PutUint32(b, uint32(size))
	binary.LittleEndian.PutUint64(b[4:], uint64(id))
	for i := range b[12:] {
		b[12+i] = byte(id + i)
	}
	return b
}

// ids returns the numbers in a concatenation of payloads, and fails on a damaged one.
func ids(t testing.TB, b []byte) (found []int) {
	t.Helper()
	for len(b) > 0 {
		size, id := int(binary.LittleEndian.Uint32(b)), int(binary.LittleEndian.Uint64(b[4:]))
		for i, c := range b[12 : 12+size] {
			if c != byte(id+i) {
				t.Fatalf("payload %d is damaged at byte %d", id, i)
			}
		}
		found = append(found, id)
		b = b[12+size:]
	}
	return found
}

func record(partition string, id int) Record {
	return Record{Partition: partition, Items: id%5 + 1, Payload: payload(id, 50+id%300)}
}

func mustPut(t testing.TB, q *Queue, recs ...Record) {
	t.Helper()
	if err := q.Put(context.Background(), recs...); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// next returns the next batch, nil when there is none for a while.
func next(t testing.TB, s *Sink, wait time.Duration) *Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	b, err := s.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return b
}

// drain takes and marks everything that waits, and returns the numbers by partition.
func drain(t testing.TB, s *Sink) map[string][]int {
	t.Helper()
	got := map[string][]int{}
	for {
		waiting := int64(0)
		for _, st := range s.Stats() {
			waiting += st.Bytes
		}
		b := next(t, s, map[bool]time.Duration{true: 5 * time.Second, false: 5 * time.Millisecond}[waiting > 0])
		if b == nil {
			if waiting > 0 && func() bool {
				for _, st := range s.Stats() {
					if st.Bytes > 0 {
						return true
					}
				}
				return false
			}() {
				t.Fatalf("%d bytes wait and no batch comes: %+v", waiting, s.Stats())
			}
			return got
		}
		if len(b.Refs) == 0 || len(b.Refs) > 1 && (b.Items > s.options.MaxItems || b.Bytes > s.options.MaxBytes) {
			t.Fatalf("batch of %d records, %d items, %d bytes", len(b.Refs), b.Items, b.Bytes)
		}
		got[b.Partition] = append(got[b.Partition], ids(t, b.Payload)...)
		s.Done(b)
	}
}

func count(got map[string][]int) (n int) {
	for _, p := range got {
		n += len(p)
	}
	return n
}

func segmentFiles(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := parseSegmentName(e.Name(), segmentSuffix); ok {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	sort.Strings(names)
	return names
}

// copyDir copies a folder as a kill -9 would leave it.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	copyInto(t, from, to)
	return to
}

func copyInto(t testing.TB, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() || e.Name() == "lock" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// faultyFiles fails the operations that its rules name.
type faultyFiles struct {
	osFilesystem
	mu    sync.Mutex
	fail  map[string]error // by operation: create, write, sync, truncate, rename
	short bool             // a failing write writes half
	syncs int
}

func (f *faultyFiles) set(op string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		f.fail = map[string]error{}
	}
	f.fail[op] = err
}

func (f *faultyFiles) err(op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail[op]
}

func (f *faultyFiles) Create(name string) (file, error) {
	if err := f.err("create"); err != nil {
		return nil, err
	}
	opened, err := f.osFilesystem.Create(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{opened, f}, nil
}

func (f *faultyFiles) Rename(from, to string) error {
	if err := f.err("rename"); err != nil {
		return err
	}
	return f.osFilesystem.Rename(from, to)
}

type faultyFile struct {
	file
	of *faultyFiles
}

func (f *faultyFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.of.err("write"); err != nil {
		if f.of.short {
			n, _ := f.file.WriteAt(b[:len(b)/2], at)
			return n, err
		}
		return 0, err
	}
	return f.file.WriteAt(b, at)
}

func (f *faultyFile) Sync() error {
	f.of.mu.Lock()
	f.of.syncs++
	f.of.mu.Unlock()
	if err := f.of.err("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.of.err("truncate"); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

var errFull = &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}

// withSeeds runs a random test with fixed seeds and a fresh one, which it prints. QUEUE_TEST_SEED gives one seed,
// QUEUE_TEST_SEEDS how many fixed ones.
func withSeeds(t *testing.T, fixed int, run func(t *testing.T, r *rand.Rand)) {
	seeds := []int64{}
	if text := os.Getenv("QUEUE_TEST_SEED"); text != "" {
		seed, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, seed)
	} else {
		if n, err := strconv.Atoi(os.Getenv("QUEUE_TEST_SEEDS")); err == nil {
			fixed = n
		}
		for i := range fixed {
			seeds = append(seeds, int64(i+1))
		}
		fresh := time.Now().UnixNano()
		fmt.Printf("%s: fresh seed %d\n", t.Name(), fresh)
		seeds = append(seeds, fresh)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { run(t, rand.New(rand.NewSource(seed))) })
	}
}

func sorted(n []int) []int {
	s := append([]int(nil), n...)
	sort.Ints(s)
	return s
}

func all(got map[string][]int) (n []int) {
	for _, p := range got {
		n = append(n, p...)
	}
	return sorted(n)
}

func upTo(n int) (s []int) {
	for i := 0; i < n; i++ {
		s = append(s, i)
	}
	return s
}

func equal(a, b []int) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
