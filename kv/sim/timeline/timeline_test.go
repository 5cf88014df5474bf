package timeline_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/sim/timeline"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

func TestRecorderKeepsTheEnd(t *testing.T) {
	var r timeline.Recorder
	const n = 5*timeline.MaxEntries + 7
	for i := range n {
		r.Take(world.Entry{At: world.Time(i)})
	}
	got := r.Entries()
	require.Len(t, got, timeline.MaxEntries)
	require.EqualValues(t, n-1, got[len(got)-1].At)
}

func TestPageIsSelfContained(t *testing.T) {
	var b bytes.Buffer
	entries := []world.Entry{
		{At: 1e9, Kind: world.Message, Who: "store-1", With: "store-2", Packet: 1, Text: "MsgAppend </script><b>"},
		{At: 2e9, Kind: world.View, Who: "store-1", Region: 6, Term: 3, Role: "leader"},
	}
	require.NoError(t, timeline.WriteHTML(&b, timeline.Page{Title: "seed 1", Lines: []string{"<i>"}}, entries))
	page := b.String()
	require.NotContains(t, page, "http")
	require.NotContains(t, page, "</script><b>", "text of a run cannot end the script")
	require.Contains(t, page, "&lt;i&gt;")
	require.Equal(t, 1, strings.Count(page, "</script>"))
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, timeline.WriteText(&b, world.Entry{At: 15e8, Kind: world.Deliver, Who: "store-2", With: "store-1", Text: "MsgAppend"}))
	require.Equal(t, "    1.500000  deliver    store-2 <- store-1        MsgAppend\n", b.String())
}
