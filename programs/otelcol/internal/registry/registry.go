// Package registry lists the durable queues of this process, for the extension that serves them.
package registry

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"lkeobs/programs/otelcol/internal/deadletters"
)

// Queue is one signal's queue of one connector.
type Queue interface {
	State() State
	// Letters that match, oldest first, without payload.
	Letters(deadletters.Filter) []deadletters.Letter
	// Letter with its item as OTLP/JSON.
	Letter(id string) (l deadletters.Letter, item json.RawMessage, found bool, err error)
	// Replay puts letters back into the queue, for the sink that refused them.
	Replay(ctx context.Context, f deadletters.Filter) (int, error)
	// Drop removes letters.
	Drop(f deadletters.Filter) (int, error)
}

// State of a queue.
type State struct {
	Component     string `json:"component"`
	Signal        string `json:"signal"`
	CapacityBytes int64  `json:"capacityBytes"`
	DiskBytes     int64  `json:"diskBytes"`
	LostItems     int64  `json:"lostItems"`
	Sinks         []Sink `json:"sinks"`
}

// Sink of a queue.
type Sink struct {
	Name        string      `json:"name"`
	Exporter    string      `json:"exporter"`
	DeadLetters DeadLetters `json:"deadLetters"`
	Edges       []Edge      `json:"edges"`
}

// DeadLetters of a sink.
type DeadLetters struct {
	Count    int64 `json:"count"`
	Bytes    int64 `json:"bytes"`
	MaxBytes int64 `json:"maxBytes"`
	Evicted  int64 `json:"evicted"`
}

// Edge is what a sink did with the data of one edge.
type Edge struct {
	Edge               string           `json:"edge"`
	Accepted           int64            `json:"accepted"`
	Stored             int64            `json:"stored"`
	Repaired           map[string]int64 `json:"repaired"`
	TakenOut           map[string]int64 `json:"takenOut"`
	Dropped            map[string]int64 `json:"dropped"`
	Refused            map[string]int64 `json:"refused"`
	WaitingItems       int64            `json:"waitingItems"`
	WaitingBytes       int64            `json:"waitingBytes"`
	OldestSeconds      *float64         `json:"oldestSeconds"`
	HeadFailingSeconds float64          `json:"headFailingSeconds"`
	LastError          string           `json:"lastError"`
	// Replaying items of replayed dead letters are among WaitingItems.
	Replaying int64 `json:"replaying"`
}

var (
	mu     sync.Mutex
	queues = map[string]Queue{}
)

// Register adds a queue until the returned function is called.
func Register(component, signal string, q Queue) (remove func()) {
	key := component + "\x00" + signal
	mu.Lock()
	defer mu.Unlock()
	queues[key] = q
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if queues[key] == q {
			delete(queues, key)
		}
	}
}

// All queues, by component and signal.
func All() []Queue {
	mu.Lock()
	defer mu.Unlock()
	keys := make([]string, 0, len(queues))
	for key := range queues {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, strings.Compare)
	all := make([]Queue, 0, len(keys))
	for _, key := range keys {
		all = append(all, queues[key])
	}
	return all
}

// Seconds since t as a pointer; nil for the zero time.
func Seconds(now, t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	s := max(now.Sub(t).Seconds(), 0)
	return &s
}
