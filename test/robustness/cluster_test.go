// Package robustness runs Shoal as its users do: real processes, driven through the unmodified TiKV client, and killed.
package robustness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pingcap/log"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// process is one child, with what it takes to start it again.
type process struct {
	name string
	args []string
	cmd  *exec.Cmd
	log  *os.File
}

// cluster is a scheduler and stores, each a process of its own.
type cluster struct {
	t         *testing.T
	bin, dir  string
	pd        string
	scheduler *process
	stores    []*process
	status    []string
}

// buildBinary builds the binary that users get.
func buildBinary(t *testing.T) string {
	bin := filepath.Join(t.TempDir(), "shoal")
	cmd := exec.Command("go", "build", "-o", bin, "github.com/shoal-kv/shoal/cmd/shoal")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return bin
}

// given are the ports that processes of this run were told to listen on.
var given sync.Map

// freePorts are ports that nobody listens on, none of them twice: a process may take its time until it does. They are none that the system gives to those who dial,
// on Linux, for a process that starts again must find its own free.
func freePorts(t *testing.T, n int) (ports []int) {
	for tries := 0; len(ports) < n; tries++ {
		require.Less(t, tries, 1000, "no port is free")
		port := 21000 + rand.IntN(11000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		if _, taken := given.LoadOrStore(port, true); !taken {
			ports = append(ports, port)
		}
	}
	return ports
}

// startCluster starts n stores, with the given flags besides those that every store needs.
func startCluster(t *testing.T, bin string, n int, flags ...string) *cluster {
	c := &cluster{t: t, bin: bin, dir: t.TempDir()}
	ports := freePorts(t, 2+2*n)
	addr := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	c.pd = addr(0)
	t.Cleanup(c.stop)
	c.scheduler = c.start("scheduler", "scheduler", "--name", "pd1", "--data-dir", filepath.Join(c.dir, "pd"),
		"--client-urls", "http://"+c.pd, "--peer-urls", "http://"+addr(1))
	for i := range n {
		c.status = append(c.status, addr(3+2*i))
		args := append([]string{
			"store", "--pd", c.pd, "--addr", addr(2 + 2*i), "--status-addr", addr(3 + 2*i), "--data-dir", filepath.Join(c.dir, fmt.Sprintf("kv%d", i)),
		}, flags...)
		c.stores = append(c.stores, c.start(fmt.Sprintf("store%d", i), args...))
	}
	c.waitWhole(n)
	return c
}

func (c *cluster) start(name string, args ...string) *process {
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(c.t, err)
	p := &process{name: name, args: args, log: log}
	c.spawn(p)
	return p
}

func (c *cluster) spawn(p *process) {
	p.cmd = exec.Command(c.bin, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(c.t, p.cmd.Start())
}

// kill is a power cut for one process.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (c *cluster) stop() {
	for _, p := range append(c.stores, c.scheduler) {
		if p != nil && p.cmd != nil && p.cmd.ProcessState == nil {
			p.kill()
		}
	}
	if c.t.Failed() {
		for _, p := range append(c.stores, c.scheduler) {
			c.t.Logf("%s: %s", p.name, c.tail(p))
		}
	}
}

func (c *cluster) tail(p *process) string {
	b, _ := os.ReadFile(p.log.Name())
	lines := strings.Split(string(b), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// get reads JSON; false when there was no good answer.
func (c *cluster) get(url string, into any) bool {
	body := c.page(url)
	return body != nil && json.Unmarshal(body, into) == nil
}

// page reads what is at an address; nil when there was no good answer.
func (c *cluster) page(url string) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(c.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

// regions is the scheduler's answer about all regions.
type regions struct {
	Regions []struct {
		ID    uint64 `json:"id"`
		Peers []struct {
			StoreID uint64 `json:"store_id"`
		} `json:"peers"`
		Leader struct {
			StoreID uint64 `json:"store_id"`
		} `json:"leader"`
		DownPeers    []any `json:"down_peers"`
		PendingPeers []any `json:"pending_peers"`
	} `json:"regions"`
}

func (c *cluster) waitWhole(replicas int) {
	require.Eventually(c.t, func() bool {
		var r regions
		if !c.get("http://"+c.pd+"/pd/api/v1/regions", &r) || len(r.Regions) == 0 {
			return false
		}
		for _, one := range r.Regions {
			if len(one.Peers) != replicas || len(one.PendingPeers) > 0 || one.Leader.StoreID == 0 {
				return false
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond, "every region has %d replicas", replicas)
}

// regionStatus is a store's own word about a region.
type regionStatus struct {
	IsLeader bool `json:"is_leader"`
	Log      struct {
		Applied uint64 `json:"applied"`
	} `json:"log"`
}

func (c *cluster) regionOn(i int, region uint64) (regionStatus, bool) {
	var s regionStatus
	return s, c.get(fmt.Sprintf("http://%s/region/%d", c.status[i], region), &s)
}

// waitCaughtUp waits until a store has applied what another one has now.
func (c *cluster) waitCaughtUp(i int, region uint64) {
	var goal uint64
	for j := range c.stores {
		if s, ok := c.regionOn(j, region); ok && j != i {
			goal = max(goal, s.Log.Applied)
		}
	}
	require.Eventually(c.t, func() bool {
		s, ok := c.regionOn(i, region)
		return ok && s.Log.Applied >= goal
	}, time.Minute, 50*time.Millisecond, "store %d catches up with index %d", i, goal)
}

// quietClient silences the client's logger, which is a global one. It asks for the logger's level when it gives up, so there must be one.
func quietClient() {
	log.ReplaceGlobals(zap.NewNop(), &log.ZapProperties{Level: zap.NewAtomicLevel()})
}
