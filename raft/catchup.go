package raft

import "github.com/pingcap/errors"

// CommitTo raises the commit index to index because the caller knows, from outside of the group, that this entry is committed and that it is
// the very one that this log holds at index: every member had acknowledged it before the caller's source of knowledge came to be. So no leader
// of any term can have, or get, another entry there. An index that is committed here already changes nothing.
//
// It is for a member whose group is not going to tell it any more, because it has been dissolved: it serves what is in the log, be its
// leader alive or not. ErrUnavailable says that the log does not reach that far, and that what the caller knows is therefore wrong; so does
// ErrSnapshotTemporarilyUnavailable while a snapshot that was received is being put in place, which ends by itself.
func (rn *RawNode) CommitTo(index uint64) error {
	l := rn.Raft.RaftLog
	switch {
	case index <= l.committed:
		return nil
	case l.pendingSnapshot != nil:
		return ErrSnapshotTemporarilyUnavailable
	case index > l.LastIndex():
		return errors.Annotatef(ErrUnavailable, "commit to %d, the log ends at %d", index, l.LastIndex())
	}
	l.commitTo(index)
	return nil
}
