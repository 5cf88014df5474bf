// Package snapfile keeps region snapshots as files: the leader builds one and sends it, a follower receives it and installs it.
//
// A snapshot file passes these stations:
//
//	Build         snap_gen_{region}_{term}_{index}.snap.tmp → renamed to …snap
//	OpenToSend    read as plain bytes, by package transport
//	Receive       the bytes go to snap_rev_{region}_{term}_{index}.snap.tmp
//	Commit        the checksum over everything that was received is compared → renamed
//	OpenToInstall its column families are read as engine.Sources, every block verified once more
//	Delete        when the snapshot was sent or its sending failed, or when it is installed for good
//	New           when a store starts: what was installed is in the engine, and what was not is sent again; so all files go
//
// Nothing is ever synced here, and most files are gone before the disk has seen them: no file outlives its process, and what counts
// of a snapshot is durable when the engine has ingested it.
//
// # File format
//
// A file is the eight bytes "SHOALSN1", then blocks. Numbers are big-endian; a uvarint is that of encoding/binary.
//
//	block     kind (1 byte) · length of the payload (4) · CRC-32C (4) of the block's offset in the file (8), kind, length and payload · payload
//	region    kind 0x01, once, first: a metapb.Region
//	data      kind 0x10 + number of the column family: pairs, each uvarint key length · uvarint value length · key · value.
//	          Column families follow each other in the order of engine.DataCFs; keys ascend strictly within one and lie in the region.
//	          A block is closed when it has reached 64 KiB; none is larger than 64 MiB.
//	packed    kind 0x20 + number of the column family: the same, its payload packed with snappy
//	footer    kind 0x02, once, last, of constant length: region id (8) · term (8) · index (8) · CRC-32C (4) of the file before this block; then
//	          for each column family: its number (1) · offset of its first block (8) · pairs (8) · bytes of keys and values (8)
//
// Because a block's checksum covers its offset, blocks that were moved, lost or doubled do not pass; because the footer counts, an end
// that is missing does not either. All damage comes out as a *CorruptError.
//
// The package leans on engine for what a snapshot is and on FS for the directory; FS has an implementation for the operating system
// and one in memory whose crashes lose what was not synced.
package snapfile
