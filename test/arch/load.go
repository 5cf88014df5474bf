// Package arch holds the walls of the house: which package may lean on which, what the deterministic packages may not
// touch, and a few names that nobody may use. It has no part in the product; its tests read the tree and fail with a
// list of places.
//
// There are three kinds of wall. Imports (imports.go) are read from the import graph as `go list` prints it. Purity
// (purity.go) and manners (manners.go) are read from the type-checked syntax tree, so that neither an import alias nor a
// map behind a named type slips through. Each check is a function from what was read to a list of violations, and is
// shown to fail on a fixture before it is trusted with the tree.
//
// It leans on the standard library and on the go command alone.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Module is the import path of the tree under guard.
const Module = "github.com/shoal-kv/shoal"

// Violation is one place where a wall is broken.
type Violation struct {
	// Where is a file position, or an import path when the whole package is meant.
	Where string
	// What says which rule is broken and by what.
	What string
}

func (v Violation) String() string { return v.Where + ": " + v.What }

// Listed is what `go list` says of one package.
type Listed struct {
	ImportPath string
	Name       string
	Dir        string
	Export     string
	Standard   bool
	GoFiles    []string
	Imports    []string
	Error      *struct{ Err string }
}

// List asks the go command, run in dir, for the packages that match the pattern and for all that they import. Both
// parts carry compiled export data, which is what lets Parse check types without loading any source but its own.
func List(dir, pattern string) ([]Listed, error) {
	cmd := exec.Command("go", "list", "-e", "-export", "-deps", "-json=ImportPath,Name,Dir,Export,Standard,GoFiles,Imports,Error", pattern)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	var all []Listed
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p Listed
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, p)
	}
}

// Package is the type-checked syntax of one package, without its tests.
type Package struct {
	Path  string
	Name  string
	Fset  *token.FileSet
	Files []*ast.File
	Info  *types.Info
}

// Parse reads and type-checks the files of one package. Imports are resolved by exports, a map from import path to the
// file of compiled export data that List found.
func Parse(path, dir string, files []string, exports map[string]string) (*Package, error) {
	p := &Package{
		Path: path,
		Fset: token.NewFileSet(),
		Info: &types.Info{
			Types:      map[ast.Expr]types.TypeAndValue{},
			Uses:       map[*ast.Ident]types.Object{},
			Defs:       map[*ast.Ident]types.Object{},
			Selections: map[*ast.SelectorExpr]*types.Selection{},
		},
	}
	for _, name := range files {
		f, err := parser.ParseFile(p.Fset, filepath.Join(dir, name), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		p.Files = append(p.Files, f)
		p.Name = f.Name.Name
	}
	lookup := func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok || file == "" {
			return nil, fmt.Errorf("no export data for %s: does it compile?", path)
		}
		return os.Open(file)
	}
	conf := types.Config{Importer: importer.ForCompiler(p.Fset, "gc", lookup)}
	if _, err := conf.Check(path, p.Fset, p.Files, p.Info); err != nil {
		return nil, err
	}
	return p, nil
}

// at is the position of a node as a violation shows it.
func (p *Package) at(n ast.Node) string { return p.Fset.Position(n.Pos()).String() }
