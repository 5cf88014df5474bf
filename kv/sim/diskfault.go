package sim

import (
	"bytes"
	"errors"
	"syscall"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// What a disk answers when it fails.
const (
	errIO   = syscall.EIO
	errFull = syscall.ENOSPC
)

// diskFaults are what is wrong with a disk at the moment.
type diskFaults struct {
	// slow is how many times as long as usual everything takes.
	slow float64
	full bool
	// files fails every change of the snapshots' directory.
	files error
	// flip, when not negative, says which bit of the next snapshot file will be wrong: 0 is its first, nearly 1 its last.
	flip float64
	// flips counts the files in which a bit is wrong.
	flips int
	// torn are ranges whose ingestion failed, and was not repeated since: the data may be in the engine without the mark that says so (engine.Ingestion.Also),
	// and be newer than the applied index. Applying the log once more makes it right.
	torn []engine.Range
}

// tore notes how an ingestion ended.
func (d *disk) tore(r engine.Range, failed bool) {
	kept := d.torn[:0]
	for _, t := range d.torn {
		if !bytes.Equal(t.Start, r.Start) || !bytes.Equal(t.End, r.End) {
			kept = append(kept, t)
		}
	}
	if d.torn = kept; failed {
		d.torn = append(d.torn, r)
	}
}

// isTorn says that some of a range may be newer than it should.
func (d *disk) isTorn(start, end []byte) bool {
	for _, t := range d.torn {
		if (len(end) == 0 || bytes.Compare(t.Start, end) < 0) && (len(t.End) == 0 || bytes.Compare(start, t.End) < 0) {
			return true
		}
	}
	return false
}

// fail makes something on the disk fail with err from now on, or not any more when err is nil.
func (d *disk) fail(what string, err error) {
	switch what {
	case "log-write":
		d.log.FailWrites(err)
	case "log-sync":
		d.log.FailSyncs(err)
	case "state-write":
		d.state.FailWrites(err)
	case "state-sync":
		d.state.FailSyncs(err)
	case "files":
		d.files = err
	}
}

// fill leaves the disk without space, or gives it some.
func (d *disk) fill(full bool) {
	d.full = full
	d.obstruct()
}

// obstruct makes engines that were opened on a full disk feel it.
func (d *disk) obstruct() {
	var err error
	if d.full {
		err = errFull
	}
	d.log.FailWrites(err)
	d.state.FailWrites(err)
	d.files = err
}

func (d *disk) flipNext(where float64) { d.flip = where }

// ails says that an error is one that a disk may answer.
func ails(err error) bool { return errors.Is(err, errIO) || errors.Is(err, errFull) }

// heal makes the disk good. What it did to the data stays.
func (d *disk) heal() {
	d.diskFaults = diskFaults{slow: 1, flip: -1, flips: d.flips, torn: d.torn}
	d.stalledUntil = 0
	for _, what := range ioErrors {
		d.fail(what, nil)
	}
}

// directory is the snapshots' directory on a disk that may fail.
type directory struct {
	snapfile.FS
	d *disk
}

// Create implements snapfile.FS.
func (f directory) Create(name string) (snapfile.WriteFile, error) {
	if err := f.d.files; err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name)
	return writeFile{file, f.d}, err
}

// Rename implements snapfile.FS.
func (f directory) Rename(from, to string) error {
	if err := f.d.files; err != nil {
		return err
	}
	if err := f.FS.Rename(from, to); err != nil {
		return err
	}
	if f.d.flip >= 0 && f.d.dir.Flip(to, f.d.flip) {
		f.d.flip = -1
		f.d.flips++
	}
	return nil
}

// Sync implements snapfile.FS.
func (f directory) Sync() error {
	if err := f.d.files; err != nil {
		return err
	}
	return f.FS.Sync()
}

type writeFile struct {
	snapfile.WriteFile
	d *disk
}

func (w writeFile) Write(p []byte) (int, error) {
	if err := w.d.files; err != nil {
		return 0, err
	}
	return w.WriteFile.Write(p)
}

func (w writeFile) Sync() error {
	if err := w.d.files; err != nil {
		return err
	}
	return w.WriteFile.Sync()
}
