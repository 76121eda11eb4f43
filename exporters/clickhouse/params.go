package clickhouse

import (
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// params are the bound values of one statement: {name:Type} in its text.
type params []proto.Parameter

func (p *params) add(key, value string) {
	// The engine undoes a quoted string, as in a literal, and then reads what
	// was in it: a text as an escaped field.
	*p = append(*p, proto.Parameter{Key: key, Value: "'" + literalEscaper.Replace(value) + "'"})
}

var (
	literalEscaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	fieldEscaper   = strings.NewReplacer(`\`, `\\`, "\x00", `\0`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
)

func (p *params) text(key, v string)        { p.add(key, fieldEscaper.Replace(v)) }
func (p *params) int(key string, v int64)   { p.add(key, strconv.FormatInt(v, 10)) }
func (p *params) uint(key string, v uint64) { p.add(key, strconv.FormatUint(v, 10)) }

// list binds an array, whose elements f writes as literals.
func list[T any](p *params, key string, vs []T, f func(b *strings.Builder, v T)) {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range vs {
		if i > 0 {
			b.WriteByte(',')
		}
		f(&b, v)
	}
	b.WriteByte(']')
	p.add(key, b.String()) // an array is no escaped field; its texts are literals
}

func literal(b *strings.Builder, v string) {
	b.WriteByte('\'')
	_, _ = literalEscaper.WriteString(b, v)
	b.WriteByte('\'')
}

// traces binds {traces:Array(String)} in hex; see traceSet.
func (p *params) traces(ids []schemas.TraceID) {
	list(p, "traces", ids, func(b *strings.Builder, id schemas.TraceID) { literal(b, id.String()) })
}

// traceSet is the set that traces binds, to stand in IN (…). It is a subquery
// because the engine makes has() of IN with an array, which takes no index and
// searches the array for every row.
const traceSet = "SELECT arrayJoin(arrayMap(x -> toFixedString(unhex(x), 16), {traces:Array(String)}))"

// rowsOnly ends a statement that no projection can answer.
const rowsOnly = " SETTINGS optimize_use_projections = 0"

// oneThread ends a statement that reads a few granules: more threads cost a
// sixth more CPU there and, on a busy machine, time. Whether a projection would serve
// takes two of the five milliseconds of planning one over messages, and none does.
const oneThread = " SETTINGS max_threads = 1, optimize_use_projections = 0, query_plan_optimize_lazy_materialization = 0"

// stretch binds from and to in Unix ns. A zero Range.To is now.
func (p *params) stretch(r exporters.Range) {
	from, to := nanos(r)
	p.int("from", from)
	p.int("to", to)
}

// inStretch is the condition on time that stretch binds.
const inStretch = "time >= fromUnixTimestamp64Nano({from:Int64}) AND time < fromUnixTimestamp64Nano({to:Int64})"

func nanos(r exporters.Range) (from, to int64) {
	to = time.Now().UnixNano()
	if !r.From.IsZero() {
		from = r.From.UnixNano()
	}
	if !r.To.IsZero() {
		to = r.To.UnixNano()
	}
	return from, to
}

// limited keeps a limit in [1, most]; zero or less means usual.
func limited(n, usual, most int) int64 {
	if n <= 0 {
		n = usual
	}
	return int64(min(n, most))
}
