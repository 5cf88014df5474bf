package segment

import (
	"cmp"
	"io"
	"slices"

	"github.com/pingcap/errors"
)

// recover finds the live segments and has the index take in their batches.
func (l *Log) recover() error {
	f := l.files
	oldest, err := f.findLive()
	if err != nil {
		return err
	}
	for _, seg := range f.live {
		data, err := f.readTo(seg, seg.size)
		if err != nil {
			return err
		}
		if err := l.replay(seg, data); err != nil {
			return err
		}
	}
	if noted := f.note.read(); l.number < noted {
		return errors.Errorf("the log is damaged: it ends with batch %d, but batch %d was synced", l.number, noted)
	}
	f.sealed, f.named = true, oldest
	if len(f.live) > 0 { // a process that was killed may have left what is not on disk
		last := f.live[len(f.live)-1]
		if err := last.file.SyncData(); err != nil {
			return errors.Annotatef(err, "sync %s", last.name)
		}
	}
	return f.tidy()
}

// replay takes in a segment's batches up to the first that is not whole. Whether any is missing shows in the next segment's first.
func (l *Log) replay(seg *segment, data []byte) error {
	for {
		h, ops, ok := unseal(data[seg.end:])
		if !ok || h.seq != seg.seq {
			break
		}
		if first := seg == l.files.live[0] && seg.end == 0; !first && h.number != l.number+1 {
			if seg.end > 0 {
				break // left behind
			}
			return errors.Errorf("the log is damaged: %s begins with batch %d, but the one before ends with %d", seg.name, h.number, l.number)
		}
		if err := l.index.take(l.files, seg, seg.end, ops); err != nil {
			return errors.Annotatef(err, "%s, batch %d", seg.name, h.number)
		}
		l.number = h.number
		seg.end += headerSize + int64(h.length)
	}
	return nil
}

// findLive makes the row of segments from the idle ones: from the oldest that the newest batch needs up to the one where it is.
func (f *files) findLive() (oldest uint64, err error) {
	bySeq := map[uint64]*segment{}
	var newest *segment
	for _, seg := range f.idle {
		data, err := f.readFirst(seg)
		if err != nil {
			return 0, err
		}
		h, _, ok := unseal(data)
		if seg.seq = h.seq; !ok {
			continue
		}
		if bySeq[seg.seq] != nil {
			return 0, errors.Errorf("the log is damaged: %s and %s have the same number", seg.name, bySeq[seg.seq].name)
		}
		bySeq[seg.seq] = seg
		if newest == nil || newest.seq < seg.seq {
			newest = seg
		}
	}
	if newest == nil {
		return 0, nil
	}
	data, err := f.readTo(newest, newest.size)
	if err != nil {
		return 0, err
	}
	oldest = lastBatch(newest, data).oldest
	for seq := oldest; seq <= newest.seq; seq++ {
		if bySeq[seq] == nil {
			return 0, errors.Errorf("the log is damaged: segment %d of %d to %d is missing", seq, oldest, newest.seq)
		}
		f.live = append(f.live, bySeq[seq])
	}
	f.idle = slices.DeleteFunc(f.idle, func(seg *segment) bool { return slices.Contains(f.live, seg) })
	slices.SortFunc(f.idle, func(a, b *segment) int { return cmp.Compare(a.name, b.name) })
	return oldest, nil
}

// lastBatch returns the header of the last whole batch.
func lastBatch(seg *segment, data []byte) (last header) {
	for {
		h, _, ok := unseal(data)
		if !ok || h.seq != seg.seq || last.number > 0 && h.number != last.number+1 {
			return last
		}
		last, data = h, data[headerSize+int64(h.length):]
	}
}

// readFirst reads what may be the first batch.
func (f *files) readFirst(seg *segment) ([]byte, error) {
	head, err := f.readTo(seg, min(headerSize, seg.size))
	if err != nil || len(head) < headerSize {
		return nil, err
	}
	return f.readTo(seg, min(batchSize(head), seg.size))
}

func (f *files) readTo(seg *segment, end int64) ([]byte, error) {
	data := make([]byte, end)
	if _, err := seg.file.ReadAt(data, 0); err != nil && !errors.ErrorEqual(err, io.EOF) {
		return nil, errors.Annotatef(err, "read %s", seg.name)
	}
	return data, nil
}
