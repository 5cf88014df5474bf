package arch

import (
	"fmt"
	"go/ast"
	"go/types"
	"slices"
	"strings"
)

// emptyNames say nothing about what a package is for.
var emptyNames = []string{"util", "utils", "common", "commons", "helper", "helpers", "misc"}

// loggerTypes are what a package-level variable may not hold: a logger is made once and passed in.
var loggerTypes = []string{
	"go.uber.org/zap.Logger",
	"go.uber.org/zap.SugaredLogger",
	"log.Logger",
	"log/slog.Logger",
}

// globalLoggers are package-level functions that reach one.
var globalLoggers = map[string][]string{
	"go.uber.org/zap": {"L", "S", "ReplaceGlobals", "RedirectStdLog"},
	"log/slog":        {"Default", "SetDefault", "Debug", "Info", "Warn", "Error"},
}

// CheckManners returns empty package names, init functions and package-level loggers. Generated files are excused.
func CheckManners(p *Package) []Violation {
	var bad []Violation
	refuse := func(n ast.Node, format string, args ...any) {
		bad = append(bad, Violation{p.at(n), fmt.Sprintf(format, args...)})
	}
	for _, f := range p.Files {
		if ast.IsGenerated(f) {
			continue
		}
		if slices.Contains(emptyNames, f.Name.Name) {
			refuse(f.Name, "package %s: name it for what it does", f.Name.Name)
		}
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv == nil && decl.Name.Name == "init" {
					refuse(decl, "func init: what a package needs is made by whoever uses it")
				}
			case *ast.GenDecl:
				for _, name := range loggersOf(p, decl) {
					refuse(name, "package-level logger %s: loggers are made once and passed in", name.Name)
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			f, ok := p.Info.Uses[id].(*types.Func)
			if ok && f.Pkg() != nil && f.Signature().Recv() == nil && slices.Contains(globalLoggers[f.Pkg().Path()], f.Name()) {
				refuse(id, "%s.%s is a global logger", f.Pkg().Name(), f.Name())
			}
			return true
		})
	}
	return bad
}

// loggersOf returns the names that a package-level declaration gives to loggers.
func loggersOf(p *Package, decl *ast.GenDecl) []*ast.Ident {
	var found []*ast.Ident
	for _, spec := range decl.Specs {
		vs, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for _, name := range vs.Names {
			if obj := p.Info.Defs[name]; obj != nil && isLogger(obj.Type()) {
				found = append(found, name)
			}
		}
	}
	return found
}

func isLogger(t types.Type) bool {
	return slices.Contains(loggerTypes, strings.TrimPrefix(types.TypeString(t, nil), "*"))
}
