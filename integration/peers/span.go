package peers

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/mocktracer"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is what a case looks at.
type Span struct {
	Name       string
	Kind       string // PRODUCER, CONSUMER, CLIENT, …
	Trace      string // hexadecimal, as the others
	ID, Parent string
	Links      []string // span ids
	Attributes map[string]string
	Error      bool
	Start, End time.Time
}

// First returns the first of the attributes that the span has.
func (s *Span) First(keys ...string) (value string, ok bool) {
	for _, k := range keys {
		if v, ok := s.Attributes[k]; ok {
			return v, true
		}
	}
	return "", false
}

// Names of the same thing, in the conventions of several years and vendors.
var (
	partitionKeys = []string{"messaging.destination.partition.id", "messaging.kafka.destination.partition", "messaging.kafka.source.partition", "messaging.kafka.partition", "partition"}
	offsetKeys    = []string{"messaging.kafka.offset", "messaging.kafka.message.offset", "offset", "messaging.message.id"}
	groupKeys     = []string{"messaging.consumer.group.name", "messaging.kafka.consumer.group", "kafka.group", "messaging.kafka.consumer_group"}
	keyKeys       = []string{"messaging.kafka.message.key", "hoptrace.key_hash", "messaging.kafka.message_key"}
	tombstoneKeys = []string{"messaging.kafka.message.tombstone"}
)

// IsSend tells a span that stands for producing.
func (s *Span) IsSend() bool { return s.Kind == "PRODUCER" || s.is("send", "publish", "kafka.produce") }

// IsConsume tells a span that stands for receiving or processing.
func (s *Span) IsConsume() bool {
	return s.Kind == "CONSUMER" || s.is("receive", "process", "poll", "kafka.consume")
}

// IsProcess tells a span that stands for processing, or the only one that a
// library has for consuming.
func (s *Span) IsProcess() bool {
	return s.IsConsume() && !s.is("poll") && s.Attributes["messaging.operation"] != "receive" && s.Attributes["messaging.operation.type"] != "receive"
}

func (s *Span) is(words ...string) bool {
	for w := range strings.FieldsSeq(s.Name) {
		if slices.Contains(words, w) {
			return true
		}
	}
	return false
}

// Sink takes OTLP over HTTP, in this process.
type Sink struct {
	Address string

	server *http.Server
	mu     sync.Mutex // guards the following
	scopes []*traces.ScopeSpans
	bad    error
}

// NewSink listens on a free port.
func NewSink() (*Sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot listen for spans: %w", err)
	}
	s := &Sink{Address: l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", s.take)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(l) }()
	return s, nil
}

func (s *Sink) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	var req collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &req)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.bad = fmt.Errorf("cannot read what was exported: %w", err)
	}
	for _, rs := range req.ResourceSpans {
		s.scopes = append(s.scopes, rs.ScopeSpans...)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// Scopes returns what came so far, as it came.
func (s *Sink) Scopes() ([]*traces.ScopeSpans, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.scopes), s.bad
}

// Close ends the server.
func (s *Sink) Close() { _ = s.server.Close() }

func spansOf(scopes []*traces.ScopeSpans) (out []Span) {
	for _, sc := range scopes {
		for _, p := range sc.Spans {
			s := Span{
				Name: p.Name, Kind: kindOf(p), Trace: hex.EncodeToString(p.TraceId), ID: hex.EncodeToString(p.SpanId),
				Parent: hex.EncodeToString(p.ParentSpanId), Attributes: map[string]string{}, Error: p.Status.GetCode() == traces.Status_STATUS_CODE_ERROR,
				Start: time.Unix(0, int64(p.StartTimeUnixNano)), End: time.Unix(0, int64(p.EndTimeUnixNano)), //nolint:gosec // times of this century
			}
			for _, l := range p.Links {
				s.Links = append(s.Links, hex.EncodeToString(l.SpanId))
			}
			for _, a := range p.Attributes {
				s.Attributes[a.Key] = textOf(a.Value)
			}
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return out
}

func kindOf(p *traces.Span) string { return strings.TrimPrefix(p.Kind.String(), "SPAN_KIND_") }

func textOf(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	}
	return v.String()
}

// spansOfDD turns what Datadog's tracer finished into spans.
func spansOfDD(t mocktracer.Tracer) (out []Span) {
	id := func(v uint64) string {
		if v == 0 {
			return ""
		}
		return fmt.Sprintf("%016x", v)
	}
	for _, p := range t.FinishedSpans() {
		s := Span{
			Name: p.OperationName(), Trace: id(p.TraceID()), ID: id(p.SpanID()), Parent: id(p.ParentID()),
			Attributes: map[string]string{}, Start: p.StartTime(), End: p.FinishTime(),
		}
		for k, v := range p.Tags() {
			s.Attributes[k] = fmt.Sprint(v)
		}
		s.Kind = strings.ToUpper(s.Attributes["span.kind"])
		_, withError := s.First("error.message", "error.msg", "error")
		s.Error = withError
		for _, l := range p.Links() {
			s.Links = append(s.Links, id(l.SpanID))
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return out
}

// contextOf returns the span id that a record's headers carry, and how often they
// carry one.
func contextOf(headers []Header) (spanID string, count int) {
	dd := ""
	for _, h := range headers {
		switch h.Key {
		case "traceparent":
			count++
			if parts := strings.Split(string(h.Value), "-"); len(parts) == 4 {
				spanID = parts[2]
			}
		case "x-datadog-parent-id":
			if v, err := strconv.ParseUint(string(h.Value), 10, 64); err == nil {
				dd = fmt.Sprintf("%016x", v)
			}
		}
	}
	if count == 0 && dd != "" {
		return dd, countOf(headers, "x-datadog-parent-id")
	}
	return spanID, count
}

func countOf(headers []Header, key string) (n int) {
	for _, h := range headers {
		if h.Key == key {
			n++
		}
	}
	return n
}
