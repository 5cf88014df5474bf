package world

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Kind says what a trace entry is about.
type Kind uint8

// The kinds of trace entries.
const (
	Start Kind = iota + 1
	Kill
	Suspend
	Resume
	Clock
	Message
	Deliver
	View
	Write
	Apply
	Reply
	Task
	Operation
	Answer
	Scheduler
	Fault
	Disk
)

var kindNames = [...]string{
	Start: "start", Kill: "kill", Suspend: "suspend", Resume: "resume", Clock: "clock", Message: "message", Deliver: "deliver", View: "view",
	Write: "write", Apply: "apply", Reply: "reply", Task: "task", Operation: "operation", Answer: "answer", Scheduler: "scheduler", Fault: "fault",
	Disk: "disk",
}

// String is the name under which the kind appears in traces.
func (k Kind) String() string { return kindNames[k] }

// Entry is one line of a trace, for people. Everything in it is also in the hash, in bytes.
type Entry struct {
	At   Time
	Kind Kind
	// Who is the process that it happened to; With the other one, if there is one.
	Who, With string
	Text      string
	// Packet numbers a message, when it leaves and each time it arrives; 0 for everything else.
	Packet uint64
	// Region, Term and Role are what a View shows of a region's peer.
	Region, Term uint64
	Role         string
}

// Trace is the run's hash: every entry's instant, kind, process and bytes. Two runs with equal hashes were the same run. With
// a Sink, what happens is also told in words; that changes no hash.
type Trace struct {
	Sink func(Entry)
	hash *xxhash.Digest
	now  *Time
	head [26]byte
}

// NewTrace makes an empty trace.
func NewTrace(sink func(Entry)) *Trace { return &Trace{Sink: sink, hash: xxhash.New()} }

// Sum is the hash of everything so far.
func (t *Trace) Sum() uint64 { return t.hash.Sum64() }

// Add takes something in. who may be nil.
func (t *Trace) Add(kind Kind, who *Process, what []byte) {
	t.head[0] = byte(kind)
	binary.BigEndian.PutUint64(t.head[1:], uint64(*t.now))
	id := uint64(0)
	if who != nil {
		id = uint64(who.ID)
	}
	binary.BigEndian.PutUint64(t.head[9:], id)
	binary.BigEndian.PutUint64(t.head[17:], uint64(len(what)))
	_, _ = t.hash.Write(t.head[:])
	_, _ = t.hash.Write(what)
	if t.Sink != nil && kind <= Clock {
		t.Tell(kind, who, nil, string(what))
	}
}

// Telling says that somebody listens: texts are made only then.
func (t *Trace) Telling() bool { return t.Sink != nil }

// Tell gives the listener, if there is one, a line. It is not part of the hash.
func (t *Trace) Tell(kind Kind, who, with *Process, text string) {
	t.TellMore(kind, who, with, Entry{Text: text})
}

// TellMore is Tell for an entry with more in it than text.
func (t *Trace) TellMore(kind Kind, who, with *Process, e Entry) {
	if t.Sink == nil {
		return
	}
	e.At, e.Kind = *t.now, kind
	if who != nil {
		e.Who = who.Name
	}
	if with != nil {
		e.With = with.Name
	}
	t.Sink(e)
}
