package queue

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// syncData makes the content of a file durable, without waiting for its times.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}

// lockDir takes the exclusive lock of a folder and waits a few seconds for a process that is about to end.
// A filesystem without locks is used without a lock.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		// A full or read-only disk must not keep the collector from starting.
		return func() {}, nil
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return func() { f.Close() }, nil
		}
		if time.Now().After(deadline) {
			f.Close()
			return nil, errors.New("another process uses this folder")
		}
		time.Sleep(50 * time.Millisecond)
	}
}
