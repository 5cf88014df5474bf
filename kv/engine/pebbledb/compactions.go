package pebbledb

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// lookAgain is how soon a compaction that had to wait is looked at again, if none ends before.
const lookAgain = 100 * time.Millisecond

// compactions decides how many compactions of an engine run at a time: as many as pebble allows for the backlog it sees. Pebble's own scheduler of this kind
// looks round ten times a second for ever, which is a third of what an idle store wakes for; this one looks only while
// compactions wait or fill the limit, and never in an engine at rest.
//
// Pebble calls TrySchedule and UpdateGetAllowedWithoutPermission with its own lock held, and takes that lock in GetWaitingCompaction and
// Schedule: these two are called without mu.
type compactions struct {
	db pebble.DBForCompaction

	mu      sync.Mutex
	running int
	// allowed is the limit when it was last asked for.
	allowed int
	// granting is true while somebody offers permissions to the engine. One at a time does, so that no permission is given twice.
	granting bool
	granted  sync.Cond
	closed   bool
	// look runs lookRound once, after it was set; nothing sets it while no compaction waits and fewer run than may.
	look *time.Timer
}

var (
	_ pebble.CompactionScheduler   = (*compactions)(nil)
	_ pebble.CompactionGrantHandle = (*compactions)(nil)
)

func newCompactions() *compactions {
	c := &compactions{}
	c.granted.L = &c.mu
	return c
}

// Register names the engine. It comes before any other call.
func (c *compactions) Register(_ int, db pebble.DBForCompaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = db
	c.look = time.AfterFunc(lookAgain, c.lookRound)
	c.look.Stop()
}

// Unregister returns when the engine will not be called any more.
func (c *compactions) Unregister() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.look.Stop()
	for c.granting {
		c.granted.Wait()
	}
}

// TrySchedule gives the permission for one compaction, or has the engine wait for it.
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, nil
	}
	if c.free() <= 0 {
		c.look.Reset(lookAgain)
		return false, nil
	}
	c.running++
	return true, c
}

// UpdateGetAllowedWithoutPermission is how the engine says, after a flush, that more compactions may be allowed now.
func (c *compactions) UpdateGetAllowedWithoutPermission() {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.allowed
	if free := c.free(); free > 0 && c.allowed > before && !c.closed {
		c.look.Reset(0)
	}
}

// Done ends a compaction, and offers its place to the next.
func (c *compactions) Done() {
	c.mu.Lock()
	c.running--
	c.mu.Unlock()
	c.lookRound()
}

// Started is part of a permission; nothing is counted.
func (c *compactions) Started() {}

// MeasureCPU is part of a permission; compactions are not paced.
func (c *compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats is part of a permission; compactions are not paced.
func (c *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// free is how many compactions more may run. It needs mu.
func (c *compactions) free() int {
	c.allowed = c.db.GetAllowedWithoutPermission()
	return c.allowed - c.running
}

// lookRound offers the engine as many permissions as are free, and sees to it that a compaction that still waits is looked at again.
func (c *compactions) lookRound() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.granting && !c.closed {
		c.granted.Wait()
	}
	if c.closed {
		return
	}
	c.granting = true
	waits := true
	for waits && !c.closed && c.free() > 0 {
		c.running++ // taken before it is offered: TrySchedule may want it meanwhile
		c.mu.Unlock()
		waits = c.offer()
		c.mu.Lock()
		if !waits {
			c.running--
		}
	}
	// Whoever is refused from here on sets the timer itself.
	if waits && !c.closed {
		c.look.Reset(lookAgain)
	}
	c.granting = false
	c.granted.Broadcast()
}

// offer gives the engine a permission, if it waits for one.
func (c *compactions) offer() bool {
	waiting, _ := c.db.GetWaitingCompaction()
	return waiting && c.db.Schedule(c)
}
