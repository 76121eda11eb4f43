// Package otelfranz instruments github.com/twmb/franz-go by its hooks: it passes
// the trace context on in record headers and records spans and measures that tell
// where each record spent its time.
//
//	h := otelfranz.New()
//	cl, err := kgo.NewClient(append(h.Opts(), kgo.SeedBrokers("broker:9092"), …)...)
//
//	cl.Produce(ctx, &kgo.Record{Topic: "orders", Value: value}, nil)
//
//	fetches := h.PollFetches(ctx)
//	fetches.EachRecord(func(r *kgo.Record) {
//		err := h.Process(ctx, r, func(ctx context.Context, r *kgo.Record) error { … })
//	})
//	err = h.CommitRecords(ctx, records...)
//
// The client stays kgo's own; everything of it works as before. A record produced
// has a span "send topic" from Produce to the broker's answer, with its true
// partition and offset. A record polled has a span "poll topic" and a span
// "process topic"; none of them begins before the record is handed to the program.
//
// [Hooks.Opts] are the hooks and a dialer. The dialer's connections are read along
// (see package wire), which tells exactly when the request that carried a record
// was written, how often, and when its answer began to arrive. Where the program
// needs a dialer of its own, give it to [WithDialer] or [WithTLS].
// With kgo.WithHooks(h) alone the hooks must do: the times of a fetch are exact
// but for "answered", which then is when the answer was read whole; those of a
// produce request are told only where a single request can have carried the
// record. A time that is not certain is absent, never guessed.
//
// Consumers link to the producer's span. [WithParent] makes them its children
// too, so that one trace spans all services.
//
// What the package never does: change a header slice or the array behind it,
// change a creation context that is already on a record, keep a record changed
// after its promise, start a goroutine, or panic into the program.
package otelfranz
