package deadletters

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func letter(n int) Letter {
	payload := []byte(fmt.Sprint("payload ", n))
	return Letter{
		ID: ID("queue", "loki", "logs", 1, uint32(n), "refused", 0, payload), Signal: "logs", Sink: "loki", Edge: fmt.Sprint("edge-", n%2),
		Reason: "refused", Detail: "entry too far behind", Time: time.Unix(int64(n), 0), Items: 1, Bytes: len(payload), Payload: payload,
	}
}

func open(t *testing.T, dir string, maxBytes int64) *Store {
	t.Helper()
	s, err := Open(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestLettersSurviveAReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	for n := range 10 {
		if added, err := s.Append(letter(n)); err != nil || len(added) != 1 {
			t.Fatal(added, err)
		}
	}
	if added, err := s.Append(letter(3), letter(3)); err != nil || len(added) != 0 {
		t.Fatal("an id that is there already was added", added, err)
	}
	if n, err := s.Remove(letter(4).ID, letter(4).ID, "unknown"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	// without Close, as after kill -9
	again := open(t, dir, 1<<20)
	if got := again.List(Filter{}); len(got) != 9 || got[0].Payload != nil {
		t.Fatal(len(got))
	}
	if got := again.List(Filter{Edge: "edge-1", Sink: "loki", Signal: "logs", Reason: "refused"}); len(got) != 5 {
		t.Fatal(len(got))
	}
	l, ok, err := again.Get(letter(7).ID)
	if !ok || err != nil || !bytes.Equal(l.Payload, letter(7).Payload) || !l.Time.Equal(time.Unix(7, 0)) {
		t.Fatal(l, ok, err)
	}
	if _, ok, _ := again.Get(letter(4).ID); ok {
		t.Fatal("a removed letter is back")
	}
	if totals := again.Totals()["loki"]; totals.Count != 9 || totals.Bytes == 0 {
		t.Fatal(totals)
	}
}

func TestAFolderWithGarbageOpens(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	for n := range 4 {
		if _, err := s.Append(letter(n)); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "0000000000000001.jsonl")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		sub := t.TempDir()
		if err := os.WriteFile(filepath.Join(sub, "0000000000000001.jsonl"), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		c := open(t, sub, 1<<20)
		full := bytes.Count(whole[:cut], []byte("\n"))
		if got := len(c.List(Filter{})); got != full && got != full+1 {
			t.Fatal(cut, got, full)
		}
		if _, err := c.Append(letter(100)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	garbage := append(bytes.Clone(whole), "\x00\x00\xff{]\n{}\n{\"id\":5}\n"...)
	garbage = append(garbage, whole[:50]...)
	if err := os.WriteFile(name, garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "0000000000000009.jsonl"), bytes.Repeat([]byte{0}, 9000), 0o600); err != nil {
		t.Fatal(err)
	}
	g := open(t, dir, 1<<20)
	if len(g.List(Filter{})) != 4 || g.Unreadable() != 5 {
		t.Fatal(len(g.List(Filter{})), g.Unreadable())
	}
}

func TestTheOldestAreEvicted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 20_000)
	const n = 500
	for i := range n {
		if _, err := s.Append(letter(i)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(s *Store, evicted int64) {
		t.Helper()
		all := s.List(Filter{})
		totals := s.Totals()["loki"]
		if s.Bytes() > 20_000 || len(all) < 50 || totals.Evicted != evicted || int(totals.Count) != len(all) {
			t.Fatal(s.Bytes(), len(all), totals)
		}
		if all[len(all)-1].ID != letter(n-1).ID {
			t.Fatal("the newest is missing")
		}
	}
	check(s, int64(n-len(s.List(Filter{}))))
	check(open(t, dir, 20_000), 0)
}

func TestRemovedLettersMakeRoom(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 20_000)
	if _, err := s.Append(letter(0)); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 2000; i++ { // the first stays, and pins the oldest file
		if _, err := s.Append(letter(i)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Remove(letter(i).ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, store := range []*Store{s, open(t, dir, 20_000)} {
		if _, ok, err := store.Get(letter(0).ID); !ok || err != nil || len(store.List(Filter{})) != 1 || store.Totals()["loki"].Evicted != 0 {
			t.Fatal("a letter was evicted though removed ones took the room", err, store.Totals())
		}
	}
}

func TestAFailedWriteIsRolledBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	if _, err := s.Append(letter(0)); err != nil {
		t.Fatal(err)
	}
	s.sync = func(*os.File) error { return errors.New("no space left on device") }
	if added, err := s.Append(letter(1)); err == nil || len(added) != 0 {
		t.Fatal("no error")
	}
	if n, err := s.Remove(letter(0).ID); err == nil || n != 0 {
		t.Fatal("no error")
	}
	s.sync = (*os.File).Sync
	if _, err := s.Append(letter(2)); err != nil {
		t.Fatal(err)
	}
	if got := open(t, dir, 1<<20); len(got.List(Filter{})) != 2 || got.Unreadable() != 0 {
		t.Fatal(got.List(Filter{}), got.Unreadable())
	}
}

func TestCleanText(t *testing.T) {
	got := CleanText("a\x1b[31m\nb\u009b\xff" + strings.Repeat("é", 3000))
	if strings.ContainsAny(got, "\x1b\n\u009b") || len(got) > 2100 || !strings.HasPrefix(got, `a\u001b[31m\nb\u009b`+"\ufffd") {
		t.Fatal(got[:60], len(got))
	}
}

func TestQueueIDIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "id")
	id, err := QueueID(path)
	if err != nil || len(id) != 32 {
		t.Fatal(id, err)
	}
	if again, err := QueueID(path); again != id || err != nil {
		t.Fatal(again, err)
	}
	if err := os.Truncate(path, 5); err != nil {
		t.Fatal(err)
	}
	if other, err := QueueID(path); len(other) != 32 || other == id || err != nil {
		t.Fatal(other, err)
	}
	if unkept, err := QueueID(filepath.Join(path, "no folder")); len(unkept) != 32 || err == nil {
		t.Fatal(unkept, err)
	}
	if ID("a", "loki", "logs", 1, 1, "item", 0, nil) == ID("b", "loki", "logs", 1, 1, "item", 0, nil) {
		t.Fatal("the same id in two queues")
	}
}
