package schemas

// Side tells which end of a record's way a [Message] row was seen from.
type Side uint8

// Sides. A receive row is written only when no process row follows (see
// package normalize).
const (
	SideProduce Side = 1
	SideReceive Side = 2
	SideProcess Side = 3
)

// String is the name of the OTel operation.
func (s Side) String() string {
	switch s {
	case SideProduce:
		return "send"
	case SideReceive:
		return "receive"
	case SideProcess:
		return "process"
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

	TraceID       TraceID
	SpanID        SpanID
	CreationTrace TraceID // consumer rows: the context that the record carried
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
	Failed        bool
	EstimatedEnd  bool // End is a guess: the next fetch

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

// SpanRef names one span.
type SpanRef struct {
	TraceID TraceID
	SpanID  SpanID
}
