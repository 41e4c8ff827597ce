package rules

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

var seed = maphash.MakeSeed()

func hashStable(text string) uint64 { return xxhash.Sum64String(text) }

// secrets of this process: nobody can make names that are taken for one another.
var secretA, secretB = maphash.String(seed, "a"), maphash.String(seed, "b")

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^secretA, b^secretB)
	return hi ^ lo
}

// hashString is twice as fast as maphash for the short texts that names and labels are.
func hashString(text string) uint64 {
	n := len(text)
	b := unsafe.Slice(unsafe.StringData(text), n)
	switch {
	case n > 32:
		return maphash.String(seed, text)
	case n > 16:
		first := mix(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]))
		return mix(first^binary.LittleEndian.Uint64(b[n-16:]), binary.LittleEndian.Uint64(b[n-8:])+uint64(n))
	case n >= 8:
		return mix(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])+uint64(n)*0x9e3779b97f4a7c15)
	case n >= 4:
		return mix(uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:]))|uint64(n)<<40)
	case n > 0:
		return mix(uint64(b[0])<<16|uint64(b[n>>1])<<8|uint64(b[n-1]), uint64(n)<<40)
	}
	return secretA
}

func hashValue(v pcommon.Value) uint64 {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return hashString(v.Str())
	case pcommon.ValueTypeInt:
		return mix(uint64(v.Int()), 1)
	case pcommon.ValueTypeDouble:
		return mix(math.Float64bits(v.Double()), 2)
	case pcommon.ValueTypeBool:
		if v.Bool() {
			return 3
		}
		return 4
	case pcommon.ValueTypeBytes:
		b := v.Bytes()
		var h maphash.Hash
		h.SetSeed(seed)
		var one [8]byte
		for i := range b.Len() {
			one[i&7] = b.At(i)
			if i&7 == 7 {
				_, _ = h.Write(one[:])
			}
		}
		_, _ = h.Write(one[:b.Len()&7])
		binary.LittleEndian.PutUint64(one[:], uint64(b.Len()))
		_, _ = h.Write(one[:])
		return h.Sum64()
	case pcommon.ValueTypeMap:
		return hashMap(v.Map())
	case pcommon.ValueTypeSlice:
		sum := uint64(5)
		for _, inner := range v.Slice().All() {
			sum = mix(sum, hashValue(inner))
		}
		return sum
	}
	return 6
}

// hashMap does not depend on the order of the keys.
func hashMap(m pcommon.Map) uint64 {
	var sum uint64
	for key, value := range m.All() {
		sum += mix(hashString(key), hashValue(value))
	}
	return sum
}

// hashSet holds hashes: eight bytes each, at most three quarters full.
type hashSet struct {
	slots []uint64
	n     int
}

func (s *hashSet) find(h uint64) (slot int, found bool) {
	mask := len(s.slots) - 1
	for slot = int(h) & mask; ; slot = (slot + 1) & mask {
		switch s.slots[slot] {
		case h:
			return slot, true
		case 0:
			return slot, false
		}
	}
}

func (s *hashSet) has(h uint64) bool {
	if s.n == 0 {
		return false
	}
	_, found := s.find(h)
	return found
}

func (s *hashSet) add(h uint64) {
	if s.n*4 >= len(s.slots)*3 {
		old := s.slots
		s.slots = make([]uint64, max(2*len(old), 256))
		for _, h := range old {
			if h != 0 {
				slot, _ := s.find(h)
				s.slots[slot] = h
			}
		}
	}
	if slot, found := s.find(h); !found {
		s.slots[slot] = h
		s.n++
	}
}

// window holds what was seen in the last hour, in two generations of half an hour. Weights: a classic histogram is many series.
type window struct {
	current, previous hashSet
	// weight of both together
	weight, currentWeight int
	began                 time.Time
}

const generation = 30 * time.Minute

func (w *window) rotate(now time.Time) {
	switch age := now.Sub(w.began); {
	case age < 0 && age > -generation, age >= 0 && age < generation:
		return
	case age >= 2*generation || age < 0:
		*w = window{began: now}
	default:
		*w = window{previous: w.current, weight: w.currentWeight, began: now}
	}
}

// admit: one that is known always, a new one while there is room.
func (w *window) admit(h uint64, weight, limit int) (ok, isNew bool) {
	if h == 0 {
		h = 1
	}
	if w.current.has(h) {
		return true, false
	}
	if w.previous.has(h) {
		w.current.add(h)
		w.currentWeight += weight
		return true, false
	}
	if w.weight+weight > limit {
		return false, true
	}
	w.current.add(h)
	w.currentWeight += weight
	w.weight += weight
	return true, true
}

// partitionState is what is remembered of one partition.
type partitionState struct {
	mu       sync.Mutex
	used     time.Time
	series   window
	offender offenders
	streams  window
	overflow window
}

const maxPartitions = 4096

func (r *Rules) state(partition string, now time.Time) *partitionState {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.partitions[partition]
	if s == nil {
		if len(r.partitions) >= maxPartitions {
			r.forgetOldest()
		}
		s = &partitionState{}
		r.partitions[partition] = s
	}
	s.used = now
	return s
}

func (r *Rules) forgetOldest() {
	var oldest string
	var at time.Time
	first := true
	for name, s := range r.partitions {
		if first || s.used.Before(at) {
			oldest, at, first = name, s.used, false
		}
	}
	delete(r.partitions, oldest)
}

// offenders counts new series by metric and workload (space-saving: the largest are right), and estimates distinct values by attribute.
type offenders struct {
	entries map[uint64]*offending
	began   time.Time
}

type offending struct {
	metric, workload string
	series           int
	keys             map[string]*sketch
}

// sketch counts distinct values up to some thousands, by linear counting.
type sketch [16]uint64

func (s *sketch) add(h uint64) { s[h>>6&15] |= 1 << (h & 63) }

func (s *sketch) distinct() int {
	zeros := 0
	for _, word := range s {
		zeros += 64 - bits.OnesCount64(word)
	}
	size := float64(64 * len(s))
	if zeros == 0 {
		zeros = 1
	}
	return int(math.Round(size * math.Log(size/float64(zeros))))
}

const (
	maxOffenders     = 64
	maxOffenderKeys  = 32
	sketchFromSeries = 16
)

func (o *offenders) add(metricHash uint64, metric, workload string, attributes pcommon.Map, now time.Time) *offending {
	if o.entries == nil || now.Sub(o.began) > 2*generation {
		o.entries, o.began = map[uint64]*offending{}, now
	}
	key := mix(metricHash, hashString(workload))
	e := o.entries[key]
	if e == nil {
		e = &offending{metric: metric, workload: workload}
		if len(o.entries) >= maxOffenders {
			var least uint64
			n := math.MaxInt
			for k, other := range o.entries {
				if other.series < n {
					least, n = k, other.series
				}
			}
			e.series = n
			delete(o.entries, least)
		}
		o.entries[key] = e
	}
	e.series++
	if e.series < sketchFromSeries {
		return e
	}
	for name, value := range attributes.All() {
		s := e.keys[name]
		if s == nil {
			if len(e.keys) >= maxOffenderKeys {
				continue
			}
			if e.keys == nil {
				e.keys = map[string]*sketch{}
			}
			s = &sketch{}
			e.keys[name] = s
		}
		s.add(hashValue(value))
	}
	return e
}

func (o *offenders) worst() *Offender {
	var worst *offending
	for _, e := range o.entries {
		if worst == nil || e.series > worst.series || e.series == worst.series && e.metric < worst.metric {
			worst = e
		}
	}
	if worst == nil {
		return nil
	}
	found := &Offender{Metric: worst.metric, Workload: worst.workload, Series: worst.series}
	names := make([]string, 0, len(worst.keys))
	for name := range worst.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if n := worst.keys[name].distinct(); n > found.Values {
			found.Attribute, found.Values = name, n
		}
	}
	return found
}
