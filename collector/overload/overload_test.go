package overload

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestUnderPressureOnlyTheHeavyProjectWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFair(FairConfig{})
		refused := map[uint64]int{}
		for i := range 2000 {
			time.Sleep(5 * time.Millisecond)
			pressure := 0.8
			if i < 500 {
				pressure = 0.1
			}
			for range 10 {
				if f.Take(1, 1000, pressure) > 0 {
					refused[1]++
				}
			}
			if f.Take(2, 1000, pressure) > 0 {
				refused[2]++
			}
		}
		if refused[2] > 0 {
			t.Errorf("the light project had to wait %d times", refused[2])
		}
		if refused[1] < 2000 {
			t.Errorf("the heavy project had to wait %d times of 20,000", refused[1])
		}
	})
}

func TestWithoutPressureOrOthersNobodyWaits(t *testing.T) {
	f := NewFair(FairConfig{})
	for range 1000 {
		if f.Take(1, 1<<20, 1) > 0 {
			t.Fatal("the only project has to wait")
		}
	}
	f.Take(2, 1, 0)
	if f.Take(1, 1<<30, 0.49) > 0 {
		t.Error("below the pressure of Start it has to wait")
	}
	if f.Take(1, 1, 1) == 0 {
		t.Error("at full pressure the heavier of two need not wait")
	}
}

func TestUseLeavesTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFair(FairConfig{})
		f.Take(1, 1<<20, 0)
		f.Take(2, 1, 0)
		time.Sleep(11 * time.Second)
		f.Take(2, 1000, 0)
		if f.Take(1, 1000, 1) > 0 {
			t.Error("what was used before the window still counts")
		}
		time.Sleep(time.Minute)
		f.Take(3, 1, 0)
		if len(f.projects) != 1 {
			t.Errorf("%d projects are remembered, want the one that sent in the window", len(f.projects))
		}
	})
}

func id(n int) (id schemas.EventID) {
	copy(id[:], fmt.Sprintf("%016d", n))
	return id
}

func TestABurstIsHandedOnByItsLogarithmAndEveryEventCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRepeats(RepeatsConfig{Keep: 100})
		whole, repeats := 0, 0
		exemplars := map[schemas.EventID]bool{}
		const n = 100_000
		for i := range n {
			of, repeat, kept := r.See(1, id(i), 0.9, func() (Kind, bool) { return Kind{1}, true })
			if repeat {
				repeats++
				if !exemplars[of] {
					t.Fatalf("event %d is a repeat of %s, which was not handed on whole", i, of)
				}
				continue
			}
			whole++
			exemplars[id(i)] = true
			if kept != nil {
				kept()
			}
		}
		if whole+repeats != n || whole < 100 || whole > 250 {
			t.Errorf("of %d equal events %d were handed on whole and %d as repeats; want from 100 to 250 whole", n, whole, repeats)
		}
		time.Sleep(time.Minute)
		if _, repeat, _ := r.See(1, id(0), 0.9, func() (Kind, bool) { return Kind{1}, true }); repeat {
			t.Error("the first of the next minute is a repeat")
		}
	})
}

func TestNothingIsARepeatBeforeOneIsDurable(t *testing.T) {
	r := NewRepeats(RepeatsConfig{Keep: 1})
	for i := range 10 {
		if _, repeat, _ := r.See(1, id(i), 1, func() (Kind, bool) { return Kind{1}, true }); repeat {
			t.Fatal("a repeat of an event that Kafka has not acknowledged")
		}
	}
}

func TestWithoutPressureKindsAreNotEvenLookedAt(t *testing.T) {
	r := NewRepeats(RepeatsConfig{Burst: 1000})
	for i := range 1000 {
		if _, repeat, _ := r.See(1, id(i), 0, func() (Kind, bool) { t.Fatal("the kind was looked at"); return Kind{}, false }); repeat {
			t.Fatal("a repeat without pressure")
		}
	}
}

func event(change ...string) []byte {
	e := `{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","timestamp":1,"platform":"go","release":"r1","tags":{"a":"b"},"user":{"id":"7"},
"contexts":{"os":{"name":"x"},"kafka":{"topic":"orders","partition":3,"offset":17},"trace":{"trace_id":"t"}},
"exception":{"values":[{"type":"CardDeclined","value":"card 17 declined","stacktrace":{"frames":[
{"function":"main","module":"main","filename":"main.go","lineno":10,"in_app":true},{"function":"charge","module":"pay","filename":"charge.go","lineno":20,"in_app":true}]}}]},
"breadcrumbs":[{"message":"one"}]}`
	return []byte(strings.NewReplacer(change...).Replace(e))
}

func TestEventsOfOneKindAreOneIssue(t *testing.T) {
	base, ok := KindOf(1, event(), false)
	if !ok {
		t.Fatal("an event with an exception has no kind")
	}
	f := func(same, exact bool, change ...string) {
		t.Helper()
		base, _ := KindOf(1, event(), exact)
		if got, ok := KindOf(1, event(change...), exact); !ok || (got == base) != same {
			t.Errorf("changed %q (exact %v): same kind is %v, want %v", change, exact, got == base, same)
		}
	}
	f(true, false, `"timestamp":1`, `"timestamp":2`)
	f(true, false, `"lineno":20`, `"lineno":21`)
	f(true, false, "card 17 declined", "card 18 declined")
	f(true, false, `"offset":17`, `"offset":18`)
	f(true, false, `"message":"one"`, `"message":"two"`)
	f(false, true, "card 17 declined", "card 18 declined")
	f(false, false, "CardDeclined", "CardStolen")
	f(false, false, `"function":"charge"`, `"function":"refund"`)
	f(false, false, `"module":"pay"`, `"module":"refund"`)
	f(false, false, `"platform":"go"`, `"platform":"java"`)
	f(false, false, `"in_app":true`, `"in_app":false`) // the value decides then, and this is its first sight
	f(false, false, `"in_app":true`, `"in_app":false`, "card 17", "card 18")
	if other, _ := KindOf(2, event(), false); other == base {
		t.Error("two projects share a kind")
	}
	for _, none := range []string{`{}`, `{"level":"error"}`, `[]`, `x`, ``, `{"exception":`, `{"exception":[{]}`} {
		if k, ok := KindOf(1, []byte(none), false); ok {
			t.Errorf("%q has the kind %x", none, k)
		}
	}
	a, _ := KindOf(1, []byte(`{"logentry":{"message":"user %s gone","params":["a"],"formatted":"user a gone"}}`), false)
	b, _ := KindOf(1, []byte(`{"logentry":{"message":"user %s gone","params":["b"],"formatted":"user b gone"}}`), false)
	if a != b || a == (Kind{}) {
		t.Error("one template makes two kinds")
	}
}

func TestARepeatKeepsWhatIsItsOwn(t *testing.T) {
	short, ok := Trim(event(), id(5))
	if !ok || !json.Valid(short) {
		t.Fatalf("Trim = %s, %v", short, ok)
	}
	var got map[string]any
	if err := json.Unmarshal(short, &got); err != nil {
		t.Fatal(err)
	}
	contexts, _ := got["contexts"].(map[string]any)
	if got["repeat_of"] != id(5).String() || got["timestamp"] != 1.0 || got["release"] != "r1" || contexts["kafka"] == nil || contexts["trace"] == nil || contexts["os"] != nil ||
		got["exception"] != nil || got["breadcrumbs"] != nil || got["user"] == nil || got["tags"] == nil {
		t.Errorf("the repeat is %s", short)
	}
	if _, ok := Trim(event(`"a":"b"`, `"a":"`+strings.Repeat("b", maxTrimmed)+`"`), id(5)); ok {
		t.Error("a repeat may be large")
	}
}

func FuzzKindOf(f *testing.F) {
	f.Add(event())
	f.Add([]byte(`{"exception":{"values":[{"stacktrace":{"frames":[{}]}}]},"message":"a\\\"b"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, ok := KindOf(1, b, false)
		again, ok2 := KindOf(1, b, false)
		if k != again || ok != ok2 {
			t.Fatal("two kinds of one event")
		}
		if short, ok := Trim(b, id(1)); ok && json.Valid(b) && !json.Valid(short) {
			t.Fatalf("Trim of sound JSON %q gives %q", b, short)
		}
		if json.Valid(b) {
			s := scanner{b: b}
			if !s.skip() {
				t.Fatalf("sound JSON %q is not passed over", b)
			}
		}
	})
}

func BenchmarkKindOf(b *testing.B) {
	frame := `{"function":"charge","module":"shop/pay","filename":"charge.go","abs_path":"/src/shop/pay/charge.go","lineno":20,"in_app":true,"context_line":"return err","pre_context":["a","b","c"],"post_context":["d","e"]}`
	e := event(`{"function":"main"`, strings.Repeat(frame+",", 80)+`{"function":"main"`)
	b.SetBytes(int64(len(e)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := KindOf(1, e, false); !ok {
			b.Fatal("no kind")
		}
	}
}
