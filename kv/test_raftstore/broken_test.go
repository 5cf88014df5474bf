package test_raftstore

import (
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// anySnapshot is an engine snapshot that passes for a region's.
type anySnapshot struct {
	engine.Snapshot
	view *machine.RegionView
}

func (s *anySnapshot) Region() *metapb.Region { return s.view.Region }
func (s *anySnapshot) Term() uint64           { return s.view.Term }
