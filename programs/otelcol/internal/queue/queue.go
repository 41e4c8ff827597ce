// Package queue keeps records of telemetry on disk until every sink has taken them.
//
// Records are appended to segments, with one sync for all records that wait at the same time. Each sink has
// marks of its own for what it is done with; a segment is deleted when no sink needs it any more. Partitions
// take turns, so that the backlog of one does not delay another.
package queue

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	defaultSegmentBytes   = 16 << 20
	maxSegmentBytes       = 1 << 30
	defaultMaxIndexed     = 200_000
	defaultCommitInterval = 5 * time.Millisecond
	cacheBytes            = 32 << 20
)

// Record is one OTLP request, or a part of one that was split.
type Record struct {
	Partition string
	Items     int
	Payload   []byte
	// Weight is how many bytes the record counts against the limits of a batch. 0: the length of Payload.
	Weight int
	// Kind is kept with the record and returned with it. The queue gives it no meaning.
	Kind uint8
	// ReplayOf is the id of the dead letter that this record repeats; '' for none.
	ReplayOf string
	// OnlySink is the one sink that gets the record; '' for every sink that is not closing.
	OnlySink string
	// Durable, when set, is called after the record is durable and before any sink sees it. It must be quick.
	Durable func()
}

// Options configures a queue.
type Options struct {
	// Dir is the folder of the segments. The queue leaves files alone that are not its own.
	Dir string
	// MaxBytes limits the bytes of the records that some sink still needs; 0: no limit. The files may hold a
	// tenth more (at least 64 MiB), because space is freed by whole segments.
	MaxBytes int64
	// MaxPartitionBytes is the same limit for each partition; 0: MaxBytes.
	MaxPartitionBytes int64
	// CommitInterval is the shortest time between two syncs while requests come fast. 0: 5 ms.
	CommitInterval time.Duration
	// Sinks are at most 16. A sink that is not listed any more loses its marks.
	Sinks []SinkOptions
	// SegmentBytes is the size at which a new segment starts. 0: 16 MiB.
	SegmentBytes int64
	// MaxIndexed is how many records are kept in the index in memory. 0: 200,000.
	MaxIndexed int
	Logger     *zap.Logger
	// Now tells the time of acceptance and the age of records. nil: time.Now.
	Now func() time.Time

	fs filesystem
}

// SinkOptions configures a sink.
type SinkOptions struct {
	Name string
	// InFlight is how many batches of one partition may be taken at once. 0: 1.
	InFlight int
	// MaxItems and MaxBytes (sum of weights) limit a batch of more than one record. 0: 8,192 and 2 MiB.
	MaxItems int
	MaxBytes int
	// FlushAfter is how long a record waits at most for others to fill its batch. 0: it does not wait.
	FlushAfter time.Duration
	// OnFullDrop drops the oldest records of this sink when its waiting bytes exceed LimitBytes (0: half of
	// MaxBytes), and when the queue is full.
	OnFullDrop bool
	LimitBytes int64
	// MaxAge drops records that were accepted longer ago. 0: never.
	MaxAge time.Duration
	// Closing gives the sink no new records. It still gets the older ones.
	Closing bool
}

// Loss is what damaged files cost. Items is a lower bound unless ItemsKnown.
type Loss struct {
	Items      int64
	Bytes      int64
	Files      []string // names of the damaged files
	ItemsKnown bool
}

// Ref names a record. It is never used again for another one.
type Ref struct {
	Segment uint64
	Index   uint32
}

// PartitionStats is what waits for a sink in a partition. Oldest is zero when nothing waits. Bytes are those on
// the disk.
type PartitionStats struct {
	Partition string
	Items     int64
	Bytes     int64
	Oldest    time.Time
	// Replaying are the items of records that repeat dead letters, of Items.
	Replaying int64
}

// Queue is a queue on disk. All methods may be called from several goroutines.
type Queue struct {
	dir               string
	fs                filesystem
	logger            *zap.Logger
	now               func() time.Time
	maxBytes          int64
	maxPartitionBytes int64
	segmentBytes      int64
	maxIndexed        int
	commitInterval    time.Duration
	sinks             []*Sink
	byName            map[string]*Sink
	takers            uint16 // slots of the sinks that get new records
	unlock            func()
	replays           []string

	commitMu   sync.Mutex
	commitCond *sync.Cond
	pending    []*request
	retire     bool
	stopping   bool
	stop       chan struct{}
	committed  chan struct{} // closed when the committer has ended
	maintained chan struct{} // closed when the maintenance has ended
	kicks      chan struct{}
	closeOnce  sync.Once

	// used by the committer only (and by Open before it starts, and by Close after it ended)
	buffer         []byte
	countsFile     file
	countsSequence uint64
	unwrittenTable *sinkTable
	untruncated    *segment // ends with bytes that were refused

	scanMu     sync.Mutex
	scanBuffer []byte

	mu          sync.Mutex
	closed      bool
	segments    map[uint64]*segment
	active      *segment
	nextSegment uint64
	running     uint64 // running count of items
	partitions  map[string]*partition
	live        int64 // bytes of frames that some sink still needs
	reserved    int64 // bytes of requests that are being written
	disk        int64
	indexed     int
	cache       *payloadCache
	loss        Loss
	lostRefs    map[Ref]bool
	pressed     map[string]bool // partitions that met a limit; true: their own
	fullLogged  map[string]time.Time
	warned      map[string]time.Time
}

// Open opens the queue of a folder and recovers what is in it. Damaged files are copied to the folder `damaged`,
// and every intact record is used; Loss says what is missing. It returns an error only for a folder that cannot
// be used at all, or for unusable options.
func Open(o Options) (*Queue, Loss, error) {
	q := &Queue{
		dir: o.Dir, fs: o.fs, logger: o.Logger, now: o.Now,
		maxBytes: o.MaxBytes, maxPartitionBytes: o.MaxPartitionBytes, segmentBytes: o.SegmentBytes,
		maxIndexed: o.MaxIndexed, commitInterval: o.CommitInterval,
		byName: map[string]*Sink{}, segments: map[uint64]*segment{}, partitions: map[string]*partition{},
		lostRefs: map[Ref]bool{}, pressed: map[string]bool{}, fullLogged: map[string]time.Time{}, warned: map[string]time.Time{},
		stop: make(chan struct{}), committed: make(chan struct{}), maintained: make(chan struct{}), kicks: make(chan struct{}, 1),
		cache: newPayloadCache(cacheBytes), unlock: func() {}, loss: Loss{ItemsKnown: true},
	}
	q.commitCond = sync.NewCond(&q.commitMu)
	if q.logger == nil {
		q.logger = zap.NewNop()
	}
	if q.now == nil {
		q.now = time.Now
	}
	if q.segmentBytes <= 0 {
		q.segmentBytes = defaultSegmentBytes
	}
	q.segmentBytes = min(q.segmentBytes, maxSegmentBytes)
	if q.maxIndexed <= 0 {
		q.maxIndexed = defaultMaxIndexed
	}
	if q.commitInterval <= 0 {
		q.commitInterval = defaultCommitInterval
	}
	if q.maxPartitionBytes <= 0 {
		q.maxPartitionBytes = q.maxBytes
	}
	if len(o.Sinks) > maxSinks {
		return nil, Loss{}, fmt.Errorf("queue has %d sinks; at most %d are possible", len(o.Sinks), maxSinks)
	}
	for i, so := range o.Sinks {
		if so.Name == "" || q.byName[so.Name] != nil {
			return nil, Loss{}, fmt.Errorf("sink name %q is empty or used twice", so.Name)
		}
		if so.InFlight <= 0 {
			so.InFlight = 1
		}
		if so.MaxItems <= 0 {
			so.MaxItems = 8192
		}
		if so.MaxBytes <= 0 {
			so.MaxBytes = 2 << 20
		}
		s := &Sink{q: q, name: so.Name, number: i, options: so, dropped: map[string]int64{}}
		if so.OnFullDrop {
			s.limitBytes = so.LimitBytes
			if s.limitBytes <= 0 {
				s.limitBytes = q.maxBytes / 2
			}
		}
		q.sinks = append(q.sinks, s)
		q.byName[so.Name] = s
	}
	osFiles := q.fs == nil
	if osFiles {
		q.fs = osFilesystem{}
	}
	if err := q.fs.MkdirAll(q.dir); err != nil {
		return nil, Loss{}, fmt.Errorf("folder of the queue cannot be made: %w", err)
	}
	if osFiles {
		unlock, err := lockDir(q.dir)
		if err != nil {
			return nil, Loss{}, fmt.Errorf("folder %s of the queue cannot be used: %w", q.dir, err)
		}
		q.unlock = unlock
	}
	if err := q.recover(); err != nil {
		q.unlock()
		return nil, Loss{}, err
	}
	go q.commitLoop()
	go q.maintain()
	q.kick()
	return q, q.Lost(), nil
}

// entitled returns the slots of the sinks that get records of a segment: not those that were added later.
func (q *Queue) entitled(segment uint64) (slots uint16) {
	for _, s := range q.sinks {
		if segment >= s.first {
			slots |= 1 << s.slot
		}
	}
	return slots
}

func (q *Queue) owners() (owners [maxSinks]uint64) {
	for _, s := range q.sinks {
		owners[s.slot] = sinkHash(s.name)
	}
	return owners
}

// segmentNumbers returns the numbers of all segments in ascending order. The caller holds mu.
func (q *Queue) segmentNumbers() []uint64 {
	numbers := make([]uint64, 0, len(q.segments))
	for n := range q.segments {
		numbers = append(numbers, n)
	}
	sort.Slice(numbers, func(i, j int) bool { return numbers[i] < numbers[j] })
	return numbers
}

func (q *Queue) random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:]) | 1
}

// warn logs a problem with a file, at most once in ten seconds for each text.
func (q *Queue) warn(text string, segment uint64, err error) {
	q.mu.Lock()
	now := time.Now()
	quiet := now.Sub(q.warned[text]) < 10*time.Second
	if !quiet {
		q.warned[text] = now
	}
	q.mu.Unlock()
	if !quiet {
		q.logger.Warn(text, zap.String("directory", q.dir), zap.Uint64("segment", segment), zap.Error(err))
	}
}

func (q *Queue) logWarn(text, partition string, err error) {
	q.logger.Warn(text, zap.String("directory", q.dir), zap.String("edge", partition), zap.Error(err))
}

// addLoss counts records that are damaged on the disk. The caller holds mu.
func (q *Queue) addLoss(items, bytes int64, segment uint64) {
	q.loss.Items += max(items, 0)
	q.loss.Bytes += max(bytes, 0)
	name := filepath.Base(q.segmentPath(segment))
	for _, f := range q.loss.Files {
		if f == name {
			return
		}
	}
	q.loss.Files = append(q.loss.Files, name)
}

// Sink returns the sink of a name, nil when there is none.
func (q *Queue) Sink(name string) *Sink { return q.byName[name] }

// DiskBytes returns the bytes of the segments and their marks.
func (q *Queue) DiskBytes() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.disk
}

// LiveBytes returns the bytes of the records that some sink still needs.
func (q *Queue) LiveBytes() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.live
}

// CapacityBytes returns MaxBytes.
func (q *Queue) CapacityBytes() int64 { return q.maxBytes }

// Lost returns what damaged files have cost since Open, including what Open found.
func (q *Queue) Lost() Loss {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.loss
	l.Files = append([]string(nil), l.Files...)
	return l
}

// LiveReplays returns the ids in ReplayOf of the records that Open found and that some sink still needs.
func (q *Queue) LiveReplays() []string { return append([]string(nil), q.replays...) }

// Close refuses new records, writes those that wait, and closes the files. Done has no effect afterwards.
func (q *Queue) Close() error {
	q.closeOnce.Do(func() {
		q.commitMu.Lock()
		q.stopping = true
		close(q.stop)
		q.commitCond.Broadcast()
		q.commitMu.Unlock()
		<-q.committed
		<-q.maintained
		if q.active != nil {
			q.sealActive()
		}
		q.removeUnneeded()
		q.mu.Lock()
		q.closed = true
		for _, s := range q.sinks {
			for len(s.waiters) > 0 {
				s.wake()
			}
			if s.timer != nil {
				s.timer.Stop()
			}
		}
		q.mu.Unlock()
		if q.countsFile != nil {
			_ = q.countsFile.Sync()
			q.countsFile.Close()
		}
		q.unlock()
	})
	return nil
}
