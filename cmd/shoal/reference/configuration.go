package reference

import (
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"unicode"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/config"
)

// Comments are what stands above the structs of the configuration and above their fields, as Type and Type.Field with the name of
// the package in front.
type Comments map[string]string

// ReadComments reads the Go files of directories; each is a package of the directory's name.
func ReadComments(dirs ...string) (Comments, error) {
	c := Comments{}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return nil, errors.WithStack(err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, errors.WithStack(err)
			}
			c.read(file)
		}
	}
	return c, nil
}

func (c Comments) read(file *ast.File) {
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			t := spec.(*ast.TypeSpec)
			st, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			name := file.Name.Name + "." + t.Name.Name
			c[name] = gen.Doc.Text()
			for _, f := range st.Fields.List {
				for _, ident := range f.Names {
					c[name+"."+ident.Name] = f.Doc.Text()
				}
			}
		}
	}
}

// Section is one table of a configuration file.
type Section struct {
	Name  string // empty for the keys that stand above all tables
	Text  string
	Lines []Line
}

// Line is one key.
type Line struct{ Key, Kind, Default, Meaning string }

// Sections describes a configuration, given as a pointer to the struct with its defaults. It fails when a key has no comment.
func Sections(defaults any, comments Comments) ([]Section, error) {
	items, err := config.Items(defaults)
	if err != nil {
		return nil, err
	}
	d := &describer{comments: comments, values: map[string]any{}, keys: map[string]string{}}
	for _, item := range items {
		d.values[item.Key] = item.Value
	}
	t := reflect.TypeOf(defaults).Elem()
	d.learnNames(t)
	if err := d.section("", "", t); err != nil {
		return nil, err
	}
	if len(d.silent) > 0 {
		return nil, errors.Errorf("the reference is made of the comments above the configuration's fields; these have none of their own: %s",
			strings.Join(d.silent, ", "))
	}
	return d.sections, nil
}

type describer struct {
	comments Comments
	values   map[string]any    // the defaults by full key
	keys     map[string]string // by the name of the field
	sections []Section
	silent   []string // fields without a comment
}

// learnNames notes which key each field is, as far as the name is no plain word of English.
func (d *describer) learnNames(t reflect.Type) {
	for f := range fields(t) {
		if key := f.Tag.Get("toml"); key != "" && strings.IndexFunc(f.Name[1:], unicode.IsUpper) >= 0 {
			d.keys[f.Name] = key
		}
		if isTable(f.Type) {
			d.learnNames(f.Type)
		}
	}
}

// section describes the keys of a struct, then the tables in it.
func (d *describer) section(name, text string, t reflect.Type) error {
	at := len(d.sections)
	d.sections = append(d.sections, Section{Name: name, Text: text})
	prefix := name
	if name != "" {
		prefix += "."
	}
	lines, err := d.lines(prefix, t)
	if err != nil {
		return err
	}
	d.sections[at].Lines = lines
	if len(lines) == 0 {
		d.sections = d.sections[:at]
	}
	for f := range fields(t) {
		if key := f.Tag.Get("toml"); key != "" && isTable(f.Type) {
			comment := d.comments[f.Type.String()]
			if err := d.section(prefix+key, d.sentence(f.Type.Name(), key, comment), f.Type); err != nil {
				return err
			}
		}
	}
	return nil
}

// lines are those of a struct and of the structs that are embedded in it.
func (d *describer) lines(prefix string, t reflect.Type) ([]Line, error) {
	var lines []Line
	for f := range fields(t) {
		key := f.Tag.Get("toml")
		switch {
		case key == "" && f.Anonymous:
			more, err := d.lines(prefix, f.Type)
			if err != nil {
				return nil, err
			}
			lines = append(lines, more...)
		case key != "" && !isTable(f.Type):
			value, err := json.Marshal(d.values[prefix+key])
			if err != nil {
				return nil, errors.WithStack(err)
			}
			owner := t.String() + "." + f.Name
			comment := d.comments[owner]
			if comment == "" {
				d.silent = append(d.silent, owner)
			}
			lines = append(lines, Line{Key: key, Kind: kind(f.Type), Default: string(value), Meaning: d.sentence(f.Name, key, comment)})
		}
	}
	return lines, nil
}

func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

func kind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[config.Size]():
		return "size"
	case reflect.TypeFor[config.Duration]():
		return "duration"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "table"
	default:
		return "number"
	}
}

var word = regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`)

// sentence makes of a comment on a Go field one on the key: "Addr is where …" becomes "Where …", and other fields get the names that
// they have in the file.
func (d *describer) sentence(name, key, comment string) string {
	text := strings.TrimSpace(comment)
	for _, verb := range []string{" is ", " are "} {
		if rest, found := strings.CutPrefix(text, name+verb); found {
			text = strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	if rest, found := strings.CutPrefix(text, name+" "); found {
		text = "`" + key + "` " + rest
	}
	return word.ReplaceAllStringFunc(text, func(w string) string {
		if key := d.keys[w]; key != "" {
			return "`" + key + "`"
		}
		return w
	})
}

const configurationHead = `# Configuration

<!-- written by ` + "`make docs`" + ` out of the structs that hold the configuration and the comments on their fields; what is changed here is lost -->

A store and a scheduler read a TOML file (` + "`--config FILE`" + `). Flags override the file, which overrides the defaults. A key that
is not known is an error that names it, and the one that was probably meant; a value out of bounds is an error that names key, value
and bound. Nothing starts until all of it is right: ` + "`--config-check`" + ` looks and exits, ` + "`shoal store --print-sample-config`" + ` prints a
file with all defaults, and ` + "`shoal playground --kv.config FILE --pd.config FILE`" + ` tries one out.

A size is written ` + "`\"512B\"`, `\"96MB\"` or `\"8MiB\"`" + `, where MB and MiB are the same 2^20 bytes; a duration ` + "`\"100ms\"`, `\"10s\"` or `\"1m30s\"`" + `.
`

// Configuration is the page of all keys of a store and of a scheduler, in Markdown.
func Configuration(store, scheduler any, comments Comments) (string, error) {
	var w strings.Builder
	w.WriteString(configurationHead)
	for _, part := range []struct {
		title    string
		defaults any
	}{{"Store", store}, {"Scheduler", scheduler}} {
		sections, err := Sections(part.defaults, comments)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&w, "\n# %s\n", part.title)
		for _, s := range sections {
			if part.defaults == scheduler && strings.HasPrefix(s.Name, "log") {
				fmt.Fprintf(&w, "\n## `[%s]`\n\nAs [of a store](#%s).\n", s.Name, strings.ReplaceAll(s.Name, ".", ""))
				continue
			}
			s.write(&w)
		}
	}
	return w.String(), nil
}

func (s *Section) write(w *strings.Builder) {
	if s.Name != "" {
		fmt.Fprintf(w, "\n## `[%s]`\n", s.Name)
	}
	if s.Text != "" {
		fmt.Fprintf(w, "\n%s\n", s.Text)
	}
	fmt.Fprintf(w, "\n| key | default | kind | meaning |\n|---|---|---|---|\n")
	for _, l := range s.Lines {
		fmt.Fprintf(w, "| `%s` | `%s` | %s | %s |\n", l.Key, l.Default, l.Kind, cell(l.Meaning))
	}
}
