// Package shares bounds what one partition may send, so that one edge leaves room for the others.
package shares

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// Share of one partition; zero means no limit.
type Share struct {
	ItemsPerSecond float64 `mapstructure:"items_per_second"`
	BytesPerSecond float64 `mapstructure:"bytes_per_second"`
	// Series and Streams are budgets of the rules.
	Series  int `mapstructure:"series"`
	Streams int `mapstructure:"streams"`
}

// Config of the shares. Keys that it does not know are errors of the configuration, as everywhere in the collector's.
type Config struct {
	Default Share `mapstructure:"default"`
	// Edges have shares of their own; what one does not name is as in Default.
	Edges map[string]Share `mapstructure:"edges"`
}

// Validate is called by the collector.
func (c *Config) Validate() error {
	errs := []error{c.Default.validate("default")}
	for name, share := range c.Edges {
		if name == "" {
			errs = append(errs, errors.New("edges: an edge has no name"))
		}
		errs = append(errs, share.validate("edges."+name))
	}
	return errors.Join(errs...)
}

func (s Share) validate(where string) error {
	for name, n := range map[string]float64{
		"items_per_second": s.ItemsPerSecond, "bytes_per_second": s.BytesPerSecond, "series": float64(s.Series), "streams": float64(s.Streams),
	} {
		if n < 0 || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("%s.%s must be zero (no limit) or more, not %v", where, name, n)
		}
	}
	return nil
}

// Of tells the share of a partition.
func (c Config) Of(partition string) Share {
	share, found := c.Edges[partition]
	if !found {
		return c.Default
	}
	if share.ItemsPerSecond == 0 {
		share.ItemsPerSecond = c.Default.ItemsPerSecond
	}
	if share.BytesPerSecond == 0 {
		share.BytesPerSecond = c.Default.BytesPerSecond
	}
	if share.Series == 0 {
		share.Series = c.Default.Series
	}
	if share.Streams == 0 {
		share.Streams = c.Default.Streams
	}
	return share
}

const (
	// burst is how much of its share a partition may save up.
	burst         = 10 * time.Second
	maxPartitions = 4096
	// maxWait: who is told to wait tries again in this time at the latest.
	maxWait = 60 * time.Second
)

// Limiter admits requests. Safe for concurrent use.
type Limiter struct {
	config Config

	mu         sync.Mutex
	partitions map[string]*buckets
}

type buckets struct {
	items, bytes bucket
	// last is when they were filled up
	last time.Time
}

// bucket of tokens; below zero it is in debt, for a request larger than the burst.
type bucket struct{ tokens, perSecond float64 }

func (b *bucket) capacity() float64 { return b.perSecond * burst.Seconds() }

func (b *bucket) fill(passed time.Duration) {
	b.tokens = min(b.tokens+passed.Seconds()*b.perSecond, b.capacity())
}

// wait tells for how long there are not enough; a request larger than the burst waits for a full bucket.
func (b *bucket) wait(n float64) time.Duration {
	if b.perSecond <= 0 {
		return 0
	}
	// a rest of a token is a matter of rounding
	missing := min(n, b.capacity()) - b.tokens
	if missing <= 1e-6 {
		return 0
	}
	return time.Duration(min(missing/b.perSecond*float64(time.Second), float64(maxWait)))
}

func (b *bucket) take(n float64) {
	if b.perSecond > 0 {
		b.tokens -= n
	}
}

// New makes a limiter.
func New(c Config) *Limiter {
	return &Limiter{config: c, partitions: map[string]*buckets{}}
}

// Admit takes a request's items and bytes from its partition's share. Not ok: nothing was taken, and the sender should
// try again after that time.
func (l *Limiter) Admit(partition string, items, bytes int, now time.Time) (ok bool, retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.partitions[partition]
	if b == nil {
		share := l.config.Of(partition)
		if share.ItemsPerSecond <= 0 && share.BytesPerSecond <= 0 {
			return true, 0
		}
		if len(l.partitions) >= maxPartitions {
			l.forget(now)
		}
		b = &buckets{items: bucket{perSecond: share.ItemsPerSecond}, bytes: bucket{perSecond: share.BytesPerSecond}, last: now}
		b.items.tokens, b.bytes.tokens = b.items.capacity(), b.bytes.capacity()
		l.partitions[partition] = b
	}
	if passed := now.Sub(b.last); passed > 0 {
		b.items.fill(passed)
		b.bytes.fill(passed)
		b.last = now
	}
	if wait := max(b.items.wait(float64(items)), b.bytes.wait(float64(bytes))); wait > 0 {
		return false, max(wait, time.Millisecond)
	}
	b.items.take(float64(items))
	b.bytes.take(float64(bytes))
	return true, 0
}

// forget drops the partition that was longest without a request: its buckets are the fullest.
func (l *Limiter) forget(now time.Time) {
	var oldest string
	at := now.Add(time.Hour)
	for name, b := range l.partitions {
		if b.last.Before(at) {
			oldest, at = name, b.last
		}
	}
	delete(l.partitions, oldest)
}
