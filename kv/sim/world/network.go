package world

import (
	"math/rand/v2"
	"time"
)

// Weather is how the network behaves, apart from cuts. Probabilities are for each packet.
type Weather struct {
	Loss, Duplicate float64
	// MinDelay and MaxDelay bound the usual delay; with probability Slow a packet takes up to SlowDelay, and so comes after later ones.
	MinDelay, MaxDelay time.Duration
	Slow               float64
	SlowDelay          time.Duration
}

// Fair is weather without faults.
var Fair = Weather{MinDelay: 100 * time.Microsecond, MaxDelay: 2 * time.Millisecond}

// Network carries packets between processes.
type Network struct {
	w       *World
	rng     *rand.Rand
	Weather Weather
	links   map[[2]int]*link
	// Sent and Lost count packets.
	Sent, Lost int
}

// link is one direction between two processes.
type link struct {
	cut bool
	// clogged until then: packets wait.
	clogged Time
	// extra is this link's own distance.
	extra time.Duration
}

// NewNetwork makes a network in fair weather.
func (w *World) NewNetwork() *Network {
	return &Network{w: w, rng: w.Rand("network"), Weather: Fair, links: make(map[[2]int]*link)}
}

func (n *Network) link(from, to *Process) *link {
	key := [2]int{from.ID, to.ID}
	l := n.links[key]
	if l == nil {
		l = &link{}
		n.links[key] = l
	}
	return l
}

// Cut stops packets in one direction; Heal lets them pass again.
func (n *Network) Cut(from, to *Process) { n.link(from, to).cut = true }

// Heal undoes Cut and Clog in one direction.
func (n *Network) Heal(from, to *Process) {
	l := n.link(from, to)
	l.cut, l.clogged = false, 0
}

// Distance adds a delay to every packet in one direction.
func (n *Network) Distance(from, to *Process, extra time.Duration) { n.link(from, to).extra = extra }

// Clog makes packets of one direction wait.
func (n *Network) Clog(from, to *Process, d time.Duration) {
	n.link(from, to).clogged = n.w.now + Time(d)
}

// HealAll undoes every cut and clog.
func (n *Network) HealAll() {
	for _, l := range n.links { // order-free
		l.cut, l.clogged = false, 0
	}
}

// Connected says that a packet sent now could arrive.
func (n *Network) Connected(from, to *Process) bool { return to.up && !n.link(from, to).cut }

// Send carries a packet: deliver runs in the receiver, once or more, late or never. It must not rely on being run once.
func (n *Network) Send(from, to *Process, deliver func()) {
	n.Sent++
	l := n.link(from, to)
	if l.cut || Chance(n.rng, n.Weather.Loss) {
		n.Lost++
		return
	}
	n.carry(from, to, l, deliver)
	if Chance(n.rng, n.Weather.Duplicate) {
		n.carry(from, to, l, deliver)
	}
}

func (n *Network) carry(from, to *Process, l *link, deliver func()) {
	d := Between(n.rng, n.Weather.MinDelay, n.Weather.MaxDelay) + l.extra
	if Chance(n.rng, n.Weather.Slow) {
		d += Between(n.rng, 0, n.Weather.SlowDelay)
	}
	if l.clogged > n.w.now {
		d += time.Duration(l.clogged - n.w.now)
	}
	n.w.After(d, func() {
		// A cut also takes what is under way: it has to pass the same wire.
		if n.link(from, to).cut || !to.Deliver(deliver) {
			n.Lost++
		}
	})
}
