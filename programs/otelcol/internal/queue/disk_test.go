package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestFailingDisk(t *testing.T) {
	for name, c := range map[string]struct {
		ops   []string
		short bool
	}{
		"create":                         {ops: []string{"create"}},
		"write":                          {ops: []string{"write"}},
		"half a write":                   {ops: []string{"write"}, short: true},
		"sync":                           {ops: []string{"sync"}},
		"half a write and no truncation": {ops: []string{"write", "truncate"}, short: true},
		"sync and no truncation":         {ops: []string{"sync", "truncate"}},
	} {
		for _, started := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after a record: %v", name, started), func(t *testing.T) {
				dir := t.TempDir()
				fs := &faultyFiles{}
				o := testOptions(dir, "a")
				o.fs = fs
				q, _ := mustOpen(t, o)
				want := []int{}
				if started {
					mustPut(t, q, record("p", 0))
					want = append(want, 0)
				}
				fs.mu.Lock()
				fs.short = c.short
				fs.mu.Unlock()
				for _, op := range c.ops {
					fs.set(op, errFull)
				}
				for i := 1; i <= 3; i++ {
					err := q.Put(context.Background(), record("p", i), record("p", i+100))
					if started && name == "create" {
						if err == nil {
							want = append(want, i, i+100)
						}
						continue
					}
					var d *DiskError
					if !errors.As(err, &d) || !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("Put: %v", err)
					}
				}
				for _, op := range c.ops {
					fs.set(op, nil)
				}
				mustPut(t, q, record("p", 1), record("p", 101))
				mustPut(t, q, record("p", 50))
				want = append(want, 1, 101, 50)
				// The copy is what a kill leaves.
				crashed := copyDir(t, dir)
				if got := all(drain(t, q.Sink("a"))); !equal(got, sorted(want)) {
					t.Errorf("got %v, want %v", got, sorted(want))
				}
				again, loss := mustOpen(t, testOptions(crashed, "a"))
				if got := all(drain(t, again.Sink("a"))); !equal(got, sorted(want)) || loss.Items != 0 {
					t.Errorf("after a crash got %v, want %v, loss %+v", got, sorted(want), loss)
				}
				if q.LiveBytes() != 0 {
					t.Errorf("%d live bytes", q.LiveBytes())
				}
			})
		}
	}
}

func TestOpenOnAFullDisk(t *testing.T) {
	dir, places := filled(t, 300, 100)
	fs := &faultyFiles{}
	for _, op := range []string{"create", "write", "sync", "rename"} {
		fs.set(op, errFull)
	}
	o := testOptions(dir, "a", "new")
	o.fs = fs
	q, _ := mustOpen(t, o)
	want, _ := survivors(places, "", 0, 0)
	if got := drain(t, q.Sink("a")); count(got) != len(want) {
		t.Errorf("got %d, want %d", count(got), len(want))
	}
	if err := q.Put(context.Background(), record("p", 0)); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	for _, op := range []string{"create", "write", "sync", "rename"} {
		fs.set(op, nil)
	}
	mustPut(t, q, record("p", 5000))
	q.Close()
	q, _ = mustOpen(t, testOptions(dir, "a", "new"))
	for _, name := range []string{"a", "new"} {
		if got := all(drain(t, q.Sink(name))); !equal(got, []int{5000}) {
			t.Errorf("sink %s got %v", name, got)
		}
	}
}

func TestOpenFailsForAnUnusableFolder(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(testOptions(file+"/queue", "a")); err == nil {
		t.Error("a folder below a file was opened")
	}
	if _, _, err := Open(testOptions(t.TempDir(), "a", "a")); err == nil {
		t.Error("two sinks of one name were accepted")
	}
}

func TestRealFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small tmpfs cannot be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	o := testOptions(dir, "a")
	o.SegmentBytes = 256 << 10
	q, _ := mustOpen(t, o)
	next := 0
	for round := 0; round < 3; round++ {
		first := next
		for {
			err := q.Put(context.Background(), Record{Partition: "p", Items: 1, Payload: payload(next, 10_000)})
			if err != nil {
				var d *DiskError
				if !errors.As(err, &d) {
					t.Fatal(err)
				}
				break
			}
			next++
		}
		if next-first < 100 {
			t.Fatalf("round %d: only %d records fit", round, next-first)
		}
		if round == 1 {
			// A restart with a full disk.
			q.Close()
			var loss Loss
			if q, loss = mustOpen(t, o); loss.Items != 0 {
				t.Errorf("loss %+v", loss)
			}
		}
		got := all(drain(t, q.Sink("a")))
		if len(got) != next-first || got[0] != first || got[len(got)-1] != next-1 {
			t.Fatalf("round %d: got %d of %d", round, len(got), next-first)
		}
		wait(t, func() bool { return q.DiskBytes() < 600<<10 })
	}
}

// slowFiles holds every sync until it is let go.
type slowFiles struct {
	osFilesystem
	gate chan struct{}
}

type slowFile struct {
	file
	of *slowFiles
}

func (f *slowFiles) Create(name string) (file, error) {
	opened, err := f.osFilesystem.Create(name)
	return slowFile{opened, f}, err
}

func (f slowFile) Sync() error {
	<-f.of.gate
	return f.file.Sync()
}

func TestReadersDoNotWaitForASync(t *testing.T) {
	fs := &slowFiles{gate: make(chan struct{}, 1000)}
	for i := 0; i < 5; i++ {
		fs.gate <- struct{}{}
	}
	o := testOptions(t.TempDir(), "a")
	o.fs = fs
	q, _ := mustOpen(t, o)
	mustPut(t, q, record("p", 1)) // two files and one record are synced
	for len(fs.gate) > 0 {
		<-fs.gate
	}
	put := make(chan error, 1)
	go func() { put <- q.Put(context.Background(), record("p", 2)) }()
	time.Sleep(10 * time.Millisecond)
	start := time.Now()
	b := next(t, q.Sink("a"), time.Second)
	if b == nil {
		t.Fatal("no batch")
	}
	q.Sink("a").Done(b)
	_, _, _ = q.Sink("a").Stats(), q.DiskBytes(), q.Lost()
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("a reader waited %v", took)
	}
	if st := q.Sink("a").Stats()[0]; st.Items != 0 {
		t.Errorf("a record is visible before it is durable: %+v", st)
	}
	select {
	case err := <-put:
		t.Fatalf("Put returned before the sync: %v", err)
	default:
	}
	close(fs.gate)
	if err := <-put; err != nil {
		t.Error(err)
	}
}
