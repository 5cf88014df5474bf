package ctl

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// How tables look: what is a number stands at the right, a column that nobody fills is left out, and long keys are cut, so that a table fits into a
// terminal of 100 columns. JSON has everything as it is.

// longestKey is how much of a key a table shows that has other columns too.
const longestKey = 22

// longestPlaces is how wide such a table shows a region's stores: in a few lines, when peers that join and leave stand side by side with what is wrong with each.
const longestPlaces = 28

// head names the columns; a > after the name puts a column to the right.
func head(t table.Writer, names ...string) {
	var row table.Row
	var configs []table.ColumnConfig
	for i, name := range names {
		name, right := strings.CutSuffix(name, ">")
		row = append(row, name)
		if right {
			configs = append(configs, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.AppendHeader(row)
	t.SetColumnConfigs(configs)
	t.SuppressEmptyColumns()
}

// longestFact is how long a line of facts is.
const longestFact = 76

// facts is a table about one thing: a line for each of pairs of a name and a value. Empty values are left out.
func facts(t table.Writer, pairs ...any) {
	for i := 0; i+1 < len(pairs); i += 2 {
		value := fmt.Sprint(pairs[i+1])
		if value == "" {
			continue
		}
		var lines []string
		for line := range strings.SplitSeq(value, "\n") {
			lines = append(lines, broken(line)...)
		}
		t.AppendRow(table.Row{pairs[i], strings.Join(lines, "\n")})
	}
}

// broken is a line in as many as it takes: between words, or within one that is too long.
func broken(line string) (lines []string) {
	if len([]rune(line)) <= longestFact {
		return []string{line}
	}
	for part := range strings.SplitSeq(wrap(line, longestFact), "\n") {
		for letters := range slices.Chunk([]rune(part), longestFact) {
			lines = append(lines, string(letters))
		}
	}
	return lines
}

// rows writes words with commas between them, in as many lines as it takes; none is broken.
func rows(words []string, most int) string {
	var out strings.Builder
	length := 0
	for i, word := range words {
		letters := len([]rune(word))
		switch {
		case i == 0:
		case length+len(", ")+letters+len(",") > most: // with the comma that may follow
			out.WriteString(",\n")
			length = 0
		default:
			out.WriteString(", ")
			length += len(", ")
		}
		out.WriteString(word)
		length += letters
	}
	return out.String()
}

// cut shortens what is too long for a column.
func cut(s string, most int) string {
	if letters := []rune(s); len(letters) > most {
		return string(letters[:most-1]) + "…"
	}
	return s
}

// mebibytes shows a size that is given in MiB.
func mebibytes(n uint64) string { return bytesSize(float64(n) * (1 << 20)) }

// bytesSize shows a size in two or more digits, with a blank before its unit.
func bytesSize(n float64) string {
	names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for len(names) > 1 && n >= 1000 {
		n, names = n/1024, names[1:]
	}
	if n < 10 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0") + " " + names[0]
	}
	return fmt.Sprintf("%.0f %s", n, names[0])
}

// sizeOf shows a size that the scheduler has put in words, such as 1.5GiB.
func sizeOf(words string) string {
	if n, err := units.RAMInBytes(words); err == nil {
		return bytesSize(float64(n))
	}
	return words
}

// brief shows how long something takes in its two largest units.
func brief(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	spans := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range spans {
		if d < u.size {
			continue
		}
		text := fmt.Sprintf("%d%s", d/u.size, u.name)
		if i+1 < len(spans) {
			if rest := d % u.size / spans[i+1].size; rest > 0 {
				text += fmt.Sprintf("%d%s", rest, spans[i+1].name)
			}
		}
		return text
	}
	panic("a second is a second")
}

// ago says how long before now a time of the API was.
func ago(at string, now time.Time) string {
	if at == "" {
		return "never"
	}
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return at
	}
	return brief(now.Sub(t)) + " ago"
}

// list writes numbers or words with commas between them.
func list[T any](all []T) string {
	var words []string
	for _, one := range all {
		words = append(words, fmt.Sprint(one))
	}
	return strings.Join(words, ", ")
}
