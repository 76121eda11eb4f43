// Package hops derives message rows from messaging spans: one row for each
// record that a span says it sent, received or processed. It reads the names of
// the OpenTelemetry conventions, old and new, the raw times of our own
// instrumentation, and Sentry's queue operations. It joins nothing: producer and
// consumer meet in storage, by the record's coordinates or by link.
package hops

import (
	"cmp"
	"math"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/internal/find"
	"github.com/hoptrace/hoptrace/schemas"
)

// Request makes the rows of one request's spans.
type Request struct {
	ofRuns int // rows of records that are named by offsets alone, at most runRows
}

// Derive appends the rows of one span to dst and tells how many attribute
// values it could not read: those are unknown in the row and stay on the span.
// The hoptrace.* attributes that a row now holds are taken off the span. Rows
// alias what the span aliases.
//
// A settle span gives a row of the offset that it commits, or else one of each
// record that it links to. A send span of kind client names the record's creation
// context by its link; one of several records without offsets gives no row, since
// their create spans do.
//
// Position.Index of a row is made of the span's own and the row's number within
// the span (see rowIndex), so it does not depend on what became of other spans.
//
// A receive span of our own wrappers gives no row: the process span of the same
// record does. A span about several records gives a row a link that
// carries an offset, and one a record that it names by offsets alone.
func (r *Request) Derive(dst []schemas.Message, s *schemas.Span) (rows []schemas.Message, malformed int) {
	f := fields{partition: schemas.Unknown, offset: schemas.Unknown, highWatermark: schemas.Unknown, bodySize: schemas.Unknown}
	if !f.read(s.Attributes) {
		return dst, 0
	}
	side := f.side(s.Kind)
	if f.system != messaging.SystemKafka || side == 0 || f.topic == "" && len(s.Links) == 0 { // links may tell topics
		return dst, 0
	}
	if side == schemas.SideReceive && ownScope(s.Scope) {
		return dst, 0
	}
	if side == schemas.SideProduce && s.Kind == schemas.KindClient && f.offset == schemas.Unknown && len(s.Links) > 0 && linksWithOffset(s.Links) == 0 {
		return dst, 0 // a request: its records' create spans tell of them
	}
	m := schemas.Message{
		Project: s.Project, Side: side, Topic: f.topic, Partition: f.partition, Offset: f.offset,
		Group: f.group, Service: s.Service, ClientID: f.clientID,
		TraceID: s.TraceID, SpanID: s.SpanID, Start: s.Start, End: s.End,
		FirstWritten: f.firstWritten, Written: f.written, Acked: f.acked, Appended: f.appended,
		Asked: f.asked, Answered: f.answered, Handed: f.handed, RecordTime: f.recordTime,
		HighWatermark: f.highWatermark, Attempts: f.attempts, Throttle: f.throttle,
		BodySize: f.bodySize, KeyHash: f.keyOf(), MessageID: short(f.messageID), Conversation: short(f.conversation), EstimatedEnd: f.estimated,
		RetryTopic: f.retryTopic, RetryAttempt: f.retryAttempt,
		Failed: s.Status == schemas.StatusError || f.hasError,
		Source: s.Source, Position: schemas.Position{Offset: s.Position.Offset, Index: rowIndex(s.Position.Index, 0)},
	}
	if f.retryTopic != "" {
		m.RetryPartition, m.RetryOffset, m.RetryFirstSeen = f.retryPartition, f.retryOffset, f.retryFirstSeen
	}
	if m.FirstWritten == m.Written {
		m.FirstWritten = 0
	}
	if m.Attempts == 0 && m.Written != 0 {
		m.Attempts = 1
	}
	m.BootID, _ = schemas.Lookup(s.Resource, messaging.AttrBootID)
	m.Release = release(s)
	m.Instance = instance(s, f.clientID)

	before := len(dst)
	switch {
	case side == schemas.SideSettle:
		dst = settled(dst, m, s)
	case f.count > 1 || len(f.runs) > 0 || (f.offset == schemas.Unknown && linksWithOffset(s.Links) > 0):
		dst, malformed = perLink(dst, m, s)
		dst = r.perRun(dst, before, m, s, f.runs)
	case f.topic == "":
	default:
		if carries(side, s.Kind) {
			m.CreationTrace, m.CreationSpan = creation(s, &f)
		}
		dst = append(dst, m)
	}
	if len(dst) > before && f.ours {
		s.Attributes = f.strip(s.Attributes)
	}
	return dst, malformed + f.malformed
}

// release is that of the program that sent the span. A version that names its
// package already (a Sentry SDK's) is taken as it is.
func release(s *schemas.Span) string {
	version, ok := schemas.Lookup(s.Resource, "service.version")
	if !ok {
		version, _ = schemas.Lookup(s.Attributes, "sentry.release")
	}
	if version == "" || s.Service == "" || strings.Contains(version, "@") {
		return version
	}
	return s.Service + "@" + version
}

// instance says which process of a service sent the span, by the best that its
// resource tells. A client's id is often the same in all of them; it is better than nothing.
func instance(s *schemas.Span, clientID string) string {
	for _, name := range [...]string{"service.instance.id", "k8s.pod.name"} {
		if v, ok := schemas.Lookup(s.Resource, name); ok && v != "" {
			return v
		}
	}
	host, _ := schemas.Lookup(s.Resource, "host.name")
	if pid, ok := schemas.Lookup(s.Resource, "process.pid"); ok && host != "" {
		return host + ":" + pid
	}
	if host != "" && clientID != "" {
		return clientID + "@" + host
	}
	return cmp.Or(host, clientID)
}

// creation is the context that the record carried: the link that names the
// record, else the first link, else the parent of a consumer span.
func creation(s *schemas.Span, f *fields) (schemas.TraceID, schemas.SpanID) {
	first := -1
	for i := range s.Links {
		l := &s.Links[i]
		if l.TraceID.IsZero() || l.SpanID.IsZero() {
			continue
		}
		if first < 0 {
			first = i
		}
		if len(l.Attributes) == 0 {
			continue
		}
		lf := fields{partition: schemas.Unknown, offset: schemas.Unknown}
		if lf.read(l.Attributes); lf.earlier { // an attempt before, not the record
			if first == i {
				first = -1
			}
			continue
		}
		if f.offset != schemas.Unknown && lf.offset == f.offset && (lf.partition == f.partition || lf.partition == schemas.Unknown) {
			return l.TraceID, l.SpanID
		}
	}
	if first >= 0 {
		return s.Links[first].TraceID, s.Links[first].SpanID
	}
	if s.Kind == schemas.KindConsumer && !s.ParentID.IsZero() {
		return s.TraceID, s.ParentID
	}
	return schemas.TraceID{}, schemas.SpanID{}
}

// runRows bounds the rows of one request's records that are named by offsets alone.
const runRows = 1 << 16

// linkRows bounds the rows of one span; a request has at most rowSpans spans.
const (
	linkRows = 1 << 13
	rowSpans = 1 << 18
	fewRows  = 1 << 8
	manyRows = 1 << 31 // marks the place of a row behind the first fewRows of its span
)

// rowIndex is the place of one span's row n: with 8 bits for n, as it was when
// a span had at most 256 rows, and behind those with 13 bits and a mark.
func rowIndex(span uint32, n int) uint32 {
	if n < fewRows {
		return span<<8 + uint32(n) //nolint:gosec // below fewRows
	}
	return manyRows | span<<13 + uint32(n) //nolint:gosec // below linkRows
}

// rowsOf is how many of n rows a span at this place may have.
func rowsOf(span uint32, n int) int {
	if span >= rowSpans {
		return min(n, fewRows)
	}
	return min(n, linkRows)
}

func linksWithOffset(links []schemas.Link) int {
	n := 0
	for i := range links {
		for j := range links[i].Attributes {
			if k := links[i].Attributes[j].Key; k == messaging.AttrKafkaOffset || k == oldOffset {
				n++
				break
			}
		}
	}
	return n
}

func perLink(dst []schemas.Message, m schemas.Message, s *schemas.Span) ([]schemas.Message, int) {
	malformed := 0
	links := s.Links
	for i := range links[:rowsOf(s.Position.Index, len(links))] {
		f := fields{partition: schemas.Unknown, offset: schemas.Unknown, highWatermark: schemas.Unknown, bodySize: schemas.Unknown}
		f.read(links[i].Attributes)
		malformed += f.malformed
		if f.offset == schemas.Unknown {
			continue
		}
		row := m
		row.Offset = f.offset
		if f.partition != schemas.Unknown {
			row.Partition = f.partition
		}
		or(&f.topic, row.Topic)
		if row.Topic = f.topic; row.Topic == "" {
			continue
		}
		if carries(row.Side, s.Kind) {
			row.CreationTrace, row.CreationSpan = links[i].TraceID, links[i].SpanID
		}
		// What the span tells of one record is not true of each; the link does.
		row.BodySize, row.KeyHash, row.RecordTime = f.bodySize, f.keyOf(), f.recordTime
		row.MessageID = short(f.messageID)
		if c := short(f.conversation); c != "" {
			row.Conversation = c
		}
		if f.answered != 0 || f.handed != 0 {
			row.Asked, row.Answered, row.Handed, row.HighWatermark = f.asked, f.answered, f.handed, f.highWatermark
		}
		row.Position.Index = rowIndex(s.Position.Index, i)
		dst = append(dst, row)
	}
	return dst, malformed
}

// perRun appends a row for each record that the span names by its offset alone, that
// is, of which no link made one of those from the place before on. It has the places
// behind those of the links.
func (r *Request) perRun(dst []schemas.Message, before int, m schemas.Message, s *schemas.Span, runs []messaging.Run) []schemas.Message {
	if len(runs) == 0 {
		return dst
	}
	linked := make(map[schemas.RecordRef]struct{}, len(dst)-before)
	for i := range dst[before:] {
		linked[dst[before+i].Record()] = struct{}{}
	}
	m.BodySize, m.KeyHash, m.MessageID = schemas.Unknown, 0, "" // what a span tells of one record is not true of each
	// A run of few bytes may say that it had all records there are.
	n, steps := len(s.Links), 2*linkRows
	for _, run := range runs {
		row := m
		if row.Topic = cmp.Or(run.Topic, m.Topic); row.Topic == "" {
			continue
		}
		row.Partition = run.Partition
		row.Asked, row.Answered, row.Handed, row.RecordTime = run.Asked, run.Answered, run.Handed, run.RecordTime
		if row.HighWatermark = run.HighWatermark; row.HighWatermark == 0 {
			row.HighWatermark = schemas.Unknown
		}
		for row.Offset = run.First; steps > 0 && n < rowsOf(s.Position.Index, linkRows) && r.ofRuns < runRows; row.Offset++ {
			steps--
			if _, is := linked[row.Record()]; !is {
				row.Position.Index = rowIndex(s.Position.Index, n)
				dst = append(dst, row)
				n++
				r.ofRuns++
			}
			if row.Offset == run.Last {
				break
			}
		}
	}
	return dst
}

// settled appends the row of a commit. One of several partitions tells no
// offset; then each link is a record's.
func settled(dst []schemas.Message, m schemas.Message, s *schemas.Span) []schemas.Message {
	if m.Partition != schemas.Unknown && m.Offset != schemas.Unknown {
		return append(dst, m)
	}
	for i := range s.Links[:rowsOf(s.Position.Index, len(s.Links))] {
		if l := &s.Links[i]; !l.TraceID.IsZero() && !l.SpanID.IsZero() {
			m.CreationTrace, m.CreationSpan = l.TraceID, l.SpanID
			m.Position.Index = rowIndex(s.Position.Index, i)
			dst = append(dst, m)
		}
	}
	return dst
}

// carries tells that a link names the context that the record carries: a
// consumer's does, and that of a send span of kind client, whose record has a
// create span.
func carries(side schemas.Side, kind schemas.SpanKind) bool {
	return side.Reads() || side == schemas.SideProduce && kind == schemas.KindClient
}

func ownScope(scope string) bool {
	return scope == messaging.ScopeKafkaGo || scope == messaging.ScopeFranz || scope == messaging.ScopeSarama
}

// Older names of the same things, as instrumentations in the field still write
// them.
const (
	attrConversation = "messaging.message.conversation_id"

	oldOperation    = "messaging.operation"                   // until 1.27
	oldDestination  = "messaging.destination"                 // until 1.16
	oldOffset       = "messaging.kafka.message.offset"        // until 1.28
	oldPartition124 = "messaging.kafka.destination.partition" // 1.17 to 1.24
	oldSource       = "messaging.kafka.source.partition"      // 1.17 to 1.20
	oldPartition    = "messaging.kafka.partition"             // until 1.16
	oldGroup        = "messaging.kafka.consumer.group"        // until 1.26
	oldGroup116     = "messaging.kafka.consumer_group"        // until 1.16
	oldClientID     = "messaging.client_id"                   // until 1.25
	oldKafkaClient  = "messaging.kafka.client_id"             // until 1.22
	oldBodySize     = "messaging.message.payload_size_bytes"  // until 1.21
	oldMessageID    = "messaging.message_id"                  // until 1.16
	oldConversation = "messaging.conversation_id"             // until 1.16
	keyName         = "messaging.kafka.message.key"           // other instrumentations tell the key itself
	oldKeyName      = "messaging.kafka.message_key"           // until 1.16
	sentryOp        = "sentry.op"
)

// fields are what attributes tell about a record.
type fields struct {
	system, topic, group, clientID      string
	opType, opName, opOld, sentryOp     string
	partition                           int32
	offset, highWatermark, bodySize     int64
	firstWritten, written               int64
	acked, appended                     int64
	asked, answered, handed, recordTime int64
	throttle, count                     int64
	keyHash                             uint64
	key, messageID, conversation        string
	attempts                            uint16
	estimated, hasError, ours, earlier  bool
	runs                                []messaging.Run
	retryTopic                          string
	retryPartition                      int32
	retryOffset, retryFirstSeen         int64
	retryAttempt                        uint16
	newOffset, newPartition             bool
	malformed                           int
	held                                [24]int32 // places of attributes that the row holds
	heldN                               int
}

// read tells whether there was anything about messaging at all.
func (f *fields) read(attrs []schemas.Attribute) bool {
	any := false
	for i := range attrs {
		key := attrs[i].Key
		if len(key) < len("sentry.op") {
			continue
		}
		switch {
		case key[0] == 'm' && len(key) > 10 && key[:10] == "messaging.":
			f.messaging(key, attrs[i].Value)
			any = true
		case key[0] == 'h' && len(key) > 9 && key[:9] == "hoptrace.":
			if f.own(key, attrs[i].Value) && f.heldN < len(f.held) {
				f.held[f.heldN] = int32(i) //nolint:gosec // attributes of a span are bounded
				f.heldN++
				f.ours = true
			}
		case key == sentryOp:
			f.sentryOp = attrs[i].Value
		case key == messaging.AttrErrorType:
			f.hasError = attrs[i].Value != ""
		}
	}
	return any
}

func (f *fields) messaging(key, value string) {
	switch key {
	case messaging.AttrSystem:
		f.system = value
	case messaging.AttrOperationType:
		f.opType = value
	case messaging.AttrOperationName:
		f.opName = value
	case oldOperation:
		f.opOld = value
	case messaging.AttrDestinationName:
		f.topic = value
	case oldDestination:
		or(&f.topic, value)
	case messaging.AttrPartitionID:
		if p, ok := f.number(value, math.MaxInt32); ok {
			f.partition, f.newPartition = int32(p), true //nolint:gosec // bounded by number
		}
	case oldPartition124, oldSource, oldPartition:
		if p, ok := f.number(value, math.MaxInt32); ok && !f.newPartition {
			f.partition = int32(p) //nolint:gosec // bounded by number
		}
	case messaging.AttrKafkaOffset:
		if o, ok := f.number(value, math.MaxInt64); ok {
			f.offset, f.newOffset = o, true
		}
	case oldOffset:
		if o, ok := f.number(value, math.MaxInt64); ok && !f.newOffset {
			f.offset = o
		}
	case messaging.AttrConsumerGroup:
		f.group = value
	case oldGroup, oldGroup116:
		or(&f.group, value)
	case messaging.AttrClientID:
		f.clientID = value
	case oldClientID, oldKafkaClient:
		or(&f.clientID, value)
	case messaging.AttrBodySize, oldBodySize:
		if n, ok := f.number(value, math.MaxInt64); ok {
			f.bodySize = n
		}
	case messaging.AttrRetryCount:
		if n, ok := f.number(value, math.MaxUint16); ok && f.retryAttempt == 0 {
			f.retryAttempt = uint16(n) //nolint:gosec // bounded by number
		}
	case messaging.AttrMessageID:
		f.messageID = value
	case oldMessageID:
		or(&f.messageID, value)
	case attrConversation:
		f.conversation = value
	case oldConversation:
		or(&f.conversation, value)
	case keyName:
		f.key = value
	case oldKeyName:
		or(&f.key, value)
	case messaging.AttrBatchMessageCount:
		if n, ok := f.number(value, math.MaxInt64); ok {
			f.count = n
		}
	}
}

// maxID is the longest name of a message that a row holds; a longer one stays on
// the span alone.
const maxID = 200

func short(id string) string {
	if len(id) > maxID {
		return ""
	}
	return id
}

// keyOf is the hash of the record's key, also where an instrumentation tells the
// key itself: a row never holds that.
func (f *fields) keyOf() uint64 {
	if f.keyHash == 0 && f.key != "" {
		return find.KeyHash(f.key)
	}
	return f.keyHash
}

func or(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// own reads one of our attributes and tells whether the row holds it.
func (f *fields) own(key, value string) bool {
	var to *int64
	switch key {
	case messaging.AttrProduceFirstWritten:
		to = &f.firstWritten
	case messaging.AttrProduceWritten:
		to = &f.written
	case messaging.AttrProduceAcked:
		to = &f.acked
	case messaging.AttrProduceAppended:
		to = &f.appended
	case messaging.AttrConsumeAsked:
		to = &f.asked
	case messaging.AttrConsumeAnswered:
		to = &f.answered
	case messaging.AttrConsumeHanded:
		to = &f.handed
	case messaging.AttrConsumeRecordTime:
		to = &f.recordTime
	case messaging.AttrProduceThrottle:
		n, ok := f.number(value, math.MaxInt64)
		if ok {
			f.throttle = n
		}
		return ok
	case messaging.AttrConsumeHighWatermark:
		n, ok := f.number(value, math.MaxInt64)
		if ok {
			f.highWatermark = n
		}
		return ok
	case messaging.AttrProduceAttempts:
		n, ok := f.number(value, math.MaxUint16)
		if ok {
			f.attempts = uint16(n) //nolint:gosec // bounded by number
		}
		return ok
	case messaging.AttrConsumeEstimated:
		b, err := strconv.ParseBool(value)
		if err != nil {
			f.malformed++
			return false
		}
		f.estimated = b
		return true
	case messaging.AttrRetryTopic:
		f.retryTopic = value
		return true
	case messaging.AttrRetryPartition:
		n, ok := f.number(value, math.MaxInt32)
		if ok {
			f.retryPartition = int32(n) //nolint:gosec // bounded by number
		}
		return ok
	case messaging.AttrRetryOffset:
		n, ok := f.number(value, math.MaxInt64)
		if ok {
			f.retryOffset = n
		}
		return ok
	case messaging.AttrRetryFirstSeen:
		to = &f.retryFirstSeen
	case messaging.AttrRetryAttempt:
		n, ok := f.number(value, math.MaxUint16)
		if ok {
			f.retryAttempt = uint16(n) //nolint:gosec // bounded by number
		}
		return ok
	case messaging.AttrBatchRecords:
		runs, err := messaging.ParseRuns(value)
		if err != nil {
			f.malformed++
			return false
		}
		f.runs = runs
		return true
	case messaging.AttrRetryEarlier:
		f.earlier = value == "true"
		return false
	case messaging.AttrKeyHash:
		h, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			f.malformed++
			return false
		}
		f.keyHash = h
		return true
	default:
		return false
	}
	t, ok := f.number(value, math.MaxInt64)
	if ok && t == 0 { // the year 1970: nobody's time, and zero means unknown
		f.malformed++
		return false
	}
	if ok {
		*to = t
	}
	return ok
}

// number reads a decimal from 0 to most.
func (f *fields) number(s string, most int64) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > most {
		f.malformed++
		return 0, false
	}
	return n, true
}

// side tells what the span did: by the operation's type, Sentry's operation, the
// operation's name, and last by the span's kind.
func (f *fields) side(kind schemas.SpanKind) schemas.Side {
	for _, op := range [...]string{f.opType, f.opOld, f.sentryOp, f.opName} {
		switch op {
		case "":
			continue
		case messaging.OperationSend, "publish", messaging.OperationCreate, "queue.publish", "queue.create":
			return schemas.SideProduce
		case messaging.OperationReceive, "poll", "queue.receive":
			return schemas.SideReceive
		case messaging.OperationProcess, "deliver", "queue.process":
			return schemas.SideProcess
		case messaging.OperationSettle, "commit", "ack", "queue.settle":
			return schemas.SideSettle
		}
	}
	switch kind {
	case schemas.KindProducer:
		return schemas.SideProduce
	case schemas.KindConsumer:
		return schemas.SideProcess
	}
	return 0
}

// strip takes the held attributes out, in place.
func (f *fields) strip(attrs []schemas.Attribute) []schemas.Attribute {
	n, h := 0, 0
	for i := range attrs {
		if h < f.heldN && int(f.held[h]) == i {
			h++
			continue
		}
		attrs[n] = attrs[i]
		n++
	}
	return attrs[:n]
}
