package machine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
)

func expireProposal() *Proposal {
	pr := proposal(0, func(error) {})
	pr.Command.Kind = command.Expire
	pr.Command.Body = command.AppendOp(nil, command.DeleteExpired, engine.Default, []byte("k"), keys.AppendBound(nil, 9))
	return pr
}

// What is judged by what is stored shares its entry with nobody, before it or after it.
func TestExpireHasAnEntryOfItsOwn(t *testing.T) {
	m, _ := single(t)
	write := func() Mail { return Propose{proposal(0, func(error) {})} }
	round := m.Handle([]Mail{write()}, 300)
	m.Handle([]Mail{write(), write(), Propose{expireProposal()}, Propose{expireProposal()}, write(), write()}, 301)
	var entries [][]command.Kind
	for range 4 {
		round = m.Handle([]Mail{Persisted{1, 2, round.Write[0].Number}}, 302)
		require.Len(t, round.Write[0].Entries, 1)
		var kinds []command.Kind
		require.NoError(t, command.Decode(round.Write[0].Entries[0].Data, func(c command.Command) error {
			kinds = append(kinds, c.Kind)
			return nil
		}))
		entries = append(entries, kinds)
	}
	require.Equal(t, [][]command.Kind{{command.Write, command.Write}, {command.Expire}, {command.Expire}, {command.Write, command.Write}}, entries)
}
