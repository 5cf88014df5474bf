package machine

// The writes of many regions go round together.
//
// What a write costs beside its own bytes is an entry's share (a raft message to each follower, an acknowledgement, an applied index) and a
// round's share (a wake-up of every worker on the way, a sync, a frame between stores). A region that everybody writes to shares both among many writes; 48 regions
// with five writers each, every one at its own pace, share neither. So while many writes are on their way at a store, the writes of all
// its regions that come meanwhile wait, and set out as one group: one entry a region, one batch for the log, one frame for each other store.
//
// The next group sets out when the last one is decided and as many writes wait as it had and as waited then: whoever was answered
// has come back. For fewer it waits at most twice as long as the last one took; and a region that gets no quorum holds up the others
// for that long. Few writes at a time never wait, nor does a region with much to write.
//
// Clients that are answered here may write elsewhere next, and then nobody comes back. So the stores' groups go round together too: when
// another store's entries come while a third of who is expected waits, the group sets out with them. They share a sync and a frame, the groups end at
// about the same time everywhere, and then everybody comes back.

// A store with fewer writes than crowd on their way makes no groups: its clients care for the time of each.
const crowd = 8

// maxGroupWait bounds the time from one group to the next.
const maxGroupWait = 50_000_000 // 50 ms

// writeGroups is what a RaftMachine knows of them.
type writeGroups struct {
	// number, size and began are the last group's: how many writes it had, and when it set out. left is how many of its entries
	// are not decided yet; when there are none, it took that long, until ended, and expected is how many writes are to come.
	number      uint64
	size, left  int
	began, took Instant
	ended       Instant
	expected    int
	// onWay is how many writes have been proposed and not been decided, in groups or not.
	onWay int
	// held are the peers whose writes wait for the next group; open says that it is gathered now.
	held []*peer
	open bool
	// heard says that entries of another store's leaders came in this round.
	heard bool
}

// waitsForGroup reports whether a peer's writes must wait for others, and remembers the peer.
func (m *RaftMachine) waitsForGroup(p *peer) bool {
	g := &m.groups
	if g.open || g.calm() && len(g.held) == 0 || p.waiting.worthAnEntry() {
		return false
	}
	if !p.waiting.held {
		p.waiting.held = true
		g.held = append(g.held, p)
	}
	return true
}

// calm says that there are not so many writes that a group were worth while.
func (g *writeGroups) calm() bool { return g.onWay < crowd && g.size < crowd }

// nextGroup lets those who are held propose, if it is time. Otherwise the round says when it will be.
func (m *RaftMachine) nextGroup() bool {
	g := &m.groups
	if len(g.held) == 0 {
		return false
	}
	if due := g.due(); m.now < due {
		m.round.Wake = due
		return false
	}
	if g.left > 0 {
		g.took = m.now - g.began // at least
	}
	g.number++
	g.size, g.left, g.expected, g.began, g.open = 0, 0, 0, m.now, true
	for _, p := range g.held {
		p.waiting.held = false
		m.list(p)
	}
	clear(g.held)
	g.held = g.held[:0]
	return true
}

// due is when the next group sets out, if nothing happens before.
func (g *writeGroups) due() Instant {
	from := g.ended
	if g.left > 0 {
		from = g.began
	} else if n := g.waiting(); g.calm() || n >= g.expected || g.heard && 3*n >= g.expected {
		return 0
	}
	return min(from+2*g.took, g.began+maxGroupWait)
}

func (g *writeGroups) waiting() (n int) {
	for _, p := range g.held {
		n += len(p.waiting.queue)
	}
	return n
}

// setOut counts an entry of n writes that was proposed, and returns its group, 0 for none.
func (g *writeGroups) setOut(n int) uint64 {
	g.onWay += n
	if !g.open {
		return 0
	}
	g.size += n
	g.left++
	return g.number
}

// decided counts an entry whose fate is known or in others' hands.
func (g *writeGroups) decided(e *pendingEntry, now Instant) {
	g.onWay -= len(e.proposals)
	if e.group == 0 || e.group != g.number {
		return
	}
	if g.left--; g.left == 0 {
		g.took, g.ended, g.expected = now-g.began, now, g.size+g.waiting()
	}
}
