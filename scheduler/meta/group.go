package meta

import (
	"context"
	stderrors "errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/errors"
	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	// joinFile, in the data directory, is the group as it was when it took this member in. It is written before etcd first
	// starts, so that a member that was added, and died before it ran, needs nothing but its data directory.
	joinFile = "join"

	joinBy     = time.Minute // a group refuses newcomers while one of its members has been connected for less than 5 s
	joinCallBy = 5 * time.Second
	joinEvery  = 500 * time.Millisecond
	openBy     = time.Second
)

// group is what etcd must be told of the group when it starts.
type group struct {
	initial string // name=peer-url,…; of no matter to a member that has run before
	size    int
	running bool // the others are there already
}

// findGroup asks, in this order: the data of a member that has run before; the answer to an earlier attempt to join; the
// group that is to be joined; the configured members of a new group.
func findGroup(ctx context.Context, cfg *Config) (group, error) {
	alone := cfg.Name + "=" + strings.Join(cfg.AdvertisePeerURLs, ","+cfg.Name+"=")
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "member", "wal")); err == nil {
		g := group{initial: alone}
		if cfg.InitialCluster != "" {
			g.initial = cfg.InitialCluster
		}
		g.size, err = membersOnDisk(filepath.Join(cfg.DataDir, "member", "snap", "db"))
		if g.size == 0 { // it died before etcd had written them down
			g.size = sizeOf(g.initial)
		}
		return g, err
	}
	saved, err := os.ReadFile(filepath.Join(cfg.DataDir, joinFile))
	switch {
	case err == nil:
		return group{initial: string(saved), size: sizeOf(string(saved)), running: true}, nil
	case !stderrors.Is(err, os.ErrNotExist):
		return group{}, errors.Annotate(err, "read the group that was joined")
	case cfg.Join != "":
		return join(ctx, cfg)
	case cfg.InitialCluster == "":
		return group{initial: alone, size: 1}, nil
	}
	return group{initial: cfg.InitialCluster, size: sizeOf(cfg.InitialCluster)}, checkInitial(cfg)
}

// membersOnDisk counts the members in the database of a stopped etcd.
func membersOnDisk(file string) (int, error) {
	if _, err := os.Stat(file); stderrors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: openBy})
	if err != nil {
		return 0, errors.Annotatef(err, "open %s: does another scheduler use this data directory?", file)
	}
	members := 0
	err = db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket([]byte("members")); b != nil {
			members = b.Stats().KeyN
		}
		return nil
	})
	return members, errors.Annotate(stderrors.Join(err, db.Close()), "count the members of the group")
}

// checkInitial says what is wrong with the configured members of a new group.
func checkInitial(cfg *Config) error {
	found := false
	for pair := range strings.SplitSeq(cfg.InitialCluster, ",") {
		name, peer, ok := strings.Cut(pair, "=")
		if !ok || name == "" || peer == "" {
			return errors.Errorf("initial cluster %q: %q must have the form name=http://host:port", cfg.InitialCluster, pair)
		}
		if name != cfg.Name {
			continue
		}
		found = true
		if !slices.Contains(cfg.AdvertisePeerURLs, peer) {
			return errors.Errorf("initial cluster %q: %s has the peer URL %s, but advertises %s",
				cfg.InitialCluster, name, peer, strings.Join(cfg.AdvertisePeerURLs, ","))
		}
	}
	if !found {
		return errors.Errorf("initial cluster %q does not name this member, %s", cfg.InitialCluster, cfg.Name)
	}
	return nil
}

// sizeOf counts the different names in name=url,name=url,….
func sizeOf(initial string) int {
	names := map[string]struct{}{}
	for pair := range strings.SplitSeq(initial, ",") {
		name, _, _ := strings.Cut(pair, "=")
		names[name] = struct{}{}
	}
	return len(names)
}

// join has this member added to a running group and remembers the answer. A group that cannot take it in yet is asked
// again for a while: it adds one member at a time, and only while all the others are up.
func join(ctx context.Context, cfg *Config) (group, error) {
	ctx, cancel := context.WithTimeout(ctx, joinBy)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(cfg.Join, ","), Context: ctx, Logger: zap.NewNop(),
	})
	if err != nil {
		return group{}, errors.Annotatef(err, "join %s", cfg.Join)
	}
	defer func() { _ = client.Close() }() // nothing is under way
	for {
		initial, again, err := tryJoin(ctx, client, cfg)
		if err == nil {
			if err := saveGroup(cfg.DataDir, initial); err != nil {
				return group{}, err
			}
			return group{initial: initial, size: sizeOf(initial), running: true}, nil
		}
		err = errors.Annotatef(err, "cannot join the group at %s", cfg.Join)
		if !again {
			return group{}, err
		}
		cfg.Logger.Info("the group does not take this member in yet; it will be asked again", zap.Error(err))
		select {
		case <-ctx.Done():
			return group{}, err
		case <-time.After(joinEvery):
		}
	}
}

// tryJoin asks once. It looks at the members first, because an earlier attempt may have succeeded unheard. One member's word
// will do for that: a lone scheduler that has taken in a second one cannot agree with a majority until that one runs. If
// it is outdated, the group refuses the addition.
func tryJoin(ctx context.Context, client *clientv3.Client, cfg *Config) (initial string, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinCallBy)
	defer cancel()
	listed, err := client.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		return "", true, errors.Annotate(err, "no scheduler there lists its group: is one running?")
	}
	added, err := findSelf(listed.Members, cfg)
	if err != nil {
		return "", false, err
	}
	members := listed.Members
	if !added {
		res, err := client.MemberAdd(ctx, cfg.AdvertisePeerURLs)
		if err != nil {
			return "", true, explainAdd(err) // what a retry cannot mend is found out by findSelf
		}
		members = res.Members
	}
	var pairs []string
	for _, m := range members {
		name := m.Name
		if name == "" {
			name = cfg.Name
		}
		for _, peer := range m.PeerURLs {
			pairs = append(pairs, name+"="+peer)
		}
	}
	return strings.Join(pairs, ","), false, nil
}

// findSelf reports whether this member was added by an earlier attempt. Errors say who stands in its way.
func findSelf(members []*etcdserverpb.Member, cfg *Config) (bool, error) {
	found := false
	for _, m := range members {
		same := slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(cfg.AdvertisePeerURLs, u) })
		switch {
		case m.Name == "" && same:
			found = true
		case m.Name == "":
			return false, errors.Errorf("member %d (%s) was added but has never run: start it, or remove it with "+
				"`shoal ctl member delete id %d`", m.ID, strings.Join(m.PeerURLs, ","), m.ID)
		case m.Name == cfg.Name:
			return false, errors.Errorf("it has a member named %s already (%s): choose another name, or, if that was this "+
				"member and its data is lost, remove it first with `shoal ctl member delete name %s`",
				m.Name, strings.Join(m.PeerURLs, ","), m.Name)
		case same:
			return false, errors.Errorf("its member %s has the peer URL %s already", m.Name, strings.Join(m.PeerURLs, ","))
		}
	}
	return found, nil
}

func explainAdd(err error) error {
	switch {
	case stderrors.Is(err, rpctypes.ErrUnhealthy), stderrors.Is(err, rpctypes.ErrMemberNotEnoughStarted):
		return errors.Annotate(err, "all its members must be up, and have been for some seconds")
	}
	return errors.Annotate(err, "the member is not added")
}

// saveGroup makes the file durable under its name: half a file would be half a group.
func saveGroup(dir, initial string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errors.Annotate(err, "make the data directory")
	}
	name := filepath.Join(dir, joinFile)
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return errors.Annotate(err, "save the group that was joined")
	}
	_, err = fmt.Fprint(f, initial)
	err = stderrors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(name+".tmp", name)
	}
	if err == nil {
		err = syncDir(dir)
	}
	return errors.Annotate(err, "save the group that was joined")
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return stderrors.Join(d.Sync(), d.Close())
}
