package engine

import "errors"

var (
	// ErrCommitted is a second Commit of a batch that was not Reset in between.
	ErrCommitted = errors.New("engine: batch is already committed")
	// ErrClosed is a write to an engine that is closed.
	ErrClosed = errors.New("engine: closed")
)

// PoisonedError is what every write answers after the first write or sync that failed. What was acknowledged before is
// safe; of what was not, nobody knows how much is on disk until the engine is opened again. The process must stop.
type PoisonedError struct {
	// Cause is the first failure.
	Cause error
}

// Error says that the engine is unusable, and why.
func (e *PoisonedError) Error() string {
	return "engine: poisoned by a failure, must be reopened: " + e.Cause.Error()
}

// Unwrap returns the first failure.
func (e *PoisonedError) Unwrap() error { return e.Cause }

// CorruptionError is what a read, or an ingest, answers when it meets bytes on disk that are not the ones that were written. What was
// read before it is right; of the rest nothing is known. Other ranges of the engine may be as good as ever.
type CorruptionError struct {
	// Cause is what the engine's library has to say.
	Cause error
}

// ErrHealed is the cause of a CorruptionError when the range was damaged once and has been ingested anew since the snapshot was taken, which
// cannot show it any more; or when damage was met, and some damaged range has been ingested anew since, which may be this one. Later snapshots can tell.
var ErrHealed = errors.New("the range was damaged and has been replaced since")

// Error says that data is damaged, and how that was found out.
func (e *CorruptionError) Error() string { return "engine: damaged data: " + e.Cause.Error() }

// Unwrap returns the library's error.
func (e *CorruptionError) Unwrap() error { return e.Cause }

// IsCorruption reports whether err says that data is damaged.
func IsCorruption(err error) bool {
	var corrupt *CorruptionError
	return errors.As(err, &corrupt)
}
