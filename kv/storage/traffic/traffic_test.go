package traffic_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/storage/traffic"
)

// rig is a meter whose chance and clock the test moves.
type rig struct {
	*traffic.Meter
	drawn uint64
	now   time.Time
}

func newRig() *rig {
	r := &rig{now: time.Unix(1000, 0)}
	r.Meter = traffic.NewMeter(func() uint64 { r.drawn++; return r.drawn }, func() time.Time { return r.now })
	return r
}

func TestSamplesStandForTheRest(t *testing.T) {
	r := newRig()
	chosen := uint64(0)
	for range 3200 {
		if r.Chosen() {
			chosen++
			r.Read(7, 1, 100)
			r.Written(7, 2, 10)
			r.Written(8, 1, 1)
		}
	}
	require.EqualValues(t, 100, chosen)
	r.now = r.now.Add(10 * time.Second)
	f, ok := r.TakeRegion(7)
	require.True(t, ok)
	require.Equal(t, traffic.Flow{
		Read: traffic.Amount{Bytes: 320_000, Keys: 3200}, Written: traffic.Amount{Bytes: 32_000, Keys: 6400}, Since: time.Unix(1000, 0), Until: time.Unix(1010, 0),
	}, f)
	all := r.TakeStore()
	require.Equal(t, traffic.Amount{Bytes: 35_200, Keys: 9600}, all.Written)
	require.Equal(t, 10*time.Second, all.Until.Sub(all.Since))
	require.Zero(t, r.TakeStore().Written)
}

// That a busy region has fallen silent is told once, with the time for which it has been; after that there is nothing to tell.
func TestSilenceIsTaken(t *testing.T) {
	r := newRig()
	r.Read(7, 1, 1)
	_, ok := r.TakeRegion(7)
	require.True(t, ok)
	r.now = r.now.Add(time.Minute)
	f, ok := r.TakeRegion(7)
	require.True(t, ok)
	require.Zero(t, f.Read)
	require.Equal(t, time.Minute, f.Until.Sub(f.Since))
	_, ok = r.TakeRegion(7)
	require.False(t, ok)
}

// Regions that lead elsewhere by now are not kept for ever, and no more than so many are.
func TestMeterIsBounded(t *testing.T) {
	r := newRig()
	for id := range uint64(1<<16 + 10) {
		r.Read(id, 1, 1)
	}
	_, ok := r.TakeRegion(1<<16 + 5)
	require.False(t, ok, "there was no room for it")
	r.now = r.now.Add(11 * time.Minute)
	r.TakeRegion(1)
	_, ok = r.TakeRegion(2)
	require.False(t, ok, "it was forgotten")
	r.Read(1<<16+5, 1, 1)
	_, ok = r.TakeRegion(1<<16 + 5)
	require.True(t, ok, "there is room again")
}

func TestNoMeterCountsNothing(t *testing.T) {
	var m *traffic.Meter
	require.False(t, m.Chosen())
}
