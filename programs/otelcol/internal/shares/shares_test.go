package shares

import (
	"fmt"
	"math"
	"testing"
	"time"

	"go.opentelemetry.io/collector/confmap"
)

var start = time.Unix(1_800_000_000, 0)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func TestABurstIsTenSecondsOfTheShare(t *testing.T) {
	l := New(Config{Default: Share{ItemsPerSecond: 100}})
	for i := range 10 {
		if ok, _ := l.Admit("edge-1", 100, 1, start); !ok {
			t.Fatalf("request %d of the burst was not admitted", i)
		}
	}
	ok, after := l.Admit("edge-1", 50, 1, start)
	if ok || after != 500*time.Millisecond {
		t.Fatalf("above the burst: %v, retry after %s", ok, after)
	}
	if ok, _ := l.Admit("edge-1", 50, 1, start.Add(after)); !ok {
		t.Fatal("not admitted at the time it was told")
	}
	if ok, _ := l.Admit("edge-2", 1000, 1, start); !ok {
		t.Fatal("another edge waits for the first")
	}
}

func TestARequestLargerThanTheBurstGoesIntoDebt(t *testing.T) {
	l := New(Config{Default: Share{ItemsPerSecond: 10, BytesPerSecond: 1000}})
	if ok, _ := l.Admit("e", 300, 1, start); !ok {
		t.Fatal("a full bucket admits any request")
	}
	// 200 in debt: 20 s to nothing, a tenth of a second for one
	ok, after := l.Admit("e", 1, 1, start)
	if ok || math.Abs(after.Seconds()-20.1) > 0.01 {
		t.Fatalf("in debt: %v, %s", ok, after)
	}
	if ok, _ := l.Admit("e", 1, 1, at(20.2)); !ok {
		t.Fatal("the debt was paid")
	}
	if ok, _ := l.Admit("e", 300, 1, at(25)); ok {
		t.Fatal("a large request waits for a full bucket")
	}
	if ok, _ := l.Admit("e", 300, 1, at(31)); !ok {
		t.Fatal("the bucket is full again")
	}
}

func TestBytesAreBoundedAsItemsAre(t *testing.T) {
	l := New(Config{Default: Share{ItemsPerSecond: 1000, BytesPerSecond: 100}})
	if ok, _ := l.Admit("e", 1, 900, start); !ok {
		t.Fatal("within the burst")
	}
	if ok, _ := l.Admit("e", 1, 200, start); ok {
		t.Fatal("above the burst of bytes")
	}
	// what was not admitted took nothing
	if ok, _ := l.Admit("e", 9999, 100, start); !ok {
		t.Fatal("a refused request took items")
	}
}

func TestOverTimeAnEdgeGetsItsShare(t *testing.T) {
	l := New(Config{Default: Share{ItemsPerSecond: 100}, Edges: map[string]Share{"big": {ItemsPerSecond: 1000}, "bytes": {BytesPerSecond: 5}}})
	for name, share := range map[string]float64{"small": 100, "big": 1000, "bytes": 100} {
		admitted := 0.0
		for i := range 100_000 {
			if ok, _ := l.Admit(name, 37, 0, at(float64(i)/1000)); ok {
				admitted += 37
			}
		}
		if want := share * 110; math.Abs(admitted-want) > 0.02*want {
			t.Errorf("%s: %v items in 100 s and a burst, not %v", name, admitted, want)
		}
	}
}

func TestWithoutAShareThereIsNoLimit(t *testing.T) {
	l := New(Config{Edges: map[string]Share{"e": {Series: 5}}})
	if ok, _ := l.Admit("e", math.MaxInt, math.MaxInt, start); !ok {
		t.Fatal("no limit was set")
	}
	if len(l.partitions) != 0 {
		t.Fatal("remembered for nothing")
	}
}

func TestAClockThatGoesBackIsHarmless(t *testing.T) {
	l := New(Config{Default: Share{ItemsPerSecond: 1}})
	l.Admit("e", 10, 0, start)
	if ok, after := l.Admit("e", 1, 0, at(-1000)); ok || after > time.Second {
		t.Fatalf("%v %s", ok, after)
	}
}

func TestPartitionsAreBounded(t *testing.T) {
	l := New(Config{Default: Share{ItemsPerSecond: 1}})
	for i := range maxPartitions + 100 {
		l.Admit(fmt.Sprint(i), 1, 1, at(float64(i)))
	}
	if n := len(l.partitions); n != maxPartitions {
		t.Fatalf("%d partitions", n)
	}
	if _, found := l.partitions["0"]; found {
		t.Fatal("the oldest is forgotten first")
	}
}

func TestUnknownKeysAreErrors(t *testing.T) {
	var c Config
	good := map[string]any{"default": map[string]any{"items_per_second": 15000, "series": 200000}, "edges": map[string]any{"edge-1": map[string]any{"bytes_per_second": 10.5}}}
	if err := confmap.NewFromStringMap(good).Unmarshal(&c); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := c.Of("edge-1"); got != (Share{ItemsPerSecond: 15000, BytesPerSecond: 10.5, Series: 200000}) {
		t.Fatalf("%+v", got)
	}
	bad := map[string]any{"default": map[string]any{"items_per_minute": 1}}
	if err := confmap.NewFromStringMap(bad).Unmarshal(&Config{}); err == nil {
		t.Fatal("an unknown key was taken")
	}
	if err := (&Config{Edges: map[string]Share{"e": {ItemsPerSecond: -1}}}).Validate(); err == nil {
		t.Fatal("a negative share was taken")
	}
}

func BenchmarkAdmit(b *testing.B) {
	l := New(Config{Default: Share{ItemsPerSecond: 1e12, BytesPerSecond: 1e12}})
	b.ReportAllocs()
	for i := range b.N {
		l.Admit("edge-1", 100, 10000, start.Add(time.Duration(i)))
	}
}
