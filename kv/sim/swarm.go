package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// Draw is what a seed draws: a configuration, and its own subset of faults, each of its own strength. A run in which everything goes wrong at once finds
// less than many runs that each have few things going wrong: some bugs need a fault to be absent.
func Draw(seed uint64) Config {
	rng := world.Stream(seed, "swarm")
	cfg := Default(seed)
	cfg.Stores = 3 + rng.IntN(5)
	cfg.Replicas = 3
	if cfg.Stores >= 5 && rng.IntN(3) == 0 {
		cfg.Replicas = 5
	}
	cfg.Clients = 1 + rng.IntN(12)
	cfg.Think = pick(rng, 20*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond)
	cfg.Schedulers = pick(world.Stream(seed, "swarm/schedulers"), 1, 3, 3, 5)
	drawMachine(rng, &cfg)
	cfg.Limits = drawLimits(rng)
	cfg.Weather = drawSky(rng)
	cfg.Faults = drawFaults(rng)
	if cfg.Faults["replace"] > 0 { // a region is made whole step by step, each after a report
		cfg.Machine.RegionHeartbeatTicks = min(cfg.Machine.RegionHeartbeatTicks, int(4*time.Second/cfg.Tick))
	}
	schedule := world.Stream(seed, "swarm/schedule")
	cfg.LostAfter = pick(schedule, 3*time.Second, 10*time.Second)
	cfg.MergeAfter = pick(schedule, 0, 0, 0, 5*time.Second)
	cfg.Machine.Split = drawSplits(world.Stream(seed, "swarm/regions"))
	cfg.Padding = pick(world.Stream(seed, "swarm/padding"), 0, 20, 100)
	cfg.ReplicaReads = pick(world.Stream(seed, "swarm/reads"), 0, 0.2, 0.7)
	return cfg
}

// pick draws one of several values.
func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

func drawMachine(rng *rand.Rand, cfg *Config) {
	m := &cfg.Machine
	cfg.Tick = pick(rng, 50*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond)
	m.ElectionTicks = pick(rng, 5, 10, 20)
	m.HeartbeatTicks = 1 + rng.IntN(m.ElectionTicks/2)
	m.PreVote = rng.IntN(4) > 0
	m.LeaseDuration = 0
	if rng.IntN(3) > 0 {
		m.LeaseDuration = machine.Instant(safeLease(m.ElectionTicks, cfg.Tick))
	}
	m.LogGC.Ticks = pick(rng, 1, 5, 20)
	m.LogGC.Threshold = pick[uint64](rng, 1, 3, 10, 50)
	m.LogGC.Count = m.LogGC.Threshold * pick[uint64](rng, 1, 4, 20)
	m.RegionHeartbeatTicks = pick(rng, 5, 20, 100)
	m.SleepTicks = pick(world.Stream(cfg.Seed, "swarm/sleep"), 0, 1, 3, m.ElectionTicks)
	m.Raft = machine.RaftLimits{
		MaxSizePerMsg: pick[uint64](rng, 1, 256, 1<<16), MaxCommittedPerReady: pick[uint64](rng, 1, 256, 1<<16),
		MaxUncommitted: pick[uint64](rng, 1<<10, 1<<20), MaxInflightBytes: pick[uint64](rng, 1<<10, 1<<20),
		MaxInflightMsgs: pick(rng, 1, 4, 64), MaxCached: pick[uint64](rng, 1, 512, 1<<20),
		MaxEntry: 1 << 20, MaxBatch: pick[uint64](rng, 1, 1<<10, 1<<16),
	}
}

// drawSplits draws how large regions grow before they are divided: tiny ones in most runs, by size or by number of keys.
func drawSplits(rng *rand.Rand) machine.SplitLimits {
	s := machine.SplitLimits{Diff: pick[uint64](rng, 1, 50), Batch: pick(rng, 1, 3, 10), CheckTicks: pick(rng, 2, 5, 20)}
	switch rng.IntN(4) {
	case 0:
		return machine.SplitLimits{} // no limit
	case 1:
		s.MaxSize, s.SplitSize = 1<<20, 1<<20
		s.MaxKeys, s.SplitKeys = 6, 4
	default:
		s.MaxSize, s.SplitSize = 300, 200
	}
	return s
}

func drawLimits(rng *rand.Rand) raftstore.Limits {
	return raftstore.Limits{
		MailboxMessages: pick(rng, 16, 256, 4096), ProposalBytes: pick[int64](rng, 1<<11, 1<<20),
		Reads: pick[int64](rng, 4, 1024), LogQueueBytes: pick[int64](rng, 1<<10, 1<<20),
	}
}

// drawSky draws the network's usual manners.
func drawSky(rng *rand.Rand) world.Weather {
	sky := world.Fair
	switch rng.IntN(4) {
	case 0: // one machine
		sky.MinDelay, sky.MaxDelay = 10*time.Microsecond, 50*time.Microsecond
	case 1: // between cities
		sky.MinDelay, sky.MaxDelay = 5*time.Millisecond, 30*time.Millisecond
	}
	if rng.IntN(3) == 0 {
		sky.Loss = 0.02 * rng.Float64()
	}
	if rng.IntN(3) == 0 {
		sky.Duplicate = 0.05 * rng.Float64()
	}
	if rng.IntN(3) == 0 {
		sky.Slow, sky.SlowDelay = 0.02*rng.Float64(), 300*time.Millisecond
	}
	return sky
}

// drawFaults draws which nemeses there are and how strong each is. One run in twenty has none.
func drawFaults(rng *rand.Rand) map[string]float64 {
	share := rng.Float64()
	if rng.IntN(20) == 0 {
		share = 0
	}
	faults := make(map[string]float64)
	for _, n := range nemeses() {
		present, strength := world.Chance(rng, share), pick(rng, 0.3, 1, 3)
		if present {
			faults[n.name] = strength
		}
	}
	return faults
}

// String is the configuration in one line.
func (c Config) String() string {
	m := &c.Machine
	var b strings.Builder
	fmt.Fprintf(&b, "seed=%d for=%s stores=%d/%d schedulers=%d clients=%d/%s tick=%s election=%d/%d prevote=%t lease=%s",
		c.Seed, c.Duration, c.Replicas, c.Stores, c.Schedulers, c.Clients, c.Think, c.Tick, m.HeartbeatTicks, m.ElectionTicks, m.PreVote,
		time.Duration(m.LeaseDuration))
	fmt.Fprintf(&b, " gc=%d/%d/%d report=%d sleep=%d", m.LogGC.Ticks, m.LogGC.Threshold, m.LogGC.Count, m.RegionHeartbeatTicks, m.SleepTicks)
	r := &m.Raft
	fmt.Fprintf(&b, " raft=%d,%d,%d,%d,%d,%d,%d,%d", r.MaxSizePerMsg, r.MaxCommittedPerReady, r.MaxUncommitted, r.MaxInflightBytes, r.MaxInflightMsgs,
		r.MaxCached, r.MaxEntry, r.MaxBatch)
	x := &m.Split
	fmt.Fprintf(&b, " split=%d/%d,%d/%d,%d,%d,%d padding=%d replicareads=%g",
		x.SplitSize, x.MaxSize, x.SplitKeys, x.MaxKeys, x.Diff, x.Batch, x.CheckTicks, c.Padding, c.ReplicaReads)
	l := &c.Limits
	fmt.Fprintf(&b, " limits=%d,%d,%d,%d", l.MailboxMessages, l.ProposalBytes, l.Reads, l.LogQueueBytes)
	w := &c.Weather
	fmt.Fprintf(&b, " net=%s-%s,%.3f,%.3f,%.3f:%s faults=", w.MinDelay, w.MaxDelay, w.Loss, w.Duplicate, w.Slow, w.SlowDelay)
	for i, name := range slices.Sorted(maps.Keys(c.Faults)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%g", name, c.Faults[name])
	}
	fmt.Fprintf(&b, " lost=%s merge=%s", c.LostAfter, c.MergeAfter)
	return b.String()
}

// Replay is what a file needs to hold for a run to be played again.
type Replay struct {
	Config Config `json:"config"`
	Steps  []Step `json:"steps"`
	// Hash is the trace hash of the run that was recorded.
	Hash uint64 `json:"hash"`
}

// JSON is the replay as a file.
func (r *Replay) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "\t") }

// ReadReplay reads a file that JSON made, and checks it.
func ReadReplay(b []byte) (*Replay, error) {
	r := new(Replay)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	return r, Check(r.Steps)
}
