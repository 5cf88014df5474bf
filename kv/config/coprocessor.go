package config

// Coprocessor is how large regions may become. The family keeps these keys under this name, for reasons that are history.
type Coprocessor struct {
	// RegionMaxSize is what a region may hold before it is split.
	RegionMaxSize Size `toml:"region-max-size"`
	// RegionSplitSize is about what the parts of a split hold; at most RegionMaxSize.
	RegionSplitSize Size `toml:"region-split-size"`
	// RegionMaxKeys and RegionSplitKeys are the same in keys.
	RegionMaxKeys   uint64 `toml:"region-max-keys"`
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
