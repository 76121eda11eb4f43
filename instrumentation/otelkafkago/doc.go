// Package otelkafkago instruments github.com/segmentio/kafka-go: it wraps its
// Writer and Reader, passes the trace context on in record headers, and records
// spans that tell where each record spent its time.
//
//	w := otelkafkago.NewWriter(&kafka.Writer{Addr: kafka.TCP("broker:9092"), Topic: "orders"})
//	err := w.WriteMessages(ctx, kafka.Message{Value: value})
//
//	r := otelkafkago.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: "orders", GroupID: "billing"})
//	msg, err := r.FetchMessage(ctx)
//	err = r.Process(ctx, msg, func(ctx context.Context, msg kafka.Message) error { … })
//	err = r.CommitMessages(ctx, msg)
//
// [Writer] and [Reader] embed the types they wrap, so every method is still
// there. A record sent has a span "send topic", with its true partition and
// offset for synchronous and asynchronous writers alike, ended by the broker's
// answer and not by a cancelled context. A record read has a span "poll topic" and
// a span "process topic", a commit a span "commit topic", the commits that
// kafka-go makes by itself too. The exact times on them (names in package
// messaging) come from the produce and fetch requests themselves, seen by a
// wrapped Writer.Transport and a connection from Dialer.DialFunc, as do brokers,
// high watermarks, rebalances and their causes. Where a topic stamps
// LogAppendTime a record's time is the broker's, which kafka-go itself does not
// tell. A time that was not seen is absent, never guessed; the only guess, the end
// of a process span of which the program did not tell the end, is marked as one.
// Measures of all this are kept whether or not a span is sampled.
//
// Consumers link to the producer's span. [WithParent] makes them its children
// too, so that one trace spans all services.
//
// A record that failed is sent on by [Retry] or [DeadLetter], which keep where it
// came from. For kafka-go's low-level API there are [WrapTransport], [Producer],
// [Processor] and [InjectHeaders].
//
// What the package never does: change a message, header or slice of the caller,
// change a creation context that is already on a record, start a goroutine, or
// panic into the program.
//
// It is not a Kafka client and adds no feature to one. The types of kafka-go's
// low-level API (Conn, Client, ConsumerGroup) are not wrapped.
package otelkafkago
