package node

import (
	"context"

	"github.com/shoal-kv/shoal/kv/engine"
)

// maxDamaged is how many words of damaged tables may wait. The engine gives more as long as it meets them.
const maxDamaged = 16

// damageWatch carries the engine's word of damaged tables to the store, which finds out whose data it is. The engine gives it before there
// is a store, and must not wait.
type damageWatch struct {
	told chan map[engine.CF]engine.Range
	end  context.CancelFunc
	done chan struct{}
}

func (w *damageWatch) tell(spans map[engine.CF]engine.Range) {
	select {
	case w.told <- spans:
	default:
	}
}

func (n *Node) watchDamage() {
	ctx, end := context.WithCancel(context.Background())
	w := &n.damage
	w.end, w.done = end, make(chan struct{})
	go func() {
		defer close(w.done)
		for {
			select {
			case spans := <-w.told:
				n.store.FindDamage(ctx, spans)
			case <-ctx.Done():
				return
			}
		}
	}()
}

func (w *damageWatch) close() {
	if w.end != nil {
		w.end()
		<-w.done
	}
}
