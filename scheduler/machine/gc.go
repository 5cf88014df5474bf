package machine

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"
)

// GCWorker is the garbage collector's own claim, which never expires and begins at 0.
const GCWorker = "gc_worker"

// Claim is a service's claim that versions from SafePoint on must stay, until ExpiredAt in unix seconds.
type Claim struct {
	ServiceID string `json:"service_id"`
	ExpiredAt int64  `json:"expired_at"`
	SafePoint uint64 `json:"safe_point"`
}

// safePoints says how far old versions may be collected: up to the GC safe point, which only grows, and which the garbage
// collector keeps at or below the least claim of any live service.
type safePoints struct {
	gc     uint64
	claims map[string]Claim
}

func newSafePoints() safePoints {
	return safePoints{claims: map[string]Claim{GCWorker: {ServiceID: GCWorker, ExpiredAt: math.MaxInt64}}}
}

func (g *safePoints) load(key string, value []byte) error {
	if key == gcKey {
		return json.Unmarshal(value, &g.gc)
	}
	var c Claim
	if err := json.Unmarshal(value, &c); err != nil {
		return err
	}
	g.claims[c.ServiceID] = c
	return nil
}

// SafePoint is the GC safe point.
func (t *Term) SafePoint() uint64 { return t.safe.gc }

// RaiseSafePoint moves the GC safe point forward; nil if it is there already, since it never goes back.
func (t *Term) RaiseSafePoint(to uint64) *Save {
	if to <= t.safe.gc {
		return nil
	}
	return &Save{Ops: []Op{{gcKey, mustJSON(to)}}, take: func(time.Time) { t.safe.gc = to }}
}

// LeastClaim is the claim that holds collection back; among equals the one whose name comes first.
func (t *Term) LeastClaim() Claim { return least(t.safe.claims) }

// Claims lists the claims by service, those that ran out among them until somebody makes another.
func (t *Term) Claims() []Claim {
	list := make([]Claim, 0, len(t.safe.claims))
	for _, id := range slices.Sorted(maps.Keys(t.safe.claims)) {
		list = append(list, t.safe.claims[id])
	}
	return list
}

// Claim changes one service's claim; ttl is in seconds, and 0 or less gives the claim up. A claim below the least one is not taken, since what it
// wants kept may be gone: the caller sees that the least is above its own. Claims that ran out are forgotten.
func (t *Term) Claim(service string, ttl int64, safePoint uint64, at Moment) *Save {
	now := at.Wall.Unix()
	next := make(map[string]Claim, len(t.safe.claims)+1)
	var ops []Op
	for _, id := range slices.Sorted(maps.Keys(t.safe.claims)) {
		c := t.safe.claims[id]
		if c.ExpiredAt < now || (ttl <= 0 && id == service) {
			ops = append(ops, Op{Key: gcServicePrefix + id})
			continue
		}
		next[id] = c
	}
	if ttl > 0 && safePoint >= least(next).SafePoint {
		c := Claim{ServiceID: service, ExpiredAt: math.MaxInt64, SafePoint: safePoint}
		if ttl < math.MaxInt64-now {
			c.ExpiredAt = now + ttl
		}
		ops = append(ops, Op{gcServicePrefix + service, mustJSON(c)})
		next[service] = c
	}
	if len(ops) == 0 {
		return nil
	}
	return &Save{Ops: ops, take: func(time.Time) { t.safe.claims = next }}
}

func least(claims map[string]Claim) Claim {
	low := claims[GCWorker]
	for _, c := range claims { // order-free: the least by point and name is the same in any order
		if c.SafePoint < low.SafePoint || (c.SafePoint == low.SafePoint && c.ServiceID < low.ServiceID) {
			low = c
		}
	}
	return low
}

// mustJSON encodes numbers and texts: it cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("a safe point cannot be encoded: " + err.Error())
	}
	return b
}
