// Package snapfile moves region snapshots: the leader holds one and sends it, a follower receives it and installs it.
//
// A snapshot passes these stations:
//
//	Hold          the sender keeps a snapshot of its engine; nothing is written
//	OpenToSend    a Stream writes it block by block while package transport sends it, once for each receiver: as tables, where the engines
//	              of both sides are of one kind (engine.Packer), else as pairs
//	Receive       every block and every pair is verified as it comes, before anything is done with it; then pairs go into the engine's
//	              staging (engine.Stager), or, where the engine has none, the bytes to the file snap_rev_{region}_{term}_{index}.snap.tmp.
//	              Tables go into the staging piece by piece, and end there once all their blocks have been verified
//	Commit        the footer has come, and its counts are right, tables replace the region's range and hold nothing else: what is staged
//	              is durable, a file is renamed to …snap
//	Install       what is staged takes effect; a file is read once more, and verified once more, into engine.Ingest
//	Delete        when its sending failed, or another takes its place; or when it is installed for good. Sweep does it for what was forgotten
//	New           when a store starts: what was installed is in the engine, and what was not is sent again; so all files go
//
// Files are never synced here, and most are gone before the disk has seen them: no file outlives its process, and what counts
// of a snapshot is durable when the engine has ingested it. Nor does what is staged: the engine clears it away when it is opened.
//
// # File format
//
// A file is the eight bytes "SHOALSN2", then blocks. Numbers are big-endian; a uvarint is that of encoding/binary.
//
//	block     kind (1 byte) · length of the payload (4) · CRC-32C (4) of the block's offset in the file (8), kind, length and payload · payload
//	region    kind 0x01, once, first: a metapb.Region
//	data      kind 0x10 + number of the column family: pairs, each uvarint key length · uvarint value length · key · value.
//	          Column families follow each other in the order of engine.DataCFs; keys ascend strictly within one and lie in the region.
//	          A block is closed when it has reached 64 KiB; none is larger than 64 MiB.
//	packed    kind 0x20 + number of the column family: the same, its payload packed with snappy
//	table     kind 0x30 + 4 times the lane + number of the column family: a part of a table that the sender's engine has made (engine.Packer), not its
//	          last; only where sender and receiver have agreed on the tables' form (Stream.SendTables). A family comes either as data or as tables.
//	          Tables of one lane follow each other, those of different lanes come side by side, block by block
//	last      kind 0x40 + 4 times the lane + number of the column family: the last part of a table. In blocks of tables the payload comes first in the
//	          CRC-32C, as it is summed while it is made, before its length is known
//	footer    kind 0x02, once, last, of constant length: region id (8) · term (8) · index (8); then
//	          for each column family: its number (1) · offset of its first block (8) · pairs (8) · bytes of keys and values (8)
//
// Because a block's checksum covers its offset, blocks that were moved, lost or doubled do not pass; because the footer counts, an end
// that is missing does not either. All damage comes out as a *CorruptError.
//
// The package leans on engine for what a snapshot is and how one is taken in, and on FS for the directory; FS has an implementation for the operating system
// and one in memory whose crashes lose what was not synced.
package snapfile
