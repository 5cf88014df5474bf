package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/proto/region"
)

// A transfer of leadership needs no entry: raft brings the transferee up to date and tells it to campaign at once.
//
// check    the transferee is a voter of the region and is not far behind.
// propose  raft's TransferLeader; until it ends, proposals are refused and there is no lease.
// after    the transferee wins, or raft gives up after an election timeout.

func (m *RaftMachine) transferLeader(p *peer, to *metapb.Peer, done func(error)) error {
	q := region.FindPeer(p.region, to.Id)
	if q == nil {
		return errors.Errorf("region %d has no peer %d to lead it", p.regionID, to.Id)
	}
	if q.Id == p.id {
		m.reply(done, nil)
		return nil
	}
	if pr, ok := p.node.GetProgress()[q.Id]; !ok || pr.Match < p.log.truncated.Index {
		return errors.Errorf("region %d: peer %d lags too far behind to lead", p.regionID, q.Id)
	}
	p.node.TransferLeader(q.Id)
	m.reply(done, nil)
	return nil
}
