package embeddedclickhouse

import "time"

// Bounds of the child's side of the protocol. They are above anything the
// exporters send and far below what would hurt the process.
const (
	maxTextBytes     = 4 << 20   // one statement; ClickHouse parses 256 KiB unless told otherwise
	maxNameBytes     = 64 << 10  // names of tables and columns, types, settings' keys
	maxValueBytes    = 4 << 20   // one bound parameter or setting
	maxPairs         = 1024      // settings, and parameters, of one query
	maxPacketBytes   = 16 << 20  // everything of one query packet
	maxBlockBytes    = 256 << 20 // one block from a client, decompressed
	maxBlockRows     = 16 << 20  // rows of one block from a client
	maxBlockColumns  = 4096      // columns of one block
	maxExternals     = 64        // blocks of external tables of one query
	maxResultBytes   = 1 << 30   // one piece of a result; the engine's pieces are about 65,000 rows
	maxTypeDepth     = 32        // Array(Array(…
	maxTypeNodes     = 4096      // types inside one column's type
	maxTableStatuses = 1024

	// keepBytes is how much of a buffer an idle connection keeps.
	keepBytes = 1 << 20

	heartbeatEvery   = time.Second
	handshakeTimeout = 10 * time.Second
	// As receive_timeout and send_timeout of ClickHouse: how long a client may
	// pause inside a packet, or leave an answer unread.
	packetTimeout = 300 * time.Second
)
