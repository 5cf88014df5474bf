package server

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Answers wait for others only while they are few of many: who is alone, or among few, is answered at once.
func TestFewAnswersOfManyWaitForOthers(t *testing.T) {
	for _, c := range []struct {
		commands, answered int
		waits              bool
	}{
		{1, 1, false}, {7, 1, false}, {8, 1, true}, {8, 2, false}, {64, 15, true}, {64, 16, false}, {64, 64, false},
	} {
		st := &stream{}
		st.commands, st.answers.ids = c.commands, make([]uint64, c.answered)
		require.Equal(t, c.waits, st.moreToCome(), "%d of %d", c.answered, c.commands)
	}
}
