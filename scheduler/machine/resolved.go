package machine

// ReportResolved notes a store's resolved timestamp, which never goes back. One of a store that is not known is not noted.
func (t *Term) ReportResolved(store, timestamp uint64) {
	if t.Picture.Store(store) != nil {
		t.resolved[store] = max(t.resolved[store], timestamp)
	}
}

// Resolved is the timestamp below which nothing changes on a store any more; false if the store has not said so in this term.
func (t *Term) Resolved(store uint64) (uint64, bool) {
	at, ok := t.resolved[store]
	return at, ok
}
