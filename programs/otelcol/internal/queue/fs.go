package queue

import (
	"io"
	"os"
)

// file is an open file of the queue. Tests replace it to make single operations fail.
type file interface {
	io.ReaderAt
	io.WriterAt
	// Sync returns when the written bytes are on the disk.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// filesystem is the set of file operations of the queue. Tests replace it to make single operations fail.
type filesystem interface {
	MkdirAll(dir string) error
	// Create makes a new file, or empties an existing one, open for reading and writing.
	Create(name string) (file, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (file, error)
	ReadFile(name string) ([]byte, error)
	ReadDir(dir string) ([]os.DirEntry, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes created, renamed and removed names of a folder durable.
	SyncDir(dir string) error
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

type osFilesystem struct{}

func (osFilesystem) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osFilesystem) Create(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFilesystem) Open(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFilesystem) ReadFile(name string) ([]byte, error)      { return os.ReadFile(name) }
func (osFilesystem) ReadDir(dir string) ([]os.DirEntry, error) { return os.ReadDir(dir) }
func (osFilesystem) Rename(from, to string) error              { return os.Rename(from, to) }
func (osFilesystem) Remove(name string) error                  { return os.Remove(name) }

func (osFilesystem) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// writeDurably writes a whole file and makes its content durable. It leaves no file behind when it fails.
func writeDurably(fs filesystem, name string, data []byte) error {
	f, err := fs.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = fs.Remove(name)
	}
	return err
}
