package dashboard_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/dashboard"
)

// wide says that something sticks out of the window to the right.
const wide = `document.documentElement.scrollWidth > document.documentElement.clientWidth`

func TestPageInABrowser(t *testing.T) {
	b := newBrowser(t)
	if b == nil {
		return
	}
	var leads atomic.Bool
	leads.Store(true)
	f := newFake(3000)
	s := serve(t, func() dashboard.Source {
		if !leads.Load() {
			return nil
		}
		return f
	})
	for _, window := range []struct {
		width  int
		scheme string
	}{{1440, "dark"}, {360, "light"}} {
		b.open(s.URL+"/dashboard", window.width, 800, window.scheme)
		b.becomes(`document.querySelectorAll("#stores tbody tr").length === 4`)
		require.Equal(t, false, b.eval(wide), "%d pixels are enough", window.width)
		require.Equal(t, "live", b.eval(`document.getElementById("live").textContent`))
		require.Equal(t, 50.0, b.eval(`document.querySelectorAll("#ended tbody tr").length`))
		require.Equal(t, 3.0, b.eval(`document.querySelectorAll("#events li").length`))
		require.Equal(t, true, b.eval(`document.getElementById("stores").innerText.includes("Down")`))
		require.Equal(t, true, b.eval(`document.getElementById("ended").innerText.includes("<b>because</b>")`), "what others wrote is text")
		require.Equal(t, 8.0, b.eval(`document.querySelectorAll("#hottest tbody tr").length`))
		require.Equal(t, true, b.eval(`[...document.getElementById("strip").getContext("2d").getImageData(0, 0, 300, 10).data].some(c => c)`), "the strip is painted")
		b.tryStrip()
		require.Equal(t, false, b.eval(wide))
	}
	b.quiet()

	leads.Store(false)
	b.becomes(`document.getElementById("live").textContent === "cut off" && document.getElementById("alert").innerText.includes("not leader")`)
	leads.Store(true)
	b.becomes(`document.getElementById("live").textContent === "live" && document.getElementById("alert").hidden`)
	b.eval(`document.getElementById("pause").click()`)
	require.Equal(t, "paused", b.eval(`document.getElementById("live").textContent`))
}

// tryStrip goes into a piece of the strip and out again, with the keys and the mouse, and looks at regions.
func (b *browser) tryStrip() {
	const key = `(name => document.getElementById("strip").dispatchEvent(new KeyboardEvent("keydown", { key: name })))`
	regions := func(n string) {
		b.becomes(`document.getElementById("shown").textContent.startsWith("` + n + ` region")`)
	}
	regions("3000")
	b.eval(key + `("End")`)
	b.becomes(`document.getElementById("pickedTitle").textContent.includes("region") && document.getElementById("picked").innerText.includes("the last key")`)
	b.eval(key + `("Home")`)
	b.eval(key + `("Enter")`)
	b.becomes(`!document.getElementById("out").hidden && strip.buckets.every(b => b.n === 1)`)
	b.eval(key + `("ArrowRight")`)
	b.eval(key + `("ArrowRight")`)
	b.eval(key + `("ArrowRight")`)
	b.becomes(`document.getElementById("pickedTitle").textContent === "Region 3" && document.getElementById("picked").innerText.includes("no store may take a replica")`)
	b.eval(`(c => { const r = c.getBoundingClientRect(); c.dispatchEvent(new MouseEvent("click", { clientX: r.left + 1, clientY: r.top + 5 })); })(document.getElementById("strip"))`)
	b.becomes(`document.getElementById("pickedTitle").textContent === "Region 1"`)
	b.eval(key + `("Escape")`)
	regions("3000")
	b.eval(`document.querySelector("#running button").click()`)
	b.becomes(`document.getElementById("pickedTitle").textContent === "Region 3"`)
	b.eval(`document.querySelector("input[value=size]").click()`)
	require.Contains(b.t, b.eval(`document.getElementById("most").textContent`), "MiB a region")
}
