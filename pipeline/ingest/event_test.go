package ingest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestTimesComeAsNumbersOrText(t *testing.T) {
	f := func(json string, want int64) {
		t.Helper()
		var got Timestamp
		if err := got.UnmarshalJSON([]byte(json)); err != nil || int64(got) != want {
			t.Errorf("%s: got %d, %v; want %d", json, got, err, want)
		}
	}
	at := time.Date(2026, 11, 23, 11, 59, 58, 123456789, time.UTC).UnixNano()
	f(`1795435198`, 1795435198e9)
	f(`1795435198.123456789`, at)
	f(`1795435198.1`, 1795435198_100000000)
	f(`1.795435198e9`, 1795435198e9)
	f(`"1795435198.5"`, 1795435198_500000000)
	f(`"2026-11-23T11:59:58.123456789Z"`, at)
	f(`"2026-11-23T13:59:58.123456789+02:00"`, at)
	f(`"2026-11-23T11:59:58"`, at/1e9*1e9)
	f(`"2026-11-23 11:59:58.5"`, at/1e9*1e9+5e8)
	for _, bad := range []string{`null`, `""`, `"yesterday"`, `-5`, `1e300`, `99999999999999999999`, `{}`, `true`, `"0001-01-01T00:00:00Z"`, `"9999-01-01T00:00:00Z"`, `"1.2.3"`} {
		f(bad, 0)
	}
}

func TestFieldsOfAWrongTypeReadAsAbsentAndSpoilNoOther(t *testing.T) {
	e, err := DecodeEvent([]byte(`{"event_id":{"no":1},"level":7,"release":1.5,"tags":"none","exception":[5,null,{"type":["T"],"value":"v","stacktrace":{"frames":{"a":1}}},{"type":"T2","stacktrace":"gone"}],
		"contexts":[1],"threads":false,"fingerprint":{"a":1},"sdk":"x","platform":"go","timestamp":"2026-11-23T11:59:58Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	if e.EventID != "" || e.Level != "7" || e.Release != "1.5" || e.Platform != "go" || e.Timestamp == 0 || len(e.Tags) != 0 || len(e.Threads) != 0 {
		t.Errorf("got %+v", e)
	}
	var got []string
	for _, x := range e.Exceptions {
		got = append(got, string(x.Type)+"/"+string(x.Value))
	}
	if d := cmp.Diff([]string{"/", "/v", "T2/"}, got); d != "" {
		t.Errorf("exceptions (-want +got):\n%s", d)
	}
}

func TestTagsComeInThreeForms(t *testing.T) {
	want := tagList{{Key: "a", Value: "1"}, {Key: "b", Value: "true"}}
	for _, form := range []string{`{"b":true,"a":1}`, `[["a","1"],["b",true]]`, `[{"key":"a","value":"1"},{"key":"b","value":true}]`, `[["a",1],["wrong"],7,["b","true"],["",""]]`} {
		e, err := DecodeEvent([]byte(`{"tags":` + form + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, e.Tags); d != "" {
			t.Errorf("%s (-want +got):\n%s", form, d)
		}
	}
}

func TestListsKeepBothEndsWithinTheirBounds(t *testing.T) {
	frames := strings.TrimSuffix(strings.Repeat(`{"function":"m"},`, 100_000), ",")
	e, err := DecodeEvent([]byte(`{"stacktrace":{"frames":[{"function":"first"},` + frames + `,{"function":"last"}]},
		"exception":{"values":[` + strings.TrimSuffix(strings.Repeat(`{},`, 1000), ",") + `]}}`))
	if err != nil {
		t.Fatal(err)
	}
	f := e.Stacktrace.Frames
	if len(f) != MaxFrames || f[0].Function != "first" || f[len(f)-1].Function != "last" {
		t.Errorf("%d frames from %q to %q, want %d from first to last", len(f), f[0].Function, f[len(f)-1].Function, MaxFrames)
	}
	if len(e.Exceptions) != MaxExceptions {
		t.Errorf("%d exceptions, want %d", len(e.Exceptions), MaxExceptions)
	}
	var tags strings.Builder
	for i := range 1000 {
		tags.WriteString(`["k` + strings.Repeat("x", i%7) + `","v"],`)
	}
	e, err = DecodeEvent([]byte(`{"tags":[` + strings.TrimSuffix(tags.String(), ",") + `]}`))
	if err != nil || len(e.Tags) != MaxTags {
		t.Errorf("%d tags, %v; want %d", len(e.Tags), err, MaxTags)
	}
}

func TestWhatIsNoJSONObjectIsRefusedWithThePlace(t *testing.T) {
	f := func(payload, want string) {
		t.Helper()
		if e, err := DecodeEvent([]byte(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %+v, %v; want an error with %q", payload, e, err, want)
		}
	}
	f(``, "not a JSON object")
	f(`[]`, "not a JSON object")
	f(`"event"`, "not a JSON object")
	f(`{"a":1`, "at byte 6")
	f(`{"a":1} {}`, "at byte 9")
	f(`{"a":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`}`, "broken JSON")
	f(`{"a":"`+strings.Repeat("x", MaxEventBytes)+`"}`, "longer than")
}

func FuzzDecodeEvent(f *testing.F) {
	for _, s := range []string{
		`{"message":{"message":"a %s","formatted":"a b"},"logentry":"x"}`,
		`{"exception":{"values":[{"type":"T","value":"v","mechanism":{"synthetic":true},"stacktrace":{"frames":[{"in_app":true}]}}]}}`,
		`{"tags":[["a","b"]],"fingerprint":["{{ default }}",1],"contexts":{"kafka":{"topic":"t","partition":"3","offset":5}}}`,
		`{"timestamp":1795435198.1,"threads":{"values":[{"crashed":true}]}}`, `{"a":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := DecodeEvent(payload)
		if err != nil {
			if e != nil {
				t.Fatal("an event and an error")
			}
			return
		}
		if len(e.Exceptions) > MaxExceptions || len(e.Tags) > MaxTags || len(e.Fingerprint) > MaxFingerprint || len(e.Threads) > MaxThreads || len(e.Stacktrace.Frames) > MaxFrames {
			t.Fatal("beyond the bounds")
		}
		for _, tag := range e.Tags {
			if tag == (schemas.Attribute{}) {
				t.Fatal("an empty tag")
			}
		}
	})
}
