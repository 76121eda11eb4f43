package persist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/hops"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/pipeline/otelerrors"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// DefaultWriteRows is how many spans or message rows one write has at most.
// Stores want 20,000 to 50,000 rows; fewer cost more, more cost memory.
const DefaultWriteRows = 50_000

// ErrorSink takes the errors that spans and logs tell of, to be grouped as those of
// Sentry SDKs are.
type ErrorSink interface {
	// Send returns nil once all are durable. Sending one again is harmless.
	Send(ctx context.Context, errors []otelerrors.Event) error
}

// Spans is the handler behind the topics ingest-spans and ingest-transactions: a
// transaction of a Sentry SDK is spans too. Its methods are called by one goroutine
// at a time.
type Spans struct {
	writer    exporters.SpanWriter
	normalize normalize.Config
	writeRows int
	metrics   *Metrics
	log       *slog.Logger

	zones   zones[exporters.Written]
	decoder *ingest.SpanDecoder
	sentry  *ingest.SentryDecoder
	errors  ErrorSink
	// What waits for the next write, and the records that end with it.
	spans    []schemas.Span
	messages []schemas.Message
	found    []otelerrors.Event // errors that these spans recorded
	waiting  []int64            // times of reception
	last     [2]int             // how many rows the last write had
}

// NewSpans makes the handler. Zero writeRows means [DefaultWriteRows]. sink gets
// the errors that spans recorded; nil leaves them on the spans alone.
func NewSpans(w exporters.SpanWriter, sink ErrorSink, cfg normalize.Config, limits ingest.Limits, writeRows int, m *Metrics, log *slog.Logger) *Spans {
	if writeRows <= 0 {
		writeRows = DefaultWriteRows
	}
	s := &Spans{writer: w, errors: sink, normalize: cfg, writeRows: writeRows, metrics: m, log: log, decoder: ingest.NewSpanDecoder(limits), sentry: ingest.NewSentryDecoder(limits)}
	s.zones.ask = func(ctx context.Context, source schemas.Source, from int64) (exporters.Written, int64, error) {
		written, err := w.WrittenSpans(ctx, source, from)
		if err != nil {
			return exporters.Written{}, -1, err
		}
		return written, max(last(written.Spans), last(written.Messages)), nil
	}
	return s
}

func last(positions map[schemas.Position]struct{}) int64 {
	end := int64(-1)
	for p := range positions {
		end = max(end, p.Offset)
	}
	return end
}

// Assigned asks the store for the replay zone of each partition.
func (s *Spans) Assigned(ctx context.Context, parts []consume.Partition) error {
	return s.zones.assigned(ctx, parts)
}

// Revoked forgets partitions.
func (s *Spans) Revoked(_ context.Context, parts []consume.Partition) { s.zones.revoked(parts) }

// Handle stores the spans and message rows of a batch, a partition's records in
// their order. It returns nil once all are durable, with the records that can
// never be stored; after an error or a panic the same records may come again.
func (s *Spans) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	done := false
	defer func() {
		if !done {
			s.release()
			s.zones.failed(batch)
		}
	}()
	if dead, err = s.handle(ctx, batch); err != nil {
		return nil, err
	}
	s.zones.passed(batch)
	done = true
	return dead, nil
}

func (s *Spans) handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	for i := range batch {
		r := &batch[i]
		refusal, err := s.record(ctx, r)
		if err != nil {
			return nil, err
		}
		if refusal != nil {
			dead = append(dead, s.metrics.spans.refuse(s.log, r, refusal))
		}
		if len(s.spans) >= s.writeRows || len(s.messages) >= s.writeRows {
			if err := s.flush(ctx); err != nil {
				return nil, err
			}
		}
	}
	if err := s.flush(ctx); err != nil {
		return nil, err
	}
	return dead, nil
}

// record adds one record's rows to those that wait. Refusal tells that the
// record can never be read.
func (s *Spans) record(ctx context.Context, r *consume.Record) (refusal, err error) {
	zone, err := s.zones.of(ctx, r)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	defer func() { s.metrics.spans.decode.Add(since(start)) }()
	known := spanSchemas
	if r.Topic == topics.IngestTransactions {
		known = transactionSchemas
	}
	from, refusal := accept(r, known...)
	if refusal != nil {
		return refusal, nil
	}
	before := len(s.spans)
	if s.spans, refusal = s.decode(s.spans, r.Value, from.schema); refusal != nil {
		return refused("undecodable", refusal), nil
	}
	s.metrics.spansIn.Add(float64(len(s.spans) - before))
	var dropped normalize.Dropped
	kept := normalize.Spans(s.normalize, s.spans[before:], from.received, &dropped)
	for reason, n := range dropped {
		if n > 0 {
			s.metrics.spansDropped[reason].Add(float64(n))
			ledger.Drop(ctx, zone.source, r.Offset, schemas.OutcomeInvalid, normalize.Reason(reason).String(), n)
		}
	}
	malformed, spansBefore, messagesBefore := 0, 0, 0
	replay := r.Offset <= zone.end
	out := s.spans[:before]
	var rows hops.Request
	for i := range kept {
		span := &kept[i]
		span.Project, span.Source, span.Position.Offset = from.project, zone.source, r.Offset
		errorsBefore := len(s.found)
		if s.errors != nil && from.schema == schemas.SchemaOTLPTraces && len(span.Events) > 0 {
			s.found = otelerrors.OfSpan(s.found, span)
			for _, e := range s.found[errorsBefore:] {
				ledger.Derive(ctx, zone.source, r.Offset, e.ID, e.Time)
			}
		}
		n := len(s.messages)
		var bad int
		s.messages, bad = rows.Derive(s.messages, span)
		malformed += bad
		if replay {
			all := s.messages
			s.messages = s.messages[:n]
			for j := n; j < len(all); j++ {
				if _, is := zone.written.Messages[all[j].Position]; is {
					messagesBefore++
				} else {
					s.messages = append(s.messages, all[j])
				}
			}
			if _, is := zone.written.Spans[span.Position]; is {
				spansBefore++
				s.found = s.found[:errorsBefore] // they went on before the span was stored
				continue
			}
		}
		if len(out) != before+i {
			out = append(out, *span) // one before it was left out
		} else {
			out = out[:len(out)+1]
		}
	}
	s.spans = out
	s.waiting = append(s.waiting, from.received)
	s.metrics.messagesMalformed.Add(float64(malformed))
	s.metrics.spansReplayed.Add(float64(spansBefore))
	s.metrics.messagesReplayed.Add(float64(messagesBefore))
	return nil, nil
}

// What the two topics carry.
var (
	spanSchemas        = []string{schemas.SchemaOTLPTraces, schemas.SchemaSentrySpans}
	transactionSchemas = []string{schemas.SchemaIngestTransactions}
)

func (s *Spans) decode(dst []schemas.Span, value []byte, schema string) ([]schemas.Span, error) {
	switch schema {
	case schemas.SchemaSentrySpans:
		return s.sentry.Spans(dst, value)
	case schemas.SchemaIngestTransactions:
		var m wire.IngestEvent
		if err := m.DecodeMsgpack(value); err != nil {
			return dst, err
		}
		return s.sentry.Transaction(dst, m.Payload)
	}
	return s.decoder.Decode(dst, value)
}

// flush writes what waits, in equal parts of at most writeRows, and takes the
// decoder's memory back.
func (s *Spans) flush(ctx context.Context) error {
	if len(s.waiting) == 0 {
		return nil
	}
	// Before the rows: a span that is stored is one whose errors are on their way.
	if len(s.found) > 0 {
		if err := s.errors.Send(ctx, s.found); err != nil {
			return fmt.Errorf("cannot hand on %d errors of spans: %w", len(s.found), err)
		}
	}
	spans, messages := s.spans, s.messages
	parts := max((len(spans)+s.writeRows-1)/s.writeRows, (len(messages)+s.writeRows-1)/s.writeRows)
	for ; parts > 0; parts-- {
		ns, nm := (len(spans)+parts-1)/parts, (len(messages)+parts-1)/parts
		if err := s.write(ctx, spans[:ns], messages[:nm]); err != nil {
			return err
		}
		spans, messages = spans[ns:], messages[nm:]
	}
	now := time.Now().UnixNano()
	for _, received := range s.waiting {
		s.metrics.spans.stored(received, now)
	}
	s.release()
	return nil
}

// write halves what the store finds too large. A single row that it will never
// take is dropped and counted: it must not stop its partition.
func (s *Spans) write(ctx context.Context, spans []schemas.Span, messages []schemas.Message) error {
	start := time.Now()
	err := s.writer.WriteSpans(ctx, spans, messages)
	s.metrics.spans.write.Observe(since(start))
	if errors.Is(err, exporters.ErrTooLarge) {
		if len(spans)+len(messages) <= 1 {
			s.metrics.spansTooLarge.Inc()
			s.log.Error("a row is too large for the store and is dropped", "spans", len(spans), "messages", len(messages), "error", err)
			for i := range spans {
				ledger.Drop(ctx, spans[i].Source, spans[i].Position.Offset, schemas.OutcomeInvalid, "too_large", 1)
			}
			return nil
		}
		ns, nm := len(spans)/2, len(messages)/2
		if len(spans) == 1 && len(messages) == 1 {
			ns = 1
		}
		if err := s.write(ctx, spans[:ns], messages[:nm]); err != nil {
			return err
		}
		return s.write(ctx, spans[ns:], messages[nm:])
	}
	if err != nil {
		return fmt.Errorf("cannot write %d spans and %d messages: %w", len(spans), len(messages), err)
	}
	s.metrics.spans.batch.Observe(float64(len(spans)))
	s.metrics.spansStored.Add(float64(len(spans)))
	s.metrics.messagesStored.Add(float64(len(messages)))
	return nil
}

// release lets go of what lies in the decoder's and the records' memory.
func (s *Spans) release() {
	s.decoder.Reset()
	now := [2]int{len(s.spans), len(s.messages)}
	s.spans = empty(s.spans, s.last[0])
	s.messages = empty(s.messages, s.last[1])
	s.waiting, s.last = s.waiting[:0], now
	clear(s.found)
	s.found = s.found[:0]
}

// keepRows is how many rows' memory a handler holds whatever comes.
const keepRows = 4096

// empty keeps the memory of rows unless this write and the last used little of it.
func empty[T any](rows []T, last int) []T {
	if cap(rows) > keepRows && max(len(rows), last) < cap(rows)/8 {
		return nil
	}
	clear(rows)
	return rows[:0]
}
