// Package config is what an operator may say to a store: one small struct for each owner, in TOML with kebab-case keys.
//
// The order is always the same: Default gives every value, Decode lays a file over it, the command line lays its flags over
// that, and Validate completes what follows from other values and then checks everything once, so that no part of the store
// has to check again. A key that no struct has is an error that names it; a value out of bounds is an error that names
// key, value and bound; all of them are told at once.
//
// Sizes are written "96MB" or "8MiB", and both letters mean powers of 1024, as in the rest of this family; durations are
// written "10s".
package config

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/log"
)

// Config is the whole configuration of a store.
type Config struct {
	// MemoryUsageLimit is what the store tries to keep its memory below; 0 is no limit. GOMEMLIMIT in the environment goes
	// before.
	MemoryUsageLimit Size `toml:"memory-usage-limit"`

	Log       log.Config `toml:"log"`
	Server    Server     `toml:"server"`
	Storage   Storage    `toml:"storage"`
	PD        PD         `toml:"pd"`
	Raftstore Raftstore  `toml:"raftstore"`
	// Coprocessor and Split say when regions divide.
	Coprocessor Coprocessor `toml:"coprocessor"`
	Split       Split       `toml:"split"`
	Security    Security    `toml:"security"`
}

// MinMemory is what a process cannot do without; below it the garbage collector would do little but run.
const MinMemory = 64 * MiB

// Default suits a store on a machine of its own.
func Default() *Config {
	return &Config{
		Log:         log.Default(),
		Server:      defaultServer(),
		Storage:     defaultStorage(),
		PD:          PD{Endpoints: []string{"127.0.0.1:2379"}},
		Raftstore:   defaultRaftstore(),
		Coprocessor: defaultCoprocessor(),
		Split:       defaultSplit(),
	}
}

// NewTestConfig is Default with the clocks of a test: elections take a few tenths of a second, logs are cut early.
func NewTestConfig() *Config {
	c := Default()
	c.Raftstore.quicken()
	return c
}

// Load reads a TOML file over c. What the file does not mention keeps its value.
func (c *Config) Load(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return errors.Annotate(err, "configuration")
	}
	return errors.Annotatef(c.Decode(string(text)), "configuration file %s", file)
}

// Decode reads TOML over c, and refuses keys that c does not have.
func (c *Config) Decode(text string) error { return Decode(text, c) }

// Decode reads TOML over a struct of any owner, and refuses keys that the struct does not have.
func Decode(text string, into any) error {
	meta, err := toml.Decode(text, into)
	if err != nil {
		return errors.WithStack(err)
	}
	if len(meta.Undecoded()) == 0 {
		return nil
	}
	known, err := Items(into)
	if err != nil {
		return err
	}
	return unknownKeys(meta.Undecoded(), known)
}

// Validate fills in what follows from other values, such as the advertised addresses, and then says what is wrong.
func (c *Config) Validate() error {
	c.Server.complete()
	p := &Problems{}
	p.Add(c.Log.Validate())
	if least := c.Storage.BlockCache.Capacity + MinMemory; c.MemoryUsageLimit != 0 && c.MemoryUsageLimit < least {
		p.Addf("memory-usage-limit is %v; it must be at least %v, which is %v beside storage.block-cache.capacity, or 0 for no limit",
			c.MemoryUsageLimit, least, MinMemory)
	}
	c.Server.validate(p)
	c.Storage.validate(p)
	c.PD.validate(p)
	c.Raftstore.validate(p)
	c.Coprocessor.validate(p)
	c.Split.validate(p)
	c.Security.validate(p)
	return p.Err()
}

// TOML writes the configuration as a file that Load reads back.
func (c *Config) TOML() (string, error) { return encode(c) }

func encode(v any) (string, error) {
	var out bytes.Buffer
	enc := toml.NewEncoder(&out)
	enc.Indent = ""
	if err := enc.Encode(v); err != nil {
		return "", errors.WithStack(err)
	}
	return out.String(), nil
}

// Tree is the configuration as nested maps under its TOML keys, as the status page shows it.
func Tree(v any) (map[string]any, error) {
	text, err := encode(v)
	if err != nil {
		return nil, err
	}
	tree := map[string]any{}
	if _, err := toml.Decode(text, &tree); err != nil {
		return nil, errors.WithStack(err)
	}
	return tree, nil
}

// Item is one value under its full key, such as raftstore.prevote.
type Item struct {
	Key   string
	Value any
}

// Items lists every value of a configuration, sorted by key.
func Items(v any) ([]Item, error) {
	tree, err := Tree(v)
	if err != nil {
		return nil, err
	}
	items := flatten("", tree, nil)
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
	return items, nil
}

// Differences lists, as key=value with blanks between, what is not as in base: the part of a configuration that is worth a line
// in a log. An advertised address that only repeats the one listened on is not.
func Differences(v, base any) (string, error) {
	items, err := Items(v)
	if err != nil {
		return "", err
	}
	usual, err := Items(base)
	if err != nil {
		return "", err
	}
	here, there := valuesByKey(items), valuesByKey(usual)
	var different []string
	for _, item := range items {
		value := here[item.Key]
		listened := strings.Replace(item.Key, "advertise-", "", 1)
		if value != there[item.Key] && (listened == item.Key || value != here[listened]) {
			different = append(different, item.Key+"="+value)
		}
	}
	return strings.Join(different, " "), nil
}

func valuesByKey(items []Item) map[string]string {
	values := map[string]string{}
	for _, item := range items {
		values[item.Key] = fmt.Sprint(item.Value)
	}
	return values
}

func flatten(prefix string, tree map[string]any, items []Item) []Item {
	for key, value := range tree {
		if sub, ok := value.(map[string]any); ok && len(sub) > 0 {
			items = flatten(prefix+key+".", sub, items)
		} else {
			items = append(items, Item{prefix + key, value})
		}
	}
	return items
}
