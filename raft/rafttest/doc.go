// Package rafttest runs a group of raft nodes in async mode without clock, disk or network, one step at a time.
//
// A Node is a RawNode with a simulated disk and state machine around it; a Cluster is a set of nodes and the messages on
// their way between them. Nothing happens by itself: a test decides when a node's Ready is taken, when a write reaches the
// disk, when entries are applied, which message is delivered, kept or lost, and when a node crashes, which takes from it
// whatever had not reached the disk. Env makes all of this available as commands of a script, one operation a line, whose
// output can be read and regenerated (testdata/*.txt).
package rafttest
