package server

import "github.com/pingcap/kvproto/pkg/errorpb"

// RegionError is what a client of the wire protocol is told of an error of package region; nil when such an error is final, and its text is told instead.
func RegionError(err error, regionID uint64) *errorpb.Error { return regionError(err, regionID) }
