package sim

import (
	"fmt"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// The steps of a script that ask a store for something: each is begun, and what becomes of it is asked for later.

// try is an operation of a script.
type try struct {
	over  bool
	err   string
	value string
}

// must does an operation that has to succeed.
func (s *script) must(what string, w []string) error {
	name := fmt.Sprintf("line %d", s.line)
	args := []string{name, what, w[0], w[1], w[2], w[3]}
	want := "ok"
	if what == "get" {
		args, want = []string{name, what, w[0], w[2], w[3]}, w[1]
	}
	if err := s.tryIt(args); err != nil {
		return err
	}
	return s.await([]string{name, want})
}

func (s *script) tryIt(w []string) error {
	a := &try{}
	s.tries[w[0]] = a
	st, err := s.find(w[len(w)-1])
	if err != nil {
		return err
	}
	if !st.p.Up() {
		return errors.New("the store is down")
	}
	switch w[1] {
	case "put":
		s.request(st, a, &kvrpcpb.RawPutRequest{Context: contextOf(st, w[2]), Key: []byte(w[2]), Value: []byte(w[3])})
	case "swap":
		if len(w) != 7 {
			return errors.New("expected try NAME swap KEY OLD NEW on STORE")
		}
		s.request(st, a, &kvrpcpb.RawCASRequest{Context: contextOf(st, w[2]), Key: []byte(w[2]), PreviousValue: []byte(w[3]), Value: []byte(w[4])})
	case "get", "read":
		ctx := contextOf(st, w[2])
		ctx.ReplicaRead = w[1] == "read"
		s.request(st, a, &kvrpcpb.RawGetRequest{Context: ctx, Key: []byte(w[2])})
	case "add":
		return s.change(st, a, []string{"+" + w[2]})
	case "remove":
		return s.change(st, a, []string{"-" + w[2]})
	case "change":
		return s.change(st, a, w[2:len(w)-2])
	case "split":
		return s.split(st, a, w[2:len(w)-2])
	case "merge":
		return s.merge(st, a, w[2])
	default:
		return errors.Errorf("cannot try %s", w[1])
	}
	return nil
}

// contextOf addresses the region that holds a key as the store itself has it; one of two that overlap is that of the leader, or the newer one.
func contextOf(st *store, key string) *kvrpcpb.Context {
	var best *machine.RegionView
	st.st.Views(func(_ uint64, v *machine.RegionView) bool { // order-free: regions of a store are disjoint
		if v.Initialized && region.Contains(v.Region, []byte(key)) {
			best = v
		}
		return true
	})
	if best == nil {
		return &kvrpcpb.Context{RegionId: st.c.home}
	}
	return &kvrpcpb.Context{RegionId: best.Region.Id, RegionEpoch: best.Region.RegionEpoch, Peer: &metapb.Peer{Id: best.PeerID, StoreId: st.id}}
}

func (s *script) request(st *store, a *try, req any) {
	s.c.call(s.hand, st.p, time.Hour, func(answer func(any)) { st.front.handle(req, answer) }, func(resp any) {
		a.over = true
		switch r := resp.(type) {
		case *kvrpcpb.RawPutResponse:
			a.err = errorText(r.RegionError, r.Error)
		case *kvrpcpb.RawGetResponse:
			a.err = errorText(r.RegionError, r.Error)
			if a.value = string(r.Value); r.NotFound {
				a.value = "-"
			}
		case *kvrpcpb.RawCASResponse:
			a.err = errorText(r.RegionError, r.Error)
			if a.err == "" && !r.Succeed {
				a.err = "not swapped"
			}
		default:
			a.err = "no answer"
		}
	})
}

func errorText(e fmt.Stringer, text string) string {
	if e != nil && fmt.Sprint(e) != "<nil>" && fmt.Sprint(e) != "" {
		return e.String()
	}
	return text
}

func (s *script) await(w []string) error {
	a := s.tries[w[0]]
	if a == nil {
		return errors.Errorf("nothing called %s was tried", w[0])
	}
	if w[1] == "open" {
		if a.over {
			return errors.Errorf("it is over: value %q error %q", a.value, a.err)
		}
		return nil
	}
	if err := s.until(10*time.Second, func() bool { return a.over }); err != nil {
		return err
	}
	switch {
	case w[1] == "refused" && a.err != "", w[1] == "ok" && a.err == "", w[1] == "any":
		return nil
	case w[1] == "refused", w[1] == "ok", a.err != "":
		return errors.Errorf("value %q error %q", a.value, a.err)
	case a.value != w[1]:
		return errors.Errorf("it is %q", a.value)
	}
	return nil
}
