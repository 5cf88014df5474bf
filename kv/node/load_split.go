package node

import (
	"math/rand/v2"

	"github.com/pingcap/kvproto/pkg/metapb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/storage/loadsplit"
)

// startLoadSplit has requests sampled and busy regions split, where that is configured.
func (n *Node) startLoadSplit() {
	c := &n.cfg.Split
	if !c.Enabled || c.QPSThreshold == 0 && c.ByteThreshold == 0 {
		return
	}
	load := loadsplit.NewRecorder(rand.Uint64)
	n.kv.Sample(load)
	n.splitter = loadsplit.NewSplitter(load, loadsplit.Thresholds{QPS: c.QPSThreshold, Bytes: uint64(c.ByteThreshold)}, n.splitBusy)
	n.splitter.Start()
}

func (n *Node) splitBusy(r *metapb.Region, key []byte) {
	n.logger.Info("a busy region shall be split", zap.Uint64("region", r.Id), zap.Binary("at", key))
	n.store.Admin(&machine.AdminRequest{
		RegionID: r.Id, Epoch: r.RegionEpoch, Op: machine.Split{Keys: [][]byte{key}},
		Done: func(err error) {
			if err != nil {
				n.logger.Info("a busy region was not split", zap.Uint64("region", r.Id), zap.Error(err))
			}
		},
	})
}
