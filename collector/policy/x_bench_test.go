package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/schemas"
)

// event is one of about 20 KB as an SDK sends it, with a chain of two
// exceptions, source context, tags and breadcrumbs.
func event(extra string) []byte {
	var b strings.Builder
	b.WriteString(`{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","timestamp":"2026-11-30T11:43:53.123456789Z","platform":"go","level":"error","release":"shop@1.4.2+81","environment":"production","server_name":"worker-7","transaction":"POST /orders",`)
	b.WriteString(`"sdk":{"name":"sentry.go","version":"0.50.0","integrations":["ContextifyFrames","Environment","Modules"]},"user":{"id":"18273","email":"joe@shop.example","ip_address":"203.0.113.7"},`)
	b.WriteString(`"request":{"url":"https://shop.example/orders?page=2","method":"POST","headers":{"Accept":"*/*","User-Agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36","Content-Type":"application/json"}},`)
	b.WriteString(`"contexts":{"trace":{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","op":"queue.process"},"runtime":{"name":"go","version":"go1.26.8"},"os":{"name":"linux"}},"exception":{"values":[`)
	for e := range 2 {
		if e > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"*payments.CardDeclined","value":"charge order %d: card declined by issuer after 3 attempts","stacktrace":{"frames":[`, 1000+e)
		for f := range 22 {
			if f > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"function":"(*Handler).Process%d","module":"github.com/shop/orders/internal/payments","filename":"internal/payments/charge.go","abs_path":"/build/src/github.com/shop/orders/internal/payments/charge.go","lineno":%d,"in_app":true,`, f, 40+f)
			b.WriteString(`"context_line":"\t\treturn fmt.Errorf(\"charge order %d: %w\", order.ID, err)","pre_context":["\tif err := h.issuer.Charge(ctx, order); err != nil {"],"post_context":["\t}","\treturn nil"]}`)
		}
		b.WriteString(`]}}`)
	}
	b.WriteString(`]},"breadcrumbs":[`)
	for i := range 20 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"timestamp":"2026-11-30T11:43:%02d.5Z","category":"kafka","message":"read record orders/3/%d","level":"info","data":{"partition":3,"offset":%d}}`, 20+i, 8172+i, 8172+i)
	}
	b.WriteString(`],"tags":{"topic":"orders","partition":"3","region":"eu-1"},"extra":{` + extra + `"attempt":3}}`)
	return []byte(b.String())
}

func BenchmarkScrub(b *testing.B) {
	all := func(s *schemas.ProjectSettings) { s.Scrubbing.Emails, s.Scrubbing.IPAddresses = true, true }
	for _, c := range []struct {
		name   string
		event  []byte
		change func(*schemas.ProjectSettings)
	}{
		{"found=0", event(""), nil},
		{"found=3", event(`"db_password":"hunter2","note":"4111 1111 1111 1111","url":"https://a:b@c.example/",`), nil},
		{"found=2/emails=on/ips=on", event(""), all},
	} {
		b.Run(c.name, func(b *testing.B) {
			if !json.Valid(c.event) {
				b.Fatal("the event is broken")
			}
			s := scrubberOf(b, c.change)
			b.SetBytes(int64(len(c.event)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := s.scrub(c.event, false, 1<<20); !ok {
					b.Fatal("told to be broken")
				}
			}
		})
	}
}

type nobody struct{}

func (nobody) Record(uint64, string, schemas.Category, schemas.Outcome, string, int64, schemas.EventID) {
}

func BenchmarkItem(b *testing.B) {
	off := schemas.ProjectSettings{Version: schemas.SettingsVersion}
	filters := off
	filters.Filters = schemas.Filters{
		LegacyBrowsers: true, Localhost: true, WebCrawlers: true, BrowserExtensions: true,
		ErrorMessages: []string{"*timeout*", "TypeError: *"}, Releases: []string{"0.*"}, ClientIPs: []string{"10.0.0.0/8"},
	}
	payload := event("")
	for _, c := range []struct {
		name     string
		settings schemas.ProjectSettings
	}{{"settings=off", off}, {"settings=filters", filters}, {"settings=default", schemas.DefaultProjectSettings()}} {
		b.Run(c.name, func(b *testing.B) {
			p, err := New(Config{}, Deps{Recorder: nobody{}})
			if err != nil {
				b.Fatal(err)
			}
			from := &Sender{Project: schemas.Project{ID: 1, Revision: 1, Settings: &c.settings}}
			it := Item{Type: "event", Category: schemas.CategoryError, Quantity: 1, Payload: payload}
			b.ReportAllocs()
			for b.Loop() {
				if d := p.Item(context.Background(), from, it); !d.Keep {
					b.Fatal(d.Reason)
				}
			}
		})
	}
}

// BenchmarkValid is the machine's measure: what encoding/json takes for the same.
func BenchmarkValid(b *testing.B) {
	payload := event("")
	for b.Loop() {
		json.Valid(payload)
	}
}
