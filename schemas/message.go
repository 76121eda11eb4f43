package schemas

// Side tells which end of a record's way a [Message] row was seen from.
type Side uint8

// Sides. A receive row is written only when no process row follows (see
// package hops). A settle row is one commit: of the records up to its offset, or
// of the one that its creation context names.
const (
	SideProduce Side = 1
	SideReceive Side = 2
	SideProcess Side = 3
	SideSettle  Side = 4
)

// Reads tells that the row is a consumer's reading of a record.
func (s Side) Reads() bool { return s == SideReceive || s == SideProcess }

// String is the name of the OTel operation.
func (s Side) String() string {
	switch s {
	case SideProduce:
		return "send"
	case SideReceive:
		return "receive"
	case SideProcess:
		return "process"
	case SideSettle:
		return "settle"
	}
	return "unknown"
}

// Unknown marks a partition, an offset or a high watermark that nobody told.
const Unknown = -1

// Message is one Kafka record as one span saw it: produced, or read by one
// group. Times are Unix nanoseconds on the clock of the span's host, zero when
// unknown. The parts of a hop are computed from two of these rows (see [Hop]).
type Message struct {
	Project   uint64
	Side      Side
	Topic     string
	Partition int32 // Unknown when not told
	Offset    int64 // Unknown when not told
	Group     string
	Service   string
	ClientID  string
	BootID    string // equal on two rows: they share a clock
	Release   string // of the program, service@version as Sentry writes it; empty when not told
	Instance  string // which process of the service; empty when nothing tells

	TraceID       TraceID
	SpanID        SpanID
	CreationTrace TraceID // the context that the record carried; zero for a producer row that is that context itself
	CreationSpan  SpanID
	Start, End    int64 // the span: send called → acknowledged, or processing begun → done
	FirstWritten  int64 // produce request written for the first time; zero when it equals Written
	Written       int64 // produce request written
	Acked         int64 // produce request answered
	Appended      int64 // LogAppendTime: the broker's clock, whole ms
	Asked         int64 // fetch request written
	Answered      int64 // first byte of its answer
	Handed        int64 // given to the application
	RecordTime    int64 // the record's timestamp, whole ms
	HighWatermark int64 // Unknown when not told
	Attempts      uint16
	Throttle      int64 // ns
	BodySize      int64 // bytes, Unknown when not told
	KeyHash       uint64
	MessageID     string // as the client named it (messaging.message.id); empty when not told
	Conversation  string // messaging.message.conversation_id; empty when not told
	Failed        bool
	EstimatedEnd  bool // End is a guess: the next fetch

	// Of a record that was sent on after a failure: the record that failed first,
	// when (on the clock of the consumer that saw it fail), and how often it was
	// sent on. RetryTopic is empty, and RetryPartition and RetryOffset are zero,
	// when nobody told so; RetryAttempt may be known alone.
	RetryTopic     string
	RetryPartition int32
	RetryOffset    int64
	RetryFirstSeen int64
	RetryAttempt   uint16

	Source   Source
	Position Position
}

// RecordRef names one Kafka record.
type RecordRef struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Record names the record that the row is about.
func (m *Message) Record() RecordRef { return RecordRef{m.Topic, m.Partition, m.Offset} }

// Original names the record that failed first; ok is false when this one was not
// sent on after a failure, or nobody told.
func (m *Message) Original() (ref RecordRef, ok bool) {
	return RecordRef{m.RetryTopic, m.RetryPartition, m.RetryOffset}, m.RetryTopic != ""
}

// SpanRef names one span.
type SpanRef struct {
	TraceID TraceID
	SpanID  SpanID
}
