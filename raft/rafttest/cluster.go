package rafttest

import (
	"slices"

	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// Cluster is a set of nodes and the messages between them.
type Cluster struct {
	// Nodes are in the order of their ids, which begin with 1.
	Nodes []*Node
	// Queue holds the messages on their way, oldest first.
	Queue []eraftpb.Message
}

// Node returns the node with this id, nil if there is none.
func (c *Cluster) Node(id uint64) *Node {
	if id == 0 || id > uint64(len(c.Nodes)) {
		return nil
	}
	return c.Nodes[id-1]
}

// Send puts messages on their way. They are copied, as a network would.
func (c *Cluster) Send(msgs ...eraftpb.Message) {
	for i := range msgs {
		c.Queue = append(c.Queue, clone(&msgs[i]))
	}
}

// Take removes message i from the queue.
func (c *Cluster) Take(i int) eraftpb.Message {
	m := c.Queue[i]
	c.Queue = slices.Delete(c.Queue, i, i+1)
	return m
}

// Deliver gives a message to its receiver, if that one is running.
func (c *Cluster) Deliver(m eraftpb.Message) error {
	n := c.Node(m.To)
	if n == nil || !n.running {
		return nil
	}
	return n.Step(m)
}

func clone(m *eraftpb.Message) (out eraftpb.Message) {
	data, err := m.Marshal()
	if err == nil {
		err = out.Unmarshal(data)
	}
	if err != nil {
		panic("rafttest: a message cannot be copied: " + err.Error())
	}
	return out
}
