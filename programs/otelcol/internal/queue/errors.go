package queue

import (
	"errors"
	"fmt"
)

// ErrClosed is returned after Close. The caller may try again with the next collector.
var ErrClosed = errors.New("the queue is closed")

// ErrNoSink is returned by Put when no sink would get the record, so that it is refused and not lost.
var ErrNoSink = errors.New("no sink of the queue accepts records")

// FullError says that a limit of the queue would be exceeded. It is retryable.
type FullError struct {
	Partition   string
	Bytes       int64 // used, in bytes
	LimitBytes  int64
	OfPartition bool // the limit is that of the partition, not that of the queue
}

func (e *FullError) Error() string {
	scope := "the queue"
	if e.OfPartition {
		scope = "the share of this partition"
	}
	return fmt.Sprintf("queue full for partition %q: %d of the %d bytes of %s are in use", e.Partition, e.Bytes, e.LimitBytes, scope)
}

// DiskError says that a file operation failed and that the record was not kept. It is retryable.
type DiskError struct {
	Op  string // create, write or sync
	Err error
}

func (e *DiskError) Error() string { return fmt.Sprintf("queue on disk: %s: %v", e.Op, e.Err) }

// Unwrap returns the error of the file operation.
func (e *DiskError) Unwrap() error { return e.Err }
