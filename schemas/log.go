package schemas

// Log is one log record, of a Sentry SDK or by OTLP. Strings and slices may alias
// the buffer they were decoded from.
type Log struct {
	Project    uint64
	Time       int64 // Unix ns, when it happened; when it was observed if nobody told
	Received   int64 // Unix ns, when the collector had it
	TraceID    TraceID
	SpanID     SpanID
	Severity   uint8  // OTLP's number, 1 to 24; zero when not told
	Level      string // trace, debug, info, warn, error or fatal
	Body       string
	Service    string
	Scope      string
	Origin     Origin
	Resource   []Attribute // shared by all records of one resource, without service.name
	Attributes []Attribute

	Source   Source
	Position Position
}
