package hoptrace

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnswersAreReadAndWhatCannotBeReadIsNoComplaint(t *testing.T) {
	f := func(s signal, reply []byte, want answer) {
		t.Helper()
		if got := readAnswer(s, reply); got != want {
			t.Errorf("%s: %x means %+v; want %+v", s.name, reply, got, want)
		}
	}
	some := marshal(t, &collectpb.ExportTraceServiceResponse{PartialSuccess: &collectpb.ExportTracePartialSuccess{RejectedSpans: 3, ErrorMessage: "old"}})
	f(traces, some, answer{3, "old"})
	f(metrics, marshal(t, &collectmetrics.ExportMetricsServiceResponse{PartialSuccess: &collectmetrics.ExportMetricsPartialSuccess{RejectedDataPoints: 2, ErrorMessage: "odd"}}), answer{2, "odd"})
	f(traces, marshal(t, &collectpb.ExportTraceServiceResponse{PartialSuccess: &collectpb.ExportTracePartialSuccess{RejectedSpans: -3}}), answer{})
	f(traces, nil, answer{})
	f(traces, []byte("<html>"), answer{})
	f(metrics, some[:len(some)-1], answer{})
}

func TestReasonsOfRefusalsAreToldAndBounded(t *testing.T) {
	f := func(contentType string, body []byte, want string) {
		t.Helper()
		if got := reason(contentType, body); got != want {
			t.Errorf("reason(%q, %.40q) = %q; want %q", contentType, body, got, want)
		}
	}
	f("text/plain", nil, "")
	f("text/plain", []byte("go\x00 away"), `: "go\x00 away"`)
	f("application/x-protobuf", marshal(t, &rpcstatus.Status{Message: "unknown key"}), ": unknown key")
	f("application/x-protobuf", []byte("<html>"), "")
	if got := reason("text/html", make([]byte, maxAnswer)); len(got) > 2000 {
		t.Errorf("the reason has %d bytes", len(got))
	}
}

// A call that was given up may still be read from by the connection's writer,
// when the recorder writes its next batch to the same memory.
func TestTheConnectionGetsACopy(t *testing.T) {
	body := []byte("spans")
	got, err := rawCodec{}.Marshal(&body)
	if err != nil {
		t.Fatal(err)
	}
	copy(body, "other")
	if string(got.Materialize()) != "spans" {
		t.Errorf("the message became %q", got.Materialize())
	}
	if _, err := (rawCodec{}).Marshal("spans"); err == nil {
		t.Error("a string was sent")
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var strange atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strange.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	var said atomic.Pointer[string]
	c := client(t, Options{Endpoint: server.URL, Protocol: ProtocolHTTP, DSN: "http://key@h/1", OnError: func(err error) {
		text := err.Error()
		said.Store(&text)
	}})
	newWrapper(t, c).messages(1)
	if c.Flush(patience) || strange.Load() != 0 {
		t.Errorf("%d requests went to the address that the collector named", strange.Load())
	}
	if text := said.Load(); text == nil || !strings.Contains(*text, "307") {
		t.Errorf("said %v; want the status", text)
	}
}
