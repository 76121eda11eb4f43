package otlp

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

func seeds(f *testing.F) {
	rnd := rand.New(rand.NewPCG(9, 10))
	for _, sh := range []shape{{1, 1, 1, 1}, {2, 2, 4, 40}, {2, 1, 3, 100}} {
		f.Add(encode(f, generate(rnd, sh)))
	}
	f.Add([]byte{})
	f.Add([]byte("no protobuf"))
	f.Add(spanOf(rawSpan(16, 8, 8, 16, 8)))
	f.Add(spanOf(rawSpan(1, 2, 3, 4, 5)))
	f.Add(spanOf(bytes.Repeat([]byte{0x4a, 0}, 200)))
}

// hasDeprecated tells that the bytes hold field 1000 of ResourceSpans, the
// form before scopes, which pdata moves to where scopes are and we pass over.
func hasDeprecated(data []byte) bool { return bytes.Contains(data, []byte{0xc2, 0x3e}) }

// FuzzScan: what Scan lets through whole, pdata reads, with as many spans.
func FuzzScan(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := Scan(data, testNow)
		if err != nil || report.Refused() != 0 || hasDeprecated(data) {
			return
		}
		r := ptraceotlp.NewExportRequest()
		if err := r.UnmarshalProto(data); err != nil {
			t.Fatalf("Scan accepts, pdata says %v", err)
		}
		if n := r.Traces().SpanCount(); n != report.Items {
			t.Fatalf("Scan counts %d spans, pdata %d", report.Items, n)
		}
	})
}

// FuzzSplit: the parts hold the spans of the whole, each with its resource and
// scope, and each part fits. Small requests are multiplied so that they split.
func FuzzSplit(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > 1<<20 || hasDeprecated(data) {
			return
		}
		if _, err := Scan(data, testNow); err != nil {
			return
		}
		data = bytes.Repeat(data, 1+min(500, 200<<10/len(data))) // repeated fields: still a request
		report, err := Scan(data, testNow)
		if err != nil {
			t.Fatalf("valid alone, repeated: %v", err)
		}
		if report.Refused() != 0 { // pdata may refuse the whole for one bad id
			parts, _, err := Split(data, MinRecordBytes, testNow)
			if err != nil {
				t.Fatal(err)
			}
			spans := 0
			for _, p := range parts {
				spans += p.Items
				if n := decode(t, p.Data).SpanCount(); n != p.Items || len(p.Data) > MinRecordBytes {
					t.Fatalf("a part of %d bytes says %d spans and has %d", len(p.Data), p.Items, n)
				}
			}
			if spans != report.Items {
				t.Fatalf("%d spans of %d are left", spans, report.Items)
			}
			return
		}
		checkSplit(t, data, MinRecordBytes)
	})
}
