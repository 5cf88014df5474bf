package machine

import (
	"math"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// How far a store is with being drained is told from what its regions weigh now, held against the most that they did since this term knows that it is drained: a
// leader begins anew with what its predecessor left. A store that joins is not told of: it serves at once, and no amount of data is its due.

const (
	// lookEvery is how far apart a store's looks are, and speedOver the time over which its speed is taken.
	lookEvery = 10 * time.Second
	speedOver = 10 * time.Minute
)

// drain is what a store held at instants since it is drained.
type drain struct {
	most  uint64
	looks []drainLook // the oldest first
}

type drainLook struct {
	at   time.Time
	held uint64
}

// drains are by store.
type drains map[uint64]*drain

// heldBy is what a store's regions take, in bytes. Each counts for at least one, so that a store with empty regions holds something.
func heldBy(p *cluster.Picture, store uint64) uint64 {
	t := p.Tally(store)
	return t.RegionSize + uint64(t.Regions)
}

// look notes what the stores hold that are being drained, and forgets those that are not any more.
func (d drains) look(p *cluster.Picture, now time.Time) {
	for _, s := range p.Stores() {
		if s.Meta.State != metapb.StoreState_Offline {
			delete(d, s.ID())
			continue
		}
		one := d[s.ID()]
		if one == nil {
			one = new(drain)
			d[s.ID()] = one
		}
		one.look(heldBy(p, s.ID()), now)
	}
}

func (d *drain) look(held uint64, now time.Time) {
	d.most = max(d.most, held)
	if n := len(d.looks); n > 0 && now.Sub(d.looks[n-1].at) < lookEvery {
		return
	}
	d.looks = append(d.looks, drainLook{now, held})
	for now.Sub(d.looks[0].at) > speedOver {
		d.looks = d.looks[1:]
	}
}

// Progress is how far a store is with being drained.
type Progress struct {
	Store *cluster.Store
	// Done is the part that is done, from 0 to 1.
	Done float64
	// Speed is how many bytes of regions leave the store a second, and Seconds how long the rest takes at that speed: math.MaxFloat64 if nothing leaves.
	Speed, Seconds float64
}

// Progress lists the stores that are being drained, by id.
func (t *Term) Progress(now time.Time) (list []Progress) {
	for _, s := range t.Picture.Stores() {
		if d := t.drains[s.ID()]; d != nil && s.Meta.State == metapb.StoreState_Offline {
			p := d.progress(heldBy(t.Picture, s.ID()), now)
			p.Store = s
			list = append(list, p)
		}
	}
	return list
}

func (d *drain) progress(held uint64, now time.Time) Progress {
	p := Progress{Done: 1}
	if held == 0 {
		return p
	}
	p.Done = 1 - float64(held)/float64(max(d.most, held))
	p.Seconds = math.MaxFloat64
	first := d.looks[0]
	if took := now.Sub(first.at).Seconds(); took > 0 && first.held > held {
		p.Speed = float64(first.held-held) / took
		p.Seconds = float64(held) / p.Speed
	}
	return p
}
