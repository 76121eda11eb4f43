package ingest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestOTLPLogsAreDecodedAsPdataWritesThem(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 123, time.UTC)
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "shop")
	rl.Resource().Attributes().PutStr("host.name", "h1")
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName("shop.cart")
	trace, span, _ := ids(t)
	r := sl.LogRecords().AppendEmpty()
	r.SetTimestamp(pcommon.NewTimestampFromTime(at))
	r.SetSeverityNumber(plog.SeverityNumberError)
	r.SetSeverityText("ERROR")
	r.SetTraceID(pcommon.TraceID(trace))
	r.SetSpanID(pcommon.SpanID(span))
	r.SetEventName("exception")
	r.Body().SetStr("cannot charge")
	r.Attributes().PutStr("exception.type", "CardDeclined")
	r.Attributes().PutInt("n", 7)
	r = sl.LogRecords().AppendEmpty()
	r.SetObservedTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Second)))
	r.Body().SetEmptyMap().PutStr("a", "b")
	r.SetDroppedAttributesCount(3)
	value, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewLogDecoder(Limits{}).Decode(nil, value)
	if err != nil {
		t.Fatal(err)
	}
	resource := []schemas.Attribute{{Key: "host.name", Value: "h1"}}
	want := []schemas.Log{
		{
			Time: at.UnixNano(), TraceID: trace, SpanID: span, Severity: 17, Level: "ERROR", Body: "cannot charge", Service: "shop", Scope: "shop.cart", Origin: schemas.OriginOTel, Resource: resource,
			Attributes: []schemas.Attribute{{Key: "event.name", Value: "exception"}, {Key: "exception.type", Value: "CardDeclined"}, {Key: "n", Value: "7"}},
		},
		{
			Time: at.Add(time.Second).UnixNano(), Body: `{"a":"b"}`, Service: "shop", Scope: "shop.cart", Origin: schemas.OriginOTel, Resource: resource,
			Attributes: []schemas.Attribute{{Key: AttrSDKDropped, Value: "3"}}, Position: schemas.Position{Index: 1},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("logs (-want +got):\n%s", d)
	}
	if _, err := NewLogDecoder(Limits{Spans: 1}).Decode(nil, value); err == nil {
		t.Error("two records where one is allowed")
	}
	for cut := range len(value) - 1 {
		_, _ = NewLogDecoder(Limits{}).Decode(nil, value[:cut]) // must not panic
	}
}

func FuzzLogs(f *testing.F) {
	f.Add([]byte("\n\x00"))
	d := NewLogDecoder(Limits{})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = d.Decode(nil, b)
		d.Reset()
	})
}
