package meta

import (
	"context"
	stderrors "errors"
	"strings"
	"time"

	"github.com/pingcap/errors"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	writeBy  = 10 * time.Second
	scanPage = 1000
	// MaxWrite is how many operations one Write takes.
	MaxWrite = 100
)

// ErrNotLeader is the answer to a write of a term that is over. Nothing was written.
var ErrNotLeader = stderrors.New("not leader")

// Op is one change of the map.
type Op struct {
	key    string
	value  []byte
	delete bool
}

// Put sets a key.
func Put(key string, value []byte) Op { return Op{key: key, value: value} }

// Delete removes a key, which may be absent.
func Delete(key string) Op { return Op{key: key, delete: true} }

// Store is the cluster's durable map, seen by one term of leadership. Keys are slash-separated and relative to the
// cluster's root. Its methods are safe for concurrent use; writes of several goroutines may take effect in any order.
type Store struct{ leadership *Leadership }

// Write makes all of ops durable in one step, provided this term still leads. It takes no caller's context: once sent, a
// write ends by its own outcome, not by somebody's patience.
//
// ErrNotLeader: nothing happened. Any other error: it may have happened or not. Either way the term is over.
func (s *Store) Write(ops ...Op) error {
	_, err := s.write("", ops)
	return err
}

// WriteIfAbsent is Write on the condition that key does not exist; false, without an error, if it does.
func (s *Store) WriteIfAbsent(key string, ops ...Op) (bool, error) { return s.write(key, ops) }

func (s *Store) write(absent string, ops []Op) (bool, error) {
	l := s.leadership
	if len(ops) > MaxWrite {
		return false, errors.Errorf("%d operations in one write; at most %d", len(ops), MaxWrite)
	}
	if l.isLost() {
		return false, ErrNotLeader
	}
	leader := l.node.key(leaderKey)
	conditions := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(leader), "=", l.revision)}
	if absent != "" {
		conditions = append(conditions, clientv3.Compare(clientv3.CreateRevision(l.node.key(absent)), "=", 0))
	}
	then := make([]clientv3.Op, 0, len(ops))
	for _, op := range ops {
		if op.delete {
			then = append(then, clientv3.OpDelete(l.node.key(op.key)))
		} else {
			then = append(then, clientv3.OpPut(l.node.key(op.key), string(op.value)))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeBy)
	defer cancel()
	res, err := l.node.client.Txn(ctx).If(conditions...).Then(then...).Else(clientv3.OpGet(leader)).Commit()
	if err != nil {
		l.lose("a write is undetermined: " + err.Error())
		return false, errors.Annotate(err, "the write to etcd is undetermined")
	}
	if res.Succeeded {
		return true, nil
	}
	if kvs := res.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 && kvs[0].CreateRevision == l.revision {
		return false, nil
	}
	l.lose("the leader key is another's")
	return false, ErrNotLeader
}

// Load reads one key; nil if it is absent.
func (s *Store) Load(ctx context.Context, key string) ([]byte, error) {
	res, err := s.leadership.node.client.Get(ctx, s.leadership.node.key(key))
	if err != nil {
		return nil, errors.Annotatef(err, "read %s", key)
	}
	if len(res.Kvs) == 0 {
		return nil, nil
	}
	return res.Kvs[0].Value, nil
}

// Scan calls visit for each key that begins with prefix, in order, page by page.
func (s *Store) Scan(ctx context.Context, prefix string, visit func(key string, value []byte) error) error {
	n := s.leadership.node
	root := n.key("")
	end := clientv3.GetPrefixRangeEnd(root + prefix)
	for from := root + prefix; ; {
		res, err := n.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(scanPage))
		if err != nil {
			return errors.Annotatef(err, "scan %s", prefix)
		}
		for _, kv := range res.Kvs {
			if err := visit(strings.TrimPrefix(string(kv.Key), root), kv.Value); err != nil {
				return err
			}
		}
		if !res.More {
			return nil
		}
		from = string(res.Kvs[len(res.Kvs)-1].Key) + "\x00"
	}
}
