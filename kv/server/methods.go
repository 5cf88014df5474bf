package server

import "google.golang.org/protobuf/encoding/protowire"

// method is one of the requests that are built.
type method uint8

const (
	otherMethod method = iota
	rawGet
	rawBatchGet
	rawPut
	rawBatchPut
	rawDelete
	rawBatchDelete
	rawScan
	rawDeleteRange
	rawBatchScan
	rawChecksum
	rawCompareAndSwap
	rawGetKeyTTL
	splitRegion
	numMethods
)

// methodNames are the values of the label "type", as the family's dashboards know them.
var methodNames = [numMethods]string{
	otherMethod:    "other",
	rawGet:         "raw_get",
	rawBatchGet:    "raw_batch_get",
	rawPut:         "raw_put",
	rawBatchPut:    "raw_batch_put",
	rawDelete:      "raw_delete",
	rawBatchDelete: "raw_batch_delete",
	rawScan:        "raw_scan",
	rawDeleteRange: "raw_delete_range",
	rawBatchScan:   "raw_batch_scan",
	rawChecksum:    "raw_checksum",

	rawCompareAndSwap: "raw_compare_and_swap",
	rawGetKeyTTL:      "raw_get_key_ttl",
	splitRegion:       "split_region",
}

// methodFields are the numbers of the fields, of BatchCommandsRequest.Request and of its Response alike, that hold a method's message; 0 for methods that are
// not encoded or decoded by hand.
var methodFields = [numMethods]protowire.Number{
	rawGet:         13,
	rawBatchGet:    14,
	rawPut:         15,
	rawBatchPut:    16,
	rawDelete:      17,
	rawBatchDelete: 18,
	rawScan:        19,
	rawDeleteRange: 20,
}
