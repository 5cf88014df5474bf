package dashboard

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

const (
	// hottest is how many of the regions with the most traffic are named.
	hottest = 8
	// keptStrips bounds the strips that are remembered. One is remembered for keptFor, and for keptShare times as long as it took to make: so a strip of very many
	// regions takes no more than that part of one processor.
	keptStrips = 16
	keptFor    = 900 * time.Millisecond
	keptShare  = 10
)

// A strip is a range of the key space in pieces, of about as many regions each.
type stripJSON struct {
	Start   string       `json:"start"`
	End     string       `json:"end"`
	Regions int          `json:"regions"`
	Buckets []bucket     `json:"buckets"`
	Hottest []regionLoad `json:"hottest"`
}

// bucket is one piece: some regions beside each other.
type bucket struct {
	// Start is where it begins. It ends where the next one begins, or the strip.
	Start hexKey `json:"start"`
	// N is how many regions it has, and Region the first.
	N      int    `json:"n"`
	Region uint64 `json:"region"`
	Size   uint64 `json:"size"`
	Keys   uint64 `json:"keys"`
	// Read and Write are those of all its regions, ReadMost and WriteMost of the one with the most: a hot region shows among a thousand cold ones.
	Read      uint64 `json:"read"`
	Write     uint64 `json:"write"`
	ReadMost  uint32 `json:"read_most"`
	WriteMost uint32 `json:"write_most"`
	BothMost  uint64 `json:"both_most"`
	// Leaderless regions have nobody who is known to lead them, Down ones a peer that its leader does not hear of, Pending ones one that is not caught up.
	Leaderless int `json:"leaderless,omitempty"`
	Down       int `json:"down,omitempty"`
	Pending    int `json:"pending,omitempty"`
	// Holes are ranges before regions of this bucket of which nobody has reported a region.
	Holes int `json:"holes,omitempty"`
}

// regionLoad is a region by its traffic.
type regionLoad struct {
	ID     uint64 `json:"id"`
	Start  hexKey `json:"start"`
	Leader uint64 `json:"leader"`
	loadJSON
}

func (l *regionLoad) flow() uint64 { return flowOf(l.Read, l.Write) }

func flowOf(read, write cluster.Rate) uint64 { return uint64(read.Bytes) + uint64(write.Bytes) }

// hexKey is a key that is written in hexadecimal digits.
type hexKey []byte

// MarshalText implements encoding.TextMarshaler.
func (k hexKey) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k), nil }

// fold makes a strip of regions that come in key order, without knowing how many they are: when there is no room for a bucket, two and two become one.
type fold struct {
	most  int // even
	width int // regions a bucket
	strip stripJSON
	end   []byte
	begun bool
}

func newFold(most int) *fold {
	return &fold{most: max(2, most&^1), width: 1, strip: stripJSON{Buckets: []bucket{}, Hottest: []regionLoad{}}}
}

func (f *fold) add(r *cluster.Region) {
	one := bucketOf(r)
	if f.begun && !bytes.Equal(f.end, r.Meta.StartKey) {
		one.Holes = 1
	}
	f.begun, f.end = true, r.Meta.EndKey
	f.strip.Regions++
	f.rank(r)
	last := len(f.strip.Buckets) - 1
	if last >= 0 && f.strip.Buckets[last].N < f.width {
		f.strip.Buckets[last].take(&one)
		return
	}
	if last+1 == f.most {
		f.halve()
	}
	f.strip.Buckets = append(f.strip.Buckets, one)
}

func (f *fold) halve() {
	for i := 0; i < f.most; i += 2 {
		f.strip.Buckets[i].take(&f.strip.Buckets[i+1])
		f.strip.Buckets[i/2] = f.strip.Buckets[i]
	}
	f.strip.Buckets = f.strip.Buckets[:f.most/2]
	f.width *= 2
}

// rank keeps the hottest regions, the hottest first.
func (f *fold) rank(r *cluster.Region) {
	list, flow := f.strip.Hottest, flowOf(r.Flow.Read, r.Flow.Write)
	if flow == 0 || len(list) == hottest && flow <= list[hottest-1].flow() {
		return
	}
	l := regionLoad{ID: r.ID(), Start: r.Meta.StartKey, Leader: r.LeaderStore(), loadJSON: loadOf(r)}
	at := slices.IndexFunc(list, func(other regionLoad) bool { return other.flow() < flow })
	if at < 0 {
		at = len(list)
	}
	list = slices.Insert(list, at, l)
	f.strip.Hottest = list[:min(len(list), hottest)]
}

func bucketOf(r *cluster.Region) bucket {
	b := bucket{
		Start: r.Meta.StartKey, N: 1, Region: r.ID(), Size: r.Load.Size, Keys: r.Load.Keys,
		Read: uint64(r.Flow.Read.Bytes), Write: uint64(r.Flow.Write.Bytes), ReadMost: r.Flow.Read.Bytes, WriteMost: r.Flow.Write.Bytes,
	}
	b.BothMost = b.Read + b.Write
	if r.Leader == nil {
		b.Leaderless = 1
	}
	if len(r.Down) > 0 {
		b.Down = 1
	}
	if len(r.Pending) > 0 {
		b.Pending = 1
	}
	return b
}

// take adds the bucket that follows.
func (b *bucket) take(next *bucket) {
	b.N += next.N
	b.Size += next.Size
	b.Keys += next.Keys
	b.Read += next.Read
	b.Write += next.Write
	b.ReadMost, b.WriteMost, b.BothMost = max(b.ReadMost, next.ReadMost), max(b.WriteMost, next.WriteMost), max(b.BothMost, next.BothMost)
	b.Leaderless += next.Leaderless
	b.Down += next.Down
	b.Pending += next.Pending
	b.Holes += next.Holes
}

// makeStrip folds the regions that overlap [start, end), a page of them at a time.
func makeStrip(s Source, start, end []byte, most int) *stripJSON {
	f := newFold(most)
	for at := start; ; {
		list := s.Regions(at, end)
		for _, r := range list {
			f.add(r)
		}
		if len(list) == 0 {
			break
		}
		at = list[len(list)-1].Meta.EndKey
		if len(at) == 0 || len(end) > 0 && bytes.Compare(at, end) >= 0 {
			break
		}
	}
	f.strip.Start, f.strip.End = hex.EncodeToString(start), hex.EncodeToString(end)
	return &f.strip
}

// strips remembers what was made lately.
type strips struct {
	mu     sync.Mutex // held while one is made
	source Source     // of those that are kept
	kept   map[stripKey]keptStrip
}

type stripKey struct {
	start, end string
	most       int
}

type keptStrip struct {
	strip *stripJSON
	until time.Time
}

func (c *strips) get(s Source, start, end []byte, most int) *stripJSON {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, began := stripKey{string(start), string(end), most}, time.Now()
	if k, ok := c.kept[key]; ok && c.source == s && began.Before(k.until) {
		return k.strip
	}
	if c.source != s || len(c.kept) >= keptStrips {
		c.source, c.kept = s, make(map[stripKey]keptStrip)
	}
	strip := makeStrip(s, start, end, most)
	done := time.Now()
	c.kept[key] = keptStrip{strip, done.Add(max(keptFor, keptShare*done.Sub(began)))}
	return strip
}

func (h *Handler) strip(s Source, r *http.Request) (any, error) {
	most, err := number(r, "buckets", defaultBuckets, 2, maxBuckets)
	if err != nil {
		return nil, err
	}
	start, err := key(r, "start")
	if err != nil {
		return nil, err
	}
	end, err := key(r, "end")
	if err != nil {
		return nil, err
	}
	return h.strips.get(s, start, end, most), nil
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
