package arch

import (
	"fmt"
	"strings"
)

// floor is one room and the height at which it lies. A package belongs to the room with the longest matching path.
type floor struct {
	room   string
	height int
}

// ground is the floor whose rooms may use one another; from there up a room leans on lower floors only.
const ground = 1

// tests is the height of packages that exist for tests: they may see everything.
const tests = 10

// floors lists the rooms of the house. A package that falls into none is a violation: give it a place here first.
var floors = []floor{
	{"proto", ground},
	{"log", ground},
	{"profiling", ground},
	{"rpc", ground},
	{"kv/keys", ground},
	{"kv/config", ground},
	{"raft", 2},
	{"kv/engine", 2},
	{"scheduler", 2},
	{"kv/raftstore", 3},
	{"kv/storage", 4},
	{"kv/txn", 5},
	{"kv/server", 6},
	{"kv/sim", 7},
	{"kv/node", 7},
	{"local", 8},
	{"cmd", 9},
	{"kv/test_raftstore", tests},
	{"shoaltest", tests},
	{"test", tests},
}

// fence keeps a library, or one of our own rooms, inside the rooms that may know of it.
type fence struct {
	// what are import paths; everything below them is meant too. A path without a dot in its first element is ours.
	what []string
	// from limits the fence to importers in these rooms; empty means everybody.
	from []string
	// allowed are the rooms that may import it all the same; rooms for tests always may.
	allowed []string
	why     string
}

var fences = []fence{
	{
		what: []string{"scheduler"}, from: []string{"kv"}, allowed: []string{"kv/sim"},
		why: "kv meets scheduler only in kv/sim, cmd and tests",
	},
	{
		what: []string{"kv"}, from: []string{"scheduler"},
		why: "the scheduler knows nothing of a store's inside",
	},
	{
		what: []string{"github.com/tikv/client-go", "github.com/tikv/pd/client"}, allowed: []string{"cmd/shoal/bench", "cmd/shoal/ctl", "cmd/shoal/rawclient"},
		why: "the public client is for commands and tests",
	},
	{
		what: []string{"github.com/cockroachdb/pebble"}, allowed: []string{"kv/engine/pebbledb"},
		why: "only the engine seam's implementation knows pebble",
	},
	{
		what: []string{"github.com/Connor1996/badger", "github.com/dgraph-io/badger"}, allowed: []string{"kv/engine/badgerdb"},
		why: "only the engine seam's implementation knows badger",
	},
	{
		what: []string{"go.etcd.io"}, allowed: []string{"scheduler/meta", "scheduler/server"},
		why: "etcd stays behind scheduler/meta and scheduler/server",
	},
	{
		what: []string{"github.com/pingcap/log"}, allowed: []string{"log", "cmd/shoal"},
		why: "its global logger is not ours: log makes loggers, and they are passed in",
	},
}

// CheckImports returns every import of the listed packages that runs up, sideways, or over a fence. Imports of tests
// are not asked for: a test may reach for anything.
func CheckImports(pkgs []Listed) []Violation {
	var bad []Violation
	for _, p := range pkgs {
		own, ok := inModule(p.ImportPath)
		if !ok {
			continue
		}
		at := floorOf(own)
		if at == nil {
			bad = append(bad, Violation{p.ImportPath, "has no floor: give its room a place in test/arch/imports.go"})
			continue
		}
		if at.height == tests {
			continue
		}
		for _, imported := range p.Imports {
			if what := checkStep(at, imported); what != "" {
				bad = append(bad, Violation{p.ImportPath, what})
			}
			for _, f := range fences {
				if f.crossed(own, imported) {
					bad = append(bad, Violation{p.ImportPath, fmt.Sprintf("imports %s: %s", imported, f.why)})
				}
			}
		}
	}
	return bad
}

// checkStep says what is wrong with an import as a step between floors; empty means nothing.
func checkStep(from *floor, imported string) string {
	path, ok := inModule(imported)
	if !ok {
		return ""
	}
	to := floorOf(path)
	switch {
	case to == nil:
		return fmt.Sprintf("imports %s, which has no floor", imported)
	case to.room == from.room:
		return ""
	case to.height > from.height:
		return fmt.Sprintf("imports %s: upward, from floor %d to floor %d", imported, from.height, to.height)
	case to.height == from.height && to.height != ground:
		return fmt.Sprintf("imports %s: sideways on floor %d", imported, from.height)
	}
	return ""
}

func (f *fence) crossed(own, imported string) bool {
	if len(f.from) > 0 && !underAny(own, f.from) {
		return false
	}
	if underAny(own, f.allowed) {
		return false
	}
	for _, what := range f.what {
		if !strings.Contains(strings.SplitN(what, "/", 2)[0], ".") {
			what = Module + "/" + what
		}
		if under(imported, what) {
			return true
		}
	}
	return false
}

// floorOf finds the room that a path inside the module belongs to, nil when there is none.
func floorOf(path string) *floor {
	var found *floor
	for i := range floors {
		f := &floors[i]
		if under(path, f.room) && (found == nil || len(f.room) > len(found.room)) {
			found = f
		}
	}
	return found
}

// inModule strips the module's path; it answers false for the packages of others.
func inModule(path string) (string, bool) { return strings.CutPrefix(path, Module+"/") }

func under(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func underAny(path string, roots []string) bool {
	for _, r := range roots {
		if under(path, r) {
			return true
		}
	}
	return false
}
