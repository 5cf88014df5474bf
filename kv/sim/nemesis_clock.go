package sim

import "time"

// Clocks run too fast or too slow, and calendars jump. A lease must be short enough for the drift that is drawn here (safeLease).

// maxDrift is how much faster or slower than true time a clock runs at most.
const maxDrift = 0.1

func clockNemeses() []nemesis {
	return []nemesis{
		{name: "drift", every: 8 * time.Second, draw: drawDrift, do: doDrift},
		{name: "calendar", every: 10 * time.Second, draw: drawCalendar, do: doCalendar},
	}
}

func drawDrift(d *draft) Step {
	return Step{Who: []string{d.server()}, Amount: 1 + maxDrift*(2*d.rng.Float64()-1), For: d.between(time.Second, 60*time.Second)}
}

func doDrift(c *Cluster, s Step) (func(), bool) {
	who := c.who(s, s.Who)
	for _, p := range who {
		p.Drift(s.Amount)
	}
	return func() {
		for _, p := range who {
			p.Drift(1)
		}
	}, len(who) > 0
}

// drawCalendar draws steps of seconds to days, forward and back. Amount is in seconds.
func drawCalendar(d *draft) Step {
	s := Step{Who: []string{d.server()}, Amount: d.amount(0.1, 100_000), For: d.between(time.Second, 60*time.Second)}
	if d.rng.IntN(2) == 0 {
		s.Amount = -s.Amount
	}
	return s
}

func doCalendar(c *Cluster, s Step) (func(), bool) {
	who := c.who(s, s.Who)
	for _, p := range who {
		p.StepWall(time.Duration(s.Amount * float64(time.Second)))
	}
	return func() {
		for _, p := range who {
			p.SetWallRight()
		}
	}, len(who) > 0
}

// safeLease is the longest lease under which no other leader can be elected, whatever the clocks do: the leader's may be slow and everybody else's
// fast, and a follower's first tick may come at once.
func safeLease(electionTicks int, tick time.Duration) time.Duration {
	return time.Duration(float64(tick) * float64(electionTicks-1) * (1 - maxDrift) / (1 + maxDrift)).Truncate(time.Millisecond)
}
