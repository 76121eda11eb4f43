package pipeline

import (
	"bytes"
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/otelerrors"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/pipeline/process"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// errorSink puts the errors of spans and logs on the topic of events, where they are
// grouped with those of SDKs.
type errorSink struct{ to process.Producer }

var _ persist.ErrorSink = errorSink{}

// Send returns nil once all are durable.
func (s errorSink) Send(ctx context.Context, errors []otelerrors.Event) error {
	records := make([]*kgo.Record, len(errors))
	for i := range errors {
		e := &errors[i]
		m := wire.IngestEvent{Type: "event", Payload: e.Payload, StartTime: e.Time / 1e9, EventID: e.ID.String(), ProjectID: e.Project}
		source, offset := ledger.PlaceOf(e.ID) // one that is sent twice has one line in the ledger
		header := func(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }
		records[i] = &kgo.Record{Topic: topics.IngestEvents, Key: bytes.Clone(e.ID[:]), Value: m.AppendMsgpack(nil), Headers: []kgo.RecordHeader{
			header(schemas.HeaderSchema, schemas.SchemaIngestEvents),
			header(schemas.HeaderProject, strconv.FormatUint(e.Project, 10)),
			header(schemas.HeaderReceived, strconv.FormatInt(e.Time, 10)),
			header(schemas.HeaderEventID, m.EventID),
			header(schemas.HeaderCategory, string(schemas.CategoryError)),
			header(schemas.HeaderOrigin, string(schemas.OriginOTel)),
			header(schemas.HeaderFirstSource, strconv.FormatUint(uint64(source), 10)),
			header(schemas.HeaderFirstOffset, strconv.FormatInt(offset, 10)),
		}}
	}
	return s.to.ProduceSync(ctx, records...)
}
