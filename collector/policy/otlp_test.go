package policy

import (
	"bytes"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/hoptrace/hoptrace/schemas"
)

// secret and clean are attributes before and after.
func secret(m pcommon.Map) {
	attributes(m, "hunter2", "4111 1111 1111 1111", "https://a:b@c.example/?token=t&x=1")
}

func clean(m pcommon.Map) {
	attributes(m, filtered, filtered, "https://***@c.example/?token="+filtered+"&x=1")
}

func attributes(m pcommon.Map, password, card, url string) {
	m.PutStr("db.password", password)
	m.PutStr("plain", "text ☃")
	m.PutInt("retry.count", 3)
	m.PutBool("auth.ok", true)
	list := m.PutEmptySlice("list")
	list.AppendEmpty().SetStr("pay " + card)
	list.AppendEmpty().SetEmptyMap().PutStr("secret", password)
	m.PutStr("url.full", url)
}

func tracesWith(t *testing.T, put func(pcommon.Map)) []byte {
	t.Helper()
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	put(rs.Resource().Attributes())
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("scope")
	put(ss.Scope().Attributes())
	for range 2 {
		span := ss.Spans().AppendEmpty()
		span.SetName("send orders")
		span.SetTraceID([16]byte{1})
		put(span.Attributes())
		put(span.Events().AppendEmpty().Attributes())
		put(span.Links().AppendEmpty().Attributes())
	}
	b, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func logsWith(t *testing.T, put func(pcommon.Map), body string) []byte {
	t.Helper()
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	put(rl.Resource().Attributes())
	sl := rl.ScopeLogs().AppendEmpty()
	put(sl.Scope().Attributes())
	put(sl.LogRecords().AppendEmpty().Attributes())
	sl.LogRecords().AppendEmpty().Body().SetStr(body)
	put(sl.LogRecords().AppendEmpty().Body().SetEmptyMap())
	b, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func metricsWith(t *testing.T, put func(pcommon.Map)) []byte {
	t.Helper()
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	put(rm.Resource().Attributes())
	sm := rm.ScopeMetrics().AppendEmpty()
	put(sm.Scope().Attributes())
	put(sm.Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty().Attributes())
	put(sm.Metrics().AppendEmpty().SetEmptySum().DataPoints().AppendEmpty().Attributes())
	put(sm.Metrics().AppendEmpty().SetEmptyHistogram().DataPoints().AppendEmpty().Attributes())
	put(sm.Metrics().AppendEmpty().SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Attributes())
	put(sm.Metrics().AppendEmpty().SetEmptySummary().DataPoints().AppendEmpty().Attributes())
	b, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOTLPIsScrubbedWhenAProjectAsksForIt(t *testing.T) {
	p, _ := newPolicy(t, nil)
	asks := sender(t, func(s *schemas.ProjectSettings) { s.Scrubbing.Enabled, s.Scrubbing.OTLP = true, true })
	not := sender(t, func(s *schemas.ProjectSettings) { s.Scrubbing.Enabled = true })
	f := func(kind string, in, want []byte) {
		t.Helper()
		before := bytes.Clone(in)
		if got := p.ScrubOTLP(asks, kind, in); !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%q\nwant\n%q", kind, got, want)
		}
		if !bytes.Equal(in, before) {
			t.Errorf("%s: the request was written to", kind)
		}
		if got := p.ScrubOTLP(not, kind, in); &got[0] != &in[0] {
			t.Errorf("%s: changed although the project does not ask for it", kind)
		}
		if got := p.ScrubOTLP(asks, kind, want); &got[0] != &want[0] {
			t.Errorf("%s: what is clean was copied", kind)
		}
	}
	f("span", tracesWith(t, secret), tracesWith(t, clean))
	f("log", logsWith(t, secret, `{"password":"x"} Bearer abcdefgh12345`), logsWith(t, clean, `{"password":"[Filtered]"} Bearer [Filtered]`))
	f("trace_metric", metricsWith(t, secret), metricsWith(t, clean))
}

// FuzzScrubOTLP: broken requests come back as they are, and what pdata reads it
// reads after scrubbing, too.
func FuzzScrubOTLP(f *testing.F) {
	f.Add([]byte("\n\x05\n\x03\n\x01a"))
	f.Add([]byte{10, 20, 10, 18, 10, 16, 10, 5, 't', 'o', 'k', 'e', 'n', 18, 7, 10, 5, 'h', 'e', 'l', 'l', 'o'})
	p, _ := newPolicy(f, nil)
	from := sender(f, func(s *schemas.ProjectSettings) { s.Scrubbing.Enabled, s.Scrubbing.OTLP = true, true })
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		out := p.ScrubOTLP(from, "span", in)
		if !bytes.Equal(in, before) {
			t.Fatal("the request was written to")
		}
		a, b := ptraceotlp.NewExportRequest(), ptraceotlp.NewExportRequest()
		if a.UnmarshalProto(in) == nil {
			if err := b.UnmarshalProto(out); err != nil {
				t.Fatalf("%q\nbecame %q: %v", in, out, err)
			}
			if a.Traces().SpanCount() != b.Traces().SpanCount() {
				t.Fatalf("%q\nbecame %q, with another number of spans", in, out)
			}
		}
	})
}

// TestTextsOfExceptionsAreScrubbedUnasked: they become events, and an error that two
// SDKs tell of must read the same.
func TestTextsOfExceptionsAreScrubbedUnasked(t *testing.T) {
	put := func(secret string) func(pcommon.Map) {
		return func(m pcommon.Map) {
			m.PutStr("exception.type", "ChargeError")
			m.PutStr("exception.message", "refused: password="+secret)
			m.PutStr("exception.stacktrace", "ChargeError: refused: password="+secret+"\n\tat x")
			m.PutStr("db.password", "hunter2") // of the span, which nobody asked for
		}
	}
	p, _ := newPolicy(t, nil)
	from := sender(t, func(s *schemas.ProjectSettings) { s.Scrubbing.Enabled, s.Scrubbing.Defaults = true, true })
	for kind, with := range map[string]func(*testing.T, func(pcommon.Map)) []byte{"span": tracesWith, "log": func(t *testing.T, put func(pcommon.Map)) []byte { return logsWith(t, put, "body") }} {
		got := p.ScrubOTLP(from, kind, with(t, put("hunter2")))
		if bytes.Contains(got, []byte("password=hunter2")) || !bytes.Contains(got, []byte("password="+filtered)) || !bytes.Contains(got, []byte("db.password")) || !bytes.Contains(got, []byte("hunter2")) {
			t.Errorf("%s: %q", kind, got)
		}
	}
	plain := tracesWith(t, secret)
	if got := p.ScrubOTLP(from, "span", plain); &got[0] != &plain[0] {
		t.Error("spans without an exception were changed")
	}
	off := sender(t, func(s *schemas.ProjectSettings) { s.Scrubbing.Enabled = false })
	if raw := tracesWith(t, put("hunter2")); !bytes.Equal(p.ScrubOTLP(off, "span", raw), raw) {
		t.Error("a project that scrubs nothing was scrubbed")
	}
}
