package durablequeue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"lkeobs/programs/otelcol/internal/deadletters"
	"lkeobs/programs/otelcol/internal/pieces"
	"lkeobs/programs/otelcol/internal/queue"
	"lkeobs/programs/otelcol/internal/registry"
	"lkeobs/programs/otelcol/internal/rules"
	"lkeobs/programs/otelcol/internal/shares"
)

const (
	// keptOfTooLarge bytes of an item that is too large to be queued stay in its dead letter.
	keptOfTooLarge = 64 << 10
	// admissionSink is the sink that dead letters of the admission name.
	admissionSink = "admission"
	// maxPartitionName in bytes.
	maxPartitionName = 200
	// waitForSends at shutdown.
	waitForSends = 5 * time.Second
)

// instance is the connector for one signal.
type instance[T any] struct {
	cfg       *Config
	signal    string
	component string
	codec     *codec[T]
	send      map[string]func(context.Context, T) error
	set       component.TelemetrySettings
	log       *zap.Logger
	loud      *loudLog
	telemetry *telemetry
	limiter   *shares.Limiter
	now       func() time.Time

	queue      *queue.Queue
	queueID    string // mixed into the ids of dead letters
	letters    *deadletters.Store
	sinks      []*sink[T]
	unregister func()

	read, sending            context.Context // cancelled when reading ends, and when sends must end
	stopReading, stopSending context.CancelFunc
	workers                  sync.WaitGroup
	admissions               sync.WaitGroup
	stopping                 atomic.Bool
	admissionMu              sync.RWMutex
	replayMu                 sync.Mutex
	replayed                 map[string]bool // letters that were put into the queue and could not be removed; under replayMu
	mu                       sync.Mutex
	accepted                 map[string]int64
	refused                  map[string]map[string]int64
}

func newInstance[T any](set connector.Settings, cfg *Config, c *codec[T], send map[string]func(context.Context, T) error) (*instance[T], error) {
	in := &instance[T]{
		cfg: cfg, signal: string(c.signal), component: set.ID.String(), codec: c, send: send, set: set.TelemetrySettings, log: set.Logger,
		loud: newLoudLog(set.Logger), now: time.Now, replayed: map[string]bool{}, accepted: map[string]int64{}, refused: map[string]map[string]int64{},
	}
	if cfg.Shares != nil {
		in.limiter = shares.New(*cfg.Shares)
	}
	for _, name := range slices.Sorted(maps.Keys(send)) {
		s := newSink(in, name, cfg.Sinks[name], send[name])
		if s.cfg.Rules != "" {
			settings, err := cfg.ruleSettings(s.cfg.Rules, c.signal)
			if err != nil {
				return nil, err
			}
			if s.rules, err = rules.New(s.cfg.Rules, settings); err != nil {
				return nil, fmt.Errorf("sinks.%s.rules: %s: %w", name, s.cfg.Rules, err)
			}
		}
		in.sinks = append(in.sinks, s)
	}
	return in, nil
}

// Capabilities: the data is only read here.
func (in *instance[T]) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start opens the queue.
func (in *instance[T]) Start(context.Context, component.Host) error {
	dir := filepath.Join(in.cfg.Directory, in.signal)
	maxBytes, err := in.cfg.maxBytes(in.signal)
	if err != nil {
		return fmt.Errorf("max_bytes: %w", err)
	}
	partitionBytes, err := bytesOf(in.cfg.MaxPartitionBytes, in.signal)
	if err != nil {
		return fmt.Errorf("max_partition_bytes: %w", err)
	}
	if partitionBytes == 0 {
		partitionBytes = maxBytes
	}
	options := queue.Options{Dir: dir, MaxBytes: maxBytes, MaxPartitionBytes: partitionBytes, CommitInterval: in.cfg.CommitInterval, Logger: in.log, Now: in.now}
	for _, s := range in.sinks {
		limit, err := bytesOf(s.cfg.MaxBytes, in.signal)
		if err != nil {
			return fmt.Errorf("sinks.%s.max_bytes: %w", s.name, err)
		}
		if s.cfg.OnFull == "drop" && limit == 0 {
			limit = maxBytes / 2
		}
		options.Sinks = append(options.Sinks, queue.SinkOptions{
			Name: s.name, InFlight: s.cfg.InFlight, MaxItems: in.cfg.Batch.MaxItems, MaxBytes: in.cfg.Batch.MaxBytes, FlushAfter: in.cfg.Batch.FlushAfter,
			OnFullDrop: s.cfg.OnFull == "drop", LimitBytes: limit, MaxAge: s.cfg.MaxAge, Closing: s.cfg.Closing,
		})
	}
	q, loss, err := queue.Open(options)
	if err != nil {
		return fmt.Errorf("queue in %s: %w", dir, err)
	}
	in.queue = q
	if in.queueID, err = deadletters.QueueID(filepath.Join(dir, "id")); err != nil {
		in.log.Warn("The id of the queue cannot be kept. Until it can, an item may have two dead letters after a restart.", zap.String("signal", in.signal), zap.Error(err))
	}
	if in.letters, err = deadletters.Open(filepath.Join(dir, "dead-letters"), in.cfg.DeadLetters.MaxBytes); err != nil {
		return errors.Join(err, q.Close())
	}
	if loss.Items > 0 || loss.Bytes > 0 {
		in.log.Error("Files of the queue were damaged. The parts that could be read are used, the damaged files are copied aside.",
			zap.String("signal", in.signal), zap.Int64("lost_items", loss.Items), zap.Bool("all_lost_items_known", loss.ItemsKnown),
			zap.Int64("damaged_bytes", loss.Bytes), zap.Strings("files", loss.Files))
	}
	if n := in.letters.Unreadable(); n > 0 {
		in.log.Error("Some lines of the dead letters cannot be read.", zap.String("signal", in.signal), zap.Int64("lines", n), zap.String("folder", filepath.Join(dir, "dead-letters")))
	}
	// A letter whose replay is in the queue was about to be removed when the process ended.
	if live := q.LiveReplays(); len(live) > 0 {
		if _, err := in.letters.Remove(live...); err != nil {
			in.log.Error("Dead letters that are replayed already cannot be removed.", zap.Error(err))
			for _, id := range live {
				in.replayed[id] = true
			}
		}
	}
	if in.telemetry, err = newTelemetry(in.set, in); err != nil {
		return errors.Join(err, q.Close(), in.letters.Close())
	}
	in.read, in.stopReading = context.WithCancel(context.Background())
	in.sending, in.stopSending = context.WithCancel(context.Background())
	for _, s := range in.sinks {
		s.q = q.Sink(s.name)
		if s.cfg.Settle.After > 0 {
			s.openJournal(dir)
		}
		for range s.cfg.Consumers {
			in.workers.Add(1)
			go func() {
				defer in.workers.Done()
				s.consumeLoop()
			}()
		}
	}
	for _, s := range in.sinks {
		if s.cfg.Settle.After > 0 {
			in.workers.Add(1)
			go func() {
				defer in.workers.Done()
				s.settleLoop()
			}()
		}
	}
	in.workers.Add(1)
	go func() {
		defer in.workers.Done()
		lost := q.Lost().Items
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-in.read.Done():
				tick.Stop()
				return
			case <-tick.C:
				for _, s := range in.sinks {
					s.observeQueueDrops()
				}
				in.removeReplayed()
				if n := q.Lost().Items; n > lost {
					in.telemetry.lost(n - lost)
					lost = n
				}
			}
		}
	}()
	in.unregister = registry.Register(in.component, in.signal, in)
	return nil
}

// Shutdown stops reading, waits for what is on its way, and closes the queue. What was not answered stays in the queue.
func (in *instance[T]) Shutdown(context.Context) error {
	in.admissionMu.Lock()
	in.stopping.Store(true)
	in.admissionMu.Unlock()
	if in.queue == nil || in.stopReading == nil { // Start failed
		return nil
	}
	if in.unregister != nil {
		in.unregister()
	}
	in.stopReading()
	in.admissions.Wait()
	done := make(chan struct{})
	go func() {
		in.workers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(waitForSends):
		in.stopSending()
		select {
		case <-done:
		case <-time.After(time.Second):
			in.log.Warn("A sink does not end its request. Its data stays in the queue.", zap.String("signal", in.signal))
		}
	}
	in.stopSending()
	for _, s := range in.sinks {
		s.close()
		s.closeJournal()
	}
	in.telemetry.close()
	return errors.Join(in.queue.Close(), in.letters.Close())
}

func (in *instance[T]) partition(data T) string {
	if in.cfg.PartitionBy != "" {
		if resource, ok := in.codec.resource(data); ok {
			if v, ok := resource.Attributes().Get(in.cfg.PartitionBy); ok {
				if name := v.AsString(); name != "" {
					return name[:min(len(name), maxPartitionName)]
				}
			}
		}
	}
	if in.cfg.Partition != "" {
		return in.cfg.Partition
	}
	return "hub"
}

// admit keeps a request. It returns nil when the request is on disk.
func (in *instance[T]) admit(ctx context.Context, data T) error {
	in.admissionMu.RLock()
	if in.stopping.Load() {
		in.admissionMu.RUnlock()
		return status.Error(codes.Unavailable, "the collector is shutting down")
	}
	in.admissions.Add(1)
	in.admissionMu.RUnlock()
	defer in.admissions.Done()

	items := in.codec.items(data)
	if items == 0 {
		return nil
	}
	partition := in.partition(data)
	payload, err := in.codec.marshal(data)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "the request cannot be encoded: %v", err)
	}
	totals, err := pieces.Weigh(in.codec.signal, payload)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "the request cannot be read: %v", err)
	}
	if in.limiter != nil {
		if ok, after := in.limiter.Admit(partition, items, len(payload), in.now()); !ok {
			return in.overShare(partition, items, after)
		}
	}
	var records []queue.Record
	var tooLarge []pieces.Chunk
	add := func(c pieces.Chunk) {
		records = append(records, queue.Record{Partition: partition, Items: c.Items, Payload: c.Payload, Weight: c.Weight})
	}
	if totals.Items <= in.cfg.Batch.MaxItems && totals.Weight <= in.cfg.Batch.MaxBytes && totals.Heaviest <= in.cfg.MaxItemBytes {
		add(pieces.Chunk{Payload: payload, Items: totals.Items, Weight: totals.Weight})
	} else {
		index, err := pieces.New(in.codec.signal, payload)
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "the request cannot be read: %v", err)
		}
		var chunks []pieces.Chunk
		chunks, tooLarge = index.Split(in.cfg.Batch.MaxItems, in.cfg.Batch.MaxBytes, in.cfg.MaxItemBytes)
		for _, c := range chunks {
			add(c)
		}
	}
	if len(tooLarge) > 0 {
		if len(records) == 0 {
			in.count(partition, "too-large", len(tooLarge))
			text := tooLargeText(tooLarge, in.cfg.MaxItemBytes)
			in.loud.warn(partition, "", "too-large", "A request is refused for good: all its items are too large.", zap.String("error", text))
			return status.Error(codes.InvalidArgument, text)
		}
		if err := in.keepTooLarge(partition, tooLarge); err != nil {
			return in.putError(partition, items, err)
		}
	}
	if err := in.queue.Put(ctx, records...); err != nil {
		return in.putError(partition, items-len(tooLarge), err)
	}
	if len(tooLarge) > 0 {
		in.count(partition, "too-large", len(tooLarge))
	}
	accepted := items - len(tooLarge)
	in.mu.Lock()
	in.accepted[partition] += int64(accepted)
	in.mu.Unlock()
	in.telemetry.accepted(partition, accepted)
	return nil
}

func tooLargeText(chunks []pieces.Chunk, limit int) string {
	most := 0
	for _, c := range chunks {
		most = max(most, c.Weight)
	}
	return fmt.Sprintf("%d items are too large: the largest has %d bytes with its resource and scope, the limit is %d (max_item_bytes)", len(chunks), most, limit)
}

// keepTooLarge makes dead letters of items that are not queued. The rest of their request is queued after it.
func (in *instance[T]) keepTooLarge(partition string, chunks []pieces.Chunk) error {
	letters := make([]deadletters.Letter, 0, len(chunks))
	for _, c := range chunks {
		letters = append(letters, deadletters.Letter{
			ID: deadletters.ID(in.queueID, admissionSink, in.signal, 0, 0, partition, 0, c.Payload), Signal: in.signal, Sink: admissionSink, Edge: partition, Reason: "too-large",
			Detail: tooLargeText([]pieces.Chunk{c}, in.cfg.MaxItemBytes), Time: in.now(), Workload: pieces.Describe(in.codec.signal, c.Payload).Workload,
			Items: 1, Bytes: len(c.Payload), Cut: true, Payload: c.Payload[:min(len(c.Payload), keptOfTooLarge)],
		})
	}
	_, err := in.letters.Append(letters...)
	in.loud.warn(partition, "", "too-large", "Items that are too large are taken out of a request.", zap.String("detail", letters[0].Detail))
	return err
}

func (in *instance[T]) count(partition, reason string, items int) {
	in.mu.Lock()
	by := in.refused[partition]
	if by == nil {
		by = map[string]int64{}
		in.refused[partition] = by
	}
	by[reason] += int64(items)
	in.mu.Unlock()
	in.telemetry.refused(partition, reason, items)
}

func (in *instance[T]) overShare(partition string, items int, after time.Duration) error {
	in.count(partition, "share", items)
	in.loud.warn(partition, "", "share", "A request is refused for now: the edge sends more than its share.", zap.Duration("retry_after", after))
	return statusWithDelay(codes.ResourceExhausted, fmt.Sprintf("%s sends more than its share (shares), retry in %v", partition, after.Round(time.Millisecond)), after)
}

// statusWithDelay: a sender that follows OTLP retries ResourceExhausted only when it has RetryInfo.
func statusWithDelay(code codes.Code, text string, after time.Duration) error {
	s := status.New(code, text)
	if with, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(max(after, time.Millisecond))}); err == nil {
		s = with
	}
	return s.Err()
}

func (in *instance[T]) putError(partition string, items int, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	reason := "disk"
	var full *queue.FullError
	if errors.As(err, &full) {
		reason = "full"
	}
	in.count(partition, reason, items)
	in.loud.warn(partition, "", reason, "A request is refused for now: the queue cannot take it.", zap.Error(err))
	return statusWithDelay(codes.Unavailable, fmt.Sprintf("the queue of %s (%s) cannot take the request: %v", partition, in.signal, err), time.Second)
}

// State implements registry.Queue.
func (in *instance[T]) State() registry.State {
	now := in.now()
	in.mu.Lock()
	accepted := maps.Clone(in.accepted)
	refused := make(map[string]map[string]int64, len(in.refused))
	for edge, by := range in.refused {
		refused[edge] = maps.Clone(by)
	}
	in.mu.Unlock()
	totals := in.letters.Totals()
	state := registry.State{
		Component: in.component, Signal: in.signal, CapacityBytes: in.queue.CapacityBytes(), DiskBytes: in.queue.DiskBytes(), LostItems: in.queue.Lost().Items, Sinks: []registry.Sink{},
	}
	for _, s := range in.sinks {
		t := totals[s.name]
		view := registry.Sink{
			Name: s.name, Exporter: s.cfg.Exporter, Edges: []registry.Edge{},
			DeadLetters: registry.DeadLetters{Count: t.Count, Bytes: t.Bytes, MaxBytes: in.letters.MaxBytes(), Evicted: t.Evicted},
		}
		edges := map[string]*registry.Edge{}
		edge := func(name string) *registry.Edge {
			e := edges[name]
			if e == nil {
				none := map[string]int64{}
				e = &registry.Edge{Edge: name, Accepted: accepted[name], Refused: refused[name], Repaired: none, TakenOut: none, Dropped: none}
				if e.Refused == nil {
					e.Refused = none
				}
				edges[name] = e
			}
			return e
		}
		for name := range accepted {
			edge(name)
		}
		for name := range refused {
			edge(name)
		}
		for _, p := range s.q.Stats() {
			e := edge(p.Partition)
			e.WaitingItems, e.WaitingBytes, e.Replaying = p.Items, p.Bytes, p.Replaying
			if p.Items > 0 {
				e.OldestSeconds = registry.Seconds(now, p.Oldest)
			}
		}
		s.eachPart(func(p *part) {
			e := edge(p.name)
			e.Stored, e.Repaired, e.TakenOut, e.Dropped = p.stored, maps.Clone(p.repaired), maps.Clone(p.takenOut), maps.Clone(p.dropped)
			e.LastError = p.lastError
			if !p.failingSince.IsZero() {
				e.HeadFailingSeconds = max(now.Sub(p.failingSince).Seconds(), 0)
			}
		})
		for name, n := range s.q.Dropped() {
			if n > 0 {
				e := edge(name)
				e.Dropped = maps.Clone(e.Dropped)
				e.Dropped[s.queueDropReason()] += n
			}
		}
		for _, name := range slices.Sorted(maps.Keys(edges)) {
			view.Edges = append(view.Edges, *edges[name])
		}
		state.Sinks = append(state.Sinks, view)
	}
	return state
}

// Letters implements registry.Queue.
func (in *instance[T]) Letters(f deadletters.Filter) []deadletters.Letter {
	if f.Signal != "" && f.Signal != in.signal {
		return nil
	}
	return in.letters.List(f)
}

// Letter implements registry.Queue.
func (in *instance[T]) Letter(id string) (deadletters.Letter, json.RawMessage, bool, error) {
	l, found, err := in.letters.Get(id)
	if !found || err != nil || l.Cut {
		return l, nil, found, err
	}
	item, err := pieces.JSON(in.codec.signal, l.Payload)
	return l, item, true, err
}

// Replay implements registry.Queue. A letter is removed when its record is durable, and before the sink can see it. When
// the process ends in between, the start removes the letter. One that cannot be removed is removed later, and not put into
// the queue twice.
func (in *instance[T]) Replay(ctx context.Context, f deadletters.Filter) (int, error) {
	in.replayMu.Lock()
	defer in.replayMu.Unlock()
	if in.stopping.Load() {
		return 0, errors.New("the collector is shutting down")
	}
	replayed := 0
	for _, meta := range in.Letters(f) {
		s := in.sinkNamed(meta.Sink)
		if s == nil || meta.Cut {
			continue // a sink that is not configured any more, or an item of which only the beginning is there
		}
		if in.replayed[meta.ID] {
			continue
		}
		l, found, err := in.letters.Get(meta.ID)
		if err != nil {
			return replayed, err
		}
		if !found {
			continue
		}
		totals, err := pieces.Weigh(in.codec.signal, l.Payload)
		if err != nil {
			continue
		}
		var removed error
		err = in.queue.Put(ctx, queue.Record{
			Partition: l.Edge, Items: max(totals.Items, 1), Payload: l.Payload, Weight: totals.Weight, ReplayOf: l.ID, OnlySink: l.Sink,
			Durable: func() { _, removed = in.letters.Remove(l.ID) },
		})
		if err != nil {
			return replayed, fmt.Errorf("letter %s: %w", l.ID, err)
		}
		if removed != nil {
			in.replayed[l.ID] = true
			in.loud.warn(l.Edge, l.Sink, "replayed-letter", "A dead letter that is replayed cannot be removed yet.", zap.Error(removed))
		}
		replayed++
		in.telemetry.replayed(l.Edge, l.Sink, l.Items)
	}
	return replayed, nil
}

// removeReplayed removes the letters again that could not be removed when they were replayed.
func (in *instance[T]) removeReplayed() {
	if !in.replayMu.TryLock() {
		return // a replay is under way
	}
	defer in.replayMu.Unlock()
	if len(in.replayed) == 0 {
		return
	}
	if _, err := in.letters.Remove(slices.Sorted(maps.Keys(in.replayed))...); err == nil {
		clear(in.replayed)
	}
}

// Drop implements registry.Queue.
func (in *instance[T]) Drop(f deadletters.Filter) (int, error) {
	in.replayMu.Lock()
	defer in.replayMu.Unlock()
	list := in.Letters(f)
	ids := make([]string, 0, len(list))
	for _, l := range list {
		ids = append(ids, l.ID)
	}
	return in.letters.Remove(ids...)
}

func (in *instance[T]) sinkNamed(name string) *sink[T] {
	for _, s := range in.sinks {
		if s.name == name {
			return s
		}
	}
	return nil
}

// loudLog writes one line of each partition, sink and reason in ten seconds.
type loudLog struct {
	log  *zap.Logger
	mu   sync.Mutex
	last map[[3]string]*loudLine
}

type loudLine struct {
	at      time.Time
	skipped int
}

const loudInterval = 10 * time.Second

func newLoudLog(log *zap.Logger) *loudLog {
	return &loudLog{log: log, last: map[[3]string]*loudLine{}}
}

func (l *loudLog) warn(partition, sink, reason, text string, fields ...zap.Field) {
	now := time.Now()
	key := [3]string{partition, sink, reason}
	l.mu.Lock()
	line := l.last[key]
	if line != nil && now.Sub(line.at) < loudInterval {
		line.skipped++
		l.mu.Unlock()
		return
	}
	if line == nil {
		if len(l.last) > 10_000 {
			clear(l.last)
		}
		line = &loudLine{}
		l.last[key] = line
	}
	skipped := line.skipped
	line.at, line.skipped = now, 0
	l.mu.Unlock()
	fields = append(fields, zap.String("edge", partition), zap.String("reason", reason))
	if sink != "" {
		fields = append(fields, zap.String("sink", sink))
	}
	if skipped > 0 {
		fields = append(fields, zap.Int("similar_lines_left_out", skipped))
	}
	l.log.Warn(text, fields...)
}
