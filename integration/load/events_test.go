package load

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"
)

func TestEventsAreWholeAndTheirOwn(t *testing.T) {
	templates, err := NewEventTemplates("http://0123456789abcdef0123456789abcdef@127.0.0.1:4318/17")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 12, 1, 2, 3, 4, 5_000, time.UTC)
	ids, kinds := map[string]bool{}, map[string]int{}
	orders := map[string]bool{}
	const each = 500
	for seed := range uint8(2) {
		g := templates.Generator(seed + 1)
		for range each {
			request, id := g.Next(now)
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
			if err != nil {
				t.Fatal(err)
			}
			if r.URL.Path != "/api/17/envelope/" {
				t.Fatalf("path is %s", r.URL.Path)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || int64(len(body)) != r.ContentLength {
				t.Fatalf("the body has %d bytes, its head says %d: %v", len(body), r.ContentLength, err)
			}
			lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
			if len(lines) != 3 {
				t.Fatalf("the envelope has %d lines, want 3", len(lines))
			}
			var head struct {
				ID string `json:"event_id"`
			}
			var item struct {
				Length int `json:"length"`
			}
			var event struct {
				ID        string    `json:"event_id"`
				Time      time.Time `json:"timestamp"`
				Exception struct {
					Values []struct{ Type, Value string } `json:"values"`
				} `json:"exception"`
			}
			for i, into := range []any{&head, &item, &event} {
				if err := json.Unmarshal(lines[i], into); err != nil {
					t.Fatalf("line %d: %v: %.200q", i, err, lines[i])
				}
			}
			if item.Length != len(lines[2]) || item.Length < 19_000 || item.Length > 25_000 {
				t.Fatalf("the event has %d bytes, its head says %d; want about 20,000", len(lines[2]), item.Length)
			}
			if want := hex.EncodeToString(id[:]); head.ID != want || event.ID != want || ids[want] {
				t.Fatalf("ids are %s and %s, want %s, which no other event has", head.ID, event.ID, want)
			}
			ids[event.ID] = true
			if !event.Time.Equal(now) {
				t.Fatalf("the event is of %s, want %s", event.Time, now)
			}
			kinds[event.Exception.Values[0].Type]++
			orders[event.Exception.Values[0].Value] = true
		}
		if n, fresh := g.Made(); n != each || fresh != each*(MixOf-RepeatsOf)/MixOf {
			t.Fatalf("made %d events and %d new errors, want %d and %d", n, fresh, each, each*3/10)
		}
	}
	const total = 2 * each
	if want := KnownKinds + total*(MixOf-RepeatsOf)/MixOf; len(kinds) != want {
		t.Fatalf("%d events are of %d errors, want %d", total, len(kinds), want)
	}
	if len(orders) < total*9/10 {
		t.Fatalf("%d events have %d different texts", total, len(orders))
	}
}

func BenchmarkEvents(b *testing.B) {
	templates, err := NewEventTemplates("http://0123456789abcdef0123456789abcdef@127.0.0.1:4318/17")
	if err != nil {
		b.Fatal(err)
	}
	g := templates.Generator(1)
	now := time.Now()
	b.SetBytes(int64(templates.RequestBytes()))
	b.ReportAllocs()
	for b.Loop() {
		g.Next(now)
	}
}
