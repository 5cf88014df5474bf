package playground

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/errors"
)

// How a running playground is told to grow and shrink: over a socket of the user's own.
//
// The playground owns the processes: they die with it, and it tells of those that die alone. So it starts and stops them itself, and another
// process asks it to. A socket file, not a port: only the user who started the playground may open it, no web page and no other user of the
// machine can reach it, and no port has to be chosen. It lies in a directory of the user's, under the address that clients have for --pd, not in
// the data directory, which may be a temporary one that nobody knows by name, and longer than a socket's name may be.

// part is one part of a running playground, as it is told.
type part struct {
	Name    string `json:"name"`
	Addr    string `json:"addr"`
	Status  string `json:"status"`
	PID     int    `json:"pid"`
	Store   bool   `json:"store"`
	Running bool   `json:"running"`
}

// parts are all of it.
type parts struct {
	PD    string `json:"pd"`
	Dir   string `json:"dir"`
	Parts []part `json:"parts"`
}

// socketDir is the user's directory for sockets; it is made if it is not there, and refused if somebody else has made it.
func socketDir() (string, error) {
	dir := filepath.Join(os.TempDir(), "shoal-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", errors.WithStack(err)
	}
	return dir, errors.Annotate(os.Chmod(dir, 0o700), "the directory for the playgrounds' sockets belongs to somebody else") // only its owner can
}

const socketSuffix = ".sock"

// socketOf is the socket of the playground whose first scheduler is at addr.
func socketOf(dir, addr string) string {
	return filepath.Join(dir, strings.ReplaceAll(addr, ":", "-")+socketSuffix)
}

// order is something that the playground's one goroutine is to do.
type order struct {
	do   func() (any, error)
	done chan<- answer
}

type answer struct {
	value any
	err   error
}

// control serves the socket.
type control struct {
	orders  chan<- order
	server  http.Server
	serving sync.WaitGroup
	dir     string
}

// startControl listens; the orders that arrive are to be carried out until it is closed. The playground does without when it cannot be had.
func (p *playground) startControl() (*control, error) {
	dir, err := socketDir()
	if err != nil {
		return nil, err
	}
	name := socketOf(dir, p.specs[0].addr)
	_ = os.Remove(name) // of one that was killed: its ports are ours now
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, errors.WithStack(err)
	}
	orders := make(chan order)
	p.orders = orders
	c := &control{orders: orders, dir: dir}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /parts", c.serve(func(*http.Request) (any, error) { return p.describe(), nil }))
	mux.HandleFunc("POST /stores", c.serve(func(r *http.Request) (any, error) {
		n, err := strconv.Atoi(r.URL.Query().Get("count"))
		if err != nil || n < 1 {
			return nil, errors.New("count must be at least 1")
		}
		return p.grow(n)
	}))
	mux.HandleFunc("DELETE /stores/{name}", c.serve(func(r *http.Request) (any, error) { return nil, p.shrink(r.PathValue("name")) }))
	c.server = http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	c.serving.Go(func() { _ = c.server.Serve(l) }) // it ends when it is closed
	return c, nil
}

// serve has the playground's goroutine do what a request asks for.
func (c *control) serve(do func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		done := make(chan answer, 1)
		select {
		case c.orders <- order{do: func() (any, error) { return do(r) }, done: done}:
		case <-r.Context().Done():
			return
		}
		a := <-done
		if a.err != nil {
			http.Error(w, a.err.Error(), http.StatusConflict)
			return
		}
		_ = json.NewEncoder(w).Encode(a.value) // who asked may have gone
	}
}

func (c *control) close() {
	_ = c.server.Close() // removes the socket, too
	c.serving.Wait()
	_ = os.Remove(c.dir) // unless another playground has its socket there
}

// remote is a running playground, seen from another process.
type remote struct {
	http  http.Client
	parts parts
}

// findRemote finds the playground at a scheduler's address, or the only one there is.
func findRemote(ctx context.Context, addr string) (*remote, error) {
	dir, err := socketDir()
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+socketSuffix))
	if err != nil {
		return nil, errors.WithStack(err)
	}
	_ = os.Remove(dir) // unless there are sockets in it
	if addr != "" {
		names = []string{socketOf(dir, addr)}
	}
	var found []*remote
	var where []string
	for _, name := range names {
		r := &remote{http: http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", name)
		}}}}
		if r.ask(ctx, http.MethodGet, "/parts", &r.parts) == nil {
			found, where = append(found, r), append(where, r.parts.PD)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, errors.Errorf("several playgrounds run; say which with --at: %s", strings.Join(where, ", "))
	case addr != "":
		return nil, errors.Errorf("no playground of yours runs at %s; `shoal playground display` finds the only one without --at", addr)
	}
	return nil, errors.New("no playground of yours runs; `shoal playground` starts one")
}

// ask asks the playground; what it refuses is in its own words.
func (r *remote) ask(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://playground"+path, nil)
	if err != nil {
		return errors.WithStack(err)
	}
	res, err := r.http.Do(req)
	if err != nil {
		return errors.WithStack(err)
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	if res.StatusCode != http.StatusOK {
		text := make([]byte, 4<<10)
		n, _ := res.Body.Read(text) // the beginning says it
		return fmt.Errorf("the playground answers: %s", strings.TrimSpace(string(text[:n])))
	}
	if into == nil {
		return nil
	}
	return errors.WithStack(json.NewDecoder(res.Body).Decode(into))
}
