package simcmd

import (
	"fmt"
	"strings"
	"time"
)

// chart is how many regions each store holds, over virtual time.
type chart struct {
	stores int
	at     []time.Duration
	counts [][]int
}

func newChart(stores int) *chart { return &chart{stores: stores} }

func (c *chart) add(at time.Duration, count func(store uint64) int) {
	row := make([]int, c.stores)
	for i := range row {
		row[i] = count(uint64(i + 1))
	}
	c.at, c.counts = append(c.at, at), append(c.counts, row)
}

const (
	chartWidth, chartHeight = 900, 420
	chartLeft, chartBottom  = 70, 40
)

// svg draws a line for each store: the first, which is lost, and the last, which joins, in colours of their own.
func (c *chart) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, chartWidth, chartHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>`)
	most, end := 1, time.Second
	for i, row := range c.counts {
		end = max(end, c.at[i])
		for _, n := range row {
			most = max(most, n)
		}
	}
	x := func(at time.Duration) float64 {
		return chartLeft + float64(at)/float64(end)*(chartWidth-chartLeft-20)
	}
	y := func(n int) float64 {
		return chartHeight - chartBottom - float64(n)/float64(most)*(chartHeight-chartBottom-30)
	}
	for i := range 5 {
		n, at, anchor := most*i/4, end*time.Duration(i)/4, "middle"
		if i == 4 {
			anchor = "end" // it would not fit
		}
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%d</text>`,
			chartLeft, chartWidth-20, y(n), y(n), chartLeft-6, y(n)+4, n)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="%s">%s</text>`, x(at), chartHeight-chartBottom+18, anchor, at.Round(time.Second))
	}
	for s := range c.stores {
		colour, width := "#9bb", 0.6
		switch s {
		case 0:
			colour, width = "#c33", 2
		case c.stores - 1:
			colour, width = "#282", 2
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="%.1f" points="`, colour, width)
		for i, row := range c.counts {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(c.at[i]), y(row[s]))
		}
		b.WriteString(`"/>`)
	}
	fmt.Fprintf(&b, `<text x="%d" y="18">regions a store holds over virtual time: one joins (green), one is lost (red)</text></svg>`, chartLeft)
	return b.String()
}
