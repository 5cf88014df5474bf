// Package profiling serves Go's profiles over HTTP, the same on a store and on a scheduler: /debug/pprof/ as go tool pprof
// asks for it. Profiles cost time and show what is in memory, so that they are there only when an operator has said so; to
// one who has not, the answer says which key it takes.
package profiling

import (
	"fmt"
	"net/http"
	"net/http/pprof"
)

// Path is below which the handler answers.
const Path = "/debug/pprof/"

// Handler serves the profiles, or without enabled says that key, of the configuration, turns them on.
func Handler(enabled bool, key string) http.Handler {
	mux := http.NewServeMux()
	if !enabled {
		mux.HandleFunc(Path, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, fmt.Sprintf("profiling is off; it takes %s = true in the configuration", key), http.StatusNotFound)
		})
		return mux
	}
	mux.HandleFunc("GET "+Path, pprof.Index) // also heap, goroutine and whatever else has a name
	mux.HandleFunc("GET "+Path+"cmdline", pprof.Cmdline)
	mux.HandleFunc("GET "+Path+"profile", pprof.Profile)
	mux.HandleFunc("GET "+Path+"symbol", pprof.Symbol)
	mux.HandleFunc("POST "+Path+"symbol", pprof.Symbol) // that is how pprof asks
	mux.HandleFunc("GET "+Path+"trace", pprof.Trace)
	return mux
}
