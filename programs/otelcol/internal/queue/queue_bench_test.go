package queue

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// parallel calls put b.N times from a number of goroutines.
func parallel(b *testing.B, writers int, put func(i int) error) {
	b.Helper()
	var n atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for w := 0; w < writers; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				if err := put(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "records/s")
}

func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 64, 450} {
		b.Run(fmt.Sprint(writers, "-writers"), func(b *testing.B) {
			o := testOptions(b.TempDir(), "a")
			o.MaxBytes, o.SegmentBytes, o.CommitInterval = 16<<30, 0, 0
			q, _ := mustOpen(b, o)
			data := make([]byte, 1000)
			parallel(b, writers, func(i int) error {
				return q.Put(context.Background(), Record{Partition: "edge-1", Items: 10, Payload: data})
			})
		})
	}
}

func BenchmarkPutNextDone(b *testing.B) {
	for _, writers := range []int{64, 450} {
		b.Run(fmt.Sprint(writers, "-writers"), func(b *testing.B) {
			o := testOptions(b.TempDir(), "a")
			o.MaxBytes, o.SegmentBytes, o.CommitInterval = 16<<30, 0, 0
			o.Sinks[0] = SinkOptions{Name: "a", InFlight: 4, FlushAfter: 200 * time.Millisecond}
			q, _ := mustOpen(b, o)
			var taken atomic.Int64
			all := make(chan struct{})
			for c := 0; c < 4; c++ {
				go func() {
					for {
						batch, err := q.Sink("a").Next(context.Background())
						if err != nil {
							return
						}
						q.Sink("a").Done(batch)
						if taken.Add(int64(len(batch.Refs))) >= int64(b.N) {
							close(all)
							return
						}
					}
				}()
			}
			data := make([]byte, 1000)
			start := time.Now()
			parallel(b, writers, func(i int) error {
				return q.Put(context.Background(), Record{Partition: fmt.Sprint("edge-", i%10), Items: 10, Payload: data})
			})
			<-all
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "records/s")
		})
	}
}

// BenchmarkOpen reads a backlog of 256 MiB.
func BenchmarkOpen(b *testing.B) {
	o := testOptions(b.TempDir(), "a")
	o.MaxBytes, o.SegmentBytes = 16<<30, 0
	q, _ := mustOpen(b, o)
	data := make([]byte, 10_000)
	recs := make([]Record, 400)
	for i := range recs {
		recs[i] = Record{Partition: fmt.Sprint("edge-", i%50), Items: 10, Payload: data}
	}
	for q.DiskBytes() < 256<<20 {
		mustPut(b, q, recs...)
	}
	b.SetBytes(q.DiskBytes())
	q.Close()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		q, _, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		q.Close()
	}
}
