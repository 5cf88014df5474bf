package simcmd

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/scheduler/paper"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/wire"
)

// paperFlags are what `shoal sim scheduler` was told.
type paperFlags struct {
	stores, regions int
	limit           float64
	svg             string
	longest         time.Duration
}

func schedulerCommand() *cobra.Command {
	f := &paperFlags{}
	cmd := &cobra.Command{
		Use:   "scheduler",
		Short: "Measure the scheduler against a large cluster on paper",
		Long: `Runs the real scheduler against stores and regions that are only data: no processes, no disks, a snapshot is a delay in virtual time.

It measures, in real time on this machine, how many region heartbeats a core takes in a second, what a region costs in memory,
and how many lookups go on beside heartbeats; and, in virtual time, how long and how many moves it takes until all is even after
a store joins, and whole after one is lost, against the least number of moves that could do. A million regions take 2.5 GiB
of memory and five minutes; what it is at goes to standard error.`,
		Example: `  shoal sim scheduler                              # 100 stores, 1,000,000 regions
  shoal sim scheduler --stores 10 --regions 10000 --svg balance.svg`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.OutOrStdout(), cmd.ErrOrStderr()) },
	}
	p := cmd.Flags()
	p.IntVar(&f.stores, "stores", 100, "number of stores")
	p.IntVar(&f.regions, "regions", 1_000_000, "number of regions, with three replicas each")
	p.Float64Var(&f.limit, "store-limit", 2000, "peers that may come to or go from a store in a minute")
	p.StringVar(&f.svg, "svg", "", "draw the stores' regions over virtual time to a `file`")
	p.DurationVar(&f.longest, "longest", 2*time.Hour, "virtual time after which to give up waiting for balance or repair")
	return cmd
}

func (f *paperFlags) run(out, progress io.Writer) error {
	if f.stores < 4 || f.regions < 1 {
		return errors.Errorf("%d stores and %d regions: there must be at least 4 and 1", f.stores, f.regions)
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"what", "result"})
	t.AppendRow(table.Row{"stores, regions", fmt.Sprintf("%d, %d", f.stores, f.regions)})
	began := time.Now()
	say := func(what string) { fmt.Fprintf(progress, "%6s  %s\n", time.Since(began).Round(time.Second), what) }
	say("measuring heartbeats and lookups")
	f.measure(t)
	chart := f.live(t, say)
	fmt.Fprintln(out, t.Render())
	if f.svg == "" {
		return nil
	}
	return errors.Trace(os.WriteFile(f.svg, []byte(chart.svg()), 0o644)) //nolint:gosec // a picture for everybody
}

// measure feeds heartbeats as they come off the wire to a scheduler.
func (f *paperFlags) measure(t table.Writer) {
	c := paper.New(paper.Config{Forget: true}, f.stores)
	beats := make([][]byte, f.regions)
	for i := range beats {
		beats[i] = f.heartbeat(i)
	}
	before := heap()
	began := time.Now()
	feed := func(i int) {
		req := new(pdpb.RegionHeartbeatRequest)
		if err := req.Unmarshal(beats[i]); err != nil {
			panic(err)
		}
		_ = c.Report(wire.Region(req))
	}
	for i := range beats {
		feed(i)
	}
	fresh := time.Since(began)
	c.Settle()
	perRegion := float64(heap()-before) / float64(f.regions)
	began = time.Now()
	for i := range beats {
		feed(i)
	}
	known := time.Since(began)
	t.AppendRow(table.Row{"heartbeats a second and core, new regions", fmt.Sprintf("%.0f", float64(f.regions)/fresh.Seconds())})
	t.AppendRow(table.Row{"heartbeats a second and core, known regions", fmt.Sprintf("%.0f", float64(f.regions)/known.Seconds())})
	t.AppendRow(table.Row{"memory a region", fmt.Sprintf("%.0f bytes", perRegion)})

	var desk sync.RWMutex
	var all sync.WaitGroup
	stop := make(chan struct{})
	beating, looked := 0, 0
	all.Go(func() {
		for i := 0; ; i = (i + 1) % f.regions {
			select {
			case <-stop:
				return
			default:
			}
			desk.Lock()
			feed(i)
			desk.Unlock()
			beating++
		}
	})
	began = time.Now()
	for at := 0; time.Since(began) < 2*time.Second; at = (at + 7919) % f.regions {
		desk.RLock()
		r := c.Term.Picture.RegionOf(paperKey(at))
		desk.RUnlock()
		if r != nil {
			looked++
		}
	}
	close(stop)
	all.Wait()
	t.AppendRow(table.Row{"lookups a second beside heartbeats", fmt.Sprintf("%.0f, beside %.0f heartbeats", float64(looked)/2, float64(beating)/2)})
	runtime.KeepAlive(beats)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func paperKey(i int) []byte { return fmt.Appendf(nil, "%08d", i) }

// placed are the stores of the i-th region, the leader's first.
func (f *paperFlags) placed(i int) []uint64 {
	n := f.stores
	return []uint64{uint64(i%n) + 1, uint64((i+1+i/n%(n-1))%n) + 1, uint64((i+1+(i/n+1)%(n-1))%n) + 1}
}

func (f *paperFlags) heartbeat(i int) []byte {
	m := &metapb.Region{Id: uint64(10 * (i + 1)), RegionEpoch: &metapb.RegionEpoch{Version: 1 << 20, ConfVer: 5}}
	if i > 0 {
		m.StartKey = paperKey(i)
	}
	if i < f.regions-1 {
		m.EndKey = paperKey(i + 1)
	}
	for j, s := range f.placed(i) {
		m.Peers = append(m.Peers, &metapb.Peer{Id: m.Id + uint64(j) + 1, StoreId: s})
	}
	req := &pdpb.RegionHeartbeatRequest{
		Region: m, Leader: m.Peers[0], Term: 6, ApproximateSize: 96 << 20, ApproximateKeys: 900_000, BytesWritten: 6000, KeysWritten: 60,
		Interval: &pdpb.TimeInterval{StartTimestamp: 1, EndTimestamp: 61},
	}
	b, err := req.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

// live joins a store to a balanced cluster, and then loses one.
func (f *paperFlags) live(t table.Writer, say func(string)) *chart {
	say("all regions report to a scheduler that has just begun to lead")

	cfg := schedule.DefaultConfig()
	cfg.StoreLimitAddPeer, cfg.StoreLimitRemovePeer = f.limit, f.limit
	cfg.MaxMergeRegionSize = 0
	cfg.ReplicaScheduleLimit = 2048
	cfg.MaxStoreDownTime = schedule.Duration(5 * time.Minute)
	c := paper.New(paper.Config{Schedule: cfg, Forget: true, Bandwidth: 1 << 30}, f.stores)
	c.Split(f.regions, 96<<20, f.placed)
	began, now := c.Now(), time.Now()
	ch := newChart(f.stores + 1)
	until := func(done func() bool) (time.Duration, bool) {
		from, looks := c.Now(), 0
		ok := c.Run(f.longest, func() bool {
			if looks++; looks%50 != 0 {
				return false
			}
			ch.add(c.Now().Sub(began), func(store uint64) int { return c.Term.Picture.Tally(store).Regions })
			return done()
		})
		return c.Now().Sub(from), ok
	}
	until(func() bool { return c.Now().Sub(began) > time.Minute })
	newcomer := uint64(f.stores + 1)
	say("a store joins")
	c.Join(newcomer, nil)
	adds := c.Orders["add"]
	each := 3 * f.regions / (f.stores + 1)
	took, ok := until(func() bool { return float64(c.Term.Picture.Tally(newcomer).Regions) >= 0.95*float64(each) })
	t.AppendRow(table.Row{"a store joins: within 5 % of even", spent(took, ok)})
	t.AppendRow(table.Row{"  moves, and the least that would do", fmt.Sprintf("%d, %d", c.Orders["add"]-adds, each*95/100)})

	lost := uint64(1)
	held := c.Term.Picture.Tally(lost).Regions
	adds = c.Orders["add"]
	c.Kill(lost)
	say("a store is lost")
	took, ok = until(func() bool { return c.Term.Picture.Tally(lost).Regions == 0 })
	t.AppendRow(table.Row{"a store is lost (5 min until it counts as lost): all replicas again", spent(took, ok)})
	t.AppendRow(table.Row{"  moves, and the least that would do", fmt.Sprintf("%d, %d", c.Orders["add"]-adds, held)})
	t.AppendRow(table.Row{"virtual and real time, heartbeats", fmt.Sprintf("%s, %s, %d", c.Now().Sub(began).Round(time.Second), time.Since(now).Round(time.Second), c.Heartbeats)})
	return ch
}

func spent(d time.Duration, ok bool) string {
	if !ok {
		return "not within " + d.Round(time.Second).String()
	}
	return d.Round(time.Second).String()
}
