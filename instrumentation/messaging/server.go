package messaging

import (
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// byServer keeps what is made once for each broker that served a partition, which
// is another one when the partition's leader moves. Looking up the last one takes
// no lock.
type byServer[V any] struct {
	last atomic.Pointer[served[V]]
	mu   sync.Mutex
	all  map[Server]*served[V]
	make func(Server) V
}

type served[V any] struct {
	server Server
	value  V
}

// maxServers bounds the brokers remembered of one partition. What comes above it
// is taken for unknown.
const maxServers = 64

func (b *byServer[V]) init(f func(Server) V) {
	b.make = f
	b.all = map[Server]*served[V]{}
	b.last.Store(b.add(Server{}))
}

func (b *byServer[V]) add(s Server) *served[V] {
	out := &served[V]{s, b.make(s)}
	b.all[s] = out
	return out
}

func (b *byServer[V]) get(s Server) V {
	if l := b.last.Load(); l.server == s {
		return l.value
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.all[s]
	switch {
	case out != nil:
	case len(b.all) >= maxServers:
		out = b.all[Server{}]
	default:
		out = b.add(s)
	}
	b.last.Store(out)
	return out.value
}

// consuming are the operations of a consumer's partition at one broker.
type consuming struct {
	receive, process *operation
	group            *measure.Group // of receiving
}

func (p *Partition) newConsuming(s Server) consuming {
	c := p.consumer
	late := []attribute.KeyValue{attribute.String(AttrPartitionID, itoa(p.ID))}
	if c.config.Group != "" {
		late = append(late, attribute.String(AttrConsumerGroup, c.config.Group))
	}
	if c.config.ClientID != "" {
		late = append(late, attribute.String(AttrClientID, c.config.ClientID))
	}
	late = s.attributes(late)
	return consuming{
		group: c.core.meter.Group(receiveMeasures, s.attributes(p.measured(c.config.Receive, attribute.String(AttrOperationType, OperationReceive)))...),
		receive: c.core.operation(spanName(c.config.Receive, p.Topic), trace.SpanKindClient, consumeLayout,
			c.core.attributes(c.config.Receive, OperationReceive, SentryOpReceive, p.Topic, late...)),
		process: c.core.operation(spanName("process", p.Topic), trace.SpanKindConsumer, consumeLayout,
			c.core.attributes("process", OperationProcess, SentryOpProcess, p.Topic, late...)),
	}
}

// sending is what is not known of a send before it ends, with the leader that was
// sent to.
type sending struct {
	late       []attribute.KeyValue // of send spans
	created    []attribute.KeyValue // of create spans, which know no server
	own, given *record.Stream       // our way
	group      *measure.Group
}

func (sp *SendPartition) newSending(k partitionKey, s Server) sending {
	c, t := sp.producer.core, sp.topic
	var out sending
	if k.partition >= 0 {
		out.late = append(out.late, attribute.String(AttrPartitionID, itoa(k.partition)))
	}
	out.created = out.late[:len(out.late):len(out.late)]
	out.late = s.attributes(out.created)
	own := out.late
	if c.config.CreateSpans {
		own = out.created
	}
	if c.rec != nil {
		out.own, out.given = late(c, t.own, own), late(c, t.given, out.late)
	}
	out.group = c.meter.Group(sendMeasures, sp.producer.measureAttributes(k, s)...)
	return out
}
