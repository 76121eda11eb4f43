package cases

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"
)

// kind is one error that programs report again and again.
type kind struct {
	typ, value, service string
	events              int
	over                time.Duration // the first happened so long ago; they grow denser
	users               int
	hop                 *Case // the message that caused them, if one did
	level               string
}

// Issues is how many issues the errors make.
const Issues = 60

// sendErrors reports errors by Sentry's envelopes: titles in other scripts and as HTML,
// bursts and trickles, errors that a message caused, sixty issues in all.
func sendErrors(ctx context.Context, cfg Config, told Told) ([]Case, error) {
	dsn, err := url.Parse(cfg.DSN)
	if err != nil || dsn.User == nil || dsn.Host == "" {
		return nil, fmt.Errorf("cannot use %q as a DSN: it looks like http://KEY@HOST/PROJECT", cfg.DSN)
	}
	to := fmt.Sprintf("%s://%s/api/%s/envelope/?sentry_version=7&sentry_key=%s", dsn.Scheme, dsn.Host, strings.Trim(dsn.Path, "/"), dsn.User.Username())
	rnd := rand.New(rand.NewPCG(cfg.Seed, 0x6572726f7273)) //nolint:gosec // the same seed must give the same cases
	var waited, retried *Case
	for i := range told.Cases {
		switch told.Cases[i].Name {
		case "wait of hours":
			waited = &told.Cases[i]
		case "retries and a dead letter":
			retried = &told.Cases[i]
		}
	}
	kinds := []kind{
		{typ: "CardDeclined", value: "the card gateway declined the payment", service: "payments", events: 30, over: 20 * time.Hour, users: 9, hop: retried},
		{typ: "SettlementTooLate", value: "the order is older than the settlement window", service: "nightly-settlement", events: 1, over: 3 * time.Minute, users: 1, hop: waited},
		{typ: "支払いエラー", value: "カードが拒否されました", service: japanese, events: 12, over: 5 * time.Hour, users: 4},
		{typ: "خطأ", value: "فشل الدفع للطلب رقم 42", service: arabic, events: 8, over: 10 * time.Hour, users: 3},
		{typ: script, value: image, service: image, events: 5, over: time.Hour, users: 1},
		{typ: "💥", value: emoji + " went " + combined, service: emoji, events: 3, over: 2 * time.Hour, users: 2},
		{typ: strings.Repeat("Generated", 40) + "Exception", value: strings.Repeat("a message that goes on and on ", 120), service: "generator", events: 4, over: 40 * time.Minute, users: 1},
		{typ: "Burst", value: "the pool of connections is exhausted", service: "catalogue", events: 250, over: 4 * time.Minute, users: 80, level: "fatal"},
		{typ: "Trickle", value: "one an hour", service: "cron", events: 23, over: 23 * time.Hour, users: 1, level: "warning"},
	}
	for i := len(kinds); i < Issues; i++ {
		kinds = append(kinds, kind{
			typ: fmt.Sprintf("Rare%02d", i), value: "it does not come often", service: fmt.Sprintf("step-%02d", 1+i%Services), events: 1 + rnd.IntN(6), over: time.Duration(1+rnd.IntN(22*60)) * time.Minute, users: 1 + rnd.IntN(3),
		})
	}
	events := 0
	for n, k := range kinds {
		for i := range k.events {
			at := cfg.Now.Add(-k.over + time.Duration(float64(k.over)*float64(i)/float64(k.events)))
			if err := sendEnvelope(ctx, to, k.event(rnd, n, i, at)); err != nil {
				return nil, fmt.Errorf("cannot send event %d of %s: %w", i+1, k.typ, err)
			}
			events++
		}
	}
	return []Case{{
		Name: "errors", Says: fmt.Sprintf("%d issues: a burst of 250, a trickle of one an hour, titles in other scripts and as HTML, one that a message caused which had waited for 3 h", Issues),
		Figures: map[string]float64{"issues": Issues, "events": float64(events), "burst": 250},
	}}, nil
}

func (k kind) event(rnd *rand.Rand, n, i int, at time.Time) map[string]any {
	id := fmt.Sprintf("%016x%016x", rnd.Uint64(), rnd.Uint64())
	level := k.level
	if level == "" {
		level = "error"
	}
	module := fmt.Sprintf("shop.part%02d", n)
	e := map[string]any{
		"event_id": id, "timestamp": at.UTC().Format(time.RFC3339Nano), "platform": "python", "level": level, "release": "shop@4.2.0", "environment": "production", "server_name": "web-1",
		"transaction": "process " + k.service, "user": map[string]any{"id": fmt.Sprintf("user-%d", i%k.users)}, "tags": map[string]any{"service": k.service, "shelf": fmt.Sprint(i % 7)},
		"exception": map[string]any{"values": []any{map[string]any{
			"type": k.typ, "value": k.value, "module": module, "mechanism": map[string]any{"type": "generic", "handled": false},
			"stacktrace": map[string]any{"frames": []any{
				map[string]any{"function": "run", "module": "worker", "filename": "worker.py", "lineno": 31, "in_app": false},
				map[string]any{"function": "handle_" + fmt.Sprint(n), "module": module, "filename": "shop/part.py", "lineno": 10 + n, "in_app": true, "context_line": "    raise " + k.typ, "pre_context": []string{"def handle(order):"}, "post_context": []string{""}},
			}},
		}}},
	}
	if k.hop != nil {
		e["contexts"] = map[string]any{
			"trace": map[string]any{"trace_id": k.hop.Trace, "span_id": fmt.Sprintf("%016x", rnd.Uint64()|1), "op": "queue.process"},
			"kafka": map[string]any{"topic": k.hop.Topic, "partition": k.hop.Partition, "offset": k.hop.Offset, "group": k.hop.Group, "attempt": 1, "age_ms": k.hop.Figures["backlog"]},
		}
	}
	return e
}

func sendEnvelope(ctx context.Context, to string, event map[string]any) error {
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `{"event_id":%q}`+"\n"+`{"type":"event","length":%d}`+"\n%s\n", event["event_id"], len(body), body)
	_, err = postBytes(ctx, to, "application/x-sentry-envelope", out.Bytes())
	return err
}
