// Package command is the byte layout of what regions agree on: the payload of a raft entry.
//
// A payload is a versioned batch: one or more commands that were waiting at the region when the entry was proposed.
// Each command carries the region's epoch that its proposer saw, and is judged, applied and answered by itself.
//
//	entry   = version:1  command*
//	command = kind:1  uvarint(epoch.version)  uvarint(epoch.conf_ver)  uvarint(len(body))  body
//	write   = op*            op = op<<4|cf:1  uvarint(len(key)) key  uvarint(len(value)) value
//	expire  = op*            DeleteExpired only; the one command of its entry
//	compact = uvarint(index) uvarint(term)
//	change  = (type:1 uvarint(len) metapb.Peer)+   (carried in ConfChangeV2.Context)
//	split   = part*          part = uvarint(len(end key)) end key  uvarint(region id)  uvarint(count) uvarint(peer id)*
//	hash    = empty                                ComputeHash
//	verify  = uvarint(index) uvarint(hash)
//
// An entry without data is a leader's first, and does nothing. Decoding copies nothing: keys and values alias the entry.
package command

import (
	"encoding/binary"
	"fmt"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Version is the first byte of every payload that this release writes.
const Version = 1

// Kind says what a command does.
type Kind byte

// The kinds of command. The numbers are on disk: never change one.
const (
	Write      Kind = 1
	CompactLog Kind = 2
	ChangePeer Kind = 3
	Split      Kind = 4
	// PrepareMerge and RollbackMerge stand in the log of the region that is to vanish, CommitMerge in that of its heir.
	PrepareMerge  Kind = 5
	CommitMerge   Kind = 6
	RollbackMerge Kind = 7
	// Expire is a write whose effect depends on what is stored.
	Expire Kind = 8
	// ComputeHash makes every replica take a hash of what it holds at this index, VerifyHash brings the leader's to compare.
	ComputeHash Kind = 9
	VerifyHash  Kind = 10
)

func (k Kind) String() string {
	names := [...]string{
		Write: "write", CompactLog: "log compaction", ChangePeer: "change of peers", Split: "split", PrepareMerge: "merge preparation",
		CommitMerge: "merge", RollbackMerge: "merge rollback", Expire: "expiry", ComputeHash: "hash", VerifyHash: "hash comparison",
	}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// Op is one kind of write. The numbers are on disk.
type Op byte

// The kinds of write. DeleteRange's value is its exclusive end key, empty for the region's end; DeleteExpired's is a keys.AppendBound.
const (
	Put           Op = 1
	Delete        Op = 2
	DeleteRange   Op = 3
	DeleteExpired Op = 4
)

// Epoch is the region's shape that a command was made for.
type Epoch struct{ Version, ConfVer uint64 }

// EpochOf converts the wire's form.
func EpochOf(e *metapb.RegionEpoch) Epoch {
	return Epoch{Version: e.GetVersion(), ConfVer: e.GetConfVer()}
}

// Command is one command of a payload.
type Command struct {
	Kind  Kind
	Epoch Epoch
	Body  []byte
}

// ErrMalformed is the cause of every decoding error: the payload is not what this package writes.
var ErrMalformed = errors.New("malformed raft command")

// AppendTo appends the encoded command to dst, which must begin with a payload's version byte.
func (c *Command) AppendTo(dst []byte) []byte {
	dst = append(dst, byte(c.Kind))
	dst = binary.AppendUvarint(dst, c.Epoch.Version)
	dst = binary.AppendUvarint(dst, c.Epoch.ConfVer)
	dst = binary.AppendUvarint(dst, uint64(len(c.Body)))
	return append(dst, c.Body...)
}

// EncodedSize is an upper bound of what AppendTo adds.
func (c *Command) EncodedSize() int { return 1 + 3*binary.MaxVarintLen64 + len(c.Body) }

// Encode makes the payload of one command.
func Encode(c Command) []byte {
	return c.AppendTo(append(make([]byte, 0, 1+c.EncodedSize()), Version))
}

// Decode calls visit for each command of a payload, in order, and stops at visit's first error.
func Decode(payload []byte, visit func(Command) error) error {
	if len(payload) == 0 {
		return nil
	}
	if payload[0] != Version {
		return errors.Annotatef(ErrMalformed, "payload version %d, this release reads %d", payload[0], Version)
	}
	for d := (decoder{rest: payload[1:]}); len(d.rest) > 0; {
		c := Command{Kind: Kind(d.byte())}
		c.Epoch.Version = d.uvarint()
		c.Epoch.ConfVer = d.uvarint()
		c.Body = d.bytes()
		if d.bad {
			return errors.Annotate(ErrMalformed, "truncated command")
		}
		if err := visit(c); err != nil {
			return err
		}
	}
	return nil
}

// AppendOp appends one write to a Write command's body.
func AppendOp(body []byte, op Op, cf engine.CF, key, value []byte) []byte {
	body = append(body, byte(op)<<4|byte(cf))
	body = binary.AppendUvarint(body, uint64(len(key)))
	body = append(body, key...)
	body = binary.AppendUvarint(body, uint64(len(value)))
	return append(body, value...)
}

// DecodeOps calls visit for each write of a Write command's body, in order.
func DecodeOps(body []byte, visit func(op Op, cf engine.CF, key, value []byte) error) error {
	for d := (decoder{rest: body}); len(d.rest) > 0; {
		head := d.byte()
		key := d.bytes()
		value := d.bytes()
		op, cf := Op(head>>4), engine.CF(head&0xf)
		if d.bad || op < Put || op > DeleteExpired || cf >= engine.Local {
			return errors.Annotatef(ErrMalformed, "write with head byte %#x", head)
		}
		if err := visit(op, cf, key, value); err != nil {
			return err
		}
	}
	return nil
}

// EncodeCompactLog makes the body that drops the log up to and including index, whose term is given.
func EncodeCompactLog(index, term uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, index), term)
}

// DecodeCompactLog reads what EncodeCompactLog made.
func DecodeCompactLog(body []byte) (index, term uint64, err error) {
	d := decoder{rest: body}
	index, term = d.uvarint(), d.uvarint()
	if d.bad || len(d.rest) > 0 {
		return 0, 0, errors.Annotate(ErrMalformed, "compact log")
	}
	return index, term, nil
}

// EncodeVerifyHash makes the body that brings the leader's hash of the region as of index.
func EncodeVerifyHash(index, hash uint64) []byte { return EncodeCompactLog(index, hash) }

// DecodeVerifyHash reads what EncodeVerifyHash made.
func DecodeVerifyHash(body []byte) (index, hash uint64, err error) { return DecodeCompactLog(body) }

// PeerChange is what becomes of one peer: AddNode makes it a voter, AddLearnerNode a learner, whatever it was before; RemoveNode takes it away.
type PeerChange struct {
	Type eraftpb.ConfChangeType
	Peer *metapb.Peer
}

// EncodePeerChanges makes the body of a change of peers.
func EncodePeerChanges(changes []PeerChange) []byte {
	var body []byte
	for _, c := range changes {
		enc, err := c.Peer.Marshal()
		if err != nil {
			panic("command: a metapb.Peer that cannot be encoded: " + err.Error())
		}
		body = binary.AppendUvarint(append(body, byte(c.Type)), uint64(len(enc)))
		body = append(body, enc...)
	}
	return body
}

// DecodePeerChanges reads what EncodePeerChanges made: one change at least.
func DecodePeerChanges(body []byte) ([]PeerChange, error) {
	var changes []PeerChange
	for d := (decoder{rest: body}); len(d.rest) > 0; {
		c := PeerChange{Type: eraftpb.ConfChangeType(d.byte()), Peer: new(metapb.Peer)}
		if enc := d.bytes(); d.bad || c.Peer.Unmarshal(enc) != nil || c.Peer.Id == 0 || c.Peer.StoreId == 0 {
			return nil, errors.Annotate(ErrMalformed, "peer change without a peer")
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil, errors.Annotate(ErrMalformed, "change of no peer")
	}
	return changes, nil
}

// SplitPart is a region that a Split makes: it ends at EndKey, and has a peer beside each of the divided region's, in their order.
type SplitPart struct {
	EndKey   []byte
	RegionID uint64
	PeerIDs  []uint64
}

// EncodeSplit makes the body that splits parts off the front of a region, in the order of their keys.
func EncodeSplit(parts []SplitPart) []byte {
	var body []byte
	for _, p := range parts {
		body = binary.AppendUvarint(body, uint64(len(p.EndKey)))
		body = append(body, p.EndKey...)
		body = binary.AppendUvarint(body, p.RegionID)
		body = binary.AppendUvarint(body, uint64(len(p.PeerIDs)))
		for _, id := range p.PeerIDs {
			body = binary.AppendUvarint(body, id)
		}
	}
	return body
}

// DecodeSplit reads what EncodeSplit made.
func DecodeSplit(body []byte) ([]SplitPart, error) {
	var parts []SplitPart
	d := decoder{rest: body}
	for len(d.rest) > 0 {
		p := SplitPart{EndKey: d.bytes(), RegionID: d.uvarint()}
		for n := d.uvarint(); n > 0 && !d.bad; n-- {
			p.PeerIDs = append(p.PeerIDs, d.uvarint())
		}
		parts = append(parts, p)
	}
	if d.bad || len(parts) == 0 {
		return nil, errors.Annotate(ErrMalformed, "split")
	}
	return parts, nil
}

// decoder reads from the front of rest; once something is missing it is bad and yields zeros.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) fail() { d.bad, d.rest = true, nil }

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}
