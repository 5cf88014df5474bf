package sim

import (
	"time"

	"github.com/gogo/protobuf/proto"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// call is a request over a connection: the network may lose it, delay it or its answer, but never repeats it. done is called exactly once
// in the caller's life: with the answer, or with nil when patience ends or the connection is refused. serve runs in the callee; what it is given
// sends the answer, once.
func (c *Cluster) call(from, to *world.Process, patience time.Duration, serve func(answer func(any)), done func(any)) {
	over, served, life := false, false, from.Life()
	end := func(resp any) {
		if !over && from.Life() == life {
			over = true
			done(resp)
		}
	}
	from.After(patience, func() { end(nil) })
	if !to.Up() { // refused, after a moment
		from.Soon(time.Millisecond, func() { end(nil) })
		return
	}
	c.net.Send(from, to, func() {
		if served {
			return
		}
		served = true
		answered := false
		serve(func(resp any) {
			if answered {
				c.violate("%s answers a request twice (S12)", to.Name)
				return
			}
			answered = true
			if m, ok := resp.(proto.Message); ok {
				b, err := proto.Marshal(m)
				c.must(err)
				c.w.Trace.Add(world.Reply, to, b)
			}
			c.net.Send(to, from, func() { end(resp) })
		})
	})
}
