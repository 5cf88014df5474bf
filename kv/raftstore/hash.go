package raftstore

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// hashStep is after how many bytes a hash asks whether it may go on.
const hashStep = 64 << 10

// computeHash hashes the data of a region and its shape, as the task's snapshot shows them, and closes the snapshot.
func computeHash(t *machine.ComputeHash, pace snapfile.Pace) (sum uint64, err error) {
	defer func() {
		if e := t.Snapshot.Close(); err == nil {
			err = e
		}
	}()
	r := t.Region
	h := &regionHash{digest: xxhash.New(), pace: pace}
	h.numbers(r.Id, r.RegionEpoch.GetVersion(), r.RegionEpoch.GetConfVer())
	h.bytes(r.StartKey)
	h.bytes(r.EndKey)
	for _, cf := range engine.DataCFs {
		h.numbers(uint64(cf))
		if err := h.family(cf, r, t.Snapshot); err != nil {
			return 0, err
		}
	}
	return h.digest.Sum64(), nil
}

// regionHash takes in everything with its length, so that no two regions look alike that are not.
type regionHash struct {
	digest *xxhash.Digest
	pace   snapfile.Pace
	unpaid int
	buf    [8]byte
}

func (h *regionHash) numbers(list ...uint64) {
	for _, n := range list {
		binary.LittleEndian.PutUint64(h.buf[:], n)
		_, _ = h.digest.Write(h.buf[:]) // never fails
	}
}

func (h *regionHash) bytes(b []byte) {
	h.numbers(uint64(len(b)))
	_, _ = h.digest.Write(b)
	h.unpaid += len(b)
}

func (h *regionHash) family(cf engine.CF, r *metapb.Region, snap engine.Snapshot) (err error) {
	it, err := snap.NewIterator(cf, engine.IterOptions{Lower: r.StartKey, Upper: rangeEnd(r)})
	if err != nil {
		return err
	}
	defer func() {
		if e := it.Close(); err == nil {
			err = e
		}
	}()
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		h.bytes(it.Key())
		h.bytes(it.Value())
		if h.unpaid < hashStep || h.pace == nil {
			continue
		}
		if err := h.pace(h.unpaid); err != nil {
			return err
		}
		h.unpaid = 0
	}
	return nil
}
