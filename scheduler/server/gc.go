package server

import (
	"context"
	"encoding/json"
	"math"
	"sync"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/meta"
)

const (
	gcKey           = "gc/safe_point"
	gcServicePrefix = "gc/safe_point/service/"
	gcWorker        = "gc_worker"
)

// serviceSafePoint is a service's claim that versions from SafePoint on must stay, until ExpiredAt in unix seconds.
type serviceSafePoint struct {
	ServiceID string `json:"service_id"`
	ExpiredAt int64  `json:"expired_at"`
	SafePoint uint64 `json:"safe_point"`
}

// safePoints says how far old versions may be collected: up to the GC safe point, which only grows, and which the garbage
// collector keeps at or below the least claim of any live service. The collector has a claim of its own, gc_worker, that
// never expires and begins at 0.
type safePoints struct {
	store    *meta.Store
	mu       sync.Mutex // held across writes: each is durable before it is seen
	gc       uint64
	services map[string]serviceSafePoint
}

func loadSafePoints(ctx context.Context, store *meta.Store) (*safePoints, error) {
	g := &safePoints{store: store, services: map[string]serviceSafePoint{
		gcWorker: {ServiceID: gcWorker, ExpiredAt: math.MaxInt64},
	}}
	value, err := store.Load(ctx, gcKey)
	if err != nil {
		return nil, err
	}
	if value != nil {
		if err := json.Unmarshal(value, &g.gc); err != nil {
			return nil, errors.Annotate(err, "decode the GC safe point")
		}
	}
	err = store.Scan(ctx, gcServicePrefix, func(key string, value []byte) error {
		var s serviceSafePoint
		if err := json.Unmarshal(value, &s); err != nil {
			return errors.Annotatef(err, "decode %s", key)
		}
		g.services[s.ServiceID] = s
		return nil
	})
	return g, err
}

// raise moves the GC safe point forward and returns where it is; it never goes back.
func (g *safePoints) raise(to uint64) (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if to <= g.gc {
		return g.gc, nil
	}
	value, err := json.Marshal(to)
	if err != nil {
		return g.gc, err
	}
	if err := g.store.Write(meta.Put(gcKey, value)); err != nil {
		return g.gc, err
	}
	g.gc = to
	return to, nil
}

// claim changes one service's claim, at unix second now, and returns the least of all live ones. A time to live of 0 or
// less gives the claim up. A claim below the least one is not taken, since what it wants kept may be gone: the caller sees
// that the least is above its own.
func (g *safePoints) claim(service string, ttl int64, safePoint uint64, now int64) (serviceSafePoint, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := make(map[string]serviceSafePoint, len(g.services)+1)
	var ops []meta.Op
	for id, s := range g.services {
		if s.ExpiredAt < now || (ttl <= 0 && id == service) {
			ops = append(ops, meta.Delete(gcServicePrefix+id))
			continue
		}
		next[id] = s
	}
	if ttl > 0 && safePoint >= least(next).SafePoint {
		s := serviceSafePoint{ServiceID: service, ExpiredAt: math.MaxInt64, SafePoint: safePoint}
		if ttl < math.MaxInt64-now {
			s.ExpiredAt = now + ttl
		}
		value, err := json.Marshal(s)
		if err != nil {
			return serviceSafePoint{}, err
		}
		ops = append(ops, meta.Put(gcServicePrefix+service, value))
		next[service] = s
	}
	if len(ops) > 0 {
		if err := g.store.Write(ops...); err != nil {
			return serviceSafePoint{}, err
		}
		g.services = next
	}
	return least(g.services), nil
}

// least is the claim that holds collection back; among equals the one whose name comes first.
func least(services map[string]serviceSafePoint) serviceSafePoint {
	low := services[gcWorker]
	for _, s := range services {
		if s.SafePoint < low.SafePoint || (s.SafePoint == low.SafePoint && s.ServiceID < low.ServiceID) {
			low = s
		}
	}
	return low
}

// GetGCSafePoint returns the GC safe point.
func (s *service) GetGCSafePoint(_ context.Context, req *pdpb.GetGCSafePointRequest) (*pdpb.GetGCSafePointResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.GetGCSafePointResponse{Header: h}, nil
	}
	t.gc.mu.Lock()
	defer t.gc.mu.Unlock()
	return &pdpb.GetGCSafePointResponse{Header: t.header(), SafePoint: t.gc.gc}, nil
}

// UpdateGCSafePoint moves the GC safe point forward, and returns where it is.
func (s *service) UpdateGCSafePoint(_ context.Context, req *pdpb.UpdateGCSafePointRequest) (*pdpb.UpdateGCSafePointResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.UpdateGCSafePointResponse{Header: h}, nil
	}
	at, err := t.gc.raise(req.GetSafePoint())
	if err != nil {
		return nil, asStatus(err)
	}
	return &pdpb.UpdateGCSafePointResponse{Header: t.header(), NewSafePoint: at}, nil
}

// UpdateServiceGCSafePoint changes one service's claim, and returns the least of all.
func (s *service) UpdateServiceGCSafePoint(_ context.Context, req *pdpb.UpdateServiceGCSafePointRequest) (*pdpb.UpdateServiceGCSafePointResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.UpdateServiceGCSafePointResponse{Header: h}, nil
	}
	id := string(req.GetServiceId())
	switch {
	case id == "":
		return nil, status.Error(codes.InvalidArgument, "service id of service safepoint cannot be empty")
	case id == gcWorker && req.GetTTL() != math.MaxInt64:
		return nil, status.Error(codes.InvalidArgument, "TTL of gc_worker's service safe point must be infinity")
	}
	now := t.clocks.Wall().Unix()
	low, err := t.gc.claim(id, req.GetTTL(), req.GetSafePoint(), now)
	if err != nil {
		return nil, asStatus(err)
	}
	return &pdpb.UpdateServiceGCSafePointResponse{
		Header: t.header(), ServiceId: []byte(low.ServiceID), TTL: low.ExpiredAt - now, MinSafePoint: low.SafePoint,
	}, nil
}
