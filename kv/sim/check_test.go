package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

func TestClientsAreBusyAndRight(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		c := New(Default(seed), nil)
		c.Boot()
		c.w.RunUntil(world.Time(60 * time.Second))
		res := c.finish()
		require.NoError(t, res.Err())
		t0 := time.Now()
		v := c.history.Check(groupOf, 1e6)
		t.Logf("%+v %+v ops %d in %s", v, res.Counts, c.history.Len(), time.Since(t0))
		require.Empty(t, v.Violation)
		require.Greater(t, res.Counts.Answered, 50*60)
	}
}
