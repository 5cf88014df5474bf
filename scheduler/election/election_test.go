package election

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const lease = 3 * time.Second

var t0 = time.Unix(1000, 0)

func TestAbsentKeyIsTakenByWhoeverLeadsEtcd(t *testing.T) {
	c := Candidate{Lease: lease}
	require.Equal(t, Wait, c.Decide(Look{Now: t0}))
	require.Equal(t, Take, c.Decide(Look{LeadsEtcd: true, Now: t0}))
}

func TestOwnKeyIsLeftOver(t *testing.T) {
	c := Candidate{Lease: lease}
	require.Equal(t, Remove, c.Decide(Look{Held: true, Revision: 5, Own: true, Now: t0}))
}

func TestKeyOfAnotherIsOutwaited(t *testing.T) {
	c := Candidate{Lease: lease}
	look := func(after time.Duration, change ...func(*Look)) Action {
		l := Look{Held: true, Revision: 5, LeadsEtcd: true, Now: t0.Add(after)}
		for _, f := range change {
			f(&l)
		}
		return c.Decide(l)
	}
	const over = lease + lease/driftShare + 1
	require.Equal(t, Wait, look(0))
	require.Equal(t, Wait, look(over-1))
	require.Equal(t, Wait, look(over, func(l *Look) { l.Stranger = true }), "etcd's lease will do")
	require.Equal(t, Remove, look(over))

	for name, interrupt := range map[string]func(*Look){
		"etcd's lead moved away and back": func(l *Look) { l.Moved = true },
		"etcd's lead is elsewhere":        func(l *Look) { l.LeadsEtcd = false },
		"another key":                     func(l *Look) { l.Revision = 6 },
		"moved while the key was its own": func(l *Look) { l.Moved, l.Own = true, true },
		"moved while there was no key":    func(l *Look) { l.Moved, l.Held = true, false },
	} {
		c = Candidate{Lease: lease}
		require.Equal(t, Wait, look(0), name)
		look(1, interrupt)
		require.Equal(t, Wait, look(over), name)
		require.Equal(t, Remove, look(2*over), name)
	}
}

func TestLeaseIsExtendedAndNeverRevived(t *testing.T) {
	end := Begun(t0, lease)
	require.Equal(t, t0.Add(lease), end)
	require.Equal(t, end, Extended(end, t0.Add(-time.Second), lease), "a late answer to an early renewal")
	require.Equal(t, end.Add(time.Second), Extended(end, t0.Add(time.Second), lease))
	require.Zero(t, Extended(time.Time{}, t0, lease))
}

// P1: whatever the clocks do within a tenth, the key of another is never removed while its holder still counts on its lease. The holder's last renewal was
// confirmed by a quorum before the candidate's etcd was elected, so it was asked for before.
func TestNobodyIsDeposedWithinItsLease(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rate := func(name string) float64 { return rapid.Float64Range(0.9, 1.1).Draw(r, name) }
		holder, candidate := rate("holder's clock"), rate("candidate's clock")
		asked := rapid.Int64Range(0, int64(10*time.Second)).Draw(r, "asked")
		elected := asked + rapid.Int64Range(0, int64(2*time.Second)).Draw(r, "elected after")
		at := func(trueTime int64, rate float64) time.Time { return t0.Add(time.Duration(float64(trueTime) * rate)) }
		end := Extended(t0, at(asked, holder), lease)
		c := Candidate{Lease: lease}
		for now := elected; now < int64(time.Minute); now += rapid.Int64Range(1, int64(time.Second)).Draw(r, "next look") {
			if c.Decide(Look{Held: true, Revision: 5, LeadsEtcd: true, Now: at(now, candidate)}) == Remove {
				require.False(r, at(now, holder).Before(end), "%s left", end.Sub(at(now, holder)))
				return
			}
		}
		require.Fail(r, "the key is never removed")
	})
}
