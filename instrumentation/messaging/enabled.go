package messaging

import (
	"strconv"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

var (
	disabled atomic.Bool
	switched atomic.Uint32 // how often: what was read meanwhile was not seen
)

// SetEnabled switches the instrumentation of all Kafka clients in this process
// on or off while it runs. It is on at the start. Switched off, the wrappers
// hand every call to the client below as it is: no span, no header. Spans begun
// before still end.
func SetEnabled(on bool) {
	if disabled.Swap(!on) == on {
		switched.Add(1)
	}
}

// Enabled reports whether instrumentation is switched on.
func Enabled() bool { return !disabled.Load() }

// KeyHash is the value of [AttrKeyHash] for a record's key.
func KeyHash(key []byte) string { return strconv.FormatUint(keyHash(key), 10) }

func keyHash(key []byte) uint64 { return xxhash.Sum64(key) }
