package snapfile

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/golang/snappy"
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Build writes the snapshot file of a region, whose data is in snap, and returns what it wrote.
// A file of that key that exists is replaced. ErrBusy when the same key is being built.
func (m *Manager) Build(key Key, region *metapb.Region, snap engine.Snapshot) (Meta, error) {
	return m.BuildPaced(key, region, snap, func(int) error { return nil })
}

// Pace is asked after every so many bytes whether work may go on; it may wait. Its error ends the work.
type Pace func(bytes int) error

// BuildPaced is Build at a pace. What was built when pace answered an error is removed.
func (m *Manager) BuildPaced(key Key, region *metapb.Region, snap engine.Snapshot, pace Pace) (_ Meta, err error) {
	name := fileName(key, false)
	if region.GetId() != key.RegionID {
		return Meta{}, errors.Errorf("snapshot file %s cannot hold region %d", name, region.GetId())
	}
	file, err := m.create(name, true)
	if err != nil {
		return Meta{}, err
	}
	defer func() {
		if err != nil {
			file.discard()
			err = errors.Annotatef(err, "build snapshot file %s", name)
		}
	}()
	w := &writer{file: file, pace: pace}
	meta, err := w.write(key, region, snap)
	if err != nil {
		return Meta{}, err
	}
	if err := file.close(); err != nil {
		return Meta{}, err
	}
	return meta, file.publish()
}

// writer puts a file together, block by block.
type writer struct {
	file     *unfinished
	pace     Pace
	offset   int64
	checksum uint32
	block    []byte // payload of the data block that is being filled
	packed   []byte
}

func (w *writer) write(key Key, region *metapb.Region, snap engine.Snapshot) (Meta, error) {
	if err := w.append([]byte(magic)); err != nil {
		return Meta{}, err
	}
	encoded, err := region.Marshal()
	if err != nil {
		return Meta{}, errors.Trace(err)
	}
	if len(encoded) > maxBlock {
		return Meta{}, errors.Errorf("region takes %d bytes, the limit is %d", len(encoded), maxBlock)
	}
	if err := w.writeBlock(kindRegion, encoded); err != nil {
		return Meta{}, err
	}
	f := footer{key: key}
	for i, cf := range engine.DataCFs {
		f.sections[i].start = w.offset
		if f.sections[i].CFMeta, err = w.writeCF(cf, region, snap); err != nil {
			return Meta{}, err
		}
	}
	f.checksum = w.checksum
	if err := w.writeBlock(kindFooter, f.encode()); err != nil {
		return Meta{}, err
	}
	return Meta{Key: key, Region: region, Size: uint64(w.offset), Checksum: f.checksum, CFs: f.cfs()}, nil
}

func (w *writer) writeCF(cf engine.CF, region *metapb.Region, snap engine.Snapshot) (meta CFMeta, err error) {
	meta.CF = cf
	opts := engine.IterOptions{Lower: region.StartKey}
	if len(region.EndKey) > 0 {
		opts.Upper = region.EndKey
	}
	it, err := snap.NewIterator(cf, opts)
	if err != nil {
		return meta, errors.Trace(err)
	}
	defer func() {
		if failed := it.Close(); failed != nil {
			err = errors.Trace(failed)
		}
	}()
	w.block = w.block[:0]
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		key, value := it.Key(), it.Value()
		if len(key)+len(value) > maxPairSpace {
			return meta, errors.Errorf("key %X has %d bytes with its value, the limit is %d", key, len(key)+len(value), maxPairSpace)
		}
		w.block = binary.AppendUvarint(w.block, uint64(len(key)))
		w.block = binary.AppendUvarint(w.block, uint64(len(value)))
		w.block = append(append(w.block, key...), value...)
		meta.Pairs++
		meta.Bytes += uint64(len(key) + len(value))
		if len(w.block) < blockTarget {
			continue
		}
		if err := w.writeData(cf); err != nil {
			return meta, err
		}
		w.block = w.block[:0]
	}
	if len(w.block) == 0 {
		return meta, nil
	}
	return meta, w.writeData(cf)
}

// writeData writes the data block that is full, packed if that makes it a good deal smaller.
func (w *writer) writeData(cf engine.CF) error {
	if n := snappy.MaxEncodedLen(len(w.block)); n > cap(w.packed) {
		w.packed = make([]byte, n)
	}
	packed := snappy.Encode(w.packed[:cap(w.packed)], w.block)
	if len(packed) < len(w.block)/8*7 {
		return w.writeBlock(kindPacked+byte(cf), packed)
	}
	return w.writeBlock(kindData+byte(cf), w.block)
}

func (w *writer) writeBlock(kind byte, payload []byte) error {
	if err := w.pace(len(payload)); err != nil {
		return err
	}
	h := header(w.offset, kind, payload)
	if err := w.append(h[:]); err != nil {
		return err
	}
	return w.append(payload)
}

func (w *writer) append(b []byte) error {
	w.offset += int64(len(b))
	w.checksum = crc32.Update(w.checksum, castagnoli, b)
	_, err := w.file.Write(b)
	return err
}
