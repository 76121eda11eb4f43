// Package otelsarama instruments github.com/IBM/sarama: sync and async producers,
// partition consumers and consumer groups. It passes the trace context on in
// record headers and records spans and measures that tell where each record spent
// its time.
//
//	in := otelsarama.New(config)
//
//	p, err := in.NewSyncProducer(brokers)
//	partition, offset, err := p.SendMessageContext(ctx, &sarama.ProducerMessage{Topic: "orders", Value: value})
//
//	g, err := in.NewConsumerGroup(brokers, "billing")
//	err = g.Consume(ctx, topics, handler) // as always
//
// and in the handler's ConsumeClaim
//
//	for msg := range claim.Messages() {
//		err := in.Process(session.Context(), msg, func(ctx context.Context, msg *sarama.ConsumerMessage) error { … })
//		session.MarkMessage(msg, "")
//	}
//
// sarama tells nothing of its requests. [New] copies the configuration and gives
// the copy a dialer whose connections are read along (see package wire): they
// tell exactly when the request that carried a record was written, how often, and
// when its answer began to arrive, when a fetch was asked and answered, and which
// offsets were committed. A time that was not seen is absent, never guessed; the
// only guess, the end of a process span of which the program did not tell the end,
// is marked as one.
//
// An async producer's messages get their context from [WithContext] or
// [AsyncProducer.Send]. What comes back on Successes and Errors is the message as
// it was given, its Metadata too.
//
// Consumers link to the producer's span. [WithParent] makes them its children
// too, so that one trace spans all services.
//
// What the package never does: change a header slice or the array behind it,
// change a creation context that is already on a message, keep a message changed
// after it came back, or panic into the program. A SyncProducer sends copies. (One
// exception: a message that an async producer retried comes back with the headers
// it was sent with, since sarama before v1.61 may be reading them still. Sent
// again, it gets those of its new context; they are not taken for the program's.)
// Its goroutines hand on what arrives on one channel each; none reads from sarama
// and writes to it.
//
// With TLS the handshake is made in the dialer, so sarama.Broker's
// TLSConnectionState tells nothing.
package otelsarama
