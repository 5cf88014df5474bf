package playground

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// The test binary plays the children: with this variable set it behaves as `shoal scheduler` or `shoal store` would, as far
// as the playground can tell.
const fakeEnv = "SHOAL_PLAYGROUND_FAKE"

func TestMain(m *testing.M) {
	if mode := os.Getenv(fakeEnv); mode != "" {
		os.Exit(fake(mode, os.Args[1:]))
	}
	// etcd ends the connections between the members of a group after their time limit, some seconds later.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		// A log file that is rotated keeps one goroutine for the life of the process.
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
	)
}

// fake modes: "good" serves; "broken-scheduler" has a scheduler that ends at once; "deaf" ignores SIGTERM.
func fake(mode string, args []string) int {
	flags := map[string]string{}
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		flags[k] = v
	}
	if err := os.MkdirAll(flags["data-dir"], 0o755); err != nil {
		return 1
	}
	listen := flags["addr"]
	if args[0] == "scheduler" {
		if mode == "broken-scheduler" {
			fmt.Fprintln(os.Stderr, "no way to live")
			return 3
		}
		listen = strings.TrimPrefix(flags["client-urls"], "http://")
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return 1
	}
	go func() { _ = http.Serve(l, http.HandlerFunc(fakeAPI)) }()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "fake", args[0], "begins")
	for range signals {
		if mode != "deaf" {
			break
		}
	}
	fmt.Fprintln(os.Stderr, "fake", args[0], "ends")
	return 0
}

// fakeAPI answers as a scheduler whose two stores have one region between them.
func fakeAPI(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/pd/api/v1/stores":
		_, _ = io.WriteString(w, `{"stores":[{"store":{"id":1,"state_name":"Up"}},{"store":{"id":2,"state_name":"Up"}}]}`)
	case "/pd/api/v1/regions":
		_, _ = io.WriteString(w, `{"regions":[{"id":9,"peers":[{"id":3,"store_id":1},{"id":4,"store_id":2}],"leader":{"id":3,"store_id":1}}]}`)
	}
}
