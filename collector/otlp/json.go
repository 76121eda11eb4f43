package otlp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/hoptrace/hoptrace/collector/bound"
)

// maxJSONDepth bounds JSON before a parser that recurses sees it.
const maxJSONDepth = 5 * maxNesting

// FromJSON gives the protobuf form of a JSON request, of which every part must
// be good. It takes its memory from the lease.
func FromJSON(signal Signal, data []byte, lease *bound.Lease) ([]byte, error) {
	out, report, err := fromJSON(signal, data, lease)
	if err == nil && report.Refused() > 0 {
		err = fmt.Errorf("%w: %s", ErrMalformed, report.First)
	}
	return out, err
}

// fromJSON gives the protobuf form of a JSON request. The report holds spans
// whose ids cannot be written as protobuf and that are left out. Of metrics,
// where only an exemplar has one, and of logs a bad id makes the request
// malformed.
func fromJSON(signal Signal, data []byte, lease *bound.Lease) ([]byte, Report, error) {
	if err := bound.CheckObject(data, maxJSONDepth); err != nil {
		return nil, Report{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	// Objects take about three times their text, the protobuf less than it.
	if err := lease.Grow(4 * len(data)); err != nil {
		return nil, Report{}, err
	}
	if signal != Traces {
		convert := convertMetrics
		if signal == Logs {
			convert = convertLogs
		}
		out, err := convert(data)
		if err != nil {
			return nil, Report{}, fmt.Errorf("%w: OTLP as JSON: %w", ErrMalformed, err)
		}
		return out, Report{}, nil
	}
	out, err := convert(data)
	if err == nil {
		return out, Report{}, nil
	}
	// The parser gives up at the first bad id. Leave those spans out and ask again.
	if err := lease.Grow(8 * len(data)); err != nil {
		return nil, Report{}, err
	}
	rest, report := withoutBadIDs(data)
	if report.Refused() > 0 {
		if out, again := convert(rest); again == nil {
			return out, report, nil
		}
	}
	return nil, Report{}, fmt.Errorf("%w: OTLP as JSON: %w", ErrMalformed, err)
}

func convert(data []byte) ([]byte, error) {
	request := ptraceotlp.NewExportRequest()
	if err := request.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return request.MarshalProto()
}

func convertMetrics(data []byte) ([]byte, error) {
	request := pmetricotlp.NewExportRequest()
	if err := request.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return request.MarshalProto()
}

func convertLogs(data []byte) ([]byte, error) {
	request := plogotlp.NewExportRequest()
	if err := request.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return request.MarshalProto()
}

// withoutBadIDs removes spans whose ids are not hex of the right length from a
// valid JSON object.
func withoutBadIDs(data []byte) ([]byte, Report) {
	var report Report
	var root map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&root); err != nil {
		return nil, report
	}
	resources, _ := list(root, "resourceSpans", "resource_spans")
	for i, r := range resources {
		scopes, _ := list(r, "scopeSpans", "scope_spans")
		for j, s := range scopes {
			spans, set := list(s, "spans", "spans")
			kept := make([]any, 0, len(spans))
			for k, span := range spans {
				reason, bad := badID(span)
				if !bad {
					kept = append(kept, span)
					continue
				}
				report.Rejected[reason]++
				if report.First == "" {
					name, _ := member(span, "name", "name").(string)
					report.First = fmt.Sprintf("resourceSpans[%d].scopeSpans[%d].spans[%d] %s has a %s that is no hex of the right length",
						i, j, k, strconv.QuoteToASCII(clip(name, 64)), reason)
				}
			}
			set(kept)
		}
	}
	out, err := json.Marshal(root)
	if err != nil {
		return nil, Report{}
	}
	return out, report
}

// badID finds an id that the parser would refuse. An empty one it takes, and
// Scan refuses it.
func badID(span any) (Reason, bool) {
	f := func(v any, size int) bool {
		s, ok := v.(string)
		if v == nil || ok && s == "" {
			return false
		}
		raw, err := hex.DecodeString(s)
		return !ok || err != nil || len(raw) != size
	}
	switch {
	case f(member(span, "traceId", "trace_id"), 16):
		return BadTraceID, true
	case f(member(span, "spanId", "span_id"), 8):
		return BadSpanID, true
	case f(member(span, "parentSpanId", "parent_span_id"), 8):
		return BadParentID, true
	}
	links, _ := list(span, "links", "links")
	for _, l := range links {
		if f(member(l, "traceId", "trace_id"), 16) || f(member(l, "spanId", "span_id"), 8) {
			return BadLinkID, true
		}
	}
	return 0, false
}

// member gives an object's member by either name; nil when there is none.
func member(v any, name, other string) any {
	m, _ := v.(map[string]any)
	if x, ok := m[name]; ok {
		return x
	}
	return m[other]
}

// list gives an array by either name, and the function that replaces it.
func list(v any, name, other string) (elements []any, set func([]any)) {
	m, _ := v.(map[string]any)
	if _, ok := m[name]; !ok {
		name = other
	}
	elements, ok := m[name].([]any)
	if !ok {
		return nil, func([]any) {}
	}
	return elements, func(x []any) { m[name] = x }
}
