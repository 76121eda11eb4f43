package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func produceCases() []Case {
	return []Case{
		{"shared headers", "Two messages that share a header slice with room behind it leave with their own contexts, and the array behind it stays as it was.", sharedHeaders},
		{"caller's messages", "The program's messages, their header slices and the arrays behind them are as before when a send has ended.", callersMessages},
		{"sent twice", "The same messages sent twice leave with one context each.", sentTwice},
		{"forwarded", "A message read and sent on with its headers, as to a dead-letter topic, leaves with one context.", forwarded},
		{"existing context", "A creation context that the program put into a message stays in it.", existingContext},
		{"batch size", "A message that just fits into a batch is still sent.", batchSize},
		{"partition and offset", "A send span tells the partition and the offset at which the message is stored.", partitionAndOffset},
		{"error by message", "Of two messages in one call of which one fails, only that one's span is an error.", errorByMessage},
		{"a batch is traced", "Each message of a call with several has a context of a span that exists.", batchTraced},
		{"async duration", "The span of an asynchronous send lasts until the broker has answered.", asyncDuration},
		{"many async sends", "Five thousand asynchronous sends end, with as many spans.", manyAsync},
		{"concurrent sends", "Sends from eight goroutines keep their contexts apart.", concurrentSends},
		{"unsampled", "Under a parent that is not sampled there is no span.", unsampled},
		{"provider option", "Spans go to the provider that was given, and none to the global one.", providerOption},
		{"null key", "A null key is no attribute.", nullKey},
		{"tombstone", "A message without a value is stored as such, and its send span says so.", tombstone},
		{"small headers", "By default a message gets at most 100 bytes of headers.", smallHeaders},
		{"any headers", "Whatever headers a message has, they arrive in order, with one context.", anyHeaders},
	}
}

func sharedHeaders(ctx context.Context, r *Run) error {
	b := batchOf("0:a", "0:b")
	b.Shared = true
	b.Messages[0].Headers, b.Messages[0].Spare = []Header{{"kind", []byte("web")}}, 8
	if err := r.sendAll(ctx, Options{}, b); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 2)
	if err != nil {
		return err
	}
	first, err1 := oneContext(&stored[0][0])
	second, err2 := oneContext(&stored[0][1])
	if err := errors.Join(err1, err2); err != nil {
		return firstFault(err1, err2)
	}
	if first == second {
		return faultf("both messages leave with one context")
	}
	for _, c := range b.Changes() { // whether the messages themselves change is another case
		if strings.Contains(c, "array") {
			return faultf("%s", c)
		}
	}
	return nil
}

func firstFault(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func changed(b *Batch) error {
	if c := b.Changes(); len(c) > 0 {
		return faultf("%s", c[0])
	}
	return nil
}

func callersMessages(ctx context.Context, r *Run) error {
	b := batchOf("0:a", "0:b")
	b.Messages[0].Headers, b.Messages[0].Spare = []Header{{"kind", []byte("web")}}, 4
	if err := r.sendAll(ctx, Options{}, b); err != nil {
		return err
	}
	return changed(b)
}

func sentTwice(ctx context.Context, r *Run) error {
	b := batchOf("0:a", "0:b")
	b.Messages[0].Headers, b.Messages[0].Spare = []Header{{"kind", []byte("web")}}, 4
	if err := r.sendAll(ctx, Options{}, b, b); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 4)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range stored[0] {
		id, err := oneContext(&stored[0][i])
		if err != nil {
			return err
		}
		seen[id] = true
	}
	if len(seen) != 4 {
		return faultf("a message keeps its old context when it is sent again")
	}
	return nil
}

func forwarded(ctx context.Context, r *Run) error {
	if err := r.sendAll(ctx, Options{}, batchOf("0:a")); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 1)
	if err != nil {
		return err
	}
	next := &Batch{Messages: []Message{{Value: []byte("1:a"), Partition: 1, Headers: stored[0][0].Headers}}}
	if err := r.sendAll(ctx, Options{}, next); err != nil {
		return err
	}
	if stored, err = r.Stored(ctx, 2); err != nil {
		return err
	}
	_, err = oneContext(&stored[1][0])
	return err
}

const givenContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func existingContext(ctx context.Context, r *Run) error {
	b := batchOf("0:a")
	b.Messages[0].Headers = []Header{{"traceparent", []byte(givenContext)}}
	if err := r.sendAll(ctx, Options{}, b); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 1)
	if err != nil {
		return err
	}
	for _, h := range stored[0][0].Headers {
		if h.Key == "traceparent" && string(h.Value) != givenContext {
			return faultf("the context in the message is replaced")
		}
	}
	if n := countOf(stored[0][0].Headers, "traceparent"); n != 1 {
		return faultf("the message leaves with %d traceparent headers", n)
	}
	return nil
}

// batchSize finds the largest value that the client sends without
// instrumentation, and sends one of that size with it.
func batchSize(ctx context.Context, r *Run) error {
	const bound = 4096
	try := func(open func(*Env, Options) (Client, error), n int) (bool, error) {
		c, err := open(r.Env, Options{Topic: topic, MaxBytes: bound})
		if err != nil {
			return false, err
		}
		defer c.Close()
		b := &Batch{Messages: []Message{{Value: append([]byte("0:"), bytes.Repeat([]byte("x"), n)...)}}}
		return c.Send(ctx, b)[0] == nil, nil
	}
	low, high := 1, bound // low fits, high does not
	for high-low > 1 {
		mid := (low + high) / 2
		fits, err := try(rawOf(r.Subject.Client), mid)
		if err != nil {
			return err
		}
		if fits {
			low = mid
		} else {
			high = mid
		}
	}
	fits, err := try(r.Subject.Open, low)
	if err != nil {
		return err
	}
	if !fits {
		return faultf("it is refused as too large")
	}
	return nil
}

func partitionAndOffset(ctx context.Context, r *Run) error {
	before := []Message{{Partition: 1, Value: []byte("x")}, {Partition: 1, Value: []byte("x")}, {Partition: 2, Value: []byte("x")}}
	if err := r.Store(ctx, before...); err != nil {
		return err
	}
	b := &Batch{}
	for p := range int32(partitions) {
		b.Messages = append(b.Messages, Message{Partition: p, Value: fmt.Appendf(nil, "%d:v", p)})
	}
	if err := r.sendAll(ctx, Options{}, b); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, len(before)+partitions)
	if err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsSend)
	if err != nil {
		return err
	}
	if len(spans) != partitions {
		return faultf("%d send spans for %d messages", len(spans), partitions)
	}
	for p := range stored {
		m := &stored[p][len(stored[p])-1]
		id, err := oneContext(m)
		if err != nil {
			return err
		}
		for i := range spans {
			if spans[i].ID != id {
				continue
			}
			partition, _ := spans[i].First(partitionKeys...)
			offset, _ := spans[i].First(offsetKeys...)
			if number(partition) != strconv.Itoa(p) || number(offset) != strconv.FormatInt(m.Offset, 10) {
				return faultf("stored at partition %d offset %d, the span says partition %s offset %s", p, m.Offset, orElse(number(partition), "–"), orElse(number(offset), "–"))
			}
			id = ""
		}
		if id != "" {
			return faultf("the context in a message is of no span")
		}
	}
	return nil
}

func number(s string) string { return strings.TrimSuffix(s, ".0") }

func errorByMessage(ctx context.Context, r *Run) error {
	r.FailPartition(1, 29) // TOPIC_AUTHORIZATION_FAILED, which no client retries
	b := &Batch{Messages: []Message{{Value: []byte("0:a")}, {Partition: 1, Value: []byte("1:b")}}}
	all, err := r.send(ctx, Options{}, true, b)
	if err != nil {
		return err
	}
	if all[0][0] != nil || all[0][1] == nil {
		return faultf("the program is told %v and %v", all[0][0], all[0][1])
	}
	spans, err := r.spans((*Span).IsSend)
	if err != nil {
		return err
	}
	failed := 0
	for i := range spans {
		if !spans[i].Error {
			continue
		}
		failed++
		if p, ok := spans[i].First(partitionKeys...); ok && number(p) != "1" {
			return faultf("the failed span is that of partition %s", number(p))
		}
	}
	if len(spans) != 2 || failed != 1 {
		return faultf("%d send spans, %d of them with an error", len(spans), failed)
	}
	return nil
}

func batchTraced(ctx context.Context, r *Run) error {
	if err := r.sendAll(ctx, Options{}, batchOf("0:a", "0:b", "0:c")); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 3)
	if err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsSend)
	if err != nil {
		return err
	}
	for i := range stored[0] {
		id, err := oneContext(&stored[0][i])
		if err != nil {
			return err
		}
		found := false
		for k := range spans {
			found = found || spans[k].ID == id
		}
		if !found {
			return faultf("the context in a message is of no span")
		}
	}
	return nil
}

func asyncDuration(ctx context.Context, r *Run) error {
	const slow = 150 * time.Millisecond
	r.Delay(kmsg.Produce, slow)
	if err := r.sendAll(ctx, Options{Async: true}, batchOf("0:a")); err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsSend)
	if err != nil {
		return err
	}
	if len(spans) != 1 {
		return faultf("%d send spans for 1 message", len(spans))
	}
	if d := spans[0].End.Sub(spans[0].Start); d < slow {
		return faultf("the span ends before the broker answers")
	}
	return nil
}

func manyAsync(ctx context.Context, r *Run) error {
	const n = 5000
	b := &Batch{Messages: make([]Message, n)}
	for i := range b.Messages {
		b.Messages[i].Value = []byte("0:a")
	}
	if err := r.sendAll(ctx, Options{Async: true, Linger: time.Millisecond}, b); err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsSend)
	if err != nil {
		return err
	}
	if len(spans) != n {
		return faultf("not every message has a span")
	}
	return nil
}

func concurrentSends(ctx context.Context, r *Run) error {
	const workers, each = 8, 25
	c, err := r.open(Options{})
	if err != nil {
		return err
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				b := batchOf(fmt.Sprintf("%d:%d-%d", w%partitions, w, i))
				b.Messages[0].Partition = int32(w % partitions) //nolint:gosec // below 3
				if err := c.Send(r.Ambient(ctx, true), b)[0]; err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return faultf("a message is not sent: %s", plain(err))
	}
	r.closeClients()
	stored, err := r.Stored(ctx, workers*each)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for p := range stored {
		for i := range stored[p] {
			id, err := oneContext(&stored[p][i])
			if err != nil {
				return err
			}
			seen[id] = true
		}
	}
	spans, err := r.spans((*Span).IsSend)
	if err != nil {
		return err
	}
	if len(seen) != workers*each || len(spans) != workers*each {
		return faultf("%d messages, %d contexts, %d send spans", workers*each, len(seen), len(spans))
	}
	return nil
}

func unsampled(ctx context.Context, r *Run) error {
	if r.Way() == "dd" {
		return errNotApplicable // the decision is made after the spans
	}
	b := batchOf("0:a")
	if r.Subject.NoContext {
		b.Messages[0].Headers = []Header{{"traceparent", []byte(strings.TrimSuffix(givenContext, "1") + "0")}}
	}
	if _, err := r.send(ctx, Options{}, false, b); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 1)
	if err != nil {
		return err
	}
	for _, h := range stored[0][0].Headers {
		if h.Key == "traceparent" && !strings.HasSuffix(string(h.Value), "-00") {
			return faultf("the message says that it is sampled")
		}
	}
	spans, err := r.Spans()
	if err != nil {
		return err
	}
	if len(spans) != 0 {
		return faultf("%d spans", len(spans))
	}
	return nil
}

func providerOption(ctx context.Context, r *Run) error {
	if r.Way() == "dd" {
		return errNotApplicable // its tracer is global
	}
	if err := r.sendAll(ctx, Options{}, batchOf("0:a")); err != nil {
		return err
	}
	strays, err := r.Strays()
	if err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsSend)
	if err != nil {
		return err
	}
	if strays != 0 || len(spans) != 1 {
		return faultf("%d of %d send spans go to the global provider", strays, len(spans))
	}
	return nil
}

func nullKey(ctx context.Context, r *Run) error {
	b := batchOf("0:a")
	b.Messages[0].Key = nil
	if err := r.sendAll(ctx, Options{}, b); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 1)
	if err != nil {
		return err
	}
	if stored[0][0].Key != nil {
		return faultf("the key is stored as empty")
	}
	spans, err := r.spans((*Span).IsSend)
	if err != nil {
		return err
	}
	for i := range spans {
		if v, ok := spans[i].First(keyKeys...); ok {
			return faultf("the span has a key: %q", v)
		}
	}
	return nil
}

func tombstone(ctx context.Context, r *Run) error {
	b := batchOf("")
	b.Messages[0].Value = nil
	if err := r.sendAll(ctx, Options{}, b); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 1)
	if err != nil {
		return err
	}
	if stored[0][0].Value != nil {
		return faultf("the value is stored as empty")
	}
	spans, err := r.spans((*Span).IsSend)
	if err != nil {
		return err
	}
	if len(spans) != 1 {
		return faultf("%d send spans for 1 message", len(spans))
	}
	if v, _ := spans[0].First(tombstoneKeys...); v != "true" {
		return faultf("the span does not say so")
	}
	return nil
}

func smallHeaders(ctx context.Context, r *Run) error {
	if err := r.sendAll(ctx, Options{}, batchOf("0:a")); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 1)
	if err != nil {
		return err
	}
	n := 0
	for _, h := range stored[0][0].Headers {
		n += 2 + len(h.Key) + len(h.Value) // each length is a varint of one byte
	}
	if n > 100 {
		// The ids in them are of a random number of digits.
		return faultf("it gets %d headers of some %d bytes", len(stored[0][0].Headers), (n+5)/10*10)
	}
	return nil
}

// anyHeaders draws headers from a fixed seed, so that a fault is found again. A
// stray tracestate is not among them: beside a new traceparent it would be taken
// for that of its trace, so leaving it out is right.
func anyHeaders(ctx context.Context, r *Run) error {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := []string{"", "traceparent ", "TRACEPARENT", "baggage", "b3", "x\x00y", "ключ", "a"}
	batches := make([]*Batch, 0, 20)
	for range 20 {
		b := batchOf("0:a")
		for range rnd.IntN(6) {
			v := make([]byte, rnd.IntN(40))
			for i := range v {
				v[i] = byte(rnd.IntN(256)) //nolint:gosec // below 256
			}
			b.Messages[0].Headers = append(b.Messages[0].Headers, Header{keys[rnd.IntN(len(keys))], v})
		}
		b.Messages[0].Spare = rnd.IntN(3)
		batches = append(batches, b)
	}
	if err := r.sendAll(ctx, Options{}, batches...); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, len(batches))
	if err != nil {
		return err
	}
	for i, b := range batches {
		m := &stored[0][i]
		want := b.Messages[0].Headers
		if len(m.Headers) < len(want) {
			return faultf("a header is missing")
		}
		for k, h := range want {
			if got := m.Headers[k]; got.Key != h.Key || !bytes.Equal(got.Value, h.Value) {
				return faultf("a header %q is changed or moved", h.Key)
			}
		}
		if _, err := oneContext(m); err != nil {
			return err
		}
	}
	return nil
}
