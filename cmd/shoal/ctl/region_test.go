package ctl

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// A peer and its successor stand side by side in a table while they change places.
func TestPeerNotesAreShort(t *testing.T) {
	for role, note := range map[string]string{"": "", "Voter": "", "Learner": "learner", "IncomingVoter": "joining", "DemotingVoter": "leaving"} {
		require.Equal(t, note, peerNote(pdapi.Region{}, pdapi.Peer{RoleName: role}))
	}
}

// A table of regions fits into 100 columns whatever is going on with their peers.
func TestTroubledRegionsFitATerminal(t *testing.T) {
	var r pdapi.Region
	for id, role := range []string{"Voter", "DemotingVoter", "IncomingVoter", "Learner"} {
		p := pdapi.Peer{ID: uint64(id + 1), StoreID: uint64(id + 1), RoleName: role}
		r.Peers, r.Pending = append(r.Peers, p), append(r.Pending, p)
	}
	var out bytes.Buffer
	w := table.NewWriter()
	w.SetOutputMirror(&out)
	w.SetStyle(table.StyleLight)
	regionRows(w, []pdapi.Region{r}, form.Escaped, &column{"epoch", func(pdapi.Region) string { return "version 3, conf 6" }})
	w.Render()
	for line := range strings.Lines(out.String()) {
		require.LessOrEqual(t, len([]rune(strings.TrimRight(line, "\n"))), 100, out.String())
	}
	for _, words := range []string{"1 (pending),", "2 (leaving, pending),", "3 (joining, pending),", "4 (learner, pending) "} {
		require.Contains(t, out.String(), words)
	}
}
