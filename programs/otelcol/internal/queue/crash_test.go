package queue

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// placed is where an acknowledged record lies on the disk.
type placed struct {
	id, items   int
	segment     string
	from, to    int64
	done        bool
	index       uint32
	segmentSize int64
}

// filled returns a folder with records, some of them done, and where each one lies.
func filled(t *testing.T, n, done int) (string, []placed) {
	t.Helper()
	key := [2]int{n, done}
	made := templates[key]
	if made.dir == "" {
		made.dir, made.places = fill(t, n, done)
		templates[key] = made
	}
	dir := copyDir(t, made.dir)
	places := append([]placed(nil), made.places...)
	for i := range places {
		places[i].segment = filepath.Join(dir, filepath.Base(places[i].segment))
	}
	return dir, places
}

// templates are the folders that filled copies.
var templates = map[[2]int]struct {
	dir    string
	places []placed
}{}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, made := range templates {
		_ = os.RemoveAll(made.dir)
	}
	os.Exit(code)
}

func fill(t *testing.T, n, done int) (string, []placed) {
	t.Helper()
	dir := t.TempDir()
	q, _ := mustOpen(t, testOptions(dir, "a"))
	var places []placed
	for i := 0; i < n; i += 5 {
		var recs []Record
		for j := i; j < i+5; j++ {
			recs = append(recs, record(fmt.Sprint("p", j%3), j))
		}
		mustPut(t, q, recs...)
	}
	finished := map[int]bool{}
	for len(finished) < done {
		b := next(t, q.Sink("a"), time.Second)
		for _, id := range ids(t, b.Payload) {
			finished[id] = true
		}
		q.Sink("a").Done(b)
	}
	time.Sleep(20 * time.Millisecond) // the maintenance removes what is done
	crashed, err := os.MkdirTemp("", "queue-test")
	if err != nil {
		t.Fatal(err)
	}
	copyInto(t, dir, crashed)
	for _, file := range segmentFiles(t, crashed) {
		n, _ := parseSegmentName(filepath.Base(file), segmentSuffix)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scanFrames(data, n, 0, func(f *frame, offset int64, size int) {
			id := ids(t, f.payload)[0]
			places = append(places, placed{id, int(f.items), file, offset, offset + int64(size), finished[id], f.index, int64(len(data))})
		})
	}
	return crashed, places
}

// reopened opens a damaged folder, drains it, checks it against what must be there, and opens it once more: a
// loss is counted once.
func reopened(t *testing.T, dir string, want map[int]bool, lostItems int64, known bool) {
	t.Helper()
	q, loss := mustOpen(t, testOptions(dir, "a"))
	q.Close()
	q, again := mustOpen(t, testOptions(dir, "a"))
	if again.Items != 0 || len(again.Files) != 0 {
		t.Errorf("the second start counts the loss again: %+v", again)
	}
	got := map[int]bool{}
	for _, id := range all(drain(t, q.Sink("a"))) {
		if got[id] {
			t.Errorf("record %d came twice", id)
		}
		got[id] = true
	}
	for id := range want {
		if !got[id] {
			t.Errorf("intact record %d is lost", id)
		}
	}
	for id := range got {
		if !want[id] {
			t.Errorf("record %d came although it was done or damaged", id)
		}
	}
	if known && (loss.Items != lostItems || !loss.ItemsKnown) {
		t.Errorf("loss %+v, want %d items", loss, lostItems)
	}
	if lostItems > 0 && (loss.Bytes <= 0 || len(loss.Files) == 0) {
		t.Errorf("loss %+v without bytes or files", loss)
	}
	mustPut(t, q, record("p", 99_999))
	if got := all(drain(t, q.Sink("a"))); !equal(got, []int{99_999}) {
		t.Errorf("a record after the damage came as %v", got)
	}
	q.Close()
	if files := segmentFiles(t, dir); len(files) > 0 {
		t.Errorf("left over: %v", files)
	}
}

// survivors returns what must come and how many items are lost, when the bytes from..to of a file are damaged.
func survivors(places []placed, file string, from, to int64) (want map[int]bool, lost int64) {
	want = map[int]bool{}
	for _, p := range places {
		damaged := p.segment == file && p.from < to && p.to > from
		switch {
		case p.done:
		case damaged:
			lost += int64(p.items)
		default:
			want[p.id] = true
		}
	}
	return want, lost
}

func TestDamagedSegments(t *testing.T) { withSeeds(t, 1, damagedSegments) }

func damagedSegments(t *testing.T, r *rand.Rand) {
	damages := map[string]func(t *testing.T, file string, size int64) (from, to int64){
		"cut off": func(t *testing.T, file string, size int64) (int64, int64) {
			at := r.Int63n(size)
			if err := os.Truncate(file, at); err != nil {
				t.Fatal(err)
			}
			return at, size
		},
		"empty": func(t *testing.T, file string, size int64) (int64, int64) {
			if err := os.Truncate(file, 0); err != nil {
				t.Fatal(err)
			}
			return 0, size
		},
		"zeroed tail": func(t *testing.T, file string, size int64) (int64, int64) {
			at := r.Int63n(size)
			overwrite(t, file, at, make([]byte, size-at))
			return at, size
		},
		"garbage at the start": func(t *testing.T, file string, size int64) (int64, int64) {
			b := make([]byte, 1+r.Int63n(min(size, 3000)))
			r.Read(b)
			overwrite(t, file, 0, b)
			return 0, int64(len(b))
		},
		"garbage in the middle": func(t *testing.T, file string, size int64) (int64, int64) {
			from := r.Int63n(size)
			b := make([]byte, 1+r.Int63n(min(size-from, 3000)))
			for i := range b {
				b[i] = 0xff
			}
			overwrite(t, file, from, b)
			return from, from + int64(len(b))
		},
		"removed": func(t *testing.T, file string, size int64) (int64, int64) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			return 0, size
		},
	}
	for _, name := range slices.Sorted(maps.Keys(damages)) { // in one order, so that a seed means the same
		damage := damages[name]
		for _, done := range []int{0, 700} {
			t.Run(fmt.Sprintf("%s, %d done", name, done), func(t *testing.T) {
				for i := 0; i < 2; i++ {
					dir, places := filled(t, 1500, done)
					victim := places[r.Intn(len(places))]
					if i == 1 {
						victim = places[len(places)-1]
					}
					from, to := damage(t, victim.segment, victim.segmentSize)
					want, lost := survivors(places, victim.segment, from, to)
					reopened(t, dir, want, lost, true)
				}
			})
		}
	}
}

func overwrite(t *testing.T, file string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestMissingSidecars(t *testing.T) {
	everything := func(places []placed) (want map[int]bool) {
		want = map[int]bool{}
		for _, p := range places {
			want[p.id] = true
		}
		return want
	}
	removeAll := func(t *testing.T, dir, suffix string) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), suffix) {
				_ = os.Remove(filepath.Join(dir, e.Name()))
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		again  bool // what was done comes again
	}{
		"no counts":           {func(t *testing.T, dir string) { removeAll(t, dir, countsFile) }, false},
		"no table of sinks":   {func(t *testing.T, dir string) { removeAll(t, dir, sinksFile) }, false},
		"no marks":            {func(t *testing.T, dir string) { removeAll(t, dir, marksSuffix) }, true},
		"no marks, no counts": {func(t *testing.T, dir string) { removeAll(t, dir, marksSuffix); removeAll(t, dir, countsFile) }, true},
		"no sidecars": {func(t *testing.T, dir string) {
			removeAll(t, dir, marksSuffix)
			removeAll(t, dir, countsFile)
			removeAll(t, dir, sinksFile)
		}, true},
		"empty sidecars": {func(t *testing.T, dir string) {
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if !strings.HasSuffix(e.Name(), segmentSuffix) {
					_ = os.Truncate(filepath.Join(dir, e.Name()), 0)
				}
			}
		}, true},
		"foreign files": {func(t *testing.T, dir string) {
			for _, f := range []string{"1.seg", "x.done", "README", segmentName(3) + ".seg.bak", "0000000000000000000x.seg"} {
				_ = os.WriteFile(filepath.Join(dir, f), []byte("foreign"), 0o600)
			}
			_ = os.Mkdir(filepath.Join(dir, "dead-letters"), 0o700)
			_ = os.Mkdir(filepath.Join(dir, segmentName(77)+segmentSuffix), 0o700)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, places := filled(t, 1500, 700)
			c.damage(t, dir)
			want, _ := survivors(places, "", 0, 0)
			if c.again {
				want = everything(places)
			}
			q, loss := mustOpen(t, testOptions(dir, "a"))
			if loss.Items != 0 || len(loss.Files) != 0 {
				t.Errorf("loss %+v", loss)
			}
			got := all(drain(t, q.Sink("a")))
			var ordered []int
			for id := range want {
				ordered = append(ordered, id)
			}
			if !equal(got, sorted(ordered)) {
				t.Errorf("got %d records, want %d", len(got), len(want))
			}
		})
	}
}

func TestTornTailThatWasNeverAcknowledgedIsNoLoss(t *testing.T) {
	dir, places := filled(t, 500, 0)
	last := places[len(places)-1]
	n, _ := parseSegmentName(filepath.Base(last.segment), segmentSuffix)
	f := frame{segment: n, index: last.index + 1, partition: "p", payload: make([]byte, 500)}
	torn := f.appendTo(nil)
	overwrite(t, last.segment, last.segmentSize, torn[:len(torn)/2])
	want, _ := survivors(places, "", 0, 0)
	reopened(t, dir, want, 0, true)
}

func TestFrameInsideAPayloadIsNoRecord(t *testing.T) {
	dir := t.TempDir()
	q, _ := mustOpen(t, testOptions(dir, "a"))
	inner := frame{segment: 1, salt: 1234, index: 5, items: 1, partition: "p", payload: payload(5, 5)}
	mustPut(t, q, Record{Partition: "p", Items: 1, Payload: inner.appendTo(nil)})
	mustPut(t, q, record("p", 7))
	crashed := copyDir(t, dir)
	overwrite(t, segmentFiles(t, crashed)[0], segmentHeadBytes+8, []byte{1, 2, 3})
	reopened(t, crashed, map[int]bool{7: true}, 1, true)
}

// Random bytes of random files are cut off: the queue opens, and every record that is intact comes.
func TestFolderCutAtRandomPlaces(t *testing.T) { withSeeds(t, 5, folderCutAtRandomPlaces) }

func folderCutAtRandomPlaces(t *testing.T, r *rand.Rand) {
	dir, places := filled(t, 1500, 500)
	for i := 0; i < 5; i++ {
		c := copyDir(t, dir)
		cuts := map[string]int64{}
		entries, _ := os.ReadDir(c)
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || e.IsDir() || r.Intn(3) > 0 || info.Size() == 0 {
				continue
			}
			at := r.Int63n(info.Size())
			cuts[e.Name()] = at
			if err := os.Truncate(filepath.Join(c, e.Name()), at); err != nil {
				t.Fatal(err)
			}
		}
		q, _ := mustOpen(t, testOptions(c, "a"))
		got := map[int]bool{}
		for _, id := range all(drain(t, q.Sink("a"))) {
			if got[id] {
				t.Fatalf("record %d came twice", id)
			}
			got[id] = true
		}
		for _, p := range places {
			base := filepath.Base(p.segment)
			at, cut := cuts[base]
			_, marksCut := cuts[strings.TrimSuffix(base, segmentSuffix)+marksSuffix]
			intact := !cut || p.to <= at
			if intact && !p.done && !got[p.id] {
				t.Fatalf("intact record %d is lost after %v", p.id, cuts)
			}
			if got[p.id] && (!intact || p.done && !marksCut) {
				t.Fatalf("record %d came after %v", p.id, cuts)
			}
		}
		q.Close()
	}
}

// The table of sinks and the marks of the oldest segments are damaged at once: the sink still gets their records.
func TestTableOfSinksAndOldMarksDamaged(t *testing.T) {
	dir, places := filled(t, 1500, 500)
	marks, err := filepath.Glob(filepath.Join(dir, "*"+marksSuffix))
	if err != nil || len(marks) < 3 {
		t.Fatal(marks, err)
	}
	_ = os.Truncate(filepath.Join(dir, sinksFile), 3)
	_ = os.Truncate(marks[0], marksHead-1)
	_ = os.Remove(marks[1])
	want := map[int]bool{}
	for _, p := range places {
		if n := filepath.Base(p.segment); !p.done || n[:nameDigits] == filepath.Base(marks[0])[:nameDigits] || n[:nameDigits] == filepath.Base(marks[1])[:nameDigits] {
			want[p.id] = true
		}
	}
	q, _ := mustOpen(t, testOptions(dir, "a"))
	if got := all(drain(t, q.Sink("a"))); !equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("got %d records, want %d", len(got), len(want))
	}
}

// A sink is new since a segment whose marks are damaged together with the table of sinks.
func TestTableOfSinksAndNewestMarksDamaged(t *testing.T) {
	dir, _ := filled(t, 300, 0)
	q, _ := mustOpen(t, testOptions(dir, "a", "b"))
	mustPut(t, q, record("p0", 5001), record("p1", 5002))
	q.Close()
	marks, _ := filepath.Glob(filepath.Join(dir, "*"+marksSuffix))
	_ = os.Truncate(filepath.Join(dir, sinksFile), 3)
	_ = os.Truncate(marks[len(marks)-1], 100)
	q, _ = mustOpen(t, testOptions(dir, "a", "b"))
	if got := all(drain(t, q.Sink("b"))); !equal(got, []int{5001, 5002}) {
		t.Errorf("the new sink got %v", got)
	}
	if got := count(drain(t, q.Sink("a"))); got != 302 {
		t.Errorf("the old sink got %d", got)
	}
}

// A power cut keeps what was synced; of the bytes behind it any part may remain, in whatever state.
func TestPowerCutKeepsWhatWasAcknowledged(t *testing.T) { withSeeds(t, 2, powerCut) }

func powerCut(t *testing.T, r *rand.Rand) {
	for i := 0; i < 3; i++ {
		dir, places := filled(t, 300, 0)
		last := places[len(places)-1]
		switch i % 3 {
		case 0: // the counts are older than the records
			_ = os.Truncate(filepath.Join(dir, countsFile), 0)
		case 1: // zeros behind the end
			overwrite(t, last.segment, last.segmentSize, make([]byte, r.Intn(5000)))
		case 2: // garbage behind the end, without counts of it
			b := make([]byte, r.Intn(5000))
			r.Read(b)
			overwrite(t, last.segment, last.segmentSize, b)
		}
		want, _ := survivors(places, "", 0, 0)
		reopened(t, dir, want, 0, true)
	}
}

// TestChild is the process that TestKill ends. It puts and takes, and reports each effect before the next one.
func TestChild(t *testing.T) {
	dir := os.Getenv("QUEUE_TEST_CHILD")
	if dir == "" {
		t.Skip("runs only as the child process of TestKill")
	}
	o := testOptions(dir, "a", "b")
	o.MaxIndexed = 300
	q, loss, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	say := func(word string, n int) { mu.Lock(); fmt.Printf("=%s %d\n", word, n); mu.Unlock() }
	say("loss", int(loss.Items)+len(loss.Files))
	first, _ := strconv.Atoi(os.Getenv("QUEUE_TEST_FIRST"))
	for w := 0; w < 4; w++ {
		go func() {
			r := rand.New(rand.NewSource(int64(first + w)))
			for i := first + w*100_000; ; i++ {
				if q.Put(context.Background(), record(fmt.Sprint("p", i%3), i)) == nil {
					say("put", i)
				}
				if r.Intn(20) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
	}
	for _, name := range []string{"a", "b"} {
		go func() {
			for {
				b, err := q.Sink(name).Next(context.Background())
				if err != nil {
					return
				}
				list := ids(t, b.Payload)
				for _, id := range list {
					say("take-"+name, id)
				}
				if name == "b" {
					time.Sleep(3 * time.Millisecond)
				}
				q.Sink(name).Done(b)
				for _, id := range list {
					say("done-"+name, id)
				}
			}
		}()
	}
	select {}
}

func TestKill(t *testing.T) { withSeeds(t, 1, kill) }

func kill(t *testing.T, r *rand.Rand) {
	dir := t.TempDir()
	put := map[int]bool{}
	done := map[string]map[int]bool{"a": {}, "b": {}}
	taken := map[string]map[int]bool{"a": {}, "b": {}}
	rounds := 3
	if testing.Short() {
		rounds = 2
	}
	for round := 0; round < rounds; round++ {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
		cmd.Env = append(os.Environ(), "QUEUE_TEST_CHILD="+dir, fmt.Sprint("QUEUE_TEST_FIRST=", round*1_000_000))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		left, last := 30+r.Intn(600), time.Duration(r.Intn(20))*time.Millisecond // until it is killed
		doneBefore := map[string]map[int]bool{"a": {}, "b": {}}
		for name, set := range done {
			for id := range set {
				doneBefore[name][id] = true
			}
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var word string
			var id int
			if n, _ := fmt.Sscanf(lines.Text(), "=%s %d", &word, &id); n != 2 {
				continue
			}
			name := strings.TrimPrefix(strings.TrimPrefix(word, "take-"), "done-")
			switch {
			case word == "loss":
				if id != 0 {
					t.Errorf("round %d: a killed process lost %d", round, id)
				}
			case word == "put":
				put[id] = true
				if left--; left == 0 {
					time.AfterFunc(last, func() { _ = cmd.Process.Kill() })
				}
			case strings.HasPrefix(word, "take-"):
				if doneBefore[name][id] {
					t.Errorf("round %d: sink %s got record %d again", round, name, id)
				}
				taken[name][id] = true
			case strings.HasPrefix(word, "done-"):
				done[name][id] = true
			}
		}
		_ = cmd.Wait()
		timer.Stop()
	}
	q, loss := mustOpen(t, testOptions(dir, "a", "b"))
	if loss.Items != 0 || len(loss.Files) != 0 {
		t.Errorf("loss %+v", loss)
	}
	for _, name := range []string{"a", "b"} {
		for _, id := range all(drain(t, q.Sink(name))) {
			if done[name][id] {
				t.Errorf("sink %s got record %d again", name, id)
			}
			taken[name][id] = true
		}
		for id := range put {
			if !taken[name][id] {
				t.Errorf("sink %s never got the acknowledged record %d", name, id)
			}
		}
	}
	if len(put) < 100 {
		t.Errorf("only %d records were put", len(put))
	}
	t.Logf("%d records over %d kills", len(put), rounds)
}

func TestRecordDamagedWhileOpenIsLeftOutAndCounted(t *testing.T) {
	dir, places := filled(t, 300, 0)
	q, _ := mustOpen(t, testOptions(dir, "a", "b"))
	victim := places[100]
	overwrite(t, victim.segment, victim.to-1, []byte{0xee, 0xee})
	want, _ := survivors(places, victim.segment, victim.to-1, victim.to+1)
	if got := drain(t, q.Sink("a")); count(got) != len(want) {
		t.Errorf("got %d, want %d", count(got), len(want))
	}
	lost := int64(0)
	for _, p := range places {
		if !want[p.id] {
			lost += int64(p.items)
		}
	}
	if l := q.Lost(); l.Items != lost || len(l.Files) != 1 {
		t.Errorf("loss %+v, want %d items", l, lost)
	}
}
