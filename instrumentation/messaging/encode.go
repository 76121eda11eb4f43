package messaging

import (
	"slices"

	"go.opentelemetry.io/otel/trace"
)

const (
	traceparentLen = 55 // 00-<32>-<16>-<2>
	sentryTraceLen = 51 // <32>-<16>-<1>

	hexDigits = "0123456789abcdef"

	// knownFlags are the trace flags that the W3C recommendation defines:
	// sampled and random.
	knownFlags = 0x03
)

// AppendTraceparent appends the traceparent value of sc to dst: 55 bytes,
// version 00. It allocates only when dst is too small.
func AppendTraceparent(dst []byte, sc trace.SpanContext) []byte {
	traceID, spanID := sc.TraceID(), sc.SpanID()
	dst = append(dst, '0', '0', '-')
	dst = appendHex(dst, traceID[:])
	dst = append(dst, '-')
	dst = appendHex(dst, spanID[:])
	flags := byte(sc.TraceFlags()) & knownFlags
	return append(dst, '-', '0', hexDigits[flags])
}

// AppendSentryTrace appends the sentry-trace value of sc to dst: 51 bytes.
func AppendSentryTrace(dst []byte, sc trace.SpanContext) []byte {
	traceID, spanID := sc.TraceID(), sc.SpanID()
	dst = appendHex(dst, traceID[:])
	dst = append(dst, '-')
	dst = appendHex(dst, spanID[:])
	if sc.IsSampled() {
		return append(dst, '-', '1')
	}
	return append(dst, '-', '0')
}

func appendHex(dst, src []byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, 2*len(src))[:n+2*len(src)]
	out := dst[n:]
	for i, b := range src {
		out[2*i], out[2*i+1] = hexDigits[b>>4], hexDigits[b&15]
	}
	return dst
}

// ParseTraceparent reads a traceparent value of version 00, or the part that a
// later version has in common with it. ok is false when it is malformed or when
// an id is zero.
func ParseTraceparent(v []byte) (sc trace.SpanContext, ok bool) {
	if len(v) < traceparentLen || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return sc, false
	}
	var version, flags [1]byte
	var cfg trace.SpanContextConfig
	if !decodeHex(version[:], v[:2]) || version[0] == 0xff ||
		!decodeHex(cfg.TraceID[:], v[3:35]) ||
		!decodeHex(cfg.SpanID[:], v[36:52]) ||
		!decodeHex(flags[:], v[53:55]) {
		return sc, false
	}
	if version[0] == 0 {
		// Version 00 allows neither more fields nor reserved flags.
		if len(v) != traceparentLen || flags[0] > knownFlags {
			return sc, false
		}
	} else if len(v) > traceparentLen && v[traceparentLen] != '-' {
		return sc, false
	}
	cfg.TraceFlags = trace.TraceFlags(flags[0] & knownFlags)
	cfg.Remote = true
	sc = trace.NewSpanContext(cfg)
	return sc, sc.IsValid()
}

// ParseSentryTrace reads a sentry-trace value: trace id, span id and, if the
// sender decided on sampling, a flag 0 or 1. Without the flag the context is
// marked sampled (see [Extract]).
func ParseSentryTrace(v []byte) (sc trace.SpanContext, ok bool) {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	if len(v) != sentryTraceLen && len(v) != sentryTraceLen-2 || v[32] != '-' {
		return sc, false
	}
	var cfg trace.SpanContextConfig
	if !decodeHex(cfg.TraceID[:], v[:32]) || !decodeHex(cfg.SpanID[:], v[33:49]) {
		return sc, false
	}
	cfg.TraceFlags = trace.FlagsSampled
	if len(v) == sentryTraceLen {
		if v[49] != '-' {
			return sc, false
		}
		switch v[50] {
		case '1':
		case '0':
			cfg.TraceFlags = 0
		default:
			return sc, false
		}
	}
	cfg.Remote = true
	sc = trace.NewSpanContext(cfg)
	return sc, sc.IsValid()
}

// decodeHex fills dst from src, whose length is twice that of dst. It accepts
// lower case only, as W3C demands.
func decodeHex(dst, src []byte) bool {
	src = src[:2*len(dst)]
	var bad byte
	for i := range dst {
		hi, lo := fromHex[src[2*i]], fromHex[src[2*i+1]]
		bad |= hi | lo
		dst[i] = hi<<4 | lo
	}
	return bad <= 15
}

// fromHex is the value of each digit; 255 of what is none.
var fromHex = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte(hexDigits) {
		t[c] = byte(i)
	}
	return t
}()
