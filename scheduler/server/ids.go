package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/scheduler/machine"
)

// AllocID hands out one id that no other call ever gets.
func (s *service) AllocID(_ context.Context, req *pdpb.AllocIDRequest) (*pdpb.AllocIDResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	res := &pdpb.AllocIDResponse{Header: t.header()}
	err = t.desk.allocate(func(at machine.Moment) (save *machine.Save, err error) {
		res.Id, save, err = t.machine.AllocIDs(1, at)
		return save, err
	})
	if err != nil {
		_, err = t.refused(err)
		return nil, err
	}
	return res, nil
}
