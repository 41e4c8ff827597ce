// Package durablequeue is the connector durable_queue: it keeps each request on disk until every sink has taken it, and
// isolates an item that a sink refuses so that it delays nothing else.
package durablequeue

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/pipeline"

	"lkeobs/programs/otelcol/internal/pieces"
	"lkeobs/programs/otelcol/internal/rules"
	"lkeobs/programs/otelcol/internal/shares"
)

// Config of the connector.
type Config struct {
	// Directory has a folder of each signal.
	Directory string `mapstructure:"directory"`
	// PartitionBy is the resource attribute that names the partition; empty: all data is of one partition.
	PartitionBy string `mapstructure:"partition_by"`
	// Partition is the name where the attribute is absent.
	Partition string `mapstructure:"partition"`
	// MaxBytes on disk, of each signal: a number, or a map by signal. Absent: defaultMaxBytes.
	MaxBytes any `mapstructure:"max_bytes"`
	// MaxPartitionBytes has the same shapes; absent: as MaxBytes.
	MaxPartitionBytes any                   `mapstructure:"max_partition_bytes"`
	MaxItemBytes      int                   `mapstructure:"max_item_bytes"`
	CommitInterval    time.Duration         `mapstructure:"commit_interval"`
	Batch             BatchConfig           `mapstructure:"batch"`
	Retry             RetryConfig           `mapstructure:"retry"`
	DeadLetters       DeadLettersConfig     `mapstructure:"dead_letters"`
	Shares            *shares.Config        `mapstructure:"shares"`
	Sinks             map[string]SinkConfig `mapstructure:"sinks"`
	// RuleSettings by kind of store; max_age and max_ahead may also stand here directly, for all kinds.
	RuleSettings map[string]any `mapstructure:"rule_settings"`
}

// BatchConfig bounds what a sink is sent at once.
type BatchConfig struct {
	MaxItems   int           `mapstructure:"max_items"`
	MaxBytes   int           `mapstructure:"max_bytes"`
	FlushAfter time.Duration `mapstructure:"flush_after"`
}

// RetryConfig is the pace of retries.
type RetryConfig struct {
	Initial    time.Duration `mapstructure:"initial"`
	Max        time.Duration `mapstructure:"max"`
	StuckAfter time.Duration `mapstructure:"stuck_after"`
}

// DeadLettersConfig bounds the dead letters of each signal.
type DeadLettersConfig struct {
	MaxBytes int64 `mapstructure:"max_bytes"`
}

// SinkConfig is one place that empties the queue.
type SinkConfig struct {
	// Pipelines, at most one of each signal.
	Pipelines []string `mapstructure:"pipelines"`
	// Exporter is the component id that the counters show.
	Exporter string `mapstructure:"exporter"`
	// Rules is the kind of store: prometheus, loki or tempo; empty: none.
	Rules string `mapstructure:"rules"`
	// Refusals: `retry` retries whatever does not say that the data is invalid.
	Refusals string `mapstructure:"refusals"`
	// OnFull: `drop` drops the oldest data of this sink beyond max_bytes; `refuse` (default) refuses new data.
	OnFull    string        `mapstructure:"on_full"`
	MaxBytes  any           `mapstructure:"max_bytes"`
	MaxAge    time.Duration `mapstructure:"max_age"`
	Consumers int           `mapstructure:"consumers"`
	InFlight  int           `mapstructure:"in_flight"`
	Closing   bool          `mapstructure:"closing"`
	Settle    SettleConfig  `mapstructure:"settle"`
}

// SettleConfig is for a store that keeps what it took in memory for a while: what it forgets by a restart is sent again.
type SettleConfig struct {
	// After this time the store has on disk what it took; 0: at once.
	After time.Duration `mapstructure:"after"`
	// StartPage is the URL of a page in Prometheus' text format that has process_start_time_seconds of the store.
	StartPage string `mapstructure:"start_page"`
}

func createDefaultConfig() component.Config {
	return &Config{
		Partition:      "hub",
		MaxItemBytes:   8 << 20,
		CommitInterval: 5 * time.Millisecond,
		Batch:          BatchConfig{MaxItems: 8192, MaxBytes: 2 << 20, FlushAfter: 200 * time.Millisecond},
		Retry:          RetryConfig{Initial: time.Second, Max: 15 * time.Second, StuckAfter: 2 * time.Minute},
		DeadLetters:    DeadLettersConfig{MaxBytes: 256 << 20},
	}
}

const defaultMaxBytes = 10 << 30

// maxBytes of a signal.
func (c *Config) maxBytes(signal string) (int64, error) {
	n, err := bytesOf(c.MaxBytes, signal)
	if n == 0 && err == nil {
		n = defaultMaxBytes
	}
	return n, err
}

var signals = []string{"metrics", "logs", "traces"}

// Validate implements xconfmap.Validator.
func (c *Config) Validate() error {
	var errs []error
	fail := func(key string, value any, why string) {
		errs = append(errs, fmt.Errorf("%s: %v: %s", key, value, why))
	}
	if c.Directory == "" || !filepath.IsAbs(c.Directory) {
		fail("directory", fmt.Sprintf("%q", c.Directory), "must be an absolute path")
	}
	if c.PartitionBy != "" && c.Partition == "" {
		fail("partition", `""`, "must name the partition of data without "+c.PartitionBy)
	}
	for _, signal := range signals {
		if n, err := c.maxBytes(signal); err != nil {
			fail("max_bytes", c.MaxBytes, err.Error())
			break
		} else if n < 1<<20 {
			fail("max_bytes", c.MaxBytes, "must be at least 1048576 for "+signal)
			break
		}
	}
	if c.MaxPartitionBytes != nil {
		for _, signal := range signals {
			if n, err := bytesOf(c.MaxPartitionBytes, signal); err != nil || n < 0 {
				fail("max_partition_bytes", c.MaxPartitionBytes, orText(err, "must not be negative"))
				break
			}
		}
	}
	for key, n := range map[string]int64{
		"max_item_bytes": int64(c.MaxItemBytes), "batch.max_items": int64(c.Batch.MaxItems), "batch.max_bytes": int64(c.Batch.MaxBytes),
		"dead_letters.max_bytes": c.DeadLetters.MaxBytes, "retry.initial": int64(c.Retry.Initial), "retry.max": int64(c.Retry.Max), "retry.stuck_after": int64(c.Retry.StuckAfter),
	} {
		if n <= 0 {
			fail(key, n, "must be greater than 0")
		}
	}
	if c.Retry.Max < c.Retry.Initial {
		fail("retry.max", c.Retry.Max, fmt.Sprintf("must not be less than retry.initial (%v)", c.Retry.Initial))
	}
	if c.CommitInterval < 0 {
		fail("commit_interval", c.CommitInterval, "must not be negative")
	}
	if c.Batch.FlushAfter < 0 {
		fail("batch.flush_after", c.Batch.FlushAfter, "must not be negative")
	}
	if len(c.Sinks) == 0 {
		fail("sinks", "{}", "must name at least one sink")
	}
	taken := map[pipeline.ID]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Sinks)) {
		s, key := c.Sinks[name], "sinks."+name
		if len(s.Pipelines) == 0 {
			fail(key+".pipelines", "[]", "must name at least one pipeline")
		}
		perSignal := map[pipeline.Signal]string{}
		for _, text := range s.Pipelines {
			id, err := pipelineID(text)
			if err != nil {
				fail(key+".pipelines", text, err.Error())
				continue
			}
			if before, ok := perSignal[id.Signal()]; ok {
				fail(key+".pipelines", text, "a sink has one pipeline of a signal, and "+before+" is one already")
			}
			if before, ok := taken[id]; ok && before != name {
				fail(key+".pipelines", text, "is a pipeline of the sink "+before+" already")
			}
			perSignal[id.Signal()], taken[id] = text, name
		}
		switch s.Rules {
		case "", rules.Prometheus, rules.Loki, rules.Tempo:
		default:
			fail(key+".rules", s.Rules, "must be prometheus, loki or tempo")
		}
		if s.Refusals != "" && s.Refusals != "retry" {
			fail(key+".refusals", s.Refusals, "must be retry, or absent")
		}
		if s.OnFull != "" && s.OnFull != "drop" && s.OnFull != "refuse" {
			fail(key+".on_full", s.OnFull, "must be drop or refuse")
		}
		if s.MaxBytes != nil {
			for _, signal := range signals {
				if n, err := bytesOf(s.MaxBytes, signal); err != nil || n < 0 {
					fail(key+".max_bytes", s.MaxBytes, orText(err, "must not be negative"))
					break
				}
			}
			if s.OnFull != "drop" {
				fail(key+".max_bytes", s.MaxBytes, "has an effect only with on_full: drop")
			}
		}
		if s.MaxAge < 0 {
			fail(key+".max_age", s.MaxAge, "must not be negative")
		}
		if s.Consumers < 0 || s.Consumers > 64 {
			fail(key+".consumers", s.Consumers, "must be between 1 and 64")
		}
		if s.Settle.After < 0 {
			fail(key+".settle.after", s.Settle.After, "must not be negative")
		}
		if page, err := url.Parse(s.Settle.StartPage); s.Settle.After > 0 && (err != nil || page.Host == "" || page.Scheme != "http" && page.Scheme != "https") {
			fail(key+".settle.start_page", fmt.Sprintf("%q", s.Settle.StartPage), "must be the URL of the store's metrics")
		}
		if s.InFlight < 0 || s.InFlight > 64 {
			fail(key+".in_flight", s.InFlight, "must be between 1 and 64")
		}
	}
	for _, kind := range []string{rules.Prometheus, rules.Loki, rules.Tempo} {
		for _, signal := range []pieces.Signal{pieces.Metrics, pieces.Logs, pieces.Traces} {
			if _, err := c.ruleSettings(kind, signal); err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	return errors.Join(errs...)
}

func orText(err error, text string) string {
	if err != nil {
		return err.Error()
	}
	return text
}

// bytesOf reads a number, or a map by signal. A signal that the map does not name has 0.
func bytesOf(v any, signal string) (int64, error) {
	switch n := v.(type) {
	case nil:
		return 0, nil
	case int:
		return int64(n), nil
	case int64:
		return n, nil
	case uint64:
		if n <= math.MaxInt64 {
			return int64(n), nil
		}
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), nil
		}
	case map[string]any:
		for key := range n {
			if !slices.Contains(signals, key) {
				return 0, fmt.Errorf("%q is not a signal (metrics, logs, traces)", key)
			}
		}
		if _, nested := n[signal].(map[string]any); nested {
			break
		}
		return bytesOf(n[signal], signal)
	}
	return 0, errors.New("must be a whole number of bytes, or a map {metrics: …, logs: …, traces: …}")
}

func pipelineID(text string) (pipeline.ID, error) {
	var id pipeline.ID
	if err := id.UnmarshalText([]byte(text)); err != nil {
		return id, fmt.Errorf("is not a pipeline: %w", err)
	}
	if !slices.Contains(signals, id.Signal().String()) {
		return id, errors.New("must be of metrics, logs or traces")
	}
	return id, nil
}

// pipelineOf is the sink's pipeline of a signal.
func (s *SinkConfig) pipelineOf(signal string) (pipeline.ID, bool) {
	for _, text := range s.Pipelines {
		if id, err := pipelineID(text); err == nil && id.Signal().String() == signal {
			return id, true
		}
	}
	return pipeline.ID{}, false
}

// ruleSettings merges what rule_settings says of all kinds and of one kind, for a signal, and the budgets of the shares.
func (c *Config) ruleSettings(kind string, signal pieces.Signal) (rules.Settings, error) {
	var s rules.Settings
	merged := map[string]any{}
	add := func(prefix string, from map[string]any) error {
		for key, value := range from {
			if bySignal, ok := value.(map[string]any); ok && (key == "max_age" || key == "max_ahead") {
				for name := range bySignal {
					if !slices.Contains(signals, name) {
						return fmt.Errorf("%s.%s: %q is not a signal (metrics, logs, traces)", prefix, key, name)
					}
				}
				if value = bySignal[string(signal)]; value == nil {
					continue
				}
			}
			merged[key] = value
		}
		return nil
	}
	direct := map[string]any{}
	for key, value := range c.RuleSettings {
		switch key {
		case rules.Prometheus, rules.Loki, rules.Tempo:
		default:
			direct[key] = value
		}
	}
	if err := add("rule_settings", direct); err != nil {
		return s, err
	}
	switch own := c.RuleSettings[kind].(type) {
	case nil:
	case map[string]any:
		if err := add("rule_settings."+kind, own); err != nil {
			return s, err
		}
	default:
		return s, fmt.Errorf("rule_settings.%s: %v: must be a map", kind, own)
	}
	if err := confmap.NewFromStringMap(merged).Unmarshal(&s); err != nil {
		return s, fmt.Errorf("rule_settings (%s): %v: %s", kind, merged, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if c.Shares != nil {
		if s.Series.Default == 0 && s.Series.Partitions == nil {
			s.Series = budget(c.Shares, func(s shares.Share) int { return s.Series })
		}
		if s.Streams.Default == 0 && s.Streams.Partitions == nil {
			s.Streams = budget(c.Shares, func(s shares.Share) int { return s.Streams })
		}
	}
	return s, nil
}

func budget(c *shares.Config, of func(shares.Share) int) rules.Budget {
	b := rules.Budget{Default: of(c.Default), Partitions: map[string]int{}}
	for name, share := range c.Edges {
		if n := of(share); n != 0 {
			b.Partitions[name] = n
		}
	}
	return b
}
