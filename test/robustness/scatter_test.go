package robustness

import (
	"net/http"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Scattering spreads a group of regions over all stores, and the lead of them, without help of the schedulers that balance.
func TestScatter(t *testing.T) {
	f := startFleet(t, 1, smallPieces(t, 768))
	f.join(3)
	f.quick()
	rest := f.fill(12)
	f.must(http.MethodPost, "/config", map[string]any{"leader-schedule-limit": 0, "region-schedule-limit": 0, "hot-region-schedule-limit": 0})
	f.join(2)
	f.within(placementLimit(), "every region is well", f.amiss)
	require.NotEmpty(t, f.uneven(0.25), "nobody moves anything unasked")
	f.within(placementLimit(), "every region is on its way", func() string { // one that has just split is refused for a moment
		args := []string{"ctl", "--pd", f.pd, "--timeout", "20s", "region", "scatter", "--group", "all"}
		for _, r := range f.placement() {
			args = append(args, strconv.FormatUint(r.ID, 10))
		}
		if out, err := exec.Command(f.bin, args...).CombinedOutput(); err != nil {
			return string(out)
		}
		return ""
	})
	f.within(placementLimit(), "the regions are spread", func() string {
		if what := f.uneven(0.25); what != "" {
			return what
		}
		return f.amiss()
	})
	rest()
}
