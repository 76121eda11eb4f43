package messaging

import (
	"context"
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// maxBatchLinks bounds the links of a batch's process span. Above it the oldest
// records are linked, and others evenly chosen; the rest is counted, and named by
// offsets.
const (
	maxBatchLinks  = maxLinks
	maxBatchOldest = 32
)

// StartBatch starts one process span for several records that are processed
// together: it links to each record's creation context, and each link tells the
// record's partition, offset and times where they differ.
func (c *Consumer) StartBatch(ctx context.Context, ds []Delivery, at int64) (context.Context, *Processing) {
	if len(ds) == 1 {
		return c.StartProcess(ctx, &ds[0], at)
	}
	if len(ds) == 0 {
		p := &Processing{consumer: c, parent: ctx, span: trace.SpanFromContext(ctx), start: at}
		p.ended.Store(true)
		return ctx, p
	}
	key := partitionKey{ds[0].Partition.Topic, ds[0].Partition.ID}
	oldest := 0
	for i := range ds {
		if ds[i].Partition.Topic != key.topic {
			key.topic = ""
		}
		if ds[i].Partition.ID != key.partition || key.topic == "" {
			key.partition = -1
		}
		if t := ds[i].RecordTime; t > 0 && (ds[oldest].RecordTime <= 0 || t < ds[oldest].RecordTime) {
			oldest = i
		}
	}
	r := record.Span{Start: at}
	r.Set(consumeCount, int64(len(ds)))
	dropped, without := 0, 0
	op := c.batchOperation(key, oneBroker(ds))
	p := c.begin(ctx, op, &r, nil, trace.SpanContextFromContext(ctx), false, trace.SpanContext{}, nil, func() (links []trace.Link) {
		links, dropped, without = batchLinks(ds, key)
		return links
	}, nil)
	eldest := ds[oldest]
	eldest.pathway = mergePathways(ds)
	p.delivery, p.count, p.start = eldest.facts(), int32(len(ds)), at //nolint:gosec // far from the bound
	p.rare = &rare{batch: make([]facts, len(ds))}
	for i := range ds {
		p.rare.batch[i] = ds[i].facts()
	}
	if p.span.IsRecording() {
		if dropped > 0 {
			p.span.SetAttributes(attribute.Int(AttrBatchLinksLeftOut, dropped))
		}
		if dropped > 0 || without > 0 {
			p.span.SetAttributes(attribute.String(AttrBatchRecords, runsOf(ds, key.topic == "")))
		}
	}
	return p.hook(), p
}

func (c *Consumer) batchOperation(k partitionKey, broker Server) *operation {
	if k.partition >= 0 {
		return c.parts.get(k).at.get(broker).process
	}
	return c.batches.get(k.topic)
}

// oneBroker is the broker that all records came from; unknown when there were
// several.
func oneBroker(ds []Delivery) Server {
	for i := range ds {
		if ds[i].Broker != ds[0].Broker {
			return Server{}
		}
	}
	return ds[0].Broker
}

// batchLinks also counts the records that it has no link to: beyond the bound, and
// those that carry no context.
func batchLinks(ds []Delivery, common partitionKey) (links []trace.Link, dropped, without int) {
	chosen := make([]int, 0, min(len(ds), maxBatchLinks))
	if len(ds) <= maxBatchLinks {
		for i := range ds {
			chosen = append(chosen, i)
		}
	} else {
		order := make([]int, len(ds))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return int(min(max(ds[a].RecordTime-ds[b].RecordTime, -1), 1)) })
		chosen = append(chosen, order[:maxBatchOldest]...)
		rest := order[maxBatchOldest:]
		for i := range maxBatchLinks - maxBatchOldest {
			chosen = append(chosen, rest[i*len(rest)/(maxBatchLinks-maxBatchOldest)])
		}
		slices.Sort(chosen)
		dropped = len(ds) - len(chosen)
	}
	// One memory for the attributes of all, and one for their keys' hashes.
	var ends [maxBatchLinks]int
	digits := make([]byte, 0, 20*len(chosen))
	for at, i := range chosen {
		if ds[i].HasKey {
			digits = strconv.AppendUint(digits, ds[i].KeyHash, 10)
		}
		ends[at] = len(digits)
	}
	hashes := string(digits)
	attrs := make([]attribute.KeyValue, 0, (consumeCount+2)*len(chosen))
	links = make([]trace.Link, 0, len(chosen))
	begin := 0
	for at, i := range chosen {
		d, hash := &ds[i], hashes[begin:ends[at]]
		begin = ends[at]
		if !d.creation.IsValid() {
			without++
			continue
		}
		from := len(attrs)
		if common.topic == "" {
			attrs = append(attrs, attribute.String(AttrDestinationName, d.Partition.Topic))
		}
		if common.partition < 0 {
			attrs = append(attrs, attribute.String(AttrPartitionID, itoa(d.Partition.ID)))
		}
		if hash != "" {
			attrs = append(attrs, attribute.String(AttrKeyHash, hash))
		}
		var r record.Span
		d.describe(&r)
		d.times(&r)
		r.Known &^= 1 << consumeKeyHash
		attrs = consumeLayout.Append(attrs, &r)
		if d.lineage != nil {
			attrs = append(attrs, d.lineage.attributes()...)
		}
		links = append(links, trace.Link{SpanContext: d.creation, Attributes: attrs[from:len(attrs):len(attrs)]})
	}
	// Where there is room, the earlier attempts of records that were sent on.
	for _, i := range chosen {
		if l := ds[i].lineage; l != nil && len(links)+len(l.Earlier) <= maxBatchLinks {
			links = append(links, l.links()...)
		}
	}
	return links, dropped, without
}
