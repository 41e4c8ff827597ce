//go:build !linux

package queue

import "os"

// syncData makes the content of a file durable.
func syncData(f *os.File) error { return f.Sync() }

// lockDir does nothing where folder locks are not supported.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }
