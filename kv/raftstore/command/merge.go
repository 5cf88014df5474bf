package command

import (
	"encoding/binary"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
)

// The bodies of a merge's commands.
//
//	prepare  = metapb.Region                                  the target as it must be for the merge to happen
//	commit   = declined:1 uvarint(index) metapb.Region        the source as its preparation at index made it; declined: it shall not happen
//	rollback = uvarint(index)                                 the preparation that is called off

// EncodePrepareMerge makes the body that freezes a region so that target can take it in.
func EncodePrepareMerge(target *metapb.Region) []byte { return appendRegion(nil, target) }

// DecodePrepareMerge reads what EncodePrepareMerge made.
func DecodePrepareMerge(body []byte) (target *metapb.Region, err error) {
	return decodeRegion(body, "merge preparation")
}

// CommitMergeBody says which region is taken in, or, Declined, that it is not going to be.
type CommitMergeBody struct {
	Declined bool
	// Index is that of the preparation in the source's log.
	Index  uint64
	Source *metapb.Region
}

// EncodeCommitMerge makes the body of a CommitMerge.
func EncodeCommitMerge(b CommitMergeBody) []byte {
	body := []byte{0}
	if b.Declined {
		body[0] = 1
	}
	return appendRegion(binary.AppendUvarint(body, b.Index), b.Source)
}

// DecodeCommitMerge reads what EncodeCommitMerge made.
func DecodeCommitMerge(body []byte) (b CommitMergeBody, err error) {
	d := decoder{rest: body}
	declined := d.byte()
	b.Declined, b.Index = declined == 1, d.uvarint()
	if d.bad || declined > 1 || b.Index == 0 {
		return b, errors.Annotate(ErrMalformed, "merge")
	}
	b.Source, err = decodeRegion(d.rest, "merge")
	return b, err
}

// EncodeRollbackMerge makes the body that calls off the preparation at index.
func EncodeRollbackMerge(index uint64) []byte { return binary.AppendUvarint(nil, index) }

// DecodeRollbackMerge reads what EncodeRollbackMerge made.
func DecodeRollbackMerge(body []byte) (index uint64, err error) {
	d := decoder{rest: body}
	index = d.uvarint()
	if d.bad || len(d.rest) > 0 || index == 0 {
		return 0, errors.Annotate(ErrMalformed, "merge rollback")
	}
	return index, nil
}

func appendRegion(dst []byte, r *metapb.Region) []byte {
	enc, err := r.Marshal()
	if err != nil {
		panic("command: a metapb.Region that cannot be encoded: " + err.Error())
	}
	return append(dst, enc...)
}

func decodeRegion(b []byte, what string) (*metapb.Region, error) {
	r := new(metapb.Region)
	if err := r.Unmarshal(b); err != nil || r.Id == 0 || r.RegionEpoch == nil || len(r.Peers) == 0 {
		return nil, errors.Annotatef(ErrMalformed, "%s without a region", what)
	}
	return r, nil
}
