package logstore

import "fmt"

// UpdateError says that an Update makes no sense. Nothing of its batch was written.
type UpdateError struct {
	RegionID uint64
	// Index is that of the entry that is wrong, or 0.
	Index  uint64
	Reason string
}

func (e *UpdateError) Error() string {
	return fmt.Sprintf("region %d, index %d: raft log update refused: %s", e.RegionID, e.Index, e.Reason)
}

// GapError says that an entry that was asked for is not in the log.
type GapError struct {
	RegionID uint64
	// Lo and Hi bound what was to be there, [Lo, Hi); Missing is the first index that is not.
	Lo, Hi, Missing uint64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("region %d: entries [%d, %d) of the raft log are not all there: index %d is missing",
		e.RegionID, e.Lo, e.Hi, e.Missing)
}

// CorruptError says that what is stored cannot have been written by this package.
type CorruptError struct {
	RegionID uint64
	// Index is that of the entry, or 0 for the raft state.
	Index  uint64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("region %d, index %d: raft log is corrupt: %s", e.RegionID, e.Index, e.Reason)
}
