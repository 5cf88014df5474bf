package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// column is one figure of a result.
type column struct {
	name   string
	of     func(*result) float64
	digits int
}

var columns = []column{
	{"entries/s", func(r *result) float64 { return r.EntriesPerSecond }, 0},
	{"entries/batch", func(r *result) float64 { return r.EntriesPerBatch }, 0},
	{"CPU µs/entry", func(r *result) float64 { return r.CPU }, 2},
	{"bytes/byte", func(r *result) float64 { return r.OSBytes }, 2},
	{"log", func(r *result) float64 { return r.LogBytes }, 2},
	{"tables", func(r *result) float64 { return r.TableBytes }, 2},
	{"zeros", func(r *result) float64 { return r.ZeroBytes }, 2},
	{"moved", func(r *result) float64 { return r.MovedBytes }, 2},
	{"sync ms p50", func(r *result) float64 { return r.Sync.P50 / 1e3 }, 2},
	{"p99", func(r *result) float64 { return r.Sync.P99 / 1e3 }, 2},
	{"max", func(r *result) float64 { return r.Sync.Max / 1e3 }, 1},
	{"write ms p50", func(r *result) float64 { return r.Write.P50 / 1e3 }, 2},
	{"p99", func(r *result) float64 { return r.Write.P99 / 1e3 }, 2},
	{"max", func(r *result) float64 { return r.Write.Max / 1e3 }, 1},
	{"memory MiB", func(r *result) float64 { return float64(r.Memory) / (1 << 20) }, 0},
	{"disk MiB", func(r *result) float64 { return float64(r.Disk) / (1 << 20) }, 0},
	{"reopen ms", func(r *result) float64 { return r.Reopen }, 0},
}

// printTables writes the figures, and what the first log of each load needs for one that the second needs.
func printTables(out io.Writer, results []result) {
	heading := []string{"regions × entry", "kept", "log"}
	for _, c := range columns {
		heading = append(heading, c.name)
	}
	printRow(out, heading)
	printRow(out, slices.Repeat([]string{"---"}, len(heading)))
	loads, runs := gather(results)
	for _, name := range loads {
		for _, same := range runs[name] {
			row := []string{name, fmt.Sprint(same[0].Kept), same[0].Scenario.Log}
			for _, c := range columns {
				row = append(row, fmt.Sprintf("%.*f", c.digits, median(same, c)))
			}
			printRow(out, row)
		}
	}
	if first := runs[loads[0]]; len(first) == 2 {
		fmt.Fprintf(out, "\n%s ÷ %s\n\n", first[0][0].Scenario.Log, first[1][0].Scenario.Log)
		printRatios(out, loads, runs)
	}
}

func printRatios(out io.Writer, loads []string, runs map[string][][]result) {
	compared := []int{0, 2, 3, 8, 9, 11, 12}
	heading := []string{"regions × entry"}
	for _, i := range compared {
		name := columns[i].name
		if name == "p99" {
			name = strings.TrimSuffix(columns[i-1].name, "p50") + "p99"
		}
		heading = append(heading, name)
	}
	printRow(out, heading)
	printRow(out, slices.Repeat([]string{"---"}, len(heading)))
	for _, name := range loads {
		row := []string{name}
		for _, i := range compared {
			row = append(row, fmt.Sprintf("%.2f", median(runs[name][0], columns[i])/median(runs[name][1], columns[i])))
		}
		printRow(out, row)
	}
}

// gather puts the rounds of each log under each load together, in the order in which they came.
func gather(results []result) (loads []string, runs map[string][][]result) {
	runs = map[string][][]result{}
	for _, r := range results {
		name := r.Scenario.name()
		if runs[name] == nil {
			loads = append(loads, name)
		}
		i := slices.IndexFunc(runs[name], func(same []result) bool { return same[0].Scenario.Log == r.Scenario.Log })
		if i < 0 {
			i = len(runs[name])
			runs[name] = append(runs[name], nil)
		}
		runs[name][i] = append(runs[name][i], r)
	}
	return loads, runs
}

func median(same []result, c column) float64 {
	var values []float64
	for i := range same {
		values = append(values, c.of(&same[i]))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func printRow(out io.Writer, cells []string) {
	fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
}
