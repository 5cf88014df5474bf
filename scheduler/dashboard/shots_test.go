package dashboard_test

import (
	"os"
	"path/filepath"
	"testing"
)

// TestScreenshots takes pictures of the page of a scheduler that runs, if SHOAL_DASHBOARD names its URL, into the directory SHOAL_SHOTS (the working one if that is
// empty): wide and narrow, light and dark.
func TestScreenshots(t *testing.T) {
	url := os.Getenv("SHOAL_DASHBOARD")
	if url == "" {
		return
	}
	b := newBrowser(t)
	if b == nil {
		return
	}
	for _, window := range []struct {
		name, scheme string
		width        int
	}{{"wide-light", "light", 1440}, {"wide-dark", "dark", 1440}, {"middle-light", "light", 800}, {"narrow-light", "light", 360}, {"narrow-dark", "dark", 360}} {
		b.open(url+"/dashboard", window.width, 900, window.scheme)
		b.becomes(`document.querySelectorAll("#stores tbody tr").length > 0`)
		b.eval(`go(Math.floor(strip.buckets.length / 2)), new Promise(done => setTimeout(done, 7000))`)
		b.shoot(filepath.Join(os.Getenv("SHOAL_SHOTS"), window.name+".png"))
	}
	b.quiet()
}
