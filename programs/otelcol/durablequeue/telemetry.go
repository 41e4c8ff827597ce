package durablequeue

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"lkeobs/programs/otelcol/internal/deadletters"
)

const scopeName = "lkeobs/programs/otelcol/durablequeue"

// telemetry is the counters and gauges of one instance.
type telemetry struct {
	signal                                                    attribute.KeyValue
	acceptedItems, refusedItems, storedItems, repairedItems   metric.Int64Counter
	takenOutItems, droppedItems, lostItems, replayedItemCount metric.Int64Counter
	registration                                              metric.Registration
}

func newTelemetry[T any](set component.TelemetrySettings, in *instance[T]) (*telemetry, error) {
	meter := set.MeterProvider.Meter(scopeName)
	t := &telemetry{signal: attribute.String("signal", in.signal)}
	var errs error
	counter := func(name, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithDescription(description))
		errs = errors.Join(errs, err)
		return c
	}
	gauge := func(name, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithDescription(description))
		errs = errors.Join(errs, err)
		return g
	}
	seconds := func(name, description string) metric.Float64ObservableGauge {
		g, err := meter.Float64ObservableGauge(name, metric.WithDescription(description))
		errs = errors.Join(errs, err)
		return g
	}
	t.acceptedItems = counter("lkeobs_queue_accepted_items", "Items that are kept on disk.")
	t.refusedItems = counter("lkeobs_queue_refused_items", "Items that were refused at the door.")
	t.storedItems = counter("lkeobs_queue_stored_items", "Items that a sink has taken.")
	t.repairedItems = counter("lkeobs_queue_repaired_items", "Items that were changed so that the store takes them.")
	t.takenOutItems = counter("lkeobs_queue_taken_out_items", "Items that became dead letters.")
	t.droppedItems = counter("lkeobs_queue_dropped_items", "Items that were dropped, because they were too old or the queue too full.")
	t.lostItems = counter("lkeobs_queue_lost_items", "Items that were lost with damaged files.")
	t.replayedItemCount = counter("lkeobs_queue_replayed_items", "Dead letters that were put back into the queue.")
	waitingItems := gauge("lkeobs_queue_waiting_items", "Items that wait for a sink.")
	waitingBytes := gauge("lkeobs_queue_waiting_bytes", "Bytes that wait for a sink.")
	oldest := seconds("lkeobs_queue_oldest_seconds", "Age of the oldest item that waits for a sink.")
	failing := seconds("lkeobs_queue_head_failing_seconds", "How long nothing of an edge was taken by a sink that answers errors.")
	capacity := gauge("lkeobs_queue_capacity_bytes", "Bytes that the queue may have on disk.")
	disk := gauge("lkeobs_queue_disk_bytes", "Bytes that the queue has on disk.")
	letters := gauge("lkeobs_queue_dead_letters", "Dead letters on disk.")
	letterBytes := gauge("lkeobs_queue_dead_letter_bytes", "Bytes of dead letters on disk.")
	queueSize := gauge("otelcol_exporter_queue_size", "Current size of the retry queue (in batches). [Alpha]")
	if errs != nil {
		return nil, errs
	}
	t.lost(in.queue.Lost().Items)
	var err error
	t.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := in.now()
		own := metric.WithAttributes(t.signal)
		o.ObserveInt64(capacity, in.queue.CapacityBytes(), own)
		o.ObserveInt64(disk, in.queue.DiskBytes(), own)
		o.ObserveInt64(letterBytes, in.letters.Bytes(), own)
		totals := in.letters.Totals()
		for _, s := range in.sinks {
			sink := attribute.String("sink", s.name)
			o.ObserveInt64(letters, totals[s.name].Count, metric.WithAttributes(t.signal, sink))
			items := int64(0)
			failingOf := s.failingSeconds(now)
			for _, p := range s.q.Stats() {
				attrs := metric.WithAttributeSet(attribute.NewSet(t.signal, sink, attribute.String("edge", p.Partition)))
				items += p.Items
				age := 0.0
				if p.Items > 0 && !p.Oldest.IsZero() {
					age = max(now.Sub(p.Oldest).Seconds(), 0)
				}
				o.ObserveInt64(waitingItems, p.Items, attrs)
				o.ObserveInt64(waitingBytes, p.Bytes, attrs)
				o.ObserveFloat64(oldest, age, attrs)
				o.ObserveFloat64(failing, failingOf[p.Partition], attrs)
			}
			if s.cfg.Exporter != "" {
				o.ObserveInt64(queueSize, items, metric.WithAttributes(attribute.String("exporter", s.cfg.Exporter), attribute.String("data_type", in.signal)))
			}
		}
		if t := totals[admissionSink]; t.Count > 0 {
			o.ObserveInt64(letters, t.Count, metric.WithAttributes(attribute.String("signal", in.signal), attribute.String("sink", admissionSink)))
		}
		return nil
	}, waitingItems, waitingBytes, oldest, failing, capacity, disk, letters, letterBytes, queueSize)
	return t, err
}

func (t *telemetry) close() {
	if t != nil && t.registration != nil {
		_ = t.registration.Unregister()
	}
}

func (t *telemetry) add(c metric.Int64Counter, n int, edge string, more ...attribute.KeyValue) {
	if n <= 0 {
		return
	}
	c.Add(context.Background(), int64(n), metric.WithAttributeSet(attribute.NewSet(append(more, t.signal, attribute.String("edge", edge))...)))
}

func (t *telemetry) lost(n int64) {
	if n > 0 {
		t.lostItems.Add(context.Background(), n, metric.WithAttributes(t.signal))
	}
}

func (t *telemetry) accepted(edge string, n int) { t.add(t.acceptedItems, n, edge) }

func (t *telemetry) refused(edge, reason string, n int) {
	t.add(t.refusedItems, n, edge, attribute.String("reason", reason))
}

func (t *telemetry) stored(edge, sink string, n int) {
	t.add(t.storedItems, n, edge, attribute.String("sink", sink))
}

func (t *telemetry) repaired(edge, sink, reason string, n int) {
	t.add(t.repairedItems, n, edge, attribute.String("sink", sink), attribute.String("reason", reason))
}

func (t *telemetry) takenOut(l *deadletters.Letter) {
	t.add(t.takenOutItems, l.Items, l.Edge, attribute.String("sink", l.Sink), attribute.String("reason", l.Reason))
}

func (t *telemetry) dropped(edge, sink, reason string, n int) {
	t.add(t.droppedItems, n, edge, attribute.String("sink", sink), attribute.String("reason", reason))
}

func (t *telemetry) replayed(edge, sink string, n int) {
	t.add(t.replayedItemCount, n, edge, attribute.String("sink", sink))
}
