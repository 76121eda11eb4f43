package clickhouse

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
)

// rowSQL turns a query of package search into a condition. Every value is bound;
// the texts that it puts together are its own.
type rowSQL struct {
	*params
	subject search.Subject
	n       int
	// joined: the condition stands on the rows of a hopJoin. What it asks of the
	// reader's row alone is then computed where that row is read, as one of extra.
	joined bool
	extra  []string
	// spans tells that hops are found by what their spans say.
	spans bool
}

func (c *rowSQL) name() string {
	c.n++
	return "q" + strconv.Itoa(c.n)
}

func (c *rowSQL) str(v string) string {
	k := c.name()
	c.text(k, v)
	return "{" + k + ":String}"
}

func (c *rowSQL) num(v int64) string {
	k := c.name()
	c.int(k, v)
	return "{" + k + ":Int64}"
}

// expr is e as a condition that is 0 or 1.
func (c *rowSQL) expr(e search.Expr) string {
	switch e.Logic {
	case search.Not:
		return "NOT " + c.expr(e.Kids[0])
	case search.Is:
		return c.term(e.Term)
	}
	if len(e.Kids) == 0 {
		return "1"
	}
	var out []string
	word := " AND "
	kids := e.Kids
	if e.Logic == search.Any {
		word = " OR "
	} else if c.subject == search.Spans {
		// What is asked of the record is asked of one record.
		var record []search.RowTerm
		kids = nil
		for _, k := range e.Kids {
			if k.Logic == search.Is && ofRecord(k.Term) {
				record = append(record, k.Term)
			} else {
				kids = append(kids, k)
			}
		}
		if len(record) > 0 {
			out = append(out, c.ofMessages(record))
		}
	}
	for _, k := range kids {
		out = append(out, c.expr(k))
	}
	return "(" + strings.Join(out, word) + ")"
}

func ofRecord(t search.RowTerm) bool {
	return t.Field != nil && slices.Contains([]string{search.FieldTopic, search.FieldPartition, search.FieldOffset, search.FieldGroup, search.FieldKey}, t.Field.Name)
}

// ofMessages finds spans by their message rows. A row ends when its span does.
func (c *rowSQL) ofMessages(terms []search.RowTerm) string {
	where := ""
	for _, t := range terms {
		where += " AND " + c.messageTerm(t)
	}
	return "(trace_id, span_id) IN (SELECT trace_id, span_id FROM messages WHERE project = {project:UInt64} AND time >= fromUnixTimestamp64Nano({from:Int64})" + where + ")"
}

// senderReach is how long before a hop's end its sender's span is looked for, in ns.
const senderReach = int64(24 * 3600e9)

// ofSpans finds hops by the spans of both sides.
func (c *rowSQL) ofSpans(cond string) string {
	c.spans = true
	set := "(SELECT trace_id, span_id FROM spans WHERE project = {project:UInt64} AND time >= fromUnixTimestamp64Nano({span_reach:Int64}) AND time < fromUnixTimestamp64Nano({to:Int64}) AND " + cond + ")"
	return "((trace_id, span_id) IN " + set + " OR (creation_trace, creation_span) IN " + set + ")"
}

func (c *rowSQL) term(t search.RowTerm) string {
	if c.subject == search.Hops {
		if of, known, value := c.ofJoin(t); of {
			return c.compare(t, known, value)
		}
		cond := c.hopTerm(t)
		if !c.joined {
			return cond
		}
		c.extra = append(c.extra, cond)
		return "k" + strconv.Itoa(len(c.extra)-1)
	}
	if t.Field == nil {
		switch {
		case t.Key != "":
			return c.attribute(t)
		case c.subject == search.Logs:
			return c.contains("body", t.Values[0])
		default:
			return c.spanText(t.Values[0])
		}
	}
	if c.subject == search.Logs {
		return c.logTerm(t)
	}
	return c.spanTerm(t)
}

// values joins the condition of each value.
func values(t search.RowTerm, f func(v search.Value) string) string {
	out := make([]string, len(t.Values))
	for i, v := range t.Values {
		out[i] = f(v)
	}
	if len(out) == 1 {
		return out[0]
	}
	return "(" + strings.Join(out, " OR ") + ")"
}

// is compares a text.
func (c *rowSQL) is(column string, t search.RowTerm) string {
	if t.Op == search.Has {
		return column + " != ''"
	}
	return values(t, func(v search.Value) string {
		if v.Pattern {
			return column + " LIKE " + c.str(v.PatternLike())
		}
		return column + " = " + c.str(v.Text)
	})
}

func (c *rowSQL) id(column string, size int, t search.RowTerm) string {
	n := strconv.Itoa(size)
	if t.Op == search.Has {
		return column + " != toFixedString('', " + n + ")"
	}
	return values(t, func(v search.Value) string {
		return column + " = toFixedString(unhex(" + c.str(v.Text) + "), " + n + ")"
	})
}

var opSigns = map[search.Op]string{search.Eq: "=", search.Lt: "<", search.Le: "<=", search.Gt: ">", search.Ge: ">="}

// compare compares a number that may be unknown.
func (c *rowSQL) compare(t search.RowTerm, known, value string) string {
	if t.Op == search.Has {
		return "(" + known + ")"
	}
	cond := values(t, func(v search.Value) string { return value + " " + opSigns[t.Op] + " " + c.num(v.Number) })
	if known == "" {
		return "(" + cond + ")"
	}
	return "(" + known + " AND " + cond + ")"
}

// word compares one of the field's words by its number, the first being first.
func (c *rowSQL) word(column string, first int, t search.RowTerm) string {
	return values(t, func(v search.Value) string {
		return column + " = " + c.num(int64(first+slices.Index(t.Field.Words, v.Text)))
	})
}

// contains is without regard to case.
func (c *rowSQL) contains(column string, v search.Value) string {
	if v.Pattern {
		return column + " ILIKE " + c.str("%"+v.PatternLike()+"%")
	}
	return "positionCaseInsensitiveUTF8(" + column + ", " + c.str(v.Text) + ") > 0"
}

// spanText is what a span says: its name, what was said of its error, and its exceptions.
func (c *rowSQL) spanText(v search.Value) string {
	inside := v // as appendAttributes writes it
	quoted := appendJSONString(nil, v.Text)
	inside.Text = string(quoted[1 : len(quoted)-1])
	return "(" + c.contains("name", v) + " OR " + c.contains("status_message", v) +
		" OR notEmpty(event_attributes) AND arrayExists((n, x) -> n = 'exception' AND " + c.contains("x", inside) + ", event_names, event_attributes))"
}

func (c *rowSQL) attribute(t search.RowTerm) string {
	key := c.str(t.Key)
	value, has := "attributes["+key+"]", "mapContains(attributes, "+key+")"
	if t.Resource {
		value, has = "JSONExtractString(resource, "+key+")", "JSONHas(resource, "+key+")"
	}
	switch t.Op {
	case search.Has:
		return has
	case search.Eq:
		return values(t, func(v search.Value) string {
			switch {
			case v.Pattern:
				return "(" + has + " AND " + value + " LIKE " + c.str(v.PatternLike()) + ")"
			case v.Text == "":
				return "(" + has + " AND " + value + " = '')" // what is missing reads as empty, too
			}
			return value + " = " + c.str(v.Text)
		})
	}
	k := c.name()
	c.add(k, t.Values[0].Text)
	return "ifNull(toFloat64OrNull(" + value + ") " + opSigns[t.Op] + " {" + k + ":Float64}, 0)"
}

func (c *rowSQL) spanTerm(t search.RowTerm) string {
	switch t.Field.Name {
	case search.RowService:
		return c.is("service", t)
	case search.RowName:
		return c.is("name", t)
	case search.RowSaid:
		return c.is("status_message", t)
	case search.RowScope:
		return c.is("scope", t)
	case search.RowDuration:
		return c.compare(t, "", "duration")
	case search.RowStatus:
		return c.word("status", 0, t)
	case search.RowKind:
		return c.word("kind", 1, t)
	case search.FieldTrace:
		return c.id("trace_id", 16, t)
	case search.RowSpan:
		return c.id("span_id", 8, t)
	case search.RowParent:
		return c.id("parent_id", 8, t)
	case search.RowRoot:
		return c.compare(t, "", "(parent_id = toFixedString('', 8))")
	}
	return c.ofMessages([]search.RowTerm{t})
}

func (c *rowSQL) logTerm(t search.RowTerm) string {
	switch t.Field.Name {
	case search.RowService:
		return c.is("service", t)
	case search.FieldLevel:
		return values(t, func(v search.Value) string {
			low := int64(4*slices.Index(t.Field.Words, v.Text) + 1)
			return "(severity >= " + c.num(low) + " AND severity < " + c.num(low+4) + ")"
		})
	case search.RowSeverity:
		return c.compare(t, "severity > 0", "severity")
	case search.FieldMessage:
		return values(t, func(v search.Value) string { return c.contains("body", v) })
	case search.FieldTrace:
		return c.id("trace_id", 16, t)
	case search.RowSpan:
		return c.id("span_id", 8, t)
	case search.RowScope:
		return c.is("scope", t)
	}
	return c.is("origin", t)
}

// messageTerm is about a message row of any side.
func (c *rowSQL) messageTerm(t search.RowTerm) string {
	switch t.Field.Name {
	case search.FieldTopic:
		return c.is("topic", t)
	case search.FieldGroup:
		return c.is("consumer_group", t)
	case search.FieldPartition:
		return c.compare(t, "partition >= 0", "partition")
	case search.FieldOffset:
		return c.compare(t, "offset >= 0", "offset")
	}
	if t.Op == search.Has {
		return "key_hash != 0"
	}
	return values(t, func(v search.Value) string {
		n, _ := strconv.ParseUint(v.Text, 16, 64) // 16 hex digits
		k := c.name()
		c.uint(k, n)
		return "key_hash = {" + k + ":UInt64}"
	})
}

// rowHanded is a reader's row's handing over, as sqlHanded of a joined one.
const rowHanded = `if(handed = 0 AND side = 3, start_time, handed)`

// readerValues are numbers that the reader's row knows alone.
var readerValues = map[string]struct{ known, value string }{
	search.RowAge:                    {`record_time != 0 AND ` + rowHanded + ` != 0`, rowHanded + ` - record_time`},
	string(exporters.PartFetchQueue): {`answered != 0 AND ` + rowHanded + ` != 0`, rowHanded + ` - answered`},
	string(exporters.PartProcessing): {`side = 3 AND ` + rowHanded + ` != 0`, `end_time - ` + rowHanded},
	search.RowSize:                   {`body_size >= 0`, `body_size`},
	search.RowBehind:                 {`high_watermark > offset AND offset >= 0 AND partition >= 0`, `high_watermark - offset - 1`},
	search.RowAttempt:                {`retry_attempt > 0`, `toInt64(retry_attempt)`},
}

// joinValues are numbers that need the sender's row.
var joinValues = func() map[string]struct{ known, value string } {
	m := map[string]struct{ known, value string }{
		search.RowResidence: {`h_crossed`, `c_answered - h_append`},
		search.RowAttempts:  {`p_attempts > 0`, `toInt64(p_attempts)`},
	}
	for _, p := range parts {
		if _, own := readerValues[string(p.name)]; !own {
			m[string(p.name)] = struct{ known, value string }{p.known, p.value}
		}
	}
	return m
}()

// ofJoin tells what a term asks that needs the sender's row. The sender's service
// is a text; see hopTerm.
func (c *rowSQL) ofJoin(t search.RowTerm) (of bool, known, value string) {
	if t.Field == nil {
		return false, "", ""
	}
	v, of := joinValues[t.Field.Name]
	return of, v.known, v.value
}

// needsJoin tells that a query or its order asks the sender's row.
func needsJoin(q exporters.RowQuery) bool {
	if _, ok := joinValues[q.Sort]; ok {
		return true
	}
	return slices.ContainsFunc(q.Where.Terms(), asksSender)
}

func asksSender(t search.RowTerm) bool {
	if t.Field == nil {
		return false
	}
	_, ok := joinValues[t.Field.Name]
	return ok
}

// hopTerm is about the reader's row, or finds hops by another table.
func (c *rowSQL) hopTerm(t search.RowTerm) string {
	if t.Field == nil {
		if t.Key != "" {
			return c.ofSpans(c.attribute(t))
		}
		v := t.Values[0]
		return "(" + c.contains("topic", v) + " OR " + c.contains("consumer_group", v) + " OR " + c.contains("service", v) + " OR " + c.ofSpans(c.spanText(v)) + ")"
	}
	if v, ok := readerValues[t.Field.Name]; ok {
		return c.compare(t, v.known, v.value)
	}
	switch t.Field.Name {
	case search.RowService:
		return c.is("service", t)
	case search.RowProducer:
		// By record, or by the context that the record carried.
		senders := " FROM messages WHERE project = {project:UInt64} AND side = 1 AND time >= fromUnixTimestamp64Nano({span_reach:Int64}) AND time < fromUnixTimestamp64Nano({to:Int64}) AND "
		c.spans = true
		return "(offset >= 0 AND partition >= 0 AND (topic, partition, offset) IN (SELECT topic, partition, offset" + senders + c.is("service", t) + " AND offset >= 0 AND partition >= 0)" +
			" OR (creation_trace, creation_span) IN (SELECT trace_id, span_id" + senders + c.is("service", t) + "))"
	case search.RowClient:
		return c.is("client_id", t)
	case search.FieldRelease:
		return c.is("release", t)
	case search.RowStatus:
		return c.word("failed", 0, t)
	case search.FieldTrace:
		return "(" + c.id("trace_id", 16, t) + " OR " + c.id("creation_trace", 16, t) + ")"
	case search.RowSpan:
		return c.id("span_id", 8, t)
	}
	return c.messageTerm(t)
}
