package otelsarama

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// The keys of the headers that this package adds. sarama does not change them, and
// neither may an interceptor that runs after ours, since there is none. A header is
// known as ours by the address of its key: one with the same name that came from
// elsewhere is the program's.
var (
	traceparentKey = []byte(messaging.HeaderTraceparent)
	tracestateKey  = []byte(messaging.HeaderTracestate)
	baggageKey     = []byte(messaging.HeaderBaggage)
	sentryTraceKey = []byte(messaging.HeaderSentryTrace)
	pathwayKey     = []byte(messaging.HeaderPathway)

	otherKeys     sync.Map // string → []byte: those of propagators that the program configured
	otherKeyCount atomic.Int64
)

// maxOtherKeys bounds otherKeys; propagators write a handful. The headers of more
// are not known as ours.
const maxOtherKeys = 256

func keyBytes(key string) []byte {
	if own := ownKey(key); own != nil {
		return own
	}
	if key == "" || otherKeyCount.Load() >= maxOtherKeys {
		return []byte(key)
	}
	v, found := otherKeys.LoadOrStore(key, []byte(key))
	if !found {
		otherKeyCount.Add(1)
	}
	return v.([]byte) // nothing else is put there
}

// ownKey is the key that this package adds under that name; nil when there is none.
func ownKey(key string) []byte {
	switch key {
	case messaging.HeaderTraceparent:
		return traceparentKey
	case messaging.HeaderTracestate:
		return tracestateKey
	case messaging.HeaderBaggage:
		return baggageKey
	case messaging.HeaderSentryTrace:
		return sentryTraceKey
	case messaging.HeaderPathway:
		return pathwayKey
	}
	if v, ok := otherKeys.Load(key); ok {
		return v.([]byte) // nothing else is put there
	}
	return nil
}

func isOwnHeader(h *sarama.RecordHeader) bool {
	if len(h.Key) == 0 {
		return false
	}
	at := unsafe.SliceData(h.Key)
	own := ownKey(unsafe.String(at, len(h.Key)))
	return own != nil && unsafe.SliceData(own) == at
}

// ownHeaders counts the headers that this package added when the message was sent
// before: they tell the context of that, not one that the program made.
func ownHeaders(headers []sarama.RecordHeader) (n int) {
	for i := range headers {
		if isOwnHeader(&headers[i]) {
			n++
		}
	}
	return n
}

// withoutOwn returns a copy of headers without the n of this package; nil when no
// others are there.
func withoutOwn(headers []sarama.RecordHeader, n int) []sarama.RecordHeader {
	if n == len(headers) {
		return nil
	}
	out := make([]sarama.RecordHeader, 0, len(headers)-n)
	for i := range headers {
		if !isOwnHeader(&headers[i]) {
			out = append(out, headers[i])
		}
	}
	return out
}
