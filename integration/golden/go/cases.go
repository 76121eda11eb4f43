package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"text/template"
	"time"

	"github.com/getsentry/sentry-go"

	"example.com/shop/ledger"
	"example.com/shop/orders"
	"example.com/shop/payments"
	"example.com/shop/stock"
)

// library are errors that Go's own packages make.
func library() []testCase {
	return slices.Concat(
		vary("path-error", readPrices, "/srv/prices/2026-11-23.csv", "other-day", "/srv/prices/2026-11-24.csv"),
		vary("json-type", decodeTotal, `{"total": "ten"}`, "other-value", `{"id":1,"total": "eleven"}`),
		vary("number-syntax", parseQuantity, "4x", "other-text", "-"),
		vary("sql-no-rows", load, 17, "other-order", 998_877),
		otherLibrary(),
	)
}

func otherLibrary() []testCase {
	return []testCase{
		{"context-deadline", func(ctx context.Context) error { callSlow(ctx); return nil }},
		{"context-canceled", func(ctx context.Context) error { callCancelled(ctx); return nil }},
		{"path-error-stat", func(ctx context.Context) error { statInvoice(ctx); return nil }},
		{"json-syntax", func(ctx context.Context) error { decodeOrder(ctx, `{"id": 17,`); return nil }},
		{"time-parse", func(ctx context.Context) error { parseDay(ctx, "2026-13-01"); return nil }},
		{"url-parse", func(ctx context.Context) error { parseURL(ctx, "http://[::1"); return nil }},
		{"dial-refused", func(ctx context.Context) error { dial(ctx); return nil }},
		{"http-get-refused", func(ctx context.Context) error { get(ctx); return nil }},
		{"sql-deadlock", func(ctx context.Context) error { save(ctx); return nil }},
		{"io-unexpected-eof", func(ctx context.Context) error { readHalf(ctx); return nil }},
		{"template-exec", func(ctx context.Context) error { render(ctx); return nil }},
		{"http-handler-panic", handlerPanics},
	}
}

func callSlow(ctx context.Context) {
	ctx2, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	<-ctx2.Done()
	report(ctx, fmt.Errorf("payment service: %w", ctx2.Err()))
}

func callCancelled(ctx context.Context) {
	ctx2, cancel := context.WithCancel(ctx)
	cancel()
	report(ctx, fmt.Errorf("payment service: %w", ctx2.Err()))
}

func readPrices(ctx context.Context, name string) {
	if _, err := os.ReadFile(name); err != nil {
		report(ctx, fmt.Errorf("cannot read the prices: %w", err))
	}
}

func statInvoice(ctx context.Context) {
	_, err := fs.Stat(os.DirFS("/srv"), "invoices/17.pdf")
	report(ctx, err)
}

func decodeOrder(ctx context.Context, body string) {
	var o struct{ ID int }
	report(ctx, json.Unmarshal([]byte(body), &o))
}

func decodeTotal(ctx context.Context, body string) {
	var o struct{ Total int }
	report(ctx, fmt.Errorf("order: %w", json.Unmarshal([]byte(body), &o)))
}

func parseQuantity(ctx context.Context, text string) {
	_, err := strconv.Atoi(text)
	report(ctx, err)
}

func parseDay(ctx context.Context, text string) {
	_, err := time.Parse(time.DateOnly, text)
	report(ctx, err)
}

func parseURL(ctx context.Context, text string) {
	_, err := url.Parse(text)
	report(ctx, err)
}

func dial(ctx context.Context) {
	_, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", "127.0.0.1:1")
	report(ctx, fmt.Errorf("broker: %w", err))
}

func get(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:1/stock/17", nil)
	if err != nil {
		report(ctx, err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	report(ctx, err)
}

func load(ctx context.Context, order int) {
	report(ctx, fmt.Errorf("order %d: %w", order, sql.ErrNoRows))
}

// pgError is like the errors of drivers.
type pgError struct{ Code, Message string }

func (e *pgError) Error() string { return "ERROR: " + e.Message + " (SQLSTATE " + e.Code + ")" }

func save(ctx context.Context) {
	err := &pgError{"40P01", "deadlock detected"}
	report(ctx, fmt.Errorf("save order 17: commit: %w", err))
}

func readHalf(ctx context.Context) {
	r, w := io.Pipe()
	go func() { _, _ = w.Write([]byte("ab")); _ = w.Close() }()
	_, err := io.ReadFull(r, make([]byte, 8))
	report(ctx, err)
}

func render(ctx context.Context) {
	t := template.Must(template.New("mail").Parse("Dear {{.Customer.Name}}"))
	report(ctx, t.Execute(io.Discard, struct{ Order int }{17}))
}

// handlerPanics has net/http's frames under the program's.
func handlerPanics(ctx context.Context) error {
	hub := sentry.GetHubFromContext(ctx)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				hub.Scope().SetRequest(r)
				hub.RecoverWithContext(ctx, v)
			}
		}()
		orders.Handle(w, r)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /orders/{id}", h)
	req := httptest.NewRequest(http.MethodGet, "/orders/seventeen?token=abc", nil)
	req.Header.Set("User-Agent", "shop-test/1.0")
	mux.ServeHTTP(httptest.NewRecorder(), req)
	return nil
}

func say(ctx context.Context, text string) { sentry.GetHubFromContext(ctx).CaptureMessage(text) }

func messages() []testCase {
	return slices.Concat(
		vary("message-number", late, 17, "other", 4_711_000),
		vary("message-uuid", lost, "8c2d3a40-6f1e-4b67-9f0e-1f2a3b4c5d6e", "other", "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9"),
		vary("message-address", refused, "192.0.2.7:9092", "other", "198.51.100.200:9093"),
		otherMessages(),
	)
}

func otherMessages() []testCase {
	return []testCase{
		{"message-plain", func(ctx context.Context) error { lowStock(ctx, "stock is low"); return nil }},
		{"message-one-function-a", func(ctx context.Context) error { lowStock(ctx, "the till is open"); return nil }},
		{"message-one-function-b", func(ctx context.Context) error { lowStock(ctx, "the door is open"); return nil }},
		{"message-lines", func(ctx context.Context) error { say(ctx, "import ended\n3 rows\n0 errors\n"); return nil }},
		{"message-warning", func(ctx context.Context) error {
			hub := sentry.GetHubFromContext(ctx)
			hub.Scope().SetLevel(sentry.LevelWarning)
			hub.CaptureMessage("slow checkout")
			return nil
		}},
	}
}

func lowStock(ctx context.Context, text string) { say(ctx, text) }

func late(ctx context.Context, order int) { say(ctx, fmt.Sprintf("order %d is late", order)) }

func lost(ctx context.Context, id string) { say(ctx, "lost cart "+id) }

func refused(ctx context.Context, address string) {
	say(ctx, "broker "+address+" refused a connection")
}

// scopes are events with more about them, and with fingerprints of their own.
func scopes() []testCase {
	return slices.Concat(
		vary("consumer-failed", consume, 17, "other-record", 18),
		// One function reports both: nothing but the cause tells them apart.
		vary("central-handler-a", central, payments.Limit(), "again", payments.Limit()),
		vary("central-handler-b", central, ledger.Locked(), "again", ledger.Locked()),
		otherScopes(),
	)
}

func otherScopes() []testCase {
	return []testCase{
		{"fingerprint-custom", func(ctx context.Context) error { return fingerprint(ctx, "database-down", "orders timed out") }},
		{"fingerprint-custom@other-error", func(ctx context.Context) error { return fingerprint(ctx, "database-down", "stock timed out") }},
		{"fingerprint-other", func(ctx context.Context) error { return fingerprint(ctx, "cache-down", "orders timed out") }},
		{"fingerprint-hybrid-eu", func(ctx context.Context) error { return hybrid(ctx, "eu") }},
		{"fingerprint-hybrid-us", func(ctx context.Context) error { return hybrid(ctx, "us") }},
		{"full-scope", func(ctx context.Context) error {
			hub := sentry.GetHubFromContext(ctx)
			hub.Scope().SetUser(sentry.User{ID: "u-17", Email: "ada@example.com"})
			hub.Scope().SetContext("kafka", sentry.Context{"topic": "orders", "partition": 3, "offset": 4711, "group": "billing"})
			hub.AddBreadcrumb(&sentry.Breadcrumb{Category: "query", Message: "SELECT 1", Level: sentry.LevelInfo}, nil)
			hub.Scope().SetTags(map[string]string{"shop": "eu", "tier": "gold"})
			report(ctx, stock.Count("full"))
			return nil
		}},
	}
}

func fingerprint(ctx context.Context, key, text string) error {
	sentry.GetHubFromContext(ctx).Scope().SetFingerprint([]string{key})
	report(ctx, errors.New(text))
	return nil
}

func hybrid(ctx context.Context, region string) error {
	sentry.GetHubFromContext(ctx).Scope().SetFingerprint([]string{"{{ default }}", region})
	report(ctx, errors.New("region failed"))
	return nil
}

func consume(ctx context.Context, offset int) {
	sentry.GetHubFromContext(ctx).Scope().SetContext("kafka", sentry.Context{"topic": "orders", "partition": 0, "offset": offset, "group": "shipping"})
	err := fmt.Errorf("record %d of orders: %w", offset, ledger.ErrUnknownVersion)
	report(ctx, err)
}

// central is the one place where a program reports, as a middleware is: causes
// alone tell its errors apart.
func central(ctx context.Context, err error) { report(ctx, fmt.Errorf("request failed: %w", err)) }
