package server

import (
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lane is one caller's part of the message at hand: the calls that its commands are gathered in.
type lane struct {
	*caller
	read  *readCall
	write *writeCall
}

// lanes are the callers that a stream has seen, by their encoded Context, and the calls of the message at hand.
type lanes struct {
	server *Server
	seen   map[string]*lane
	reads  []*readCall
	writes []*writeCall
	used   []*lane
}

// maxLanes bounds the callers that are remembered: about as many as a client's regions on this store. Clients that vary their Context
// with every request make remembering useless, not harmful.
const (
	maxLanes   = 1024
	maxLaneKey = 4096 // bytes of an encoded Context that is worth remembering
)

func (l *lanes) init(s *Server) {
	l.server = s
	l.seen = make(map[string]*lane)
}

// find returns the lane of an encoded Context. The error ends the stream.
func (l *lanes) find(encoded []byte) (*lane, error) {
	if ln := l.seen[string(encoded)]; ln != nil {
		return ln, nil
	}
	var c kvrpcpb.Context
	if err := c.Unmarshal(encoded); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "a request's context cannot be decoded: %v", err)
	}
	from, err := l.server.newCaller(&c)
	if err != nil {
		return nil, err
	}
	ln := &lane{caller: from}
	if len(encoded) <= maxLaneKey {
		if len(l.seen) >= maxLanes {
			clear(l.seen)
		}
		l.seen[string(encoded)] = ln
	}
	return ln, nil
}

// startOver forgets the last message's calls.
func (l *lanes) startOver() {
	for i, ln := range l.used {
		ln.read, ln.write = nil, nil
		l.used[i] = nil
	}
	clear(l.reads)
	clear(l.writes)
	l.used, l.reads, l.writes = l.used[:0], l.reads[:0], l.writes[:0]
}

// handle performs one message: point commands are gathered by caller, then the writes go first, because others can work on them while the reads
// are served here. The error ends the stream.
func (st *stream) handle(msg *batchRequest) error {
	start := time.Now()
	st.lanes.startOver()
	for i := range msg.commands {
		c, id := &msg.commands[i], msg.ids[i]
		if c.method == otherMethod {
			continue
		}
		ln, err := st.lanes.find(c.context)
		if err != nil {
			return err
		}
		if err := st.gather(ln, c, id, start); err != nil {
			st.refuse(c, id, newFailure(err, ln.at.RegionID))
		}
	}
	for _, w := range st.lanes.writes {
		w.issue()
	}
	for _, r := range st.lanes.reads {
		if err := r.issue(); err != nil {
			return err
		}
	}
	for i := range msg.commands {
		if c := &msg.commands[i]; c.method == otherMethod {
			if err := st.other(c, msg.ids[i], start); err != nil {
				return err
			}
		}
	}
	return nil
}

// gather puts a point command into its lane's call. The error is the command's answer.
func (st *stream) gather(ln *lane, c *command, id uint64, start time.Time) error {
	if ln.refusal != nil {
		return ln.refusal
	}
	if ln.read == nil && ln.write == nil {
		st.lanes.used = append(st.lanes.used, ln)
	}
	if c.method == rawGet {
		return st.gatherRead(ln, c, id, start)
	}
	return st.gatherWrite(ln, c, id, start)
}

// refuse answers a command that reaches no call.
func (st *stream) refuse(c *command, id uint64, f failure) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.answers.addBody(id, c.method, f.encode())
	st.answered(len(c.whole))
	st.server.metrics.done(c.method, 1, 0)
	if f.text != "" {
		st.server.metrics.failed(c.method, 1)
	}
}
