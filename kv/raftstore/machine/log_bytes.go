package machine

import "github.com/pingcap/kvproto/pkg/eraftpb"

// logBytes is how many bytes a log holds, and roughly up to which index how many of them: enough to say where a log must be cut to fit a
// limit, for a handful of numbers per region. It counts payloads, with what the engine adds to each entry.
type logBytes struct {
	// appended and gone are running totals; what is there is their difference.
	appended, gone uint64
	marks          []byteMark
}

// byteMark says that up to and including index, total bytes were ever appended.
type byteMark struct{ index, total uint64 }

const (
	// entryOverhead is about what an entry's key, index and term take.
	entryOverhead = 32
	// marksPerLog is into how many parts the marks divide a log, about.
	marksPerLog = 64
)

// foundBytes is the record of a log in (first, last] of which only the size is known: its bytes are taken to lie evenly.
func foundBytes(first, last, size uint64) logBytes {
	b := logBytes{appended: size}
	parts := min(marksPerLog, last-min(first, last))
	for i := uint64(1); i <= parts; i++ {
		b.marks = append(b.marks, byteMark{first + (last-first)*i/parts, size / parts * i})
	}
	return b
}

func (b *logBytes) size() uint64 { return b.appended - b.gone }

// append counts entries, which take the place of what was at their indices.
func (b *logBytes) append(entries []eraftpb.Entry, last uint64) {
	if len(entries) > 0 && entries[0].Index <= last {
		b.replaceFrom(entries[0].Index)
	}
	for i := range entries {
		b.appended += uint64(len(entries[i].Data)) + entryOverhead
		if b.appended-b.lastMark() > max(1<<10, b.size()/marksPerLog) {
			b.marks = append(b.marks, byteMark{entries[i].Index, b.appended})
		}
	}
}

func (b *logBytes) lastMark() uint64 {
	if n := len(b.marks); n > 0 {
		return b.marks[n-1].total
	}
	return b.gone
}

// replaceFrom forgets what stood from index on. What lay between the last mark before it and index is forgotten with it: less than a part.
func (b *logBytes) replaceFrom(index uint64) {
	for n := len(b.marks); n > 0 && b.marks[n-1].index >= index; n-- {
		b.marks = b.marks[:n-1]
	}
	b.appended = b.lastMark()
}

// cut counts out everything up to and including index; last is where the log ends.
func (b *logBytes) cut(index, last uint64) {
	n := 0
	for n < len(b.marks) && b.marks[n].index <= index {
		b.gone = b.marks[n].total
		n++
	}
	b.marks = append(b.marks[:0], b.marks[n:]...)
	if index >= last {
		b.gone = b.appended
	}
}

// cutFor returns the first index known after which at most keep bytes follow; 0 when that is so already.
func (b *logBytes) cutFor(keep uint64) uint64 {
	if b.size() <= keep {
		return 0
	}
	for _, m := range b.marks {
		if b.appended-m.total <= keep {
			return m.index
		}
	}
	return 0
}
