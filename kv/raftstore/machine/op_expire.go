package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
)

// Taking away raw values that have expired. Somebody saw them expired in a snapshot, but by the time at which the deletion is applied, a
// client may have written the key anew, and its value must stay. So the deletion names a bound, a second that had passed when it was
// proposed, and each replica judges what its engine holds when the entry's turn comes: the same everywhere, and no clock is read.
//
// check    raftkv, as for any write.
// propose  proposeWaiting, in an entry of its own, so that nothing comes between what is stored and the judgement.
// apply    lookup: the batch so far is committed, and the shell looks up when the stored values expire. applyExpire, in a batch of its
//          own: version and keys as for any write; then what expires by the bound is deleted.
// after    nothing: a value that stayed is met again by whoever looks for expired ones.

// lookup returns what must be known before the entry can be applied, nil for all other entries.
func (a *applier) lookup(e *eraftpb.Entry) (wanted []StoredKey) {
	if e.EntryType != eraftpb.EntryType_EntryNormal || len(e.Data) < 2 || command.Kind(e.Data[1]) != command.Expire {
		return nil
	}
	a.must(e, command.Decode(e.Data, func(c command.Command) error {
		return command.DecodeOps(c.Body, func(_ command.Op, cf engine.CF, key, _ []byte) error {
			wanted = append(wanted, StoredKey{CF: cf, Key: key})
			return nil
		})
	}))
	return wanted
}

// applyExpire deletes what has expired.
func (a *applier) applyExpire(c *command.Command, batch engine.Batch) error {
	if err := a.checkKeys(c.Body); err != nil {
		return err
	}
	i, gone := 0, []StoredKey(nil)
	err := command.DecodeOps(c.Body, func(op command.Op, cf engine.CF, key, value []byte) error {
		bound, err := keys.DecodeBound(value)
		if err != nil || op != command.DeleteExpired {
			return errors.Annotatef(command.ErrMalformed, "op %d with value %X among deletions of what has expired", op, value)
		}
		if keys.Expired(a.expiries[i], bound) {
			gone = append(gone, StoredKey{CF: cf, Key: key})
		}
		i++
		return nil
	})
	if err != nil {
		return err // a rejected command leaves no trace
	}
	for _, k := range gone {
		batch.Delete(k.CF, k.Key)
	}
	return nil
}
