package arch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheHouseStands reads the whole tree once and holds all walls against it.
func TestTheHouseStands(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	readDirectories(t, root)
	listed, err := List(root, "./...")
	require.NoError(t, err)

	var own []Listed
	exports := map[string]string{}
	for _, p := range listed {
		exports[p.ImportPath] = p.Export
		if _, ok := inModule(p.ImportPath); ok {
			own = append(own, p)
		}
	}
	require.NotEmpty(t, own)

	bad := CheckImports(own)
	pure := 0
	for _, p := range own {
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
			continue
		}
		parsed, err := Parse(p.ImportPath, p.Dir, p.GoFiles, exports)
		if err != nil {
			t.Errorf("%s: %v", p.ImportPath, err)
			continue
		}
		bad = append(bad, CheckManners(parsed)...)
		if IsPure(p.ImportPath) {
			pure++
			bad = append(bad, CheckPurity(parsed)...)
		}
	}
	require.NotZero(t, pure, "no deterministic package was found: do pureRooms still name the tree's folders?")
	for _, v := range bad {
		t.Errorf("%s", strings.TrimPrefix(v.String(), root+"/"))
	}
}

// readDirectories opens every directory of the tree. What the go command reads on our behalf is hidden from the test cache;
// what this test reads itself is not, so that a new file anywhere makes it run again.
func readDirectories(t *testing.T, root string) {
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (strings.HasPrefix(d.Name(), ".") || path == filepath.Join(root, "bin")) {
			return filepath.SkipDir
		}
		return err
	}))
}

// TestImportsAreRefused shows that each wall of the import graph can fail, and what it lets through.
func TestImportsAreRefused(t *testing.T) {
	const m = Module + "/"
	for _, tc := range []struct {
		name, from, to string
		want           string // a part of the complaint; empty means allowed
	}{
		{"down", m + "kv/raftstore", m + "raft", ""},
		{"inside a room", m + "kv/raftstore/machine", m + "kv/raftstore/logstore", ""},
		{"ground rooms share", m + "kv/config", m + "log", ""},
		{"up", m + "raft", m + "kv/raftstore", "upward, from floor 2 to floor 3"},
		{"up by two", m + "kv/storage/raftkv", m + "kv/server", "upward"},
		{"up from the ground", m + "log", m + "raft", "upward"},
		{"sideways", m + "raft", m + "kv/engine", "sideways"},
		{"tests are nobody's", m + "kv/server", m + "kv/test_raftstore", "upward"},
		{"no floor", m + "attic", "fmt", "has no floor"},
		{"into no floor", m + "kv/server", m + "attic", "has no floor"},
		{"a name that only begins alike", m + "rafty", "fmt", "has no floor"},
		{"kv and scheduler", m + "kv/raftstore", m + "scheduler/client", "kv meets scheduler only"},
		{"the simulator", m + "kv/sim", m + "scheduler/cluster", ""},
		{"scheduler and kv", m + "scheduler/cluster", m + "kv/keys", "nothing of a store's inside"},
		{"the client in the product", m + "kv/server", "github.com/tikv/client-go/v2/rawkv", "public client"},
		{"the client in a command", m + "cmd/shoal/bench", "github.com/tikv/client-go/v2/rawkv", ""},
		{"the control plane's client", m + "scheduler/client", "github.com/tikv/pd/client", "public client"},
		{"pebble", m + "kv/raftstore/logstore", "github.com/cockroachdb/pebble/v2", "pebble"},
		{"pebble at home", m + "kv/engine/pebbledb", "github.com/cockroachdb/pebble/v2/vfs", ""},
		{"badger", m + "kv/engine", "github.com/Connor1996/badger", "badger"},
		{"etcd", m + "scheduler/cluster", "go.etcd.io/etcd/client/v3", "etcd"},
		{"etcd at home", m + "scheduler/meta", "go.etcd.io/etcd/server/v3/embed", ""},
		{"the other's logger", m + "kv/server", "github.com/pingcap/log", "global logger"},
		{"a test may", m + "test/robustness", "github.com/tikv/client-go/v2/rawkv", ""},
		{"others' packages", "example.com/x", m + "kv/server", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := CheckImports([]Listed{{ImportPath: tc.from, Imports: []string{tc.to}}})
			if tc.want == "" {
				require.Empty(t, bad)
				return
			}
			require.NotEmpty(t, bad)
			require.Contains(t, fmt.Sprint(bad), tc.want)
		})
	}
}

// TestPurityIsRefused and its sister hold the syntax checks against fixtures: every line that asks for a complaint gets it,
// and no other line gets one.
func TestPurityIsRefused(t *testing.T) { requireWanted(t, "impure.go", CheckPurity) }

func TestMannersAreRefused(t *testing.T) {
	requireWanted(t, "rude.go", CheckManners)
	requireWanted(t, "generated.go", CheckManners)
}

func TestPureRooms(t *testing.T) {
	for path, want := range map[string]bool{
		Module + "/raft":                       true,
		Module + "/raft/quorum":                true,
		Module + "/raft/rafttest":              false,
		Module + "/kv/raftstore":               false,
		Module + "/kv/raftstore/machine":       true,
		Module + "/kv/raftstore/machine/inner": true,
		"example.com/raft":                     false,
	} {
		require.Equal(t, want, IsPure(path), path)
	}
}

func TestBrokenPackagesAreReported(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.go"), []byte("package x\nvar y int = z\n"), 0o600))
	_, err := Parse("x", dir, []string{"x.go"}, nil)
	require.ErrorContains(t, err, "undefined: z")
}

var wantComment = regexp.MustCompile(`// want(-above)? "([^"]+)"`)

func requireWanted(t *testing.T, name string, check func(*Package) []Violation) {
	t.Helper()
	listed, err := List(".", "std")
	require.NoError(t, err)
	exports := map[string]string{}
	for _, p := range listed {
		exports[p.ImportPath] = p.Export
	}
	p, err := Parse("fixture", "testdata", []string{name}, exports)
	require.NoError(t, err)

	got := map[string]string{}
	for _, v := range check(p) {
		line := v.Where[:strings.LastIndex(v.Where, ":")]
		got[line] += v.What + "\n"
	}
	source, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	for i, text := range strings.Split(string(source), "\n") {
		m := wantComment.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		line := i + 1
		if m[1] != "" {
			line--
		}
		where := fmt.Sprintf("%s:%d", filepath.Join("testdata", name), line)
		require.Contains(t, got[where], m[2], where)
		delete(got, where)
	}
	require.Empty(t, got, "complaints that nobody asked for")
}
