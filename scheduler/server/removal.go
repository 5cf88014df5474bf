package server

import (
	"context"
	stderrors "errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/proto/recovery"
	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

// removal makes up for stores that are lost for good, at a person's word: what `shoal ctl recover plan` and `apply` do at two, with the look at the plan left out.
//
// begin   the stores are given up, durably: what they were members of gets new replicas as from any store that is gone.
// collect every other store is asked what it has; all must answer.
// force   regions without a majority get their best survivor as the only member (package recovery). What is refused is planned anew.
// end     when a plan is empty, when time is up, or when somebody aborts it; with the term, which the next leader does not go on with: the same request begins again.
type removal struct {
	t  *term
	mu sync.Mutex
	// end stops the one that runs; nil if there is none.
	end    context.CancelCauseFunc
	stages []stageJSON
	// waits says what the one that runs waits for.
	waits stageJSON
}

// stageJSON is one step, in the family's form.
type stageJSON struct {
	Info    string              `json:"info,omitempty"`
	Time    string              `json:"time,omitempty"`
	Actions map[string][]string `json:"actions,omitempty"`
	Details []string            `json:"details,omitempty"`
}

const (
	// collectEvery is the time between two looks at what the stores have.
	collectEvery = time.Second
	// storePatience is how long one store may take to answer.
	storePatience = 10 * time.Second
	// mostStages and mostDetails bound what is listed.
	mostStages  = 200
	mostDetails = 100
)

var (
	errRemovalRuns = errors.New("[PD:unsaferecovery:ErrUnsafeRecoveryIsRunning]unsafe recovery is running")
	errNoRemoval   = errors.New("no unsafe recovery is running")
	errAborted     = errors.New("aborted by hand")
	errTooLong     = errors.New("its time is up")
)

// begin gives stores up and starts the removal; an error says that nothing was begun, though some may be given up.
func (u *removal) begin(lost []uint64, limit time.Duration) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.end != nil:
		return errRemovalRuns
	case !u.t.leadership.Holds():
		return machine.ErrNotLeader
	}
	for _, id := range lost {
		err := u.t.desk.change(func(machine.Moment) (*machine.Save, error) { return u.t.machine.DeleteStore(id, true) })
		var buried *cluster.TombstoneError
		if err != nil && !stderrors.As(err, &buried) {
			return err
		}
	}
	ctx, end := context.WithCancelCause(context.Background())
	u.end, u.stages, u.waits = end, nil, stageJSON{}
	u.enter(stageJSON{Info: "Unsafe recovery enters collect report stage", Details: []string{"failed stores " + numbers(lost)}})
	u.t.running.Go(func() {
		select {
		case <-u.t.leadership.Lost():
			end(machine.ErrNotLeader)
		case <-ctx.Done():
		}
	})
	u.t.running.Go(func() {
		ctx, cancel := context.WithTimeoutCause(ctx, limit, errTooLong)
		defer cancel()
		u.conclude(u.run(ctx, lost))
	})
	return nil
}

func (u *removal) abort() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.end == nil {
		return errNoRemoval
	}
	u.end(errAborted)
	return nil
}

// show lists the steps, and what is waited for.
func (u *removal) show() []stageJSON {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case len(u.stages) == 0:
		return []stageJSON{{Info: "No on-going recovery."}}
	case u.end != nil && u.waits.Info != "":
		return append(slices.Clone(u.stages), u.waits)
	}
	return slices.Clone(u.stages)
}

// enter takes note of a step. The caller holds the mutex.
func (u *removal) enter(s stageJSON) {
	s.Time = u.t.clocks.Wall().Format("2006-01-02 15:04:05.000")
	s.Details = few(s.Details)
	u.t.log.Warn(s.Info, zap.Any("actions", s.Actions), zap.Strings("details", s.Details))
	if len(u.stages) < mostStages {
		u.stages = append(u.stages, s)
	}
}

func (u *removal) conclude(hopeless []uint64, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := stageJSON{Info: "Unsafe recovery finished"}
	if err != nil {
		s.Info = "Unsafe recovery failed: " + err.Error()
	}
	if len(hopeless) > 0 {
		s.Details = []string{"no replica survives of the regions " + numbers(hopeless) + ": their keys are lost, and cannot be written"}
	}
	u.stages = u.stages[:min(len(u.stages), mostStages-1)]
	u.enter(s)
	u.end(nil)
	u.end = nil
}

// run goes on until no region needs help. It answers those for which there is none.
func (u *removal) run(ctx context.Context, lost []uint64) (hopeless []uint64, err error) {
	last := ""
	for {
		replicas, err := u.collect(ctx, lost)
		if err != nil {
			return nil, err
		}
		plan := recovery.Make(lost, replicas, u.t.regionIDs())
		if len(plan.Rescues) == 0 {
			return plan.Hopeless, nil
		}
		u.mu.Lock()
		if s := forced(plan); fmt.Sprint(s.Actions) != last {
			last = fmt.Sprint(s.Actions)
			u.enter(s)
		}
		u.mu.Unlock()
		u.force(ctx, plan)
		if err := u.pause(ctx); err != nil {
			return nil, err
		}
	}
}

func (u *removal) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(collectEvery):
		return nil
	}
}

// collect asks all stores but the lost ones what they have, until all have answered: one that is silent may have the best of what survives.
func (u *removal) collect(ctx context.Context, lost []uint64) ([]recovery.Replica, error) {
	for {
		var replicas []recovery.Replica
		var missing, answered []uint64
		var why []string
		for _, s := range u.t.stores() {
			if s.Meta.State == metapb.StoreState_Tombstone || slices.Contains(lost, s.ID()) {
				continue
			}
			held, err := within(ctx, func(ctx context.Context) ([]recovery.Replica, error) {
				return recovery.Replicas(ctx, s.Meta.StatusAddress)
			})
			if err != nil {
				missing, why = append(missing, s.ID()), append(why, fmt.Sprintf("store %d: %v", s.ID(), err))
				continue
			}
			answered, replicas = append(answered, s.ID()), append(replicas, held...)
		}
		if len(missing) == 0 {
			return replicas, nil
		}
		u.wait(stageJSON{
			Info: fmt.Sprintf("Collecting reports from alive stores(%d/%d)", len(answered), len(answered)+len(missing)),
			Details: append([]string{
				"Stores that have reported to PD: " + numbers(answered), "Stores that have not reported to PD: " + numbers(missing),
			}, why...),
		})
		if err := u.pause(ctx); err != nil {
			return nil, errors.Annotatef(err, "stores %s have not reported", numbers(missing))
		}
	}
}

func (u *removal) wait(s stageJSON) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.Time = u.t.clocks.Wall().Format("2006-01-02 15:04:05.000")
	s.Details = few(s.Details)
	u.waits = s
}

// force gives each store its orders. What fails is seen when the stores are asked again.
func (u *removal) force(ctx context.Context, plan recovery.Plan) {
	orders := make(map[uint64][]recovery.Order)
	for _, r := range plan.Rescues {
		orders[r.Store] = append(orders[r.Store], r.Order)
	}
	var why []string
	for _, s := range u.t.stores() {
		if len(orders[s.ID()]) == 0 {
			continue
		}
		outcomes, err := within(ctx, func(ctx context.Context) ([]recovery.Outcome, error) {
			return recovery.Force(ctx, s.Meta.StatusAddress, orders[s.ID()])
		})
		if err != nil {
			why = append(why, fmt.Sprintf("store %d: %v", s.ID(), err))
		}
		for _, o := range outcomes {
			if o.Error != "" {
				why = append(why, fmt.Sprintf("store %d: %s", s.ID(), o.Error))
			}
		}
	}
	u.wait(stageJSON{Info: "Asking again for what is not done", Details: why})
}

// forced is the step of a plan.
func forced(plan recovery.Plan) stageJSON {
	s := stageJSON{Info: "Unsafe recovery enters force leader stage", Actions: make(map[string][]string)}
	regions := make(map[uint64][]uint64)
	for _, r := range plan.Rescues {
		regions[r.Store] = append(regions[r.Store], r.Region)
		s.Details = append(s.Details, fmt.Sprintf("region %d may lose %s", r.Region, r.MayLose))
	}
	for store, ids := range regions { // order-free: a map of its own
		s.Actions[fmt.Sprintf("store %d", store)] = []string{"force leader on regions: " + numbers(ids)}
	}
	return s
}

func few(details []string) []string {
	if n := len(details) - mostDetails; n > 0 {
		return append(slices.Clone(details[:mostDetails]), fmt.Sprintf("and %d more", n))
	}
	return details
}

func within[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	return f(ctx)
}

func (t *term) regionIDs() []uint64 {
	return read(t, func(p *cluster.Picture) (ids []uint64) {
		for _, r := range p.Scan(nil, nil, 0) {
			ids = append(ids, r.ID())
		}
		return ids
	})
}

func numbers(ids []uint64) string {
	var words []string
	for _, id := range ids {
		words = append(words, strconv.FormatUint(id, 10))
	}
	return strings.Join(words, ", ")
}
