package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// Bounds of what is read of issues' events.
const (
	maxHours      = 400
	maxTags       = 100
	maxTagEvents  = 100_000
	maxWithin     = 2_000_000 // events that MostWithin looks at
	maxRemove     = 1000
	hourNanos     = int64(time.Hour)
	dayNanos      = 24 * hourNanos
	statsDays     = 14
	keyHashDigits = 16
)

// selection is the WHERE of a question about events, with its parameters.
type selection struct {
	params
	where string
	terms int
}

func newSelection(project uint64) *selection {
	s := &selection{where: "project = {project:UInt64}"}
	s.uint("project", project)
	return s
}

func (s *selection) and(cond string) { s.where += " AND " + cond }

// owner is the issue that an event is of, by its fingerprint.
const owner = "transform(hex(fingerprint), {hashes:Array(String)}, {owners:Array(UInt64)}, toUInt64(0))"

// sets restricts events to those of hashes, without what was deleted.
func (s *selection) sets(sets []exporters.EventSet) error {
	var hashes []string
	var owners []uint64
	var afters []int64
	hide := false
	for _, set := range sets {
		for _, h := range set.Hashes {
			hashes = append(hashes, strings.ToUpper(h.Hash.String()))
			owners = append(owners, uint64(set.Issue))
			afters = append(afters, h.After)
			hide = hide || h.After > 0
		}
	}
	if err := atMost("hashes", len(hashes), exporters.MaxHashes); err != nil {
		return err
	}
	list(&s.params, "hashes", hashes, literal)
	list(&s.params, "owners", owners, func(b *strings.Builder, v uint64) { b.WriteString(strconv.FormatUint(v, 10)) })
	s.and("fingerprint IN (SELECT arrayJoin(arrayMap(x -> toFixedString(unhex(x), 16), {hashes:Array(String)})))")
	if hide {
		list(&s.params, "afters", afters, func(b *strings.Builder, v int64) { b.WriteString(strconv.FormatInt(v, 10)) })
		s.and("received >= transform(hex(fingerprint), {hashes:Array(String)}, {afters:Array(Int64)}, toInt64(0))")
	}
	return nil
}

func hashCount(sets []exporters.EventSet) (n int) {
	for _, set := range sets {
		n += len(set.Hashes)
	}
	return n
}

// textColumns are the fields of events that are texts.
var textColumns = map[string]string{
	search.FieldEnvironment: "environment", search.FieldTopic: "topic", search.FieldGroup: "consumer_group", search.FieldTransaction: "transaction",
	search.FieldErrorType: "type", search.FieldErrorValue: "value", search.FieldUserID: "user_id", search.FieldUserName: "user_name",
	search.FieldUserEmail: "user_email", search.FieldUserIP: "user_ip", search.FieldServer: "server", search.FieldSDK: "sdk", search.FieldRelease: "release",
}

// matching restricts events by a query.
func (s *selection) matching(q search.Query) error {
	for _, e := range q {
		conds := make([]string, len(e))
		for i, t := range e {
			cond, err := s.term(t)
			if err != nil {
				return err
			}
			if conds[i] = "(" + cond + ")"; t.Negated {
				conds[i] = "NOT " + conds[i]
			}
		}
		s.and("(" + strings.Join(conds, " OR ") + ")")
	}
	return nil
}

// bind adds a text and gives its name in the statement.
func (s *selection) bind(v string) string {
	s.terms++
	name := "t" + strconv.Itoa(s.terms)
	s.text(name, v)
	return "{" + name + ":String}"
}

func (s *selection) bindNumber(v int64) string {
	s.terms++
	name := "t" + strconv.Itoa(s.terms)
	s.int(name, v)
	return "{" + name + ":Int64}"
}

func (s *selection) term(t search.Term) (string, error) {
	if t.Op != search.Has && t.Op != search.Eq && t.Field.Kind != search.Number {
		return "", fmt.Errorf("%s is not compared in the store of events", t.Field.Name)
	}
	var any []string
	add := func(cond string) { any = append(any, cond) }
	switch name := t.Field.Name; name {
	case search.FieldPartition, search.FieldOffset:
		column := map[string]string{search.FieldPartition: "partition", search.FieldOffset: "offset"}[name]
		if t.Op == search.Has {
			return column + " >= 0", nil
		}
		sign := map[search.Op]string{search.Eq: "=", search.Lt: "<", search.Le: "<=", search.Gt: ">", search.Ge: ">="}[t.Op]
		for _, v := range t.Values {
			add(column + " >= 0 AND " + column + " " + sign + " " + s.bindNumber(v.Number))
		}
	case search.FieldHandled:
		if t.Op == search.Has {
			return "handled != 0", nil
		}
		for _, v := range t.Values {
			add("handled = " + strconv.FormatInt(2-v.Number, 10)) // 1 yes, 2 no
		}
	case search.FieldTrace:
		if t.Op == search.Has {
			return "trace_id != toFixedString('', 16)", nil
		}
		for _, v := range t.Values {
			add("trace_id = toFixedString(unhex(" + s.bind(v.Text) + "), 16)")
		}
	case search.FieldKey:
		if t.Op == search.Has {
			return "key_hash != '' OR (topic, partition, offset) IN (SELECT topic, partition, offset FROM messages WHERE project = {project:UInt64} AND key_hash != 0)", nil
		}
		for _, v := range t.Values {
			hash, err := strconv.ParseUint(v.Text, keyHashDigits, 64)
			if err != nil {
				return "", fmt.Errorf("key %q: want 16 hex digits", v.Text)
			}
			s.terms++
			bound := "k" + strconv.Itoa(s.terms)
			s.uint(bound, hash)
			add("lower(key_hash) = " + s.bind(v.Text) + " OR topic != '' AND (topic, partition, offset) IN (SELECT topic, partition, offset FROM messages WHERE project = {project:UInt64} AND key_hash = {" + bound + ":UInt64})")
		}
	default:
		column := textColumns[name]
		if name == search.FieldTag {
			column = "tags[" + s.bind(t.Tag) + "]"
		}
		if column == "" {
			return "", fmt.Errorf("%s is no field of events", name)
		}
		if t.Op == search.Has {
			return column + " != ''", nil
		}
		for _, v := range t.Values {
			switch {
			case v.Text == "":
				add(column + " = ''")
			case name == search.FieldRelease && !v.Pattern:
				add(column + " = " + s.bind(v.Text))
			default:
				add("lowerUTF8(" + column + ") LIKE " + s.bind(v.Like()))
			}
		}
	}
	if len(any) == 0 {
		return "0", nil
	}
	return "(" + strings.Join(any, ") OR (") + ")", nil
}

// EventsOf lists the events of one set, newest first.
func (s *Store) EventsOf(ctx context.Context, project uint64, set exporters.EventSet, p exporters.EventPage) ([]schemas.Event, error) {
	if len(set.Hashes) == 0 {
		return nil, nil
	}
	out, err := func() ([]schemas.Event, error) {
		q := newSelection(project)
		if err := q.sets([]exporters.EventSet{set}); err != nil {
			return nil, err
		}
		q.stretch(p.Range)
		q.and(inStretch)
		if err := q.matching(p.Where); err != nil {
			return nil, err
		}
		if p.Before != 0 {
			q.int("before", p.Before)
			q.text("before_id", p.BeforeID.String())
			q.and("(time < fromUnixTimestamp64Nano({before:Int64}) OR time = fromUnixTimestamp64Nano({before:Int64}) AND id > toFixedString(unhex({before_id:String}), 16))")
		}
		q.int("limit", limited(p.Limit, 50, 500))
		return s.events(ctx, q.where, q.params)
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot list the events of issue %d: %w", set.Issue, err)
	}
	return out, nil
}

// distinct are the events of a selection, each once: an event that was sent twice
// counts at the time of its first copy.
const distinct = `
	SELECT ` + owner + ` AS issue, id, min(toUnixTimestamp64Nano(time)) AS at, max(weight) AS w, max(user_hash) AS user,
		min(if(original_topic != '' AND original_partition >= 0 AND original_offset >= 0,
			tuple(CAST(original_topic, 'String'), original_partition, original_offset), tuple(CAST(topic, 'String'), partition, offset))) AS record
	FROM events WHERE `

// The events of the last hours and days by number, as two arrays each.
const (
	hourMap = "sumMapIf([23 - intDiv({to:Int64} - 1 - at, 3600000000000)], [toUInt64(w)], at >= {to:Int64} - 86400000000000)"
	dayMap  = "sumMapIf([13 - intDiv({to:Int64} - 1 - at, 86400000000000)], [toUInt64(w)], at >= {days:Int64})"
)

// StatsOf counts the events of each set.
func (s *Store) StatsOf(ctx context.Context, project uint64, sets []exporters.EventSet, f exporters.EventFilter) (map[schemas.IssueID]exporters.EventStats, error) {
	out := make(map[schemas.IssueID]exporters.EventStats, len(sets))
	if hashCount(sets) == 0 {
		return out, nil
	}
	if f.Range.To.IsZero() {
		f.Range.To = time.Now() // one now for all that follows
	}
	_, to := nanos(f.Range)
	q := newSelection(project)
	if err := q.sets(sets); err != nil {
		return nil, fmt.Errorf("cannot count the events of %d issues: %w", len(sets), err)
	}
	if err := q.matching(f.Where); err != nil {
		return nil, fmt.Errorf("cannot count the events of %d issues: %w", len(sets), err)
	}
	q.stretch(f.Range)
	q.int("days", to-statsDays*dayNanos)
	q.and("time >= fromUnixTimestamp64Nano(least({from:Int64}, {days:Int64})) AND time < fromUnixTimestamp64Nano({to:Int64})")
	var (
		issue, events, users, records proto.ColUInt64
		first, last                   proto.ColInt64
		firstID, lastID               proto.ColFixedStr16
		hours, days                   = new(proto.ColInt64).Array(), new(proto.ColInt64).Array()
		hourly, daily                 = new(proto.ColUInt64).Array(), new(proto.ColUInt64).Array()
	)
	err := s.query(ctx, `
SELECT issue, toUInt64(sumIf(w, at >= {from:Int64})) AS events, uniqExactIf(user, user != 0 AND at >= {from:Int64}) AS users,
	uniqExactIf(record, record.1 != '' AND record.2 >= 0 AND record.3 >= 0 AND at >= {from:Int64}) AS records,
	minIf(at, at >= {from:Int64}) AS first, maxIf(at, at >= {from:Int64}) AS last,
	argMinIf(id, (at, id), at >= {from:Int64}) AS first_id, argMaxIf(id, (at, id), at >= {from:Int64}) AS last_id,
	`+hourMap+`.1 AS hours, `+hourMap+`.2 AS hourly, `+dayMap+`.1 AS days, `+dayMap+`.2 AS daily
FROM (`+distinct+q.where+` GROUP BY issue, id) GROUP BY issue`, q.params,
		proto.Results{
			{Name: "issue", Data: &issue},
			{Name: "events", Data: &events},
			{Name: "users", Data: &users},
			{Name: "records", Data: &records},
			{Name: "first", Data: &first},
			{Name: "last", Data: &last},
			{Name: "first_id", Data: &firstID},
			{Name: "last_id", Data: &lastID},
			{Name: "hours", Data: hours},
			{Name: "hourly", Data: hourly},
			{Name: "days", Data: days},
			{Name: "daily", Data: daily},
		},
		func() { clear(out) },
		func() {
			for i := range issue {
				st := exporters.EventStats{Events: events[i], Users: users[i], Records: records[i]}
				if st.Events > 0 {
					st.First, st.Last, st.FirstID, st.LastID = first[i], last[i], firstID[i], lastID[i]
				}
				fill(st.Hours[:], hours.Row(i), hourly.Row(i))
				fill(st.Days[:], days.Row(i), daily.Row(i))
				out[schemas.IssueID(issue[i])] = st
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot count the events of %d issues: %w", len(sets), err)
	}
	return out, nil
}

// fill puts counts at their places.
func fill(to []uint64, at []int64, counts []uint64) {
	for i, k := range at {
		if k >= 0 && int(k) < len(to) {
			to[k] = counts[i]
		}
	}
}

// HourlyOf counts the events of each hour.
func (s *Store) HourlyOf(ctx context.Context, project uint64, sets []exporters.EventSet, begin time.Time, hours int) (map[schemas.IssueID][]uint64, error) {
	out := make(map[schemas.IssueID][]uint64, len(sets))
	if err := atMost("hours", hours, maxHours); err != nil {
		return nil, err
	}
	for _, set := range sets {
		out[set.Issue] = make([]uint64, max(hours, 0))
	}
	if hashCount(sets) == 0 || hours <= 0 {
		return out, nil
	}
	q := newSelection(project)
	if err := q.sets(sets); err != nil {
		return nil, fmt.Errorf("cannot count the hours of %d issues: %w", len(sets), err)
	}
	q.stretch(exporters.Range{From: begin, To: begin.Add(time.Duration(hours) * time.Hour)})
	q.and(inStretch)
	var issue, n proto.ColUInt64
	var hour proto.ColInt64
	err := s.query(ctx, "SELECT issue, intDiv(at - {from:Int64}, 3600000000000) AS hour, toUInt64(sum(w)) AS n FROM ("+distinct+q.where+" GROUP BY issue, id) GROUP BY issue, hour", q.params,
		proto.Results{{Name: "issue", Data: &issue}, {Name: "hour", Data: &hour}, {Name: "n", Data: &n}},
		func() {
			for _, counts := range out {
				clear(counts)
			}
		},
		func() {
			for i := range issue {
				if counts := out[schemas.IssueID(issue[i])]; hour[i] >= 0 && int(hour[i]) < len(counts) {
					counts[hour[i]] = n[i]
				}
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot count the hours of %d issues: %w", len(sets), err)
	}
	return out, nil
}

// MostWithin gives the most events, or users, of any stretch of a length.
func (s *Store) MostWithin(ctx context.Context, project uint64, set exporters.EventSet, from time.Time, window time.Duration, users bool) (uint64, error) {
	if len(set.Hashes) == 0 {
		return 0, nil
	}
	q := newSelection(project)
	if err := q.sets([]exporters.EventSet{set}); err != nil {
		return 0, fmt.Errorf("cannot count the events of issue %d: %w", set.Issue, err)
	}
	q.stretch(exporters.Range{From: from})
	q.and(inStretch)
	q.int("limit", maxWithin+1)
	var times proto.ColInt64
	var weights proto.ColUInt32
	var who proto.ColUInt64
	var w stretchCount
	err := s.query(ctx, "SELECT at, w, user FROM ("+distinct+q.where+" GROUP BY issue, id) ORDER BY at LIMIT {limit:UInt64}", q.params,
		proto.Results{{Name: "at", Data: &times}, {Name: "w", Data: &weights}, {Name: "user", Data: &who}},
		func() { w = stretchCount{length: int64(window), byUser: users, users: make(map[uint64]int)} },
		func() {
			for i := range times {
				w.add(times[i], uint64(weights[i]), who[i])
			}
		})
	if err == nil && w.seen > maxWithin {
		err = fmt.Errorf("more than %d events: %w", maxWithin, exporters.ErrTooLarge)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot count the events of issue %d: %w", set.Issue, err)
	}
	return w.most, nil
}

// stretchCount counts what lies in a stretch that slides along events in order of
// time.
type stretchCount struct {
	length int64
	byUser bool
	within []stretchEvent
	users  map[uint64]int
	sum    uint64
	most   uint64
	seen   int
}

type stretchEvent struct {
	at     int64
	weight uint64
	user   uint64
}

func (w *stretchCount) add(at int64, weight, user uint64) {
	w.seen++
	n := 0
	for n < len(w.within) && w.within[n].at <= at-w.length {
		e := w.within[n]
		w.sum -= e.weight
		if w.users[e.user]--; w.users[e.user] == 0 {
			delete(w.users, e.user)
		}
		n++
	}
	w.within = w.within[n:]
	w.within = append(w.within, stretchEvent{at, weight, user})
	w.sum += weight
	w.users[user]++
	count := w.sum
	if w.byUser {
		count = uint64(len(w.users))
		if w.users[0] > 0 {
			count-- // nobody is no user
		}
	}
	w.most = max(w.most, count)
}

// tagPairs are an event's tags, and what is kept of it besides, as pairs.
const tagPairs = `arrayFilter(kv -> kv.2 != '', arrayConcat(
	arrayFilter(kv -> kv.1 NOT IN ('release', 'environment', 'level', 'server', 'transaction', 'logger', 'user', 'topic', 'partition', 'group', 'sdk', 'error.type', 'error.handled'),
		arrayZip(arrayMap(k -> toString(k), mapKeys(tags)), mapValues(tags))),
	[('release', toString(release)), ('environment', toString(environment)), ('level', toString(level)), ('server', toString(server)),
	('transaction', toString(transaction)), ('logger', toString(logger)), ('sdk', toString(sdk)), ('error.type', toString(type)),
	('error.handled', transform(handled, [1, 2], ['yes', 'no'], '')),
	('user', multiIf(user_id != '', user_id, user_name != '', user_name, user_email != '', user_email, user_ip)),
	('topic', toString(topic)), ('partition', if(topic != '' AND partition >= 0, toString(partition), '')), ('group', toString(consumer_group))]))`

// TagsOf counts the values of each tag.
func (s *Store) TagsOf(ctx context.Context, project uint64, set exporters.EventSet, f exporters.EventFilter, limit int) ([]exporters.EventTag, error) {
	if len(set.Hashes) == 0 {
		return nil, nil
	}
	q := newSelection(project)
	if err := q.sets([]exporters.EventSet{set}); err != nil {
		return nil, fmt.Errorf("cannot count the tags of issue %d: %w", set.Issue, err)
	}
	if err := q.matching(f.Where); err != nil {
		return nil, fmt.Errorf("cannot count the tags of issue %d: %w", set.Issue, err)
	}
	q.stretch(f.Range)
	q.and(inStretch)
	q.int("limit", limited(limit, 10, 100))
	q.int("events", maxTagEvents)
	var key, value proto.ColStr
	var n, total, values proto.ColUInt64
	var first, last proto.ColInt64
	var out []exporters.EventTag
	err := s.query(ctx, `
SELECT key, value, n, first, last, total, distinct_values FROM
(
	SELECT kv.1 AS key, kv.2 AS value, toUInt64(sum(w)) AS n, min(at) AS first, max(at) AS last,
		toUInt64(sum(n) OVER (PARTITION BY key)) AS total, count() OVER (PARTITION BY key) AS distinct_values
	FROM
	(
		SELECT id, argMin(`+tagPairs+`, time) AS pairs, min(toUnixTimestamp64Nano(time)) AS at, max(weight) AS w
		FROM events WHERE `+q.where+` GROUP BY id ORDER BY at DESC LIMIT {events:UInt64}
	)
	ARRAY JOIN pairs AS kv GROUP BY key, value
)
ORDER BY total DESC, key, n DESC, value LIMIT {limit:UInt64} BY key`, q.params,
		proto.Results{
			{Name: "key", Data: &key},
			{Name: "value", Data: &value},
			{Name: "n", Data: &n},
			{Name: "first", Data: &first},
			{Name: "last", Data: &last},
			{Name: "total", Data: &total},
			{Name: "distinct_values", Data: &values},
		},
		func() { out = out[:0] },
		func() {
			for i := range n {
				k := key.Row(i)
				if len(out) == 0 || out[len(out)-1].Key != k {
					if len(out) == maxTags {
						return
					}
					out = append(out, exporters.EventTag{Key: k, Events: total[i], Others: values[i]})
				}
				tag := &out[len(out)-1]
				tag.Values = append(tag.Values, exporters.EventTagValue{Value: value.Row(i), Events: n[i], First: first[i], Last: last[i]})
				tag.Others--
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot count the tags of issue %d: %w", set.Issue, err)
	}
	return out, nil
}

// HashesWith gives the fingerprints of events that match.
func (s *Store) HashesWith(ctx context.Context, project uint64, f exporters.EventFilter, limit int) (hashes []schemas.Fingerprint, more bool, err error) {
	q := newSelection(project)
	if err := q.matching(f.Where); err != nil {
		return nil, false, fmt.Errorf("cannot find events: %w", err)
	}
	q.stretch(f.Range)
	q.and(inStretch)
	limit = min(max(limit, 1), 2*exporters.MaxHashes)
	q.int("limit", int64(limit)+1)
	var fingerprint proto.ColFixedStr16
	err = s.query(ctx, "SELECT DISTINCT fingerprint FROM events WHERE "+q.where+" LIMIT {limit:UInt64}", q.params,
		proto.Results{{Name: "fingerprint", Data: &fingerprint}},
		func() { hashes = hashes[:0] },
		func() {
			for i := range fingerprint {
				hashes = append(hashes, fingerprint[i])
			}
		})
	if err != nil {
		return nil, false, fmt.Errorf("cannot find events: %w", err)
	}
	if more = len(hashes) > limit; more {
		hashes = hashes[:limit]
	}
	return hashes, more, nil
}

// RemoveEvents removes events that were deleted.
func (s *Store) RemoveEvents(ctx context.Context, deleted []exporters.DeletedHash) error {
	if err := atMost("hashes", len(deleted), maxRemove); err != nil {
		return err
	}
	deleted = slices.Clone(deleted)
	slices.SortFunc(deleted, func(a, b exporters.DeletedHash) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Before, b.Before))
	})
	for len(deleted) > 0 {
		d := deleted[0]
		n := 0
		var hashes strings.Builder
		for ; n < len(deleted) && deleted[n].Project == d.Project && deleted[n].Before == d.Before; n++ {
			if n > 0 {
				hashes.WriteByte(',')
			}
			hashes.WriteString("toFixedString(unhex('" + deleted[n].Hash.String() + "'), 16)") // hex digits
		}
		deleted = deleted[n:]
		// A deletion is kept as a text, so it takes no bound values.
		err := s.exec(ctx, fmt.Sprintf("DELETE FROM events WHERE project = %d AND received < %d AND fingerprint IN (%s)", d.Project, d.Before, hashes.String()), nil)
		if err != nil {
			return fmt.Errorf("cannot remove the events of %d hashes of project %d: %w", n, d.Project, err)
		}
	}
	return nil
}
