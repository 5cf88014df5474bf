package world

import (
	"math"
	"time"
)

// Process is something that runs on a machine of its own: it can be killed, after which nothing that it had planned
// happens, and suspended, after which everything happens late and at once. Its clocks are its own.
type Process struct {
	// Name is short and unique: it names the process in the trace.
	Name string
	w    *World
	// ID tells processes apart in the network.
	ID        int
	up        bool
	life      int
	suspended bool
	held      []func()
	monotonic clock
	wall      clock
}

// clock maps true time to a reading: it runs at a rate of its own from a point on.
type clock struct {
	from Time
	read int64
	rate float64
}

func (c *clock) at(now Time) int64 { return c.read + int64(float64(now-c.from)*c.rate) }

func (c *clock) set(now Time, read int64, rate float64) { *c = clock{now, read, rate} }

// wallEpoch is what the calendar showed when a world began.
var wallEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// NewProcess makes a process that is down, with clocks that are right.
func (w *World) NewProcess(id int, name string) *Process {
	return &Process{Name: name, w: w, ID: id, monotonic: clock{rate: 1}, wall: clock{read: wallEpoch, rate: 1}}
}

// Life counts the lives that have ended.
func (p *Process) Life() int { return p.life }

// Up says that the process runs, suspended or not.
func (p *Process) Up() bool { return p.up }

// Suspended says that the process is up and stands still.
func (p *Process) Suspended() bool { return p.suspended }

// Start begins a life. What was planned between two lives belongs to neither.
func (p *Process) Start() {
	p.up = true
	p.life++
	p.w.Trace.Add(Start, p, nil)
}

// Kill ends it. What was planned in it never happens.
func (p *Process) Kill() {
	p.up, p.suspended, p.held = false, false, nil
	p.life++
	p.w.Trace.Add(Kill, p, nil)
}

// Suspend makes everything wait until Resume. The clocks go on.
func (p *Process) Suspend() {
	if p.up && !p.suspended {
		p.suspended = true
		p.w.Trace.Add(Suspend, p, nil)
	}
}

// Resume lets what has waited happen now, in its order.
func (p *Process) Resume() {
	if !p.suspended {
		return
	}
	p.suspended = false
	p.w.Trace.Add(Resume, p, nil)
	held := p.held
	p.held = nil
	for _, do := range held {
		p.Soon(0, do)
	}
}

// Drift sets how fast the process's clocks run: 1.1 gains six minutes an hour.
func (p *Process) Drift(rate float64) {
	now := p.w.now
	p.monotonic.set(now, p.monotonic.at(now), rate)
	p.wall.set(now, p.wall.at(now), rate)
}

// StepWall moves the calendar clock; the monotonic one is never stepped.
func (p *Process) StepWall(by time.Duration) {
	now := p.w.now
	p.wall.set(now, p.wall.at(now)+int64(by), p.wall.rate)
	p.w.Trace.Add(Clock, p, []byte(by.String()))
}

// SetWallRight makes the calendar clock show true time again.
func (p *Process) SetWallRight() { p.wall.set(p.w.now, wallEpoch+int64(p.w.now), p.wall.rate) }

// Monotonic is the reading of a clock like CLOCK_BOOTTIME, in nanoseconds.
func (p *Process) Monotonic() int64 { return p.monotonic.at(p.w.now) }

// Wall is the calendar clock's.
func (p *Process) Wall() time.Time { return time.Unix(0, p.wall.at(p.w.now)).UTC() }

// After is an event of this life of the process, d later by its own clock.
func (p *Process) After(d time.Duration, do func()) {
	p.Soon(time.Duration(math.Ceil(float64(d)/p.monotonic.rate)), do)
}

// Soon is After by true time: for work whose length has nothing to do with a clock.
func (p *Process) Soon(d time.Duration, do func()) {
	life := p.life
	p.w.After(d, func() { p.run(life, do) })
}

// Deliver runs do in the process as it is now, whatever its life: a packet does not know which life it will meet. False when
// the process is down.
func (p *Process) Deliver(do func()) bool {
	if !p.up {
		return false
	}
	p.run(p.life, do)
	return true
}

func (p *Process) run(life int, do func()) {
	switch {
	case p.life != life || !p.up:
	case p.suspended:
		p.held = append(p.held, func() { p.run(life, do) })
	default:
		do()
	}
}
