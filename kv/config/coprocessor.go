package config

// Coprocessor is how large regions may become. The family keeps these keys under this name, for reasons that are history.
type Coprocessor struct {
	// RegionMaxSize is what a region may hold before it is split.
	RegionMaxSize Size `toml:"region-max-size"`
	// RegionSplitSize is about what the parts of a split hold; at most RegionMaxSize.
	RegionSplitSize Size `toml:"region-split-size"`
	// RegionMaxKeys is how many keys a region may hold before it is split.
	RegionMaxKeys uint64 `toml:"region-max-keys"`
	// RegionSplitKeys is about how many keys the parts of a split hold; at most RegionMaxKeys.
	RegionSplitKeys uint64 `toml:"region-split-keys"`
	// BatchSplitLimit is how many regions one split may make, beside the one that is split.
	BatchSplitLimit int `toml:"batch-split-limit"`
}

func defaultCoprocessor() Coprocessor {
	return Coprocessor{
		RegionMaxSize: 144 * MiB, RegionSplitSize: 96 * MiB, RegionMaxKeys: 1_440_000, RegionSplitKeys: 960_000, BatchSplitLimit: 10,
	}
}

func (c *Coprocessor) validate(p *Problems) {
	between(p, "coprocessor.region-max-size", c.RegionMaxSize, 64, 64*GiB)
	between(p, "coprocessor.region-split-size", c.RegionSplitSize, 32, c.RegionMaxSize)
	between(p, "coprocessor.region-max-keys", c.RegionMaxKeys, 2, 1<<40)
	between(p, "coprocessor.region-split-keys", c.RegionSplitKeys, 1, c.RegionMaxKeys)
	between(p, "coprocessor.batch-split-limit", c.BatchSplitLimit, 1, 1000)
}

// Split is when regions divide because they are busy.
type Split struct {
	// Enabled turns it on.
	Enabled bool `toml:"enabled"`
	// QPSThreshold is how many reads and writes a second, over ten seconds, make a region busy; 0: no limit.
	QPSThreshold uint64 `toml:"qps-threshold"`
	// ByteThreshold is how many bytes read and written a second make a region busy; 0: no limit.
	ByteThreshold Size `toml:"byte-threshold"`
}

func defaultSplit() Split {
	return Split{Enabled: true, QPSThreshold: 3000, ByteThreshold: 30 * MiB}
}

func (s *Split) validate(p *Problems) {
	between(p, "split.qps-threshold", s.QPSThreshold, 0, 1<<40)
	between(p, "split.byte-threshold", s.ByteThreshold, 0, 1024*GiB)
}
