// Package machine is what a scheduler decides while it leads: a Term takes what stores report and what clients ask, and
// says what to answer, what to tell which store, and what must be durable first.
//
// A Term belongs to one leader's time. It is loaded from the durable map (Loader), and everything in it is dropped with
// the leadership: the next leader loads again, and hears the rest from the stores' heartbeats.
//
// What must be durable before it takes effect comes out as a Save. The order is: take your turn among those who save, ask,
// write the Save guarded by the leadership, report it Done, and only then answer. One turn after the other, because two
// Saves under way may arrive in either order, and a bound that was raised must not be lowered by the one that came late.
// An allocation (ids, timestamps) that returns a Save has handed out nothing and is asked again afterwards; a change
// (a store, the cluster, a safe point) is in effect once its Save is Done. Heartbeats never wait for a Save: the ids that they
// need are kept in stock (RenewIDs), and the region metas that they bring are saved behind them (Behind).
//
// Whoever is granted ids or timestamps looks at the lease once more, with an instant taken after the grant, before
// answering (package oracle says why).
//
// The package has no clock, lock, I/O or goroutine. It leans on scheduler/cluster for the picture, on scheduler/schedule for what should change in the
// cluster, and on scheduler/oracle for ids and timestamps. The shell (scheduler/server, or the simulator) calls one method at a time; Timestamps is a machine of its own
// beside the rest, so that nobody who asks for the time waits for a long scan.
package machine

import (
	stderrors "errors"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/oracle"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// What may be wrong with a request, apart from what its own method says.
var (
	// ErrNotLeader: the lease is over. Nothing was handed out.
	ErrNotLeader = stderrors.New("not leader")
	// ErrTooMany: the count is zero, or more than one request may ask for.
	ErrTooMany             = stderrors.New("the count is out of bounds")
	ErrNotBootstrapped     = stderrors.New("cluster is not bootstrapped")
	ErrAlreadyBootstrapped = stderrors.New("cluster is already bootstrapped")
)

// idWindow is how many ids one write of the bound is good for.
const idWindow = 1000

// Moment is the time at which something is asked.
type Moment struct {
	// Now is of the monotonic clock, and LeaseEnd the instant of it at which the leadership ends unless it is renewed.
	Now, LeaseEnd time.Time
	// Wall is the time of day.
	Wall time.Time
}

// Config is what a term does not find in the durable map.
type Config struct {
	ClusterID uint64
	// Name is the leader's, as events tell it.
	Name string
	// Schedule is the configuration of scheduling while nothing was set; the default if zero. Replicas, unless it is 0, is its number of replicas.
	Schedule schedule.Config
	Replicas int
	// Seed decides where any choice will do.
	Seed uint64
	// TimestampWindow is how far ahead bounds of timestamps are saved.
	TimestampWindow time.Duration
}

// Term is everything that a leader owns.
type Term struct {
	Timestamps *Timestamps
	// Picture is for reading; the term alone changes it.
	Picture *cluster.Picture
	// Schedule decides what should change. What must last goes through the term: SetConfig, SetRules, SetScheduler, TuneStore.
	Schedule  *schedule.Coordinator
	settings  settings
	clusterID uint64
	ids       *oracle.IDs
	safe      safePoints
	behind    behind
	// resolved is what stores have said to this term of the timestamps below which nothing changes on them any more.
	resolved map[uint64]uint64
	events   events
	drains   drains
	// moment is when the decision at hand is made.
	moment Moment
}

// Bootstrapped says whether the cluster has its first store and region.
func (t *Term) Bootstrapped() bool { return t.Picture.Cluster() != nil }
