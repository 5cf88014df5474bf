package machine

// A region that holds too much is split.
//
// check    countWritten, as entries are applied: what a leader's region held when it was measured, and what was written since, may be too much.
//          watchSize, now and then: the size is not known yet, or a split did not come about.
// propose  a MeasureRegion task; it answers with the exact size and, if that is too much, the keys to split at.
// after    a Split like any other (op_split.go). Both parts are measured anew.

// sizeWatch is what a leader knows of its region's size.
type sizeWatch struct {
	// measured are bytes and keys that the last measurement found, written those since it began.
	measured, written sizes
	known, measuring  bool
	// keys are where the region shall be split, as long as it has not been.
	keys [][]byte
}

type sizes struct{ bytes, keys uint64 }

// now is about what the region holds; zeros when that is not known.
func (w *sizeWatch) now() (bytes, keys uint64) {
	if !w.known {
		return 0, 0
	}
	return w.measured.bytes + w.written.bytes, w.measured.keys + w.written.keys
}

// tooMuch says that the region may be too large, and that enough was written since it was measured to look again.
func (w *sizeWatch) tooMuch(l *SplitLimits) bool {
	bytes, keys := w.now()
	return w.known && (bytes >= l.MaxSize || keys >= l.MaxKeys) && (w.written.bytes >= l.Diff || w.written.keys >= l.SplitKeys/16+1)
}

func (m *RaftMachine) countWritten(p *peer, res *ApplyResults) {
	if !p.isLeader() || m.cfg.Split.MaxSize == 0 || p.damage != "" {
		p.size = sizeWatch{}
		return
	}
	p.size.written.bytes += res.Bytes
	p.size.written.keys += res.Keys
	if !p.size.measuring && (p.size.tooMuch(&m.cfg.Split) || !p.size.known && p.size.written.bytes >= m.cfg.Split.Diff) {
		m.measure(p, p.size.known)
	}
}

func (m *RaftMachine) watchSize(p *peer) {
	l := &m.cfg.Split
	if l.MaxSize == 0 || l.CheckTicks == 0 || p.ticks%uint64(l.CheckTicks) != 0 || p.size.measuring || p.damage != "" {
		return
	}
	switch {
	case !p.size.known:
		m.measure(p, false)
	case len(p.size.keys) > 0:
		m.splitLarge(p)
	}
}

func (m *RaftMachine) measure(p *peer, exact bool) {
	p.size.measuring, p.size.written = true, sizes{}
	m.round.Tasks = append(m.round.Tasks, MeasureRegion{RegionID: p.regionID, PeerID: p.id, Region: p.region, Limits: m.cfg.Split, Exact: exact})
}

func (m *RaftMachine) handleMeasured(mail Measured) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID || p.ending {
		return
	}
	m.touch(p)
	if mail.Half {
		m.halve(p, mail)
		return
	}
	p.size.measuring = false
	if !p.isLeader() || p.damage != "" || p.region.RegionEpoch.GetVersion() != mail.Version {
		p.size = sizeWatch{}
		return
	}
	p.size.known, p.size.measured, p.size.keys = true, sizes{mail.Size, mail.Count}, mail.Keys
	if len(mail.Keys) > 0 {
		m.splitLarge(p)
	}
}

// splitLarge tries to split a region that is too large; what refuses it will refuse or pass the next attempt.
func (m *RaftMachine) splitLarge(p *peer) {
	m.handleAdmin(&AdminRequest{RegionID: p.regionID, Op: Split{Keys: p.size.keys}})
}
