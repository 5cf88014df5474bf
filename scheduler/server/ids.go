package server

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/meta"
	"github.com/shoal-kv/shoal/scheduler/oracle"
)

// idWindow is how many ids one write of the bound is good for.
const idWindow = 1000

// ids is the shell around the id allocator. Its lock is held across the write of a bound: ids are not in a hurry.
type ids struct {
	t       *term
	mu      sync.Mutex
	machine *oracle.IDs
}

func loadIDs(ctx context.Context, t *term) (*ids, error) {
	value, err := t.store.Load(ctx, idKey)
	if err != nil {
		return nil, err
	}
	var saved uint64
	if value != nil {
		if len(value) != 8 {
			return nil, errors.Errorf("the persisted bound of ids has %d bytes, want 8", len(value))
		}
		saved = binary.BigEndian.Uint64(value)
	}
	return &ids{t: t, machine: oracle.NewIDs(saved, idWindow)}, nil
}

// next hands out count consecutive ids and returns the first. Errors are gRPC statuses.
func (a *ids) next(count uint64) (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		g := a.machine.Next(count, a.t.clocks.Monotonic(), a.t.leadership.End())
		switch g.Verdict {
		case oracle.Granted:
			if !a.t.leadership.Holds() {
				return 0, errNotLeader
			}
			return g.First, nil
		case oracle.SaveFirst:
			if err := writeUint64(a.t, idKey, g.Save); err != nil {
				return 0, asStatus(err)
			}
			a.machine.Saved(g.Save)
		case oracle.TooMany:
			return 0, status.Errorf(codes.InvalidArgument, "%d ids asked for at once", count)
		default:
			return 0, errNotLeader
		}
	}
}

// AllocID hands out one id that no other call ever gets.
func (s *service) AllocID(_ context.Context, req *pdpb.AllocIDRequest) (*pdpb.AllocIDResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	id, err := t.ids.next(1)
	if err != nil {
		return nil, err
	}
	return &pdpb.AllocIDResponse{Header: t.header(), Id: id}, nil
}

func bigEndian(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func writeUint64(t *term, key string, v uint64) error {
	return t.store.Write(meta.Put(key, bigEndian(v)))
}
