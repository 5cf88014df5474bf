package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// replica is what one store says of its peer of a region.
type replica struct {
	StoreID  uint64 `json:"store_id"`
	PeerID   uint64 `json:"peer_id"`
	IsLeader bool   `json:"is_leader"`
	Term     uint64 `json:"term,omitempty"`
	// Error is why the store could not be asked.
	Error string `json:"error,omitempty"`
	Peer  struct {
		Log struct {
			Truncated uint64 `json:"truncated"`
			Applied   uint64 `json:"applied"`
			Committed uint64 `json:"committed"`
			Last      uint64 `json:"last"`
			Bytes     uint64 `json:"bytes"`
		} `json:"log"`
		Followers []struct {
			PeerID   uint64 `json:"peer_id"`
			State    string `json:"state"`
			Match    uint64 `json:"match"`
			Lag      uint64 `json:"lag"`
			Snapshot uint64 `json:"snapshot,omitempty"`
		} `json:"followers,omitempty"`
		Consistency struct {
			Asked uint64 `json:"asked"`
			Index uint64 `json:"index"`
			Hash  string `json:"hash"`
			// Differs says that the last comparison found the replica unlike its leader's.
			Differs bool `json:"differs,omitempty"`
		} `json:"consistency"`
		Damaged  string `json:"damaged,omitempty"`
		Snapshot struct {
			Installing uint64 `json:"installing,omitempty"`
		} `json:"snapshot"`
		// MergeInto is the region that this one is frozen for.
		MergeInto uint64 `json:"merge_into,omitempty"`
	} `json:"peer"`
}

// statusServers are where the stores' status servers listen, by store.
type statusServers map[uint64]string

func findStatusServers(ctx context.Context, api *pdapi.Client) (statusServers, error) {
	stores, err := api.Stores(ctx)
	if err != nil {
		return nil, err
	}
	servers := make(statusServers)
	for _, s := range stores {
		servers[s.Store.ID] = s.Store.StatusAddress
	}
	return servers, nil
}

// call asks one store. A store's refusal is its own words.
func (s statusServers) call(ctx context.Context, method string, store uint64, path string, into any) error {
	address := s[store]
	if address == "" {
		return errors.Errorf("store %d has no status server", store)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, nil)
	if err != nil {
		return errors.Trace(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.Annotatef(err, "store %d", store)
	}
	defer res.Body.Close() // only read from
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return errors.Annotatef(err, "store %d", store)
	}
	if res.StatusCode != http.StatusOK {
		return errors.Errorf("store %d: %s", store, strings.TrimSpace(string(body)))
	}
	if into == nil {
		return nil
	}
	return errors.Annotatef(json.Unmarshal(body, into), "store %d: %s", store, path)
}

// answerOfStore is how long one store is waited for: one that hangs must not keep the others' answers back.
const answerOfStore = 3 * time.Second

// replicas asks every store of a region for its peer, all at once.
func (s statusServers) replicas(ctx context.Context, r pdapi.Region) []replica {
	ctx, cancel := context.WithTimeout(ctx, answerOfStore)
	defer cancel()
	list := make([]replica, len(r.Peers))
	var asking sync.WaitGroup
	for i, p := range r.Peers {
		asking.Go(func() {
			if err := s.call(ctx, http.MethodGet, p.StoreID, fmt.Sprintf("/region/%d", r.ID), &list[i]); err != nil {
				list[i].Error = err.Error()
			}
			list[i].StoreID, list[i].PeerID = p.StoreID, p.ID
		})
	}
	asking.Wait()
	return list
}

// replicaRows joins what each store says of its own peer, and what the leader says of the others.
func replicaRows(t table.Writer, region pdapi.Region, list []replica) {
	head(t, "store>", "peer>", "role", "applied>", "committed>", "log", "log size>", "follows")
	var notes []string // below the table, where there is room for them
	follows := make(map[uint64]string)
	for _, r := range list {
		for _, f := range r.Peer.Followers {
			follows[f.PeerID] = fmt.Sprintf("%s, lag %d", strings.ToLower(f.State), f.Lag)
			if f.Snapshot > 0 {
				follows[f.PeerID] += fmt.Sprintf(", snapshot %d", f.Snapshot)
			}
		}
	}
	for i, r := range list {
		role := "follower"
		if name := strings.ToLower(region.Peers[i].RoleName); name != "" && name != "voter" {
			role = name
		}
		if r.IsLeader {
			role = "leader"
		}
		log := r.Peer.Log
		if r.Error != "" {
			t.AppendRow(table.Row{r.StoreID, r.PeerID, role, "", "", "", "", follows[r.PeerID]})
			notes = append(notes, r.Error)
			continue
		}
		switch {
		case r.Peer.Damaged != "":
			notes = append(notes, fmt.Sprintf("store %d: damaged: %s", r.StoreID, r.Peer.Damaged))
		case r.Peer.Consistency.Differs:
			notes = append(notes, fmt.Sprintf("store %d: differs from the leader: consistency-check tells who is wrong", r.StoreID))
		}
		t.AppendRow(table.Row{
			r.StoreID, r.PeerID, role, log.Applied, log.Committed, fmt.Sprintf("%d…%d", log.Truncated+1, log.Last), bytesSize(float64(log.Bytes)),
			follows[r.PeerID],
		})
	}
	t.SetCaption("%s", strings.Join(notes, "\n"))
}

// comparison is what came of comparing one region's replicas.
type comparison struct {
	RegionID uint64    `json:"region_id"`
	Index    uint64    `json:"index"`
	Verdict  string    `json:"verdict"`
	Odd      []uint64  `json:"odd_stores,omitempty"`
	Replicas []replica `json:"replicas,omitempty"`
}

func consistencyCommand(opts *options) *cobra.Command {
	var all, repair bool
	cmd := &cobra.Command{
		Use:   "consistency-check [REGION]",
		Short: "Compare the replicas of a region, or of all",
		Long: `Compare the replicas of a region, or of all.

Every replica hashes what it holds at the same place of the region's log. With
--repair a replica that is not like the majority serves nobody from then on,
and has its data replaced by that of the others.`,
		Example: `  shoal ctl consistency-check 2
  shoal ctl consistency-check --all
  shoal ctl consistency-check 2 --repair`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: opts.complete(regionIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return errors.New("either the ID of a region or --all")
			}
			return opts.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
				found, err := compareRegions(ctx, cmd.ErrOrStderr(), api, id, opts.timeout, repair)
				if err != nil {
					return err
				}
				return opts.print(cmd.OutOrStdout(), found, func(t table.Writer) { comparisonRows(t, found) })
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all regions, one after the other")
	cmd.Flags().BoolVar(&repair, "repair", false, "rebuild a replica that the majority does not agree with")
	return cmd
}

func comparisonRows(t table.Writer, list []comparison) {
	t.AppendHeader(table.Row{"region", "index", "verdict", "store: hash"})
	for _, c := range list {
		var hashes []string
		for _, r := range c.Replicas {
			word := r.Peer.Consistency.Hash
			switch {
			case r.Peer.Damaged != "":
				word = "damaged"
			case r.Error != "" || r.Peer.Consistency.Index != c.Index:
				word = "no answer"
			}
			hashes = append(hashes, fmt.Sprintf("%d: %s", r.StoreID, word))
		}
		t.AppendRow(table.Row{c.RegionID, c.Index, c.Verdict, strings.Join(hashes, ", ")})
	}
}

func compareRegions(ctx context.Context, progress io.Writer, api *pdapi.Client, id uint64, each time.Duration, repair bool) ([]comparison, error) {
	servers, err := findStatusServers(ctx, api)
	if err != nil {
		return nil, err
	}
	var regions []pdapi.Region
	if id != 0 {
		r, err := api.Region(ctx, id)
		if err != nil {
			return nil, unknown(err, "region", id)
		}
		regions = append(regions, r)
	} else if regions, err = api.Regions(ctx); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx) // many regions take longer than one answer; each has its own time
	found := make([]comparison, 0, len(regions))
	for i, r := range regions {
		if len(regions) > 1 {
			fmt.Fprintf(progress, "\rcomparing %d of %d regions", i+1, len(regions))
		}
		once, end := context.WithTimeout(ctx, each)
		c := servers.compare(once, r)
		if repair && len(c.Odd) > 0 {
			c.Verdict = servers.repair(once, r, c)
		}
		end()
		found = append(found, c)
	}
	if len(regions) > 1 {
		fmt.Fprintln(progress)
	}
	return found, nil
}

// compare begins a comparison at the leader and waits until every replica has its hash, or the time is over.
func (s statusServers) compare(ctx context.Context, r pdapi.Region) comparison {
	c := comparison{RegionID: r.ID}
	if r.Leader == nil {
		c.Verdict = "the region has no leader"
		return c
	}
	if err := s.call(ctx, http.MethodPost, r.Leader.StoreID, fmt.Sprintf("/region/%d/consistency-check", r.ID), nil); err != nil {
		c.Verdict = err.Error()
		return c
	}
	for {
		list := s.replicas(context.WithoutCancel(ctx), r)
		for _, one := range list {
			c.Index = max(c.Index, one.Peer.Consistency.Asked)
		}
		c.Replicas = list
		if c.judge() || ctx.Err() != nil {
			return c
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// judge says what the replicas' hashes mean; false while one is missing that may still come.
func (c *comparison) judge() bool {
	votes, complete := make(map[string]int), true
	for _, r := range c.Replicas {
		switch {
		case r.Peer.Damaged != "":
		case r.Error != "" || r.Peer.Consistency.Index != c.Index:
			complete = false
		default:
			votes[r.Peer.Consistency.Hash]++
		}
	}
	most := ""
	for hash, n := range votes {
		if 2*n > len(c.Replicas) {
			most = hash
		}
	}
	c.Odd = nil
	for _, r := range c.Replicas {
		differs := r.Error == "" && r.Peer.Consistency.Index == c.Index && r.Peer.Consistency.Hash != most
		if most != "" && (r.Peer.Damaged != "" || differs) {
			c.Odd = append(c.Odd, r.StoreID)
		}
	}
	switch {
	case len(c.Odd) > 0:
		c.Verdict = fmt.Sprintf("odd: store %s", numbers(c.Odd))
	case !complete:
		c.Verdict = "not all replicas have answered"
	case len(votes) > 1 || most == "":
		c.Verdict = "they differ, and there is no majority"
	default:
		c.Verdict = "equal"
	}
	return complete
}

func numbers(list []uint64) string {
	return strings.Trim(fmt.Sprint(list), "[]")
}

// repair rebuilds the replicas that are not like the majority, and waits until they have the others' data.
func (s statusServers) repair(ctx context.Context, r pdapi.Region, c comparison) string {
	for _, store := range c.Odd {
		if err := s.call(ctx, http.MethodPost, store, fmt.Sprintf("/region/%d/rebuild", r.ID), nil); err != nil {
			return fmt.Sprintf("%s; not rebuilt: %s", c.Verdict, err)
		}
	}
	for {
		if s.mended(ctx, r, c.Odd) {
			return c.Verdict + "; rebuilt"
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return c.Verdict + "; being rebuilt"
		}
	}
}

// mended reports whether none of a region's replicas on the given stores is marked as damaged.
func (s statusServers) mended(ctx context.Context, r pdapi.Region, stores []uint64) bool {
	for _, one := range s.replicas(ctx, r) {
		if slices.Contains(stores, one.StoreID) && (one.Error != "" || one.Peer.Damaged != "") {
			return false
		}
	}
	return true
}
