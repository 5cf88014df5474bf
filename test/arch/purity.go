package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
	"strings"
)

// pureRooms must answer the same to the same inputs: the simulator runs them, and a seed must replay. Whatever is below
// a room belongs to it, except what impureRooms names.
var pureRooms = []string{
	"raft",
	"kv/keys",
	"kv/raftstore/machine",
	"kv/txn/command",
	"kv/txn/latch",
	"kv/txn/mvcc",
	"scheduler/cluster",
	"scheduler/election",
	"scheduler/machine",
	"scheduler/oracle",
	"scheduler/schedule",
	"scheduler/wire",
}

var impureRooms = []string{"raft/rafttest"}

// IsPure tells whether the package at this import path must be deterministic.
func IsPure(importPath string) bool {
	path, ok := inModule(importPath)
	return ok && underAny(path, pureRooms) && !underAny(path, impureRooms)
}

// outside are the imports through which time, chance, other goroutines and the world come in. What lies below one of them
// is meant too.
var outside = []string{"os", "net", "sync", "syscall", "math/rand", "crypto/rand", "runtime", "golang.org/x/sys", "golang.org/x/sync"}

// harmless are exceptions to outside: an atomic counter waits for nobody.
var harmless = []string{"sync/atomic"}

// pureTime are the functions of package time that only compute; every other function and variable of it is refused.
var pureTime = map[string]bool{
	"Unix": true, "UnixMilli": true, "UnixMicro": true, "Date": true, "UTC": true, "ParseDuration": true,
}

// orderFree marks a loop over a map whose outcome does not depend on the order: same line or the line above, with a reason.
const orderFree = "// order-free:"

// CheckPurity returns every place where a package that must be deterministic reaches for a goroutine, a channel, the
// clock, chance, the system, or the order of a map.
func CheckPurity(p *Package) []Violation {
	c := purity{p: p}
	for _, f := range p.Files {
		c.excused = excusedLines(p.Fset, f)
		c.sorted = map[ast.Expr]bool{}
		for _, spec := range f.Imports {
			c.importSpec(spec)
		}
		ast.Inspect(f, c.node)
	}
	return c.bad
}

type purity struct {
	p       *Package
	excused map[int]bool
	// sorted holds arguments of slices.Sorted and its like, whose order no longer matters.
	sorted map[ast.Expr]bool
	bad    []Violation
}

func (c *purity) refuse(n ast.Node, format string, args ...any) {
	c.bad = append(c.bad, Violation{c.p.at(n), fmt.Sprintf(format, args...)})
}

func (c *purity) importSpec(spec *ast.ImportSpec) {
	path, err := strconv.Unquote(spec.Path.Value)
	if err == nil && underAny(path, outside) && !underAny(path, harmless) {
		c.refuse(spec, "imports %s", path)
	}
}

func (c *purity) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		c.refuse(n, "starts a goroutine")
	case *ast.SelectStmt:
		c.refuse(n, "selects")
	case *ast.SendStmt:
		c.refuse(n, "sends on a channel")
	case *ast.ChanType:
		c.refuse(n, "names a channel type")
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			c.refuse(n, "receives from a channel")
		}
	case *ast.CallExpr:
		c.call(n)
	case *ast.Ident:
		c.ident(n)
	case *ast.RangeStmt:
		c.loop(n)
	}
	return true
}

// ident refuses what package time does rather than what it names.
func (c *purity) ident(n *ast.Ident) {
	obj := c.p.Info.Uses[n]
	if obj == nil || obj.Pkg() == nil || obj.Pkg().Path() != "time" || obj.Parent() != obj.Pkg().Scope() {
		return
	}
	switch obj.(type) {
	case *types.Func, *types.Var:
		if !pureTime[obj.Name()] {
			c.refuse(n, "uses time.%s", obj.Name())
		}
	}
}

// loop refuses a range over a map, and over a channel even when its type has been named elsewhere.
func (c *purity) loop(n *ast.RangeStmt) {
	t := c.p.Info.TypeOf(n.X)
	if t == nil {
		return
	}
	switch t.Underlying().(type) {
	case *types.Map:
		if !c.isExcused(n) {
			c.refuse(n, "ranges over a map; sort the keys, or say why with %q", orderFree)
		}
	case *types.Chan:
		c.refuse(n, "ranges over a channel")
	}
}

// call refuses the iterators of package maps unless their outcome is sorted at once.
func (c *purity) call(n *ast.CallExpr) {
	switch pkg, name := c.callee(n); {
	case pkg == "slices" && strings.HasPrefix(name, "Sorted"):
		for _, arg := range n.Args {
			c.sorted[arg] = true
		}
	case pkg == "maps" && (name == "Keys" || name == "Values" || name == "All"):
		if !c.sorted[n] && !c.isExcused(n) {
			c.refuse(n, "uses maps.%s in the map's order; wrap it in slices.Sorted, or say why with %q", name, orderFree)
		}
	}
}

// callee names the package-level function that is called, empty when it is something else.
func (c *purity) callee(n *ast.CallExpr) (pkg, name string) {
	fun := ast.Unparen(n.Fun)
	if ix, ok := fun.(*ast.IndexExpr); ok {
		fun = ix.X
	}
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	f, ok := c.p.Info.Uses[sel.Sel].(*types.Func)
	if !ok || f.Pkg() == nil {
		return "", ""
	}
	return f.Pkg().Path(), f.Name()
}

func (c *purity) isExcused(n ast.Node) bool { return c.excused[c.p.Fset.Position(n.Pos()).Line] }

// excusedLines are the lines that an orderFree comment speaks for: its own and the one after its comment group.
func excusedLines(fset *token.FileSet, f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range f.Comments {
		for _, comment := range group.List {
			reason, ok := strings.CutPrefix(comment.Text, orderFree)
			if !ok || strings.TrimSpace(reason) == "" {
				continue
			}
			lines[fset.Position(comment.Pos()).Line] = true
			lines[fset.Position(group.End()).Line+1] = true
		}
	}
	return lines
}
