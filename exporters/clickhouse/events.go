package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// WriteEvents stores events as one INSERT. See WriteSpans for its limits.
func (s *Store) WriteEvents(ctx context.Context, events []schemas.Event) error {
	if len(events) == 0 {
		return nil
	}
	if len(events) > maxBatchRows {
		return fmt.Errorf("cannot write %d events, at most %d: %w", len(events), maxBatchRows, exporters.ErrTooLarge)
	}
	var days dayCount
	for i := range events {
		days.add(events[i].Time)
	}
	if err := days.check("events", len(events)); err != nil {
		return err
	}
	c := s.eventColumns.get()
	defer func() { reset(c.input); c.bytes = 0; s.eventColumns.put(c) }()
	for i := range events {
		if c.append(&events[i]); c.bytes > maxBatchBytes {
			return fmt.Errorf("cannot write %d events of more than %d bytes: %w", len(events), maxBatchBytes, exporters.ErrTooLarge)
		}
	}
	if err := s.writeBounds(ctx, nil, nil, events); err != nil {
		return err
	}
	if err := s.write(ctx, c.insert, c.input); err != nil {
		return fmt.Errorf("cannot write %d events: %w", len(events), err)
	}
	return nil
}

// eventColumns holds one batch of events. Its memory is reused.
type eventColumns struct {
	input  proto.Input
	insert string
	bytes  int

	project, issue                             proto.ColUInt64
	time                                       *proto.ColDateTime64
	received                                   proto.ColInt64
	id, fingerprint, traceID                   proto.ColFixedStr16
	level, platform, typ                       lowCard
	value                                      proto.ColStr
	culprit, transaction, release, environment lowCard
	server, sdk, topic, group, logger          lowCard
	userID, userName, userEmail, userIP        proto.ColStr
	handled                                    proto.ColUInt8
	spanID                                     proto.ColFixedStr8
	partition                                  proto.ColInt32
	offset                                     proto.ColInt64
	tags                                       attributeMap
	hashVersion, dist, sdkName, origin         lowCard
	member, producerRelease, originalTopic     lowCard
	keyHash, node                              proto.ColStr
	userHash, ingest                           proto.ColUInt64
	attempt                                    proto.ColUInt16
	batch, weight                              proto.ColUInt32
	recordTime, age, originalOffset            proto.ColInt64
	originalPartition                          proto.ColInt32
	repeat                                     proto.ColUInt8
	ingestOffset                               proto.ColInt64
	source                                     proto.ColUInt64
	sourceOffset                               proto.ColInt64
	sourceIndex                                proto.ColUInt32
}

func newEventColumns() *eventColumns {
	c := &eventColumns{time: newTime()}
	c.input = proto.Input{
		{Name: "project", Data: &c.project},
		{Name: "issue", Data: &c.issue},
		{Name: "time", Data: c.time},
		{Name: "received", Data: &c.received},
		{Name: "id", Data: &c.id},
		{Name: "fingerprint", Data: &c.fingerprint},
		{Name: "level", Data: &c.level},
		{Name: "platform", Data: &c.platform},
		{Name: "type", Data: &c.typ},
		{Name: "value", Data: &c.value},
		{Name: "culprit", Data: &c.culprit},
		{Name: "transaction", Data: &c.transaction},
		{Name: "release", Data: &c.release},
		{Name: "environment", Data: &c.environment},
		{Name: "server", Data: &c.server},
		{Name: "sdk", Data: &c.sdk},
		{Name: "trace_id", Data: &c.traceID},
		{Name: "span_id", Data: &c.spanID},
		{Name: "topic", Data: &c.topic},
		{Name: "partition", Data: &c.partition},
		{Name: "offset", Data: &c.offset},
		{Name: "consumer_group", Data: &c.group},
		{Name: "tags", Data: &c.tags},
		{Name: "logger", Data: &c.logger},
		{Name: "handled", Data: &c.handled},
		{Name: "user_id", Data: &c.userID},
		{Name: "user_name", Data: &c.userName},
		{Name: "user_email", Data: &c.userEmail},
		{Name: "user_ip", Data: &c.userIP},
		{Name: "hash_version", Data: &c.hashVersion},
		{Name: "dist", Data: &c.dist},
		{Name: "sdk_name", Data: &c.sdkName},
		{Name: "origin", Data: &c.origin},
		{Name: "user_hash", Data: &c.userHash},
		{Name: "member", Data: &c.member},
		{Name: "key_hash", Data: &c.keyHash},
		{Name: "producer_release", Data: &c.producerRelease},
		{Name: "attempt", Data: &c.attempt},
		{Name: "batch", Data: &c.batch},
		{Name: "record_time", Data: &c.recordTime},
		{Name: "age", Data: &c.age},
		{Name: "original_topic", Data: &c.originalTopic},
		{Name: "original_partition", Data: &c.originalPartition},
		{Name: "original_offset", Data: &c.originalOffset},
		{Name: "node", Data: &c.node},
		{Name: "weight", Data: &c.weight},
		{Name: "is_repeat", Data: &c.repeat},
		{Name: "ingest_source", Data: &c.ingest},
		{Name: "ingest_offset", Data: &c.ingestOffset},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	c.insert = insertText("events", c.input)
	return c
}

func (c *eventColumns) append(e *schemas.Event) {
	c.project.Append(e.Project)
	c.issue.Append(uint64(e.Issue))
	c.time.AppendRaw(proto.DateTime64(e.Time))
	c.received.Append(e.Received)
	c.id.Append(e.ID)
	c.fingerprint.Append(e.Fingerprint)
	c.level.Append(e.Level)
	c.platform.Append(e.Platform)
	c.typ.Append(e.Type)
	c.value.Append(e.Value)
	c.culprit.Append(e.Culprit)
	c.transaction.Append(e.Transaction)
	c.release.Append(e.Release)
	c.environment.Append(e.Environment)
	c.server.Append(e.Server)
	c.sdk.Append(e.SDK)
	c.traceID.Append(e.TraceID)
	c.spanID.Append(e.SpanID)
	c.topic.Append(e.Topic)
	c.partition.Append(e.Partition)
	c.offset.Append(e.Offset)
	c.group.Append(e.Group)
	c.tags.Append(e.Tags)
	c.logger.Append(e.Logger)
	c.handled.Append(uint8(e.Handled))
	c.userID.Append(e.UserID)
	c.userName.Append(e.UserName)
	c.userEmail.Append(e.UserEmail)
	c.userIP.Append(e.UserIP)
	c.hashVersion.Append(e.HashVersion)
	c.dist.Append(e.Dist)
	c.sdkName.Append(e.SDKName)
	c.origin.Append(string(e.Origin))
	c.userHash.Append(e.UserHash)
	c.member.Append(e.Member)
	c.keyHash.Append(e.KeyHash)
	c.producerRelease.Append(e.ProducerRelease)
	c.attempt.Append(e.Attempt)
	c.batch.Append(e.Batch)
	c.recordTime.Append(e.RecordTime)
	c.age.Append(e.Age)
	c.originalTopic.Append(e.OriginalTopic)
	c.originalPartition.Append(e.OriginalPartition)
	c.originalOffset.Append(e.OriginalOffset)
	c.node.Append(string(e.Node))
	c.weight.Append(e.Weight)
	c.repeat.Append(bit(e.Repeat))
	c.ingest.Append(uint64(e.Ingest))
	c.ingestOffset.Append(e.IngestOffset)
	c.source.Append(uint64(e.Source))
	c.sourceOffset.Append(e.Position.Offset)
	c.sourceIndex.Append(e.Position.Index)
	c.bytes += 300 + len(e.Type) + len(e.Value) + len(e.Culprit) + len(e.Transaction) + len(e.Release) +
		len(e.Environment) + len(e.Server) + len(e.SDK) + len(e.Topic) + len(e.Group) + attributeBytes(e.Tags) +
		len(e.HashVersion) + len(e.Dist) + len(e.SDKName) + len(e.Member) + len(e.KeyHash) + len(e.ProducerRelease) + len(e.OriginalTopic) + len(e.Node) +
		len(e.Logger) + len(e.UserID) + len(e.UserName) + len(e.UserEmail) + len(e.UserIP)
}

// Events lists an issue's events, newest first.
func (s *Store) Events(ctx context.Context, project uint64, issue schemas.IssueID, limit int) ([]schemas.Event, error) {
	var ps params
	ps.uint("project", project)
	ps.uint("issue", uint64(issue))
	ps.int("limit", limited(limit, 50, 500))
	out, err := s.events(ctx, "project = {project:UInt64} AND issue = {issue:UInt64}", ps)
	if err != nil {
		return nil, fmt.Errorf("cannot read the events of issue %d: %w", issue, err)
	}
	return out, nil
}

// Event finds one by its id.
func (s *Store) Event(ctx context.Context, project uint64, id schemas.EventID) (schemas.Event, error) {
	var ps params
	ps.uint("project", project)
	ps.text("id", id.String())
	ps.int("limit", 1)
	out, err := s.events(ctx, "project = {project:UInt64} AND id = toFixedString(unhex({id:String}), 16)", ps)
	if err != nil {
		return schemas.Event{}, fmt.Errorf("cannot read event %v: %w", id, err)
	}
	if len(out) == 0 {
		return schemas.Event{}, fmt.Errorf("event %v of project %d: %w", id, project, exporters.ErrNotFound)
	}
	return out[0], nil
}

// RecentEvents lists a project's events, newest first.
func (s *Store) RecentEvents(ctx context.Context, project uint64, limit int) ([]schemas.Event, error) {
	var ps params
	ps.uint("project", project)
	ps.int("limit", limited(limit, 500, 10_000))
	out, err := s.events(ctx, "project = {project:UInt64}", ps)
	if err != nil {
		return nil, fmt.Errorf("cannot read the newest events of project %d: %w", project, err)
	}
	return out, nil
}

// EventsOfTraces gives events that happened in one of these traces, newest first.
func (s *Store) EventsOfTraces(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Event, error) {
	if len(traces) == 0 {
		return nil, nil
	}
	if err := atMost("traces", len(traces), maxTraces); err != nil {
		return nil, err
	}
	places, all, err := s.boundsOf(ctx, traceKeys(traces))
	if err != nil {
		return nil, fmt.Errorf("cannot read the events of %d traces: %w", len(traces), err)
	}
	var ps params
	where := ""
	if all {
		// Most traces have none.
		if places = eventsAt(places); len(places) == 0 {
			return nil, nil
		}
		where = " AND " + ps.whenSeen(places)
	}
	ps.uint("project", project)
	ps.int("limit", limited(limit, 500, 500))
	out, err := s.events(ctx, "project = {project:UInt64} AND trace_id IN ("+ps.inTraces(traces)+")"+where, ps)
	if err != nil {
		return nil, fmt.Errorf("cannot read the events of %d traces: %w", len(traces), err)
	}
	return out, nil
}

// events reads events newest first; one that was sent or stored twice comes once.
func (s *Store) events(ctx context.Context, where string, ps params) ([]schemas.Event, error) {
	c := newEventResults()
	var out []schemas.Event
	err := s.query(ctx, "SELECT "+c.names+" FROM events WHERE "+where+
		" ORDER BY time DESC, id, source, source_offset, source_index LIMIT 1 BY id LIMIT {limit:UInt64}"+oneThread, ps, c.results,
		func() { out = out[:0] },
		func() {
			for i := range c.project {
				out = append(out, c.row(i))
			}
		})
	return out, err
}

// IssueStats counts the events of these issues.
func (s *Store) IssueStats(ctx context.Context, project uint64, issues []schemas.IssueID, r exporters.Range) (map[schemas.IssueID]exporters.IssueStats, error) {
	out := make(map[schemas.IssueID]exporters.IssueStats, len(issues))
	if len(issues) == 0 {
		return out, nil
	}
	if err := atMost("issues", len(issues), 500); err != nil {
		return nil, err
	}
	if r.To.IsZero() {
		r.To = time.Now() // one now for all that follows
	}
	_, to := nanos(r)
	var ps params
	ps.uint("project", project)
	ps.stretch(r)
	ps.int("day", to-int64(24*time.Hour))
	list(&ps, "issues", issues, decimals)
	var (
		issue           proto.ColUInt64
		hour            proto.ColInt64
		events, records proto.ColUInt64
	)
	// Hour 24 stands for the whole range. An event sent twice counts in the
	// hour of its first copy.
	err := s.query(ctx, `
WITH first AS
(
	SELECT issue, id, min(toUnixTimestamp64Nano(time)) AS at, min(tuple(topic, partition, offset)) AS record
	FROM events
	WHERE project = {project:UInt64} AND issue IN (SELECT arrayJoin({issues:Array(UInt64)}))
		AND time >= fromUnixTimestamp64Nano(least({from:Int64}, {day:Int64})) AND time < fromUnixTimestamp64Nano({to:Int64})
	GROUP BY issue, id
)
SELECT issue, 24 AS hour, count() AS events, uniqExactIf(record, record.1 != '' AND record.2 >= 0 AND record.3 >= 0) AS records
FROM first WHERE at >= {from:Int64} GROUP BY issue
UNION ALL
SELECT issue, 23 - intDiv({to:Int64} - 1 - at, 3600000000000) AS hour, count() AS events, 0 AS records
FROM first WHERE at >= {day:Int64} GROUP BY issue, hour`, ps,
		proto.Results{{Name: "issue", Data: &issue}, {Name: "hour", Data: &hour}, {Name: "events", Data: &events}, {Name: "records", Data: &records}},
		func() { clear(out) },
		func() {
			for i := range issue {
				id := schemas.IssueID(issue[i])
				st := out[id]
				switch h := hour[i]; {
				case h == 24:
					st.Events, st.Records = events[i], records[i]
				case h >= 0 && h < 24:
					st.Hours[h] = events[i]
				}
				out[id] = st
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot count the events of %d issues: %w", len(issues), err)
	}
	return out, nil
}

// eventResults holds a block of events that were read.
type eventResults struct {
	results proto.Results
	names   string

	project, issue                             proto.ColUInt64
	time, received                             proto.ColInt64
	id, fingerprint, traceID                   proto.ColFixedStr16
	level, platform, typ                       *proto.ColLowCardinality[string]
	value                                      proto.ColStr
	culprit, transaction, release, environment *proto.ColLowCardinality[string]
	server, sdk, topic, group, logger          *proto.ColLowCardinality[string]
	userID, userName, userEmail, userIP        proto.ColStr
	handled                                    proto.ColUInt8
	spanID                                     proto.ColFixedStr8
	partition                                  proto.ColInt32
	offset                                     proto.ColInt64
	tags                                       *proto.ColMap[string, string]
	hashVersion, dist, sdkName, origin         *proto.ColLowCardinality[string]
	member, producerRelease, originalTopic     *proto.ColLowCardinality[string]
	keyHash, node                              proto.ColStr
	userHash, ingest                           proto.ColUInt64
	attempt                                    proto.ColUInt16
	batch, weight                              proto.ColUInt32
	recordTime, age, originalOffset            proto.ColInt64
	originalPartition                          proto.ColInt32
	repeat                                     proto.ColUInt8
	ingestOffset                               proto.ColInt64
	source                                     proto.ColUInt64
	sourceOffset                               proto.ColInt64
	sourceIndex                                proto.ColUInt32
}

func newEventResults() *eventResults {
	c := &eventResults{
		level: lowCardResult(), platform: lowCardResult(), typ: lowCardResult(), culprit: lowCardResult(),
		transaction: lowCardResult(), release: lowCardResult(), environment: lowCardResult(), server: lowCardResult(),
		sdk: lowCardResult(), topic: lowCardResult(), group: lowCardResult(), logger: lowCardResult(), tags: mapResult(),
		hashVersion: lowCardResult(), dist: lowCardResult(), sdkName: lowCardResult(), origin: lowCardResult(), member: lowCardResult(), producerRelease: lowCardResult(), originalTopic: lowCardResult(),
	}
	c.names = `project, issue, toUnixTimestamp64Nano(time) AS happened, received, id, fingerprint, level, platform, type, value, culprit,
transaction, release, environment, server, sdk, trace_id, span_id, topic, partition, offset, consumer_group, tags,
logger, handled, user_id, user_name, user_email, user_ip,
hash_version, dist, sdk_name, origin, user_hash, member, key_hash, producer_release, attempt, batch, record_time, age, original_topic, original_partition, original_offset, node, weight, is_repeat, ingest_source, ingest_offset, source, source_offset, source_index`
	c.results = proto.Results{
		{Name: "project", Data: &c.project},
		{Name: "issue", Data: &c.issue},
		{Name: "happened", Data: &c.time},
		{Name: "received", Data: &c.received},
		{Name: "id", Data: &c.id},
		{Name: "fingerprint", Data: &c.fingerprint},
		{Name: "level", Data: c.level},
		{Name: "platform", Data: c.platform},
		{Name: "type", Data: c.typ},
		{Name: "value", Data: &c.value},
		{Name: "culprit", Data: c.culprit},
		{Name: "transaction", Data: c.transaction},
		{Name: "release", Data: c.release},
		{Name: "environment", Data: c.environment},
		{Name: "server", Data: c.server},
		{Name: "sdk", Data: c.sdk},
		{Name: "trace_id", Data: &c.traceID},
		{Name: "span_id", Data: &c.spanID},
		{Name: "topic", Data: c.topic},
		{Name: "partition", Data: &c.partition},
		{Name: "offset", Data: &c.offset},
		{Name: "consumer_group", Data: c.group},
		{Name: "tags", Data: c.tags},
		{Name: "logger", Data: c.logger},
		{Name: "handled", Data: &c.handled},
		{Name: "user_id", Data: &c.userID},
		{Name: "user_name", Data: &c.userName},
		{Name: "user_email", Data: &c.userEmail},
		{Name: "user_ip", Data: &c.userIP},
		{Name: "hash_version", Data: c.hashVersion},
		{Name: "dist", Data: c.dist},
		{Name: "sdk_name", Data: c.sdkName},
		{Name: "origin", Data: c.origin},
		{Name: "user_hash", Data: &c.userHash},
		{Name: "member", Data: c.member},
		{Name: "key_hash", Data: &c.keyHash},
		{Name: "producer_release", Data: c.producerRelease},
		{Name: "attempt", Data: &c.attempt},
		{Name: "batch", Data: &c.batch},
		{Name: "record_time", Data: &c.recordTime},
		{Name: "age", Data: &c.age},
		{Name: "original_topic", Data: c.originalTopic},
		{Name: "original_partition", Data: &c.originalPartition},
		{Name: "original_offset", Data: &c.originalOffset},
		{Name: "node", Data: &c.node},
		{Name: "weight", Data: &c.weight},
		{Name: "is_repeat", Data: &c.repeat},
		{Name: "ingest_source", Data: &c.ingest},
		{Name: "ingest_offset", Data: &c.ingestOffset},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	return c
}

func (c *eventResults) row(i int) schemas.Event {
	return schemas.Event{
		Project:           c.project[i],
		ID:                c.id[i],
		Time:              c.time[i],
		Received:          c.received[i],
		Issue:             schemas.IssueID(c.issue[i]),
		Fingerprint:       c.fingerprint[i],
		Level:             c.level.Row(i),
		Platform:          c.platform.Row(i),
		Type:              c.typ.Row(i),
		Value:             c.value.Row(i),
		Culprit:           c.culprit.Row(i),
		Transaction:       c.transaction.Row(i),
		Release:           c.release.Row(i),
		Environment:       c.environment.Row(i),
		Server:            c.server.Row(i),
		SDK:               c.sdk.Row(i),
		TraceID:           c.traceID[i],
		SpanID:            c.spanID[i],
		Topic:             c.topic.Row(i),
		Partition:         c.partition[i],
		Offset:            c.offset[i],
		Group:             c.group.Row(i),
		Tags:              mapRow(c.tags, i),
		Logger:            c.logger.Row(i),
		Handled:           schemas.Handled(c.handled[i]),
		UserID:            c.userID.Row(i),
		UserName:          c.userName.Row(i),
		UserEmail:         c.userEmail.Row(i),
		UserIP:            c.userIP.Row(i),
		HashVersion:       c.hashVersion.Row(i),
		Dist:              c.dist.Row(i),
		SDKName:           c.sdkName.Row(i),
		Origin:            schemas.Origin(c.origin.Row(i)),
		UserHash:          c.userHash[i],
		Member:            c.member.Row(i),
		KeyHash:           c.keyHash.Row(i),
		ProducerRelease:   c.producerRelease.Row(i),
		Attempt:           c.attempt[i],
		Batch:             c.batch[i],
		RecordTime:        c.recordTime[i],
		Age:               c.age[i],
		OriginalTopic:     c.originalTopic.Row(i),
		OriginalPartition: c.originalPartition[i],
		OriginalOffset:    c.originalOffset[i],
		Node:              schemas.NodeRef(c.node.Row(i)),
		Weight:            c.weight[i],
		Repeat:            c.repeat[i] != 0,
		Ingest:            schemas.Source(c.ingest[i]),
		IngestOffset:      c.ingestOffset[i],
		Source:            schemas.Source(c.source[i]),
		Position:          schemas.Position{Offset: c.sourceOffset[i], Index: c.sourceIndex[i]},
	}
}
