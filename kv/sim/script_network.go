package sim

import (
	"slices"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
)

// The steps of a script that have to do with messages: links that are cut, and messages of some kind that are lost or kept.

// rule loses or keeps messages.
type rule struct {
	kind     string
	from, to *store // nil for any
	keep     bool
	fitting  bool
	region   uint64 // 0 for any
}

// matches tells whether the rule is about a message.
func (r *rule) matches(from, to *store, env *raft_serverpb.RaftMessage) bool {
	m := env.Message
	if r.region != 0 && r.region != env.RegionId {
		return false
	}
	if r.kind != "*" && r.kind != m.MsgType.String() || r.from != nil && r.from != from || r.to != nil && r.to != to {
		return false
	}
	return !r.fitting || fits(to, env.RegionId, m)
}

// fits says that an append brings an entry of its sender's own term behind one that the receiver has.
func fits(to *store, regionID uint64, m *eraftpb.Message) bool {
	n := len(m.Entries)
	if m.MsgType != eraftpb.MessageType_MsgAppend || n == 0 || m.Entries[n-1].Term != m.Term || !to.p.Up() {
		return false
	}
	log, err := to.opened.Log.State(regionID)
	return err == nil && log != nil && log.LastIndex >= m.Index
}

// filter is asked for every raft message: false takes it out of the network's hands.
func (s *script) filter(from, to *store, m *raft_serverpb.RaftMessage, deliver func()) bool {
	for i := range s.rules {
		if r := &s.rules[i]; r.matches(from, to, m) {
			if r.keep {
				s.kept = append(s.kept, deliver)
			}
			return false
		}
	}
	return true
}

func (s *script) addRule(w []string, keep bool) error {
	r := rule{kind: w[0], keep: keep, fitting: slices.Contains(w[4:], "fitting")}
	if slices.Contains(w[4:], "region") {
		r.region = s.region
	}
	var err error
	if w[1] != "*" {
		if r.from, err = s.find(w[1]); err != nil {
			return err
		}
	}
	if w[3] != "*" {
		if r.to, err = s.find(w[3]); err != nil {
			return err
		}
	}
	s.rules = append(s.rules, r)
	return nil
}

func (s *script) letPass([]string) error {
	s.rules = nil
	return s.release(nil)
}

func (s *script) release([]string) error {
	waiting := s.kept
	s.kept = nil
	for _, deliver := range waiting {
		deliver()
	}
	return nil
}

func (s *script) forget([]string) error {
	s.rules, s.kept = nil, nil
	return nil
}

func (s *script) cut(w []string) error {
	oneWay := w[1] == "->"
	from, err := s.several(w[0])
	if err != nil {
		return err
	}
	to, err := s.several(w[len(w)-1])
	if err != nil {
		return err
	}
	for _, a := range from {
		for _, b := range to {
			s.c.net.Cut(a.p, b.p)
			if !oneWay {
				s.c.net.Cut(b.p, a.p)
			}
		}
	}
	return nil
}

func (s *script) isolate(w []string) error {
	st, err := s.find(w[0])
	if err != nil {
		return err
	}
	for _, other := range s.c.stores {
		if other != st {
			s.c.net.Cut(st.p, other.p)
			s.c.net.Cut(other.p, st.p)
		}
	}
	return nil
}
