package failover

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/schedulertest"
	"github.com/shoal-kv/shoal/scheduler/server"
)

// memberEnv, when set, makes the test binary a scheduler: its value is a plan in JSON.
const memberEnv = "SHOAL_FAILOVER_MEMBER"

// plan is what a scheduler that runs as a process of its own is told.
type plan struct {
	Name, DataDir, Client, Peer, InitialCluster string
	Ahead                                       time.Duration // of its wall clock
}

func TestMain(m *testing.M) {
	if text := os.Getenv(memberEnv); text != "" {
		os.Exit(runMember(text))
	}
	os.Exit(m.Run())
}

// runMember is a scheduler whose wall clock follows what it reads: a duration a line. The end of input is the end of the
// test that started it.
func runMember(text string) int {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var ahead atomic.Int64
	ahead.Store(int64(p.Ahead))
	logger, err := zap.NewDevelopment(zap.IncreaseLevel(zap.InfoLevel))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := server.New(server.Config{
		Name: p.Name, DataDir: p.DataDir, ClientURLs: []string{p.Client}, PeerURLs: []string{p.Peer},
		InitialCluster: p.InitialCluster, Logger: logger,
		Clocks: server.Clocks{Wall: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }},
	})
	if err == nil {
		err = s.Start(context.Background())
	}
	if err != nil {
		logger.Error("cannot start", zap.Error(err))
		return 1
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		d, err := time.ParseDuration(lines.Text())
		if err != nil {
			logger.Error("cannot step the clock", zap.Error(err))
			return 1
		}
		ahead.Store(int64(d))
	}
	s.Close()
	return 0
}

// member is one scheduler process, which can be killed, frozen and started again on the same data.
type member struct {
	plan
	t     *testing.T
	cmd   *exec.Cmd
	clock io.WriteCloser // its standard input
	log   string
}

// group is three of them.
type group struct {
	t       *testing.T
	members []*member
	http    http.Client
}

func startGroup(t *testing.T) *group {
	g := &group{t: t, http: http.Client{Timeout: time.Second}}
	dir := t.TempDir()
	var initial []string
	for i := range 3 {
		p := plan{
			Name: fmt.Sprintf("pd%d", i+1), Client: schedulertest.FreeURL(t), Peer: schedulertest.FreeURL(t),
			DataDir: filepath.Join(dir, fmt.Sprintf("pd%d", i+1)),
		}
		initial = append(initial, p.Name+"="+p.Peer)
		g.members = append(g.members, &member{plan: p, t: t, log: filepath.Join(dir, p.Name+".log")})
	}
	t.Cleanup(g.stop)
	for _, m := range g.members {
		m.InitialCluster = strings.Join(initial, ",")
		m.start()
	}
	return g
}

func (g *group) stop() {
	for _, m := range g.members {
		if m.cmd != nil {
			m.kill()
		}
		if g.t.Failed() {
			text, _ := os.ReadFile(m.log)
			g.t.Logf("the end of %s:\n%s", m.log, text[max(0, len(text)-8<<10):])
		}
	}
	g.http.CloseIdleConnections()
}

func (m *member) start() {
	text, err := json.Marshal(m.plan)
	require.NoError(m.t, err)
	out, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(m.t, err)
	defer out.Close()
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), memberEnv+"="+string(text))
	m.cmd.Stdout, m.cmd.Stderr = out, out
	m.clock, err = m.cmd.StdinPipe()
	require.NoError(m.t, err)
	require.NoError(m.t, m.cmd.Start())
}

// kill ends the process as a power failure would, as far as other members can tell.
func (m *member) kill() {
	require.NoError(m.t, m.cmd.Process.Kill())
	_ = m.cmd.Wait() // it says that it was killed
	_ = m.clock.Close()
	m.cmd = nil
}

func (m *member) freeze() { require.NoError(m.t, m.cmd.Process.Signal(syscall.SIGSTOP)) }
func (m *member) thaw()   { require.NoError(m.t, m.cmd.Process.Signal(syscall.SIGCONT)) }

// stepTo sets its wall clock ahead of (or behind) the real time; a member that does not run starts with it.
func (m *member) stepTo(ahead time.Duration) {
	m.Ahead = ahead
	if m.cmd != nil {
		_, err := fmt.Fprintln(m.clock, ahead)
		require.NoError(m.t, err)
	}
}

func (g *group) urls() []string {
	var urls []string
	for _, m := range g.members {
		urls = append(urls, m.Client)
	}
	return urls
}

func (g *group) get(url string, into any) bool {
	res, err := g.http.Get(url)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(into) == nil
}

// leader is the member that says itself that it leads and serves; nil if none does.
func (g *group) leader() *member {
	for _, m := range g.members {
		var at struct{ Name string }
		var cluster struct{ ID uint64 }
		// A follower would pass the second request on, so the first must name the very member that is asked.
		if m.cmd != nil && g.get(m.Client+"/pd/api/v1/leader", &at) && at.Name == m.Name &&
			g.get(m.Client+"/pd/api/v1/cluster", &cluster) {
			return m
		}
	}
	return nil
}

// whole reports that every member answers and knows the leader.
func (g *group) whole() bool {
	for _, m := range g.members {
		var at struct{ Name string }
		if m.cmd == nil || !g.get(m.Client+"/pd/api/v1/leader", &at) {
			return false
		}
	}
	return g.leader() != nil
}
