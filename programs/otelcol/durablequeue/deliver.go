package durablequeue

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"lkeobs/programs/otelcol/internal/deadletters"
	"lkeobs/programs/otelcol/internal/pieces"
	"lkeobs/programs/otelcol/internal/queue"
	"lkeobs/programs/otelcol/internal/rules"
)

const (
	// isolatedBatches of a partition hold their data in memory at once; with more, the partition waits.
	isolatedBatches = 4
	// isolatedBytes of all partitions of a sink; with more, a batch waits in the consumer that has it.
	isolatedBytes = 64 << 20
	// defaultWaitingItems and waitingBytes bound a partition's waiting room.
	defaultWaitingItems = 1000
	waitingBytes        = 32 << 20
	// allWaitingBytes of the waiting rooms of all partitions of a sink.
	allWaitingBytes = 128 << 20
	// triesBeforeHalving of a piece that a store fails to take.
	triesBeforeHalving = 3
	// letterGroup is how many dead letters are written with one fsync.
	letterGroup = 256
	// learnedTexts are remembered for learnedFor.
	learnedTexts = 1000
	learnedFor   = time.Hour
)

// sinkQueue is what delivery uses of *queue.Sink.
type sinkQueue interface {
	Next(context.Context) (*queue.Batch, error)
	Done(*queue.Batch)
	Release(*queue.Batch)
	Hold(*queue.Batch)
	Reload(*queue.Batch) bool
	Needs(queue.Ref) bool
	Block(partition string, blocked bool)
	Stats() []queue.PartitionStats
	Dropped() map[string]int64
}

// sink empties the queue into one pipeline.
type sink[T any] struct {
	in    *instance[T]
	name  string
	cfg   SinkConfig
	q     sinkQueue
	rules *rules.Rules
	next  func(context.Context, T) error
	agent bool
	// settling: what the store has taken, and may still forget by a restart.
	settling settling
	// waitingItems of a partition's waiting room.
	waitingItems int

	lastDelivered atomic.Int64 // unix nanoseconds

	mu       sync.Mutex
	closed   bool
	parts    map[string]*part
	learned  map[string]time.Time
	held     int64         // bytes under isolation
	waiting  int64         // bytes in waiting rooms
	recover  chan struct{} // closed when something was delivered
	reported map[string]int64
}

// part is what a sink knows of one partition.
type part struct {
	name string

	// under sink.mu
	stored                      int64
	repaired, takenOut, dropped map[string]int64
	failingSince                time.Time
	lastError                   string
	blocks                      int
	jobs                        []*job // not begun
	active                      int    // jobs that hold their data
	running                     bool
	wake                        chan struct{} // a job was added

	// of the isolation alone
	room      []*waiting
	roomBytes int
}

func newSink[T any](in *instance[T], name string, cfg SinkConfig, next func(context.Context, T) error) *sink[T] {
	if cfg.Consumers == 0 {
		cfg.Consumers = 2
	}
	if cfg.InFlight == 0 {
		cfg.InFlight = 1
	}
	return &sink[T]{
		in: in, name: name, cfg: cfg, next: next, agent: cfg.Refusals == "retry", waitingItems: defaultWaitingItems,
		parts: map[string]*part{}, learned: map[string]time.Time{}, recover: make(chan struct{}), reported: map[string]int64{},
	}
}

// partLocked needs s.mu.
func (s *sink[T]) partLocked(name string) *part {
	p := s.parts[name]
	if p == nil {
		p = &part{name: name, repaired: map[string]int64{}, takenOut: map[string]int64{}, dropped: map[string]int64{}, wake: make(chan struct{}, 1)}
		s.parts[name] = p
	}
	return p
}

func (s *sink[T]) part(name string) *part {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.partLocked(name)
}

func (s *sink[T]) eachPart(do func(*part)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parts {
		do(p)
	}
}

// block counts the reasons for which the queue must not hand out a partition.
func (s *sink[T]) block(partition string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blockLocked(s.partLocked(partition), by)
}

func (s *sink[T]) blockLocked(p *part, by int) {
	before := p.blocks > 0
	p.blocks += by
	if after := p.blocks > 0; after != before && !s.closed {
		s.q.Block(p.name, after)
	}
}

func (s *sink[T]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// done marks a batch for good, unless the queue is closed.
func (s *sink[T]) done(b *queue.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.q.Done(b)
		s.partLocked(b.Partition).failingSince = time.Time{} // the head moves
	}
}

func (s *sink[T]) queueDropReason() string {
	if s.cfg.OnFull != "drop" {
		return "too-old"
	}
	return "full"
}

// observeQueueDrops counts what the queue itself dropped.
func (s *sink[T]) observeQueueDrops() {
	for edge, n := range s.q.Dropped() {
		s.mu.Lock()
		more := n - s.reported[edge]
		s.reported[edge] = n
		s.mu.Unlock()
		if more > 0 {
			s.in.telemetry.dropped(edge, s.name, s.queueDropReason(), int(more))
			s.in.loud.warn(edge, s.name, "dropped-"+s.queueDropReason(), "The oldest items of a sink are dropped.", zap.Int64("items", more))
		}
	}
}

func (s *sink[T]) failingSeconds(now time.Time) map[string]float64 {
	all := map[string]float64{}
	s.eachPart(func(p *part) {
		if !p.failingSince.IsZero() {
			all[p.name] = max(now.Sub(p.failingSince).Seconds(), 0)
		}
	})
	return all
}

// delivered counts items, and wakes what waits when the sink had not taken anything for a while.
func (s *sink[T]) delivered(p *part, items int) {
	now := s.in.now()
	before := s.lastDelivered.Swap(now.UnixNano())
	s.mu.Lock()
	p.stored += int64(items)
	p.failingSince = time.Time{}
	if now.UnixNano()-before > int64(s.in.cfg.Retry.Initial) {
		close(s.recover)
		s.recover = make(chan struct{})
	}
	s.mu.Unlock()
	s.in.telemetry.stored(p.name, s.name, items)
}

func (s *sink[T]) failed(p *part, v verdict, text string) {
	s.mu.Lock()
	if p.failingSince.IsZero() {
		p.failingSince = s.in.now()
	}
	p.lastError = text
	s.mu.Unlock()
	s.in.loud.warn(p.name, s.name, v.class.String(), "A sink does not take a batch.", zap.String("error", text), zap.String("signal", s.in.signal))
}

// deliveredSince tells whether the sink took anything after t.
func (s *sink[T]) deliveredSince(t time.Time) bool { return s.lastDelivered.Load() > t.UnixNano() }

// backoff of the n-th retry, at least what the store asks for.
func (s *sink[T]) backoff(n int, asked time.Duration) time.Duration {
	d := s.in.cfg.Retry.Initial
	for i := 1; i < n && d < s.in.cfg.Retry.Max; i++ {
		d *= 2
	}
	d = min(d, s.in.cfg.Retry.Max)
	d = d*4/5 + rand.N(d/5+1)*2
	return max(d, asked)
}

// wait returns early when the sink takes something again, and false when reading ends. What a store asks for is waited
// for in full.
func (s *sink[T]) wait(d, asked time.Duration) bool {
	s.mu.Lock()
	recovered := s.recover
	s.mu.Unlock()
	if asked > 0 {
		recovered = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.in.read.Done():
		return false
	case <-recovered:
	case <-timer.C:
	}
	return s.in.read.Err() == nil
}

func (s *sink[T]) consumeLoop() {
	for {
		b, err := s.q.Next(s.in.read)
		if err != nil {
			return
		}
		s.deliver(b)
	}
}

// job is a batch on its way.
type job struct {
	b       *queue.Batch
	p       *part
	payload []byte
	// kept items of each record, after the rules; nil: all of them.
	kept []int
	// prepared is when it was made ready to be sent, and started since when the store ran then.
	prepared time.Time
	started  float64
	// held: some of its records are not sent, because the store took them from an earlier process of the collector.
	held bool

	// of the isolation
	began     time.Time
	index     *pieces.Index
	stack     []piece
	remaining int
	letters   []deadletters.Letter
	firstErr  error
	size      int64
	starts    []int // first item of each record
	released  bool  // its data is not in memory any more
}

// piece is a range of a job's items.
type piece struct {
	from, to int
	tries    int
	failedAt time.Time // first
}

func (s *sink[T]) tooOld(b *queue.Batch) bool {
	return s.cfg.MaxAge > 0 && !b.Oldest.IsZero() && s.in.now().Sub(b.Oldest) > s.cfg.MaxAge
}

func (s *sink[T]) dropOld(j *job, items int) {
	s.mu.Lock()
	j.p.dropped["too-old"] += int64(items)
	s.mu.Unlock()
	s.in.telemetry.dropped(j.p.name, s.name, "too-old", items)
	s.in.loud.warn(j.p.name, s.name, "too-old", "A batch is dropped: it is older than max_age.", zap.Int("items", items), zap.Duration("max_age", s.cfg.MaxAge))
}

// deliver sends a batch. What fails because of its data goes to the isolation of its partition; what fails because the
// store is not there is held here.
func (s *sink[T]) deliver(b *queue.Batch) {
	if !s.awaitStart() {
		return
	}
	j := &job{b: b, p: s.part(b.Partition), payload: b.Payload}
	data, items, letters := s.prepare(j)
	if len(letters) > 0 && !s.writeLetters(j.p, letters) {
		return
	}
	if items == 0 {
		if j.held {
			s.taken(j)
		} else {
			s.done(b)
		}
		return
	}
	for try := 1; ; try++ {
		if s.tooOld(b) {
			s.dropOld(j, items)
			s.done(b)
			return
		}
		err := s.next(s.in.sending, data)
		if err == nil {
			s.taken(j)
			s.delivered(j.p, items)
			return
		}
		if s.in.sending.Err() != nil {
			return
		}
		v := classify(err, s.cfg.Rules, s.agent)
		s.failed(j.p, v, deadletters.CleanText(err.Error()))
		if v.class != connection && s.isolate(j, err) {
			return
		}
		if !s.wait(s.backoff(try, v.delay), v.delay) {
			return
		}
		if data, err = s.in.codec.unmarshal(j.payload); err != nil {
			s.in.log.Error("A batch cannot be read a second time.", zap.Error(err))
			return
		}
	}
}

// prepare decodes a batch and applies the rules, record by record, so that a dead letter has an id of its own that is
// the same after a crash.
func (s *sink[T]) prepare(j *job) (data T, items int, letters []deadletters.Letter) {
	c := s.in.codec
	now := s.in.now()
	var held []bool
	held, j.started = s.takenBefore(j.b)
	j.prepared, j.held = now, held != nil
	if s.rules == nil && !j.held {
		if data, err := c.unmarshal(j.payload); err == nil {
			return data, c.items(data), nil
		}
	}
	changed := j.held
	repaired := map[string]int{}
	first := true
	for r, record := range recordsOf(j.b) {
		if r < len(held) && held[r] {
			j.kept = append(j.kept, 0)
			continue
		}
		one, err := c.unmarshal(record)
		if err != nil {
			n := 1
			if totals, err := pieces.Weigh(c.signal, record); err == nil {
				n = max(totals.Items, 1)
			}
			letters = append(letters, s.letter(j.b, r, "unreadable", 0, "invalid-payload", err.Error(), record, n))
			j.kept = append(j.kept, 0)
			changed = true
			continue
		}
		if s.rules != nil {
			outcome := c.apply(s.rules, j.b.Partition, one, now)
			changed = changed || len(outcome.Repaired) > 0 || len(outcome.TakenOut) > 0
			for reason, n := range outcome.Repaired {
				repaired[reason] += n
			}
			for k, out := range outcome.TakenOut {
				letters = append(letters, s.letter(j.b, r, "rules", k, out.Reason, out.Detail, out.Payload, max(out.Items, 1)))
			}
			if o := outcome.Offender; o != nil {
				s.in.loud.warn(j.b.Partition, s.name, "budget", "An edge has more series or streams than its share.", zap.String("offender", deadletters.CleanText(o.String())))
			}
		}
		n := c.items(one)
		j.kept = append(j.kept, n)
		items += n
		if first {
			data, first = one, false
		} else {
			c.moveTo(one, data)
		}
	}
	if len(repaired) > 0 {
		s.mu.Lock()
		for reason, n := range repaired {
			j.p.repaired[reason] += int64(n)
		}
		s.mu.Unlock()
		for reason, n := range repaired {
			s.in.telemetry.repaired(j.p.name, s.name, reason, n)
		}
	}
	if changed && items > 0 {
		// Sending may change the data, and a retry starts from this payload.
		payload, err := c.marshal(data)
		if err != nil {
			s.in.log.Error("A batch that the rules changed cannot be encoded.", zap.Error(err))
		} else {
			j.payload = payload
		}
	}
	return data, items, letters
}

// recordsOf cuts a batch into the payloads of its records.
func recordsOf(b *queue.Batch) [][]byte {
	records := make([][]byte, 0, len(b.RefBytes))
	rest := b.Payload
	for _, n := range b.RefBytes {
		n = min(n, len(rest))
		records = append(records, rest[:n:n])
		rest = rest[n:]
	}
	if len(rest) > 0 {
		records = append(records, rest)
	}
	return records
}

func (s *sink[T]) letter(b *queue.Batch, record int, kind string, ordinal int, reason, detail string, payload []byte, items int) deadletters.Letter {
	var ref queue.Ref
	replayOf := ""
	if len(b.Refs) > 0 {
		ref = b.Refs[min(record, len(b.Refs)-1)]
	}
	if record < len(b.ReplayOf) {
		replayOf = b.ReplayOf[record]
	}
	return deadletters.Letter{
		ID:     deadletters.ID(s.in.queueID, s.name, s.in.signal, ref.Segment, ref.Index, kind, ordinal, payload),
		Signal: s.in.signal, Sink: s.name, Edge: b.Partition, Reason: reason, Detail: deadletters.CleanText(detail), Time: s.in.now(),
		Workload: pieces.Describe(s.in.codec.signal, payload).Workload, Items: items, Bytes: len(payload), ReplayOf: replayOf, Payload: payload,
	}
}

// writeLetters keeps dead letters on disk, and tries until it succeeds. It is false when reading ends before.
func (s *sink[T]) writeLetters(p *part, letters []deadletters.Letter) bool {
	for try := 1; ; try++ {
		added, err := s.in.letters.Append(letters...)
		if len(added) > 0 {
			s.mu.Lock()
			for i := range added {
				p.takenOut[added[i].Reason] += int64(added[i].Items)
			}
			s.mu.Unlock()
			for i := range added {
				s.in.telemetry.takenOut(&added[i])
			}
			s.in.loud.warn(p.name, s.name, "dead-letter-"+added[0].Reason, "Items became dead letters.", zap.Int("items", len(added)),
				zap.String("workload", deadletters.CleanText(added[0].Workload)), zap.String("detail", added[0].Detail), zap.String("signal", s.in.signal))
		}
		if err == nil {
			return true
		}
		s.in.loud.warn(p.name, s.name, "dead-letters-disk", "Dead letters cannot be written. Their batches wait.", zap.Error(err))
		if !s.wait(s.backoff(try, 0), time.Nanosecond) {
			return false
		}
	}
}
