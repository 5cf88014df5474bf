package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every directed scenario ends as it says, and is the same run each time.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			first, err := RunScript(string(text), nil)
			require.NoError(t, err)
			again, err := RunScript(string(text), nil)
			require.NoError(t, err)
			require.Equal(t, first, again)
		})
	}
}
