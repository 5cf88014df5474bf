package raft

import (
	"fmt"
	"slices"
	"strings"
)

// nodes returns the members in order; never nil.
func nodes(r *Raft) []uint64 {
	return append([]uint64{}, slices.Sorted(slices.Values(r.peers))...)
}

// addNode and removeNode are changes of one voter, legal or not.
func (r *Raft) addNode(id uint64) {
	conf := r.conf
	conf.Voters[0] = conf.Voters[0].With(id)
	r.changeTo(conf)
}

func (r *Raft) removeNode(id uint64) {
	conf := r.conf
	conf.Voters[0] = conf.Voters[0].Without(id)
	r.changeTo(conf)
}

// mustTerm is for terms that cannot be missing.
func mustTerm(term uint64, err error) uint64 {
	if err != nil {
		panic(err.Error())
	}
	return term
}

// ltoa writes a log as text, so that logs can be compared and differences read.
func ltoa(l *RaftLog) string {
	var b strings.Builder
	fmt.Fprintf(&b, "committed: %d\napplied: %d\n", l.committed, l.applied)
	for _, e := range l.allEntries() {
		fmt.Fprintf(&b, "%d/%d %s %q\n", e.Term, e.Index, e.EntryType, e.Data)
	}
	return b.String()
}

// diffu compares two texts line by line; equal ones give an empty answer.
func diffu(a, b string) string {
	if a == b {
		return ""
	}
	var out strings.Builder
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(left), len(right)) {
		l, r := lineOf(left, i), lineOf(right, i)
		if l == r {
			fmt.Fprintf(&out, "  %s\n", l)
			continue
		}
		fmt.Fprintf(&out, "- %s\n+ %s\n", l, r)
	}
	return out.String()
}

func lineOf(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}
