package config

import (
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/pingcap/errors"
)

// unknownKeys names the keys that nobody has, each with the one that was probably meant. What stands in an unknown table is not named
// again.
func unknownKeys(unknown []toml.Key, known []Item) error {
	var names []string
	for _, key := range unknown {
		names = append(names, key.String())
	}
	slices.Sort(names)
	var told []string
	for _, name := range names {
		table, _, found := cutLast(name)
		if found && slices.Contains(names, table) {
			continue
		}
		if meant := meantKey(name, known); meant != "" {
			name += " (did you mean " + meant + "?)"
		}
		told = append(told, name)
	}
	return errors.Errorf("unknown keys: %s", strings.Join(told, ", "))
}

// meantKey is the known key or table that somebody probably meant: the same word in another table, or one that is written alike.
func meantKey(name string, known []Item) string {
	var names []string
	_, word, _ := cutLast(name)
	for _, item := range known {
		table, last, found := cutLast(item.Key)
		if last == word {
			return item.Key
		}
		names = append(names, item.Key)
		if found && !slices.Contains(names, table) {
			names = append(names, table)
		}
	}
	return Nearest(name, names)
}

// cutLast cuts a key before its last word; not found means that there is one word only.
func cutLast(key string) (table, word string, found bool) {
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		return key[:i], key[i+1:], true
	}
	return "", key, false
}

// Nearest is the name that is written most like the given one, or empty if none is: one letter in three may differ.
func Nearest(name string, names []string) string {
	best, least := "", max(1, len(name)/3)
	for _, n := range names {
		if d := distance(name, n); d < least || (d == least && best == "") {
			best, least = n, d
		}
	}
	return best
}

// distance is how many letters must be put in, left out or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
