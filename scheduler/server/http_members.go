package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/meta"
)

const (
	pingBy     = time.Second
	moveLeadBy = 5 * time.Second // etcd itself gives up after one election timeout
	removeBy   = 10 * time.Second
)

// memberRoutes are the requests about the group itself.
func (s *Server) memberRoutes() []route {
	return []route{
		{"GET", "/members", s.onNode(httpMembers)},
		{"GET", "/leader", s.onNode(httpLeader)},
		{"GET", "/health", s.onNode(httpMembersHealth)},
		{"POST", "/leader/resign", s.onLeader(s.httpResign)},
		{"POST", "/leader/transfer/{name}", s.onLeader(s.httpTransfer)},
		{"DELETE", "/members/name/{name}", s.onLeader(s.httpRemove)},
		{"DELETE", "/members/id/{id}", s.onLeader(s.httpRemove)},
	}
}

// onLeader serves what changes the group.
func (s *Server) onLeader(h func(*meta.Node, *http.Request) (any, error)) http.HandlerFunc {
	return s.onTerm(func(_ *term, r *http.Request) (any, error) { return h(s.node.Load(), r) })
}

// httpResign hands the lead over to any other member that is up.
func (s *Server) httpResign(node *meta.Node, r *http.Request) (any, error) {
	for _, m := range node.Members() {
		if m.ID != node.Self().ID && up(m.ClientURLs) {
			return s.moveLead(node, r, m, "The resign command is submitted")
		}
	}
	return nil, errors.New("no other member of the group is up to lead it")
}

// httpTransfer hands the lead over to the member that is named.
func (s *Server) httpTransfer(node *meta.Node, r *http.Request) (any, error) {
	const done = "The transfer command is submitted"
	m, err := findMember(node, r)
	switch {
	case err != nil:
		return nil, err
	case m.ID == node.Self().ID:
		return done, nil
	case !up(m.ClientURLs):
		return nil, errors.Errorf("member %s is not up to lead", m.Name)
	}
	return s.moveLead(node, r, m, done)
}

func (s *Server) moveLead(node *meta.Node, r *http.Request, to meta.Member, done string) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), moveLeadBy)
	defer cancel()
	s.log.Info("handing the lead over, as asked", zap.String("to", to.Name))
	return done, node.MoveLead(ctx, to.ID)
}

// httpRemove takes a member out of the group for good.
func (s *Server) httpRemove(node *meta.Node, r *http.Request) (any, error) {
	m, err := findMember(node, r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), removeBy)
	defer cancel()
	if err := node.Remove(ctx, m.ID); err != nil {
		return nil, err
	}
	s.log.Info("a member was removed from the group, as asked", zap.String("name", m.Name), zap.Uint64("id", m.ID))
	return "removed, pd: " + m.Name, nil
}

// findMember reads {name} or {id}.
func findMember(node *meta.Node, r *http.Request) (meta.Member, error) {
	name, id := r.PathValue("name"), r.PathValue("id")
	for _, m := range node.Members() {
		if (name != "" && m.Name == name) || (id != "" && strconv.FormatUint(m.ID, 10) == id) {
			return m, nil
		}
	}
	return meta.Member{}, notFound("not found, pd: %s", name+id)
}

type memberJSON struct {
	Name          string   `json:"name"`
	MemberID      uint64   `json:"member_id"`
	PeerURLs      []string `json:"peer_urls"`
	ClientURLs    []string `json:"client_urls"`
	DeployPath    string   `json:"deploy_path,omitempty"`
	BinaryVersion string   `json:"binary_version,omitempty"`
	GitHash       string   `json:"git_hash,omitempty"`
}

type membersJSON struct {
	Header struct {
		ClusterID uint64 `json:"cluster_id"`
	} `json:"header"`
	Members    []memberJSON `json:"members"`
	Leader     *memberJSON  `json:"leader,omitempty"`
	EtcdLeader *memberJSON  `json:"etcd_leader,omitempty"`
}

func memberOf(m meta.Member) memberJSON {
	return memberJSON{Name: m.Name, MemberID: m.ID, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs}
}

func httpMembers(node *meta.Node, w http.ResponseWriter) {
	var res membersJSON
	res.Header.ClusterID = node.ClusterID()
	for _, m := range node.Members() {
		res.Members = append(res.Members, memberOf(m))
	}
	if m, ok := node.Leader(); ok {
		leader := memberOf(m)
		res.Leader = &leader
	}
	if m, ok := node.EtcdLeader(); ok {
		leader := memberOf(m)
		res.EtcdLeader = &leader
	}
	writeJSON(w, http.StatusOK, res)
}

func httpLeader(node *meta.Node, w http.ResponseWriter) {
	m, ok := node.Leader()
	if !ok {
		writeJSON(w, http.StatusServiceUnavailable, "no leader")
		return
	}
	writeJSON(w, http.StatusOK, memberOf(m))
}

type memberHealthJSON struct {
	Name       string   `json:"name"`
	MemberID   uint64   `json:"member_id"`
	ClientURLs []string `json:"client_urls"`
	Health     bool     `json:"health"`
}

// httpMembersHealth asks each other member whether it answers.
func httpMembersHealth(node *meta.Node, w http.ResponseWriter) {
	members := node.Members()
	res := make([]memberHealthJSON, len(members))
	var asking sync.WaitGroup
	for i, m := range members {
		res[i] = memberHealthJSON{Name: m.Name, MemberID: m.ID, ClientURLs: m.ClientURLs, Health: true}
		if m.ID != node.Self().ID {
			asking.Go(func() { res[i].Health = up(m.ClientURLs) })
		}
	}
	asking.Wait()
	writeJSON(w, http.StatusOK, res)
}

// up reports whether a scheduler answers soon under any of the URLs.
func up(urls []string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), pingBy)
	defer cancel()
	return pings(ctx, urls)
}

// pings reports whether a scheduler answers under any of the URLs before ctx ends.
func pings(ctx context.Context, urls []string) bool {
	transport := &http.Transport{DisableKeepAlives: true}
	for _, url := range urls {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+apiPrefix+"/ping", nil)
		if err != nil {
			continue
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			continue
		}
		if res.Body.Close() == nil && res.StatusCode == http.StatusOK {
			return true
		}
	}
	return false
}
