package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/meta_storagepb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/scheduler/meta"
)

// GetMembers is answered by every member, whatever cluster id is asked for: it is how clients learn the id and find the
// leader.
func (s *service) GetMembers(context.Context, *pdpb.GetMembersRequest) (*pdpb.GetMembersResponse, error) {
	node, err := s.running()
	if err != nil {
		return nil, err
	}
	res := &pdpb.GetMembersResponse{Header: &pdpb.ResponseHeader{ClusterId: node.ClusterID()}}
	for _, m := range node.Members() {
		res.Members = append(res.Members, memberPB(m))
	}
	if m, ok := node.Leader(); ok {
		res.Leader = memberPB(m)
	}
	if m, ok := node.EtcdLeader(); ok {
		res.EtcdLeader = memberPB(m)
	}
	return res, nil
}

func memberPB(m meta.Member) *pdpb.Member {
	return &pdpb.Member{Name: m.Name, MemberId: m.ID, PeerUrls: m.PeerURLs, ClientUrls: m.ClientURLs}
}

// GetClusterInfo says that timestamps are served here, not by services of their own. Any member answers.
func (s *service) GetClusterInfo(context.Context, *pdpb.GetClusterInfoRequest) (*pdpb.GetClusterInfoResponse, error) {
	node, err := s.running()
	if err != nil {
		return nil, err
	}
	return &pdpb.GetClusterInfoResponse{
		Header:       &pdpb.ResponseHeader{ClusterId: node.ClusterID()},
		ServiceModes: []pdpb.ServiceMode{pdpb.ServiceMode_PD_SVC_MODE},
	}, nil
}

// metaStorage answers Get with nothing: clients ask for settings that this scheduler does not have, and without the
// service they wait for seconds at their start.
type metaStorage struct {
	meta_storagepb.UnimplementedMetaStorageServer
	server *Server
}

func (m *metaStorage) Get(context.Context, *meta_storagepb.GetRequest) (*meta_storagepb.GetResponse, error) {
	node, err := m.server.running()
	if err != nil {
		return nil, err
	}
	return &meta_storagepb.GetResponse{Header: &meta_storagepb.ResponseHeader{ClusterId: node.ClusterID()}}, nil
}
