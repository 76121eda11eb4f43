package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// dropped counts what was turned away.
type dropped struct {
	mu  sync.Mutex // guards the following
	all []string
}

func (d *dropped) Record(_ uint64, _ string, cat schemas.Category, o schemas.Outcome, reason string, quantity int64, _ schemas.EventID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, fmt.Sprintf("%d %s %s %s", quantity, cat, o, reason))
}

func (d *dropped) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := strings.Join(d.all, ", ")
	d.all = nil
	return out
}

func newPolicy(t testing.TB, quota Quota) (*Policy, *dropped) {
	t.Helper()
	d := &dropped{}
	p, err := New(Config{}, Deps{Quota: quota, Recorder: d})
	if err != nil {
		t.Fatal(err)
	}
	return p, d
}

func sender(t testing.TB, change func(*schemas.ProjectSettings)) *Sender {
	t.Helper()
	s := schemas.DefaultProjectSettings()
	s.Scrubbing.Enabled = false
	if change != nil {
		change(&s)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return &Sender{Project: schemas.Project{ID: 1, Settings: &s}, Client: netip.MustParseAddr("203.0.113.9")}
}

func item(payload string) Item {
	return Item{Type: "event", Category: schemas.CategoryError, Quantity: 1, Payload: []byte(payload)}
}

const (
	chrome140 = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	ie11      = "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko"
	googlebot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
)

func TestInboundFilters(t *testing.T) {
	p, d := newPolicy(t, nil)
	f := func(change func(*schemas.ProjectSettings), payload, agent, want string) {
		t.Helper()
		from := sender(t, change)
		from.UserAgent = agent
		it := item(payload)
		got := p.Item(context.Background(), from, it)
		if want == "" {
			if !got.Keep || got.Quantity != 1 || string(got.Payload) != payload || d.take() != "" {
				t.Errorf("%s from %q: %+v; want it kept as it is", payload, agent, got)
			}
			return
		}
		if got.Keep || got.Outcome != schemas.OutcomeFiltered || got.Reason != want || d.take() != "1 error filtered "+want {
			t.Errorf("%s from %q: %+v; want filtered and counted as %s", payload, agent, got, want)
		}
		// Off is off.
		if got := p.Item(context.Background(), sender(t, nil), it); !got.Keep {
			t.Errorf("%s without filters: %+v", payload, got)
		}
	}
	withAgent := func(agent string) string {
		return `{"request":{"headers":{"Accept":"*/*","User-Agent":"` + agent + `"}}}`
	}
	legacy := func(s *schemas.ProjectSettings) { s.Filters.LegacyBrowsers = true }
	f(legacy, withAgent(ie11), "sentry-go/0.50", ReasonLegacyBrowsers)
	f(legacy, `{"request":{"headers":[["user-agent","`+ie11+`"]]}}`, "", ReasonLegacyBrowsers)
	f(legacy, `{"request":{"headers":{"USER-AGENT":["`+ie11+`"]}}}`, "", ReasonLegacyBrowsers)
	f(legacy, withAgent(chrome140), ie11, "") // what the event says wins
	f(legacy, `{"message":"m"}`, ie11, ReasonLegacyBrowsers)
	f(legacy, `{"message":"m"}`, chrome140, "")

	crawlers := func(s *schemas.ProjectSettings) { s.Filters.WebCrawlers = true }
	f(crawlers, withAgent(googlebot), "", ReasonWebCrawlers)
	f(crawlers, `{}`, googlebot, ReasonWebCrawlers)
	f(crawlers, withAgent(chrome140), "", "")

	localhost := func(s *schemas.ProjectSettings) { s.Filters.Localhost = true }
	for _, u := range []string{"http://localhost/x", "https://LOCALHOST:3000", "http://127.0.0.1:8080/", "http://[::1]/", "http://app.localhost/", "http://0.0.0.0:5000/", "http://127.8.9.1"} {
		f(localhost, `{"request":{"url":"`+u+`"}}`, "", ReasonLocalhost)
	}
	f(localhost, `{"user":{"ip_address":"127.0.0.1"}}`, "", ReasonLocalhost)
	f(localhost, `{"user":{"ip_address":"::ffff:127.0.0.1"}}`, "", ReasonLocalhost)
	f(localhost, `{"request":{"env":{"REMOTE_ADDR":"::1"}}}`, "", ReasonLocalhost)
	for _, u := range []string{"https://localhost.example/", "https://shop.example/localhost", "http://10.0.0.1/", "%", ""} {
		f(localhost, `{"request":{"url":"`+u+`"},"user":{"ip_address":"{{auto}}"}}`, "", "")
	}

	extensions := func(s *schemas.ProjectSettings) { s.Filters.BrowserExtensions = true }
	f(extensions, `{"exception":{"values":[{"type":"E","stacktrace":{"frames":[{"filename":"https://a/b.js"},{"abs_path":"chrome-extension://abc/x.js"}]}}]}}`, "", ReasonBrowserExtensions)
	f(extensions, `{"exception":[{"stacktrace":{"frames":[{"filename":"moz-extension://abc/x.js"}]}}]}`, "", ReasonBrowserExtensions)
	f(extensions, `{"exception":{"values":[{"type":"E","stacktrace":{"frames":[{"filename":"https://a/chrome-extension://b.js"}]}}]}}`, "", "")

	messages := func(s *schemas.ProjectSettings) {
		s.Filters.ErrorMessages = []string{"TypeError: *", "*Verbindung*", "exact", "ChunkLoadError"}
	}
	for _, payload := range []string{
		`{"exception":{"values":[{"type":"TypeError","value":"x is undefined"}]}}`,
		`{"exception":{"values":[{"type":"A","value":"b"},{"type":"typeerror","value":"x"}]}}`,
		`{"exception":{"type":"TypeError","value":"x"}}`,
		`{"exception":{"values":[{"type":"ChunkLoadError"}]}}`,
		`{"message":"Die VERBINDUNG brach ab"}`,
		`{"message":"exact"}`, `{"message":{"formatted":"exact"}}`, `{"logentry":{"message":"exact"}}`, `{"message":"e\u0078act"}`,
	} {
		f(messages, payload, "", ReasonErrorMessage)
	}
	for _, payload := range []string{
		`{"exception":{"values":[{"type":"MyTypeError","value":"x"}]}}`, `{"message":"exactly"}`, `{"extra":{"message":"exact"}}`, `{"exception":null,"message":5,"logentry":[]}`,
	} {
		f(messages, payload, "", "")
	}

	releases := func(s *schemas.ProjectSettings) { s.Filters.Releases = []string{"shop@0.*", "*-dev"} }
	f(releases, `{"release":"shop@0.9.1"}`, "", ReasonReleaseVersion)
	f(releases, `{"contexts":{},"release":"SHOP@2-dev"}`, "", ReasonReleaseVersion)
	f(releases, `{"release":"shop@1.0","tags":{"release":"shop@0.1"}}`, "", "")
	f(releases, `{"release":null}`, "", "")

	ips := func(s *schemas.ProjectSettings) {
		s.Filters.ClientIPs = []string{"203.0.113.9", "10.0.0.0/8", "2001:db8::/32"}
	}
	f(ips, `{}`, "", ReasonIPAddress)
	others := func(s *schemas.ProjectSettings) { s.Filters.ClientIPs = []string{"10.0.0.0/8", "2001:db8::/32"} }
	f(others, `{}`, "", "")
	f(others, `{"user":{"ip_address":"10.255.0.1"}}`, "", ReasonIPAddress)
	f(others, `{"user":{"ip_address":"2001:db8:1::7"}}`, "", ReasonIPAddress)
	f(others, `{"user":{"ip_address":"11.0.0.1"}}`, "", "")
}

func TestBrowsersAreKnownByTheirUserAgent(t *testing.T) {
	f := func(agent string, want bool) {
		t.Helper()
		if got := isLegacyBrowser(agent); got != want {
			t.Errorf("legacy %v: %s", got, agent)
		}
	}
	f(ie11, true)
	f("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", true)
	f("Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18", true)
	f("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1/30.3697; U; en) Presto/2.8.119 Version/11.10", true)
	f("Mozilla/5.0 (Linux; U; Android 4.0.3; de-de) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30", true)
	f("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_6) AppleWebKit/603.3.8 (KHTML, like Gecko) Version/10.1.2 Safari/603.3.8", true)
	f("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763", true)
	f("Mozilla/5.0 (Windows NT 6.1; rv:52.0) Gecko/20100101 Firefox/52.0", true)
	f("Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/49.0.2623.112 Safari/537.36", true)
	f(chrome140, false)
	f("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", false)
	f("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 OPR/124.0.0.0", false)
	f("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15", false)
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1", false)
	f("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", false)
	f("sentry-go/0.50.0", false)
	f("", false)

	crawler := func(agent string, want bool) {
		t.Helper()
		if got := isCrawler(agent); got != want {
			t.Errorf("crawler %v: %s", got, agent)
		}
	}
	for _, agent := range []string{
		googlebot, "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "Mozilla/5.0 (compatible; YandexBot/3.0)", "Baiduspider+(+http://www.baidu.com/search/spider.htm)",
		"Mozilla/5.0 (compatible; Yahoo! Slurp)", "facebookexternalhit/1.1", "Slackbot-LinkExpanding 1.0", "my-crawler (contact@x.example)", "GPTBot/1.2", "Pingdom.com_bot_version_1.4", "AdsBot-Google",
	} {
		crawler(agent, true)
	}
	for _, agent := range []string{chrome140, ie11, "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36", "robotframework/7", "python-requests/2.31", ""} {
		crawler(agent, false)
	}
}

func TestOriginsThatAreNotAllowedAreRefused(t *testing.T) {
	p, d := newPolicy(t, nil)
	f := func(allowed []string, origin string, want bool) {
		t.Helper()
		from := sender(t, func(s *schemas.ProjectSettings) { s.AllowedOrigins = allowed })
		from.Origin = origin
		got := p.Item(context.Background(), from, item(`{}`))
		if got.Keep != want {
			t.Errorf("%v: %q is kept %v", allowed, origin, got.Keep)
		}
		if counted := d.take(); !want && (got.Outcome != schemas.OutcomeInvalid || got.Reason != "cors" || counted != "1 error invalid cors") {
			t.Errorf("%v: %q: %+v, %s", allowed, origin, got, counted)
		}
	}
	f(nil, "https://evil.example", true)
	f([]string{"*"}, "null", true)
	one := []string{"https://shop.example"}
	f(one, "https://shop.example", true)
	f(one, "https://SHOP.example/some/page?x=1", true) // a Referer
	f(one, "https://shop.example:8443", true)
	f(one, "", true)
	f(one, "http://shop.example", false)
	f(one, "https://a.shop.example", false)
	f(one, "https://shop.example.evil.example", false)
	f(one, "null", false)
	f(one, "://", false)
	below := []string{"*.shop.example", "localhost:3000"}
	f(below, "https://a.b.shop.example", true)
	f(below, "http://shop.example", true)
	f(below, "http://notshop.example", false)
	f(below, "http://localhost:3000", true)
	f(below, "http://localhost:3001", false)
	f([]string{"http://[::1]:8080"}, "http://[::1]:8080", true)
}

func TestSamplingKeepsAShareByTrace(t *testing.T) {
	p, d := newPolicy(t, nil)
	from := sender(t, func(s *schemas.ProjectSettings) {
		s.Sampling = []schemas.SamplingRule{
			{ID: "health", Type: "transaction", Rate: 0, Transactions: []string{"GET /health*"}},
			{ID: "prod", Type: "trace", Rate: 0.3, Environments: []string{"prod*"}, Releases: []string{"shop@1*"}},
			{ID: "warn", Type: "error", Rate: 0.5, Levels: []string{"warning", "info"}, Platforms: []string{"go"}},
		}
	})
	ask := func(category schemas.Category, payload string) Decision {
		it := item(payload)
		it.Category = category
		if category == schemas.CategoryTransaction {
			it.Type = "transaction"
		}
		return p.Item(context.Background(), from, it)
	}
	got := ask(schemas.CategoryTransaction, `{"transaction":"GET /healthz","environment":"production","release":"shop@1"}`)
	if got.Keep || got.Outcome != schemas.OutcomeFiltered || got.Reason != "Sampled:health" || d.take() != "1 transaction filtered Sampled:health" {
		t.Errorf("the first rule that fits does not decide: %+v", got)
	}
	kept := 0
	const n = 4000
	for i := range n {
		trace := fmt.Sprintf("%032x", i*7919+1)
		payload := `{"environment":"Production","release":"shop@1.2","contexts":{"trace":{"trace_id":"` + trace + `"}}}`
		one := ask(schemas.CategoryTransaction, payload)
		again := ask(schemas.CategoryTransaction, `{"contexts":{"trace":{"trace_id":"`+strings.ToUpper(trace)+`"}},"release":"shop@1.3","environment":"prod"}`)
		if one.Keep != again.Keep {
			t.Fatalf("two transactions of trace %s have different fates", trace)
		}
		if !one.Keep {
			continue
		}
		kept++
		if want := strings.TrimSuffix(payload, "}") + `,"_metrics":{"sample_rates":[{"id":"prod","rate":0.3}]}}`; string(one.Payload) != want {
			t.Fatalf("kept as %s, want %s", one.Payload, want)
		}
	}
	if kept < n*26/100 || kept > n*34/100 {
		t.Errorf("%d of %d kept, want about 30 %%", kept, n)
	}
	d.take()
	kept = 0
	for i := range n {
		payload := fmt.Sprintf(`{"level":"warning","platform":"go","event_id":"%032x"}`, i)
		if ask(schemas.CategoryError, payload).Keep {
			kept++
		}
	}
	if kept < n*46/100 || kept > n*54/100 {
		t.Errorf("%d of %d errors kept, want about a half", kept, n)
	}
	for _, payload := range []string{`{"level":"error","platform":"go"}`, `{"platform":"go"}`, `{"level":"warning","platform":"python"}`} {
		if got := ask(schemas.CategoryError, payload); !got.Keep || string(got.Payload) != payload {
			t.Errorf("%s fits no rule: %+v", payload, got)
		}
	}
	// What an SDK says itself about rates counts for nothing.
	always := sender(t, func(s *schemas.ProjectSettings) {
		s.Sampling = []schemas.SamplingRule{{ID: "almost", Type: "error", Rate: 0.999999}}
	})
	for payload, want := range map[string]string{
		`{"_metrics":{"sample_rates":[]},"message":"m"}`: `{"_metrics":{"sample_rates":[{"id":"almost","rate":0.999999}]},"message":"m"}`,
		` { } `: ` { "_metrics":{"sample_rates":[{"id":"almost","rate":0.999999}]}} `,
	} {
		if got := p.Item(context.Background(), always, item(payload)); string(got.Payload) != want {
			t.Errorf("%s became %s, want %s", payload, got.Payload, want)
		}
	}
}

func TestSpansOfAContainerAreSampledByTheirTraces(t *testing.T) {
	p, d := newPolicy(t, nil)
	from := sender(t, func(s *schemas.ProjectSettings) {
		s.Sampling = []schemas.SamplingRule{{ID: "dev", Type: "trace", Rate: 0, Environments: []string{"dev"}}, {ID: "half", Type: "trace", Rate: 0.5}}
	})
	var in strings.Builder
	in.WriteString(`{"version":2,"items":[`)
	const n = 200
	want := 0
	for i := range n {
		if i > 0 {
			in.WriteString(" , ")
		}
		trace := fmt.Sprintf("%032x", i/2)
		if share([]byte(trace)) < 0.5 {
			want++
		}
		attributes := `,"attributes":{"a":{"type":"string","value":"x"}}`
		switch i % 3 {
		case 1:
			attributes = `,"attributes":{}`
		case 2:
			attributes = ""
		}
		fmt.Fprintf(&in, `{"trace_id":"%s","name":"s%d"%s}`, trace, i, attributes)
	}
	in.WriteString(`,{"trace_id":"1","attributes":{"sentry.environment":{"type":"string","value":"dev"}}}],"x":1}`)
	it := Item{Type: "span", Category: schemas.CategorySpan, Quantity: n + 1, Payload: []byte(in.String())}
	got := p.Item(context.Background(), from, it)
	if !got.Keep || got.Quantity != want {
		t.Fatalf("kept %v, %d of %d; want %d", got.Keep, got.Quantity, n+1, want)
	}
	var out struct {
		Version, X int
		Items      []struct {
			TraceID    string `json:"trace_id"`
			Attributes map[string]struct{ Value any }
		}
	}
	if err := json.Unmarshal(got.Payload, &out); err != nil {
		t.Fatalf("%v in %s", err, got.Payload)
	}
	if len(out.Items) != want || out.Version != 2 || out.X != 1 {
		t.Errorf("%d items, version %d, x %d; want %d, 2, 1", len(out.Items), out.Version, out.X, want)
	}
	for _, s := range out.Items {
		if share([]byte(s.TraceID)) >= 0.5 || s.Attributes["sentry.server_sample_rate"].Value != 0.5 {
			t.Errorf("kept %+v", s)
		}
	}
	if counted := d.take(); !strings.Contains(counted, fmt.Sprintf("%d span filtered Sampled:half", n-want)) || !strings.Contains(counted, "1 span filtered Sampled:dev") {
		t.Errorf("counted %s", counted)
	}
	all := Item{Type: "span", Category: schemas.CategorySpan, Quantity: 1, Payload: []byte(`{"items":[{"attributes":{"sentry.environment":{"value":"dev"}}}]}`)}
	if got := p.Item(context.Background(), from, all); got.Keep || got.Reason != "Sampled:dev" || d.take() != "1 span filtered Sampled:dev" {
		t.Errorf("nothing is left, and it is %+v", got)
	}
}

// limit takes n items.
type limit struct {
	Unlimited
	n     int
	asked []Item
}

func (l *limit) Take(_ context.Context, _ *Sender, it *Item) (RateLimit, bool) {
	l.asked = append(l.asked, *it)
	l.n--
	return RateLimit{Categories: []schemas.Category{it.Category}, Scope: schemas.ScopeProject, Reason: "too_many", RetryAfter: time.Minute}, l.n >= 0
}

func TestQuotasAreChargedWhatFiltersLetPass(t *testing.T) {
	quota := &limit{n: 1}
	p, d := newPolicy(t, quota)
	from := sender(t, func(s *schemas.ProjectSettings) { s.Filters.Releases = []string{"0.*"} })
	if got := p.Item(context.Background(), from, item(`{"release":"0.1"}`)); got.Keep || len(quota.asked) != 0 {
		t.Errorf("what is filtered was charged: %+v", got)
	}
	d.take()
	if got := p.Item(context.Background(), from, item(`{"release":"1.1"}`)); !got.Keep {
		t.Errorf("%+v", got)
	}
	got := p.Item(context.Background(), from, item(`{"release":"1.1"}`))
	if got.Keep || got.Outcome != schemas.OutcomeRateLimited || got.Reason != "too_many" || d.take() != "1 error rate_limited too_many" {
		t.Errorf("beyond the quota: %+v", got)
	}
	if l := got.Limit; l == nil || len(l.Categories) != 1 || l.Categories[0] != schemas.CategoryError || l.RetryAfter != time.Minute {
		t.Errorf("beyond the quota the sender is told %+v, want the quota's own limit", l)
	}
	report := Item{Type: "client_report", Payload: []byte(`{}`)}
	if got := p.Item(context.Background(), from, report); !got.Keep || len(quota.asked) != 2 {
		t.Errorf("a client report was limited: %+v", got)
	}
}

func TestBytesAreCountedBesidePieces(t *testing.T) {
	p, d := newPolicy(t, &limit{})
	f := func(kind string, category schemas.Category, want string) {
		t.Helper()
		p.Item(context.Background(), sender(t, nil), Item{Type: kind, Category: category, Quantity: 3, Size: 500})
		if got := d.take(); got != want {
			t.Errorf("%s: counted %s, want %s", kind, got, want)
		}
	}
	f("log", schemas.CategoryLogItem, "500 log_byte rate_limited too_many, 3 log_item rate_limited too_many")
	f("trace_metric", schemas.CategoryTraceMetric, "500 trace_metric_byte rate_limited too_many, 3 trace_metric rate_limited too_many")
	f("attachment", schemas.CategoryAttachment, "500 attachment rate_limited too_many, 3 attachment_item rate_limited too_many")
}

func TestEachProjectIsScrubbedByItsOwnSettingsAndTheNewest(t *testing.T) {
	p, d := newPolicy(t, nil)
	from := sender(t, func(s *schemas.ProjectSettings) { s.Scrubbing.Enabled = true })
	from.Project.Revision = 1
	payload := `{"extra":{"password":"x","pin":"1"}}`
	got := p.Item(context.Background(), from, item(payload))
	if !got.Keep || bytes.Contains(got.Payload, []byte(`"password":"x"`)) || !bytes.Contains(got.Payload, []byte(`"pin":"1"`)) {
		t.Errorf("%s", got.Payload)
	}
	next := *from.Project.Settings
	next.Scrubbing.SensitiveFields = []string{"pin"}
	from.Project.Settings, from.Project.Revision = &next, 2
	if got := p.Item(context.Background(), from, item(payload)); bytes.Contains(got.Payload, []byte(`"pin":"1"`)) {
		t.Errorf("by the settings before: %s", got.Payload)
	}
	other := sender(t, nil)
	other.Project.ID = 2
	if got := p.Item(context.Background(), other, item(payload)); string(got.Payload) != payload {
		t.Errorf("by another project's settings: %s", got.Payload)
	}
	if got := p.Item(context.Background(), from, item(`{"extra":`)); got.Keep || got.Outcome != schemas.OutcomeInvalid || d.take() != "1 error invalid invalid_json" {
		t.Errorf("broken JSON: %+v", got)
	}
	for _, it := range []Item{
		{Type: "attachment", Category: schemas.CategoryAttachment, Quantity: 1},
		{Type: "attachment", Category: schemas.CategoryAttachment, Quantity: 1, Payload: []byte(`{"password":"x"}`)},
		{Type: "profile", Category: schemas.CategoryProfile, Quantity: 1, Payload: []byte("\x00password=x")},
	} {
		if got := p.Item(context.Background(), from, it); !got.Keep || !bytes.Equal(got.Payload, it.Payload) {
			t.Errorf("%s was looked into: %+v", it.Type, got)
		}
	}
	for i := range uint64(5000) {
		from := sender(t, nil)
		from.Project.ID, from.Project.Revision = 10+i, int64(i)
		p.Item(context.Background(), from, item(`{}`))
	}
	if len(p.ready) > 1000 {
		t.Errorf("settings of %d projects are kept", len(p.ready))
	}
}

func TestManyAskAtOnce(t *testing.T) {
	p, _ := newPolicy(t, nil)
	want := ""
	var wg sync.WaitGroup
	for g := range 8 {
		from := sender(t, func(s *schemas.ProjectSettings) { s.Scrubbing.Enabled = true })
		from.Project.ID, from.Project.Revision = 1, 5
		if g == 0 {
			want = string(p.Item(context.Background(), from, item(`{"extra":{"token":"t","n":[1,2]}}`)).Payload)
		}
		wg.Go(func() {
			for range 200 {
				if got := p.Item(context.Background(), from, item(`{"extra":{"token":"t","n":[1,2]}}`)); string(got.Payload) != want {
					t.Errorf("%s, want %s", got.Payload, want)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzFilters: nothing breaks what reads events for filters and sampling.
func FuzzFilters(f *testing.F) {
	f.Add([]byte(`{"release":"1","exception":{"values":[{"type":"T","value":"v","stacktrace":{"frames":[{"filename":"x"}]}}]},"request":{"headers":[["user-agent","x"]],"url":"http://localhost"}}`), "event")
	f.Add([]byte(`{"items":[{"trace_id":"1","attributes":{"sentry.release":{"value":"1"}}},5,{}]}`), "span")
	p, _ := newPolicy(f, nil)
	from := sender(f, func(s *schemas.ProjectSettings) {
		s.Filters = schemas.Filters{LegacyBrowsers: true, Localhost: true, WebCrawlers: true, BrowserExtensions: true, ErrorMessages: []string{"never*never"}, Releases: []string{"never"}, ClientIPs: []string{"10.0.0.0/8"}}
		s.Sampling = []schemas.SamplingRule{{ID: "t", Type: "trace", Rate: 0.5}, {ID: "e", Type: "error", Rate: 0.5}}
	})
	f.Fuzz(func(t *testing.T, payload []byte, kind string) {
		it := Item{Type: kind, Category: schemas.CategoryError, Quantity: 1, Payload: payload}
		if kind == "span" {
			it.Category = schemas.CategorySpan
		}
		got := p.Item(context.Background(), from, it)
		if json.Valid(payload) && got.Keep && !json.Valid(got.Payload) {
			t.Errorf("%s\nbecame broken: %s", payload, got.Payload)
		}
	})
}
