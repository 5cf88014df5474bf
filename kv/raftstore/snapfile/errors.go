package snapfile

import (
	"fmt"

	"github.com/pingcap/errors"
)

// Reasons why a Manager refuses; compare with errors.Is.
var (
	// ErrExists says that a complete file of that key has been received already.
	ErrExists = errors.New("snapshot file exists")
	// ErrBusy says that a file of that key is being built or received by someone else.
	ErrBusy = errors.New("snapshot file is being written")
	// ErrNotFound says that there is no complete file of that key.
	ErrNotFound = errors.New("snapshot file is not found")
)

// CorruptError says that a file is not a whole snapshot.
type CorruptError struct {
	// Name is the file's, Offset where in it the damage shows.
	Name   string
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("snapshot file %s is corrupt at byte %d: %s", e.Name, e.Offset, e.Reason)
}
