package raftstore

// Pending is how many tasks wait, by the worker that they wait for.
func (s *Store) Pending() map[string]int {
	return map[string]int{
		"log-writer": s.logQueue.length(), "apply": s.applyQueue.length(), "quick-tasks": s.quick.length(),
		"snapshots": s.snapshots.length(), "hashes": s.hashes.length(), "scans": s.scans.length(), "scheduler-reports": s.reports.length(),
	}
}

func (b *mailbox[T]) length() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items)
}
