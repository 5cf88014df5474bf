package node

import (
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// mergeWait bounds how long whoever asks for a merge waits for its preparation.
const mergeWait = 10 * time.Second

// merge begins a merge on the store that leads the source; nil says that the source is prepared.
func (n *Node) merge(source, target uint64) error {
	done := make(chan error, 1)
	n.store.Admin(&machine.AdminRequest{
		RegionID: source, Op: machine.Merge{Target: &metapb.Region{Id: target}}, Done: func(err error) { done <- err },
	})
	select {
	case err := <-done:
		return err
	case <-time.After(mergeWait):
		return errors.Errorf("region %d: after %s it is not known whether it is prepared for a merge", source, mergeWait)
	}
}
