package integration

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
	"github.com/hoptrace/hoptrace/integration/load"
)

// ledger remembers what was sent and what of it was acknowledged.
type ledger struct {
	mu    sync.Mutex // guards the following
	sent  map[string]bool
	acked map[string]bool
	fails int
}

func newLedger() *ledger { return &ledger{sent: map[string]bool{}, acked: map[string]bool{}} }

func (l *ledger) note(into map[string]bool, ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		into[id] = true
	}
}

// attempt notes the ids as sent, sends, and notes them as acknowledged.
func (l *ledger) attempt(ids []string, send func() error) error {
	l.note(l.sent, ids)
	err := send()
	if err == nil {
		l.note(l.acked, ids)
		return nil
	}
	l.mu.Lock()
	l.fails++
	l.mu.Unlock()
	return err
}

func (l *ledger) counts() (sent, acked, fails int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent), len(l.acked), l.fails
}

// check compares with how often each id is in the store.
func (l *ledger) check(t *testing.T, what string, stored map[string]int) {
	t.Helper()
	missing, twice, strange := 0, 0, 0
	for id := range l.acked {
		if stored[id] == 0 {
			if missing++; missing <= 3 {
				t.Errorf("%s %s was acknowledged and is not in the store", what, id)
			}
		}
	}
	for id, n := range stored {
		if n > 1 {
			if twice++; twice <= 3 {
				t.Errorf("%s %s is in the store %d times", what, id, n)
			}
		}
		if !l.sent[id] {
			strange++
		}
	}
	if missing+twice+strange > 0 {
		t.Errorf("of %d acknowledged %ss %d are missing; %d are there more than once, %d were never sent", len(l.acked), what, missing, twice, strange)
	}
	t.Logf("%ss: %d sent, %d acknowledged, %d in the store, each once", what, len(l.sent), len(l.acked), len(stored))
}

// sendSpans sends rounds of spans over gRPC until ctx ends or the receiver does.
func sendSpans(ctx context.Context, address string, seed uint8, pause time.Duration, l *ledger) error {
	g, err := load.NewGenerator(seed)
	if err != nil {
		return err
	}
	s, err := load.NewSender(address)
	if err != nil {
		return err
	}
	defer s.Close()
	for ctx.Err() == nil {
		round := g.Rounds()
		for i, body := range g.Next(time.Now()) {
			var ids []string
			for _, id := range g.RequestSpanIDs(round, i) {
				ids = append(ids, hex.EncodeToString(id[:]))
			}
			err := l.attempt(ids, func() error {
				one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				defer cancel()
				return s.Send(one, body)
			})
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// sendEvents sends Sentry events one by one until ctx ends or the receiver does.
func sendEvents(ctx context.Context, dsn string, seed uint8, pause time.Duration, l *ledger) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return err
	}
	endpoint := fmt.Sprintf("%s://%s/api%s/envelope/", u.Scheme, u.Host, u.Path)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%02x%030x", seed, n+1) // all zeroes is no id
		envelope := fmt.Sprintf(`{"event_id":%q}`+"\n"+`{"type":"event"}`+"\n"+
			`{"event_id":%q,"timestamp":%d,"platform":"go","level":"error","exception":{"values":[{"type":"Killed","value":"no %d","stacktrace":{"frames":[{"function":"work","module":"main","in_app":true}]}}]}}`+"\n",
			id, id, time.Now().Unix(), n)
		err := l.attempt([]string{id}, func() error {
			req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, endpoint, strings.NewReader(envelope))
			if err != nil {
				return err
			}
			req.Header.Set("X-Sentry-Auth", "Sentry sentry_version=7, sentry_key="+u.User.Username())
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
			if err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("event %s: %s: %s", id, resp.Status, bytes.TrimSpace(body))
			}
			return nil
		})
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

func TestKillNineInTheMiddle(t *testing.T) {
	settings := map[string]string{}
	for _, key := range []string{"collector.grpc", "collector.http", "web.listen", "telemetry.listen", "embedded_kafka.listen"} {
		settings[key] = harness.FreeAddress(t)
	}
	options := harness.Options{Name: "hoptrace-1", Settings: settings}
	h := harness.StartHoptrace(t, options)
	t.Logf("ready %s after the start on an empty directory", h.ReadyAfter.Round(time.Millisecond))
	options.Data = h.Data
	dsn := h.DSN(t)
	spans, events := newLedger(), newLedger()

	const kills = 2
	for kill := range kills {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		_, spansBefore, _ := spans.counts()
		_, eventsBefore, _ := events.counts()
		var endedMu sync.Mutex
		var ended []string // how the senders ended; they must not before the kill
		for i := range 2 {
			seed := uint8(kill*8 + i)
			wg.Go(func() {
				err := sendSpans(ctx, h.GRPC, seed, 30*time.Millisecond, spans)
				endedMu.Lock()
				ended = append(ended, fmt.Sprintf("spans: %v", err))
				endedMu.Unlock()
			})
			wg.Go(func() {
				err := sendEvents(ctx, dsn, seed, 5*time.Millisecond, events)
				endedMu.Lock()
				ended = append(ended, fmt.Sprintf("events: %v", err))
				endedMu.Unlock()
			})
		}
		harness.Until(t, "enough was acknowledged to kill it in the middle", time.Minute, func() error {
			endedMu.Lock()
			defer endedMu.Unlock()
			if len(ended) > 0 {
				t.Fatalf("a sender ended before the kill: %s\n%s", strings.Join(ended, "; "), h.Process.Tail(40))
			}
			_, s, _ := spans.counts()
			_, e, _ := events.counts()
			if s-spansBefore < 60_000 || e-eventsBefore < 300 {
				return fmt.Errorf("%d spans and %d events", s-spansBefore, e-eventsBefore)
			}
			return nil
		})
		children := h.Process.Descendants(t)
		if len(children) == 0 {
			t.Error("hoptrace all has no child process: where is the engine?")
		}
		h.Process.Kill()
		wg.Wait()
		stop()
		harness.Until(t, "its children died with it", 10*time.Second, func() error {
			for _, pid := range children {
				if harness.Alive(pid) {
					return fmt.Errorf("process %d lives on", pid)
				}
			}
			return nil
		})
		options.Name = "hoptrace-" + strconv.Itoa(kill+2)
		options.ReadyWithin = 15 * time.Second
		h = harness.StartHoptrace(t, options)
		_, s, sf := spans.counts()
		_, e, ef := events.counts()
		t.Logf("kill %d after %d spans and %d events acknowledged in all (%d and %d requests failed); ready again after %s",
			kill+1, s, e, sf, ef, h.ReadyAfter.Round(time.Millisecond))
	}
	took := harness.WaitDrained(t, h.Kafka, 90*time.Second, "ingest-spans", "ingest-events", "events")
	t.Logf("all stored %s after it was ready", took.Round(time.Millisecond))

	// The API knows the events as one issue with each event once.
	harness.Until(t, "the issue has every acknowledged event", 30*time.Second, func() error {
		var list harness.IssueList
		if err := h.Get("issues", &list); err != nil {
			return err
		}
		if len(list.Issues) != 1 {
			return fmt.Errorf("%d issues, want 1", len(list.Issues))
		}
		sent, acked, _ := events.counts()
		if got := list.Issues[0].Events; got < acked || got > sent {
			return fmt.Errorf("the issue has %d events; %d were acknowledged of %d sent", got, acked, sent)
		}
		return nil
	})
	stopClean(t, h)
	engine := harness.OpenEngine(t, h.Data)
	t.Logf("real part: ClickHouse engine %s", engine.Version())
	spans.check(t, "span", countByID(engine, "SELECT lower(hex(span_id)), count() FROM spans GROUP BY span_id"))
	events.check(t, "event", countByID(engine, "SELECT lower(hex(id)), count() FROM events GROUP BY id"))
	// Two thirds of the spans are a message's; each has its one row.
	if rows, ids := engine.Number("SELECT count() FROM messages"), engine.Number("SELECT uniqExact(span_id) FROM messages"); rows != ids || rows == 0 {
		t.Errorf("%d message rows of %d spans, want one each", rows, ids)
	}
}

func countByID(e *harness.Engine, query string) map[string]int {
	out := map[string]int{}
	for _, row := range e.Table(query) {
		n, err := strconv.Atoi(row[1])
		if err != nil {
			n = -1
		}
		out[row[0]] = n
	}
	return out
}
