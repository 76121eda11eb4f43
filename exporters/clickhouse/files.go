package clickhouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

var (
	_ exporters.FileWriter = (*Store)(nil)
	_ exporters.FileReader = (*Store)(nil)
)

// fileColumns holds one batch of files. Its memory is reused.
type fileColumns struct {
	input  proto.Input
	insert string
	bytes  int // about

	project                    proto.ColUInt64
	kind, contentType, purpose lowCard
	time                       *proto.ColDateTime64
	event                      proto.ColFixedStr16
	id, name                   proto.ColStr
	size, chunks               proto.ColInt64
	trace                      proto.ColFixedStr16
	source                     proto.ColUInt64
	sourceOffset               proto.ColInt64
	sourceIndex                proto.ColUInt32
}

func newFileColumns() *fileColumns {
	c := &fileColumns{time: newTime()}
	c.input = proto.Input{
		{Name: "project", Data: &c.project},
		{Name: "kind", Data: &c.kind},
		{Name: "time", Data: c.time},
		{Name: "event_id", Data: &c.event},
		{Name: "id", Data: &c.id},
		{Name: "name", Data: &c.name},
		{Name: "content_type", Data: &c.contentType},
		{Name: "type", Data: &c.purpose},
		{Name: "size", Data: &c.size},
		{Name: "chunks", Data: &c.chunks},
		{Name: "trace_id", Data: &c.trace},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	c.insert = insertText("files", c.input)
	return c
}

// WriteFiles stores what is known of files as one INSERT. See WriteSpans for its limits.
func (s *Store) WriteFiles(ctx context.Context, files []schemas.File) error {
	if len(files) == 0 {
		return nil
	}
	if len(files) > maxBatchRows {
		return fmt.Errorf("cannot write %d files, at most %d: %w", len(files), maxBatchRows, exporters.ErrTooLarge)
	}
	var days dayCount
	for i := range files {
		days.add(files[i].Time)
	}
	if err := days.check("files", len(files)); err != nil {
		return err
	}
	c := s.fileColumns.get()
	defer func() { reset(c.input); c.bytes = 0; s.fileColumns.put(c) }()
	for i := range files {
		f := &files[i]
		c.project.Append(f.Project)
		c.kind.Append(string(f.Kind))
		c.time.AppendRaw(proto.DateTime64(f.Time))
		c.event.Append(f.Event)
		c.id.Append(f.ID)
		c.name.Append(f.Name)
		c.contentType.Append(f.ContentType)
		c.purpose.Append(f.Type)
		c.size.Append(f.Size)
		c.chunks.Append(f.Chunks)
		c.trace.Append(f.Trace)
		c.source.Append(uint64(f.Source))
		c.sourceOffset.Append(f.Position.Offset)
		c.sourceIndex.Append(f.Position.Index)
		if c.bytes += 150 + len(f.ID) + len(f.Name) + len(f.ContentType) + len(f.Type); c.bytes > maxBatchBytes {
			return fmt.Errorf("cannot write %d files of more than %d bytes: %w", len(files), maxBatchBytes, exporters.ErrTooLarge)
		}
	}
	if err := s.write(ctx, c.insert, c.input); err != nil {
		return fmt.Errorf("cannot write %d files: %w", len(files), err)
	}
	return nil
}

// WrittenFiles tells which files of a source are stored at or after an offset.
func (s *Store) WrittenFiles(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	return s.written(ctx, "files", source, from)
}

// Files lists files, newest first.
func (s *Store) Files(ctx context.Context, q exporters.FileQuery) ([]schemas.File, error) {
	if q.Skip < 0 || q.Skip > maxLogSkip {
		return nil, fmt.Errorf("cannot list files: skip is %d, want 0 to %d: %w", q.Skip, maxLogSkip, exporters.ErrTooLarge)
	}
	var ps params
	ps.uint("project", q.Project)
	from, to := nanos(q.Range)
	skip := 0
	if q.Before != 0 && q.Before < to {
		to = q.Before
		if q.Skip > 0 { // those at Before come too, but for the ones that were had
			to, skip = q.Before+1, q.Skip
		}
	}
	ps.int("from", from)
	ps.int("to", to)
	where := "project = {project:UInt64} AND " + inStretch
	if len(q.Kinds) > 0 {
		list(&ps, "kinds", q.Kinds, func(b *strings.Builder, k schemas.FileKind) { literal(b, string(k)) })
		where += " AND kind IN ({kinds:Array(String)})"
	}
	ps.int("limit", limited(q.Limit, 100, 500))
	ps.int("skip", int64(skip))
	out, err := s.files(ctx, where+" ORDER BY time DESC, event_id, id LIMIT 1 BY event_id, id LIMIT {skip:UInt64}, {limit:UInt64}", ps)
	if err != nil {
		return nil, fmt.Errorf("cannot list files: %w", err)
	}
	return out, nil
}

// FilesOfEvent gives the files under an event's id.
func (s *Store) FilesOfEvent(ctx context.Context, project uint64, event schemas.EventID, limit int) ([]schemas.File, error) {
	var ps params
	ps.uint("project", project)
	ps.text("event", event.String())
	ps.int("limit", limited(limit, 100, 500))
	out, err := s.files(ctx, "project = {project:UInt64} AND event_id = toFixedString(unhex({event:String}), 16) ORDER BY time, id LIMIT 1 BY id LIMIT {limit:UInt64}", ps)
	if err != nil {
		return nil, fmt.Errorf("cannot list the files of event %s: %w", event, err)
	}
	return out, nil
}

// File finds one.
func (s *Store) File(ctx context.Context, project uint64, event schemas.EventID, id string) (schemas.File, error) {
	var ps params
	ps.uint("project", project)
	ps.text("event", event.String())
	ps.text("id", id)
	out, err := s.files(ctx, "project = {project:UInt64} AND event_id = toFixedString(unhex({event:String}), 16) AND id = {id:String} LIMIT 1", ps)
	if err == nil && len(out) == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return schemas.File{}, fmt.Errorf("cannot find file %.64q of event %s: %w", id, event, err)
	}
	return out[0], nil
}

func (s *Store) files(ctx context.Context, where string, ps params) ([]schemas.File, error) {
	kind, contentType, purpose := lowCardResult(), lowCardResult(), lowCardResult()
	var (
		project, source    proto.ColUInt64
		time, size, chunks proto.ColInt64
		event, trace       proto.ColFixedStr16
		id, name           proto.ColStr
		sourceOffset       proto.ColInt64
		sourceIndex        proto.ColUInt32
		out                []schemas.File
	)
	err := s.query(ctx, "SELECT project, kind, toUnixTimestamp64Nano(time) AS happened, event_id, id, name, content_type, type, size, chunks, trace_id, source, source_offset, source_index FROM files WHERE "+where, ps,
		proto.Results{
			{Name: "project", Data: &project},
			{Name: "kind", Data: kind},
			{Name: "happened", Data: &time},
			{Name: "event_id", Data: &event},
			{Name: "id", Data: &id},
			{Name: "name", Data: &name},
			{Name: "content_type", Data: contentType},
			{Name: "type", Data: purpose},
			{Name: "size", Data: &size},
			{Name: "chunks", Data: &chunks},
			{Name: "trace_id", Data: &trace},
			{Name: "source", Data: &source},
			{Name: "source_offset", Data: &sourceOffset},
			{Name: "source_index", Data: &sourceIndex},
		},
		func() { out = out[:0] },
		func() {
			for i := range project {
				out = append(out, schemas.File{
					Project: project[i], Kind: schemas.FileKind(kind.Row(i)), Event: event[i], ID: id.Row(i), Name: name.Row(i),
					ContentType: contentType.Row(i), Type: purpose.Row(i), Size: size[i], Chunks: chunks[i], Time: time[i], Trace: trace[i],
					Source: schemas.Source(source[i]), Position: schemas.Position{Offset: sourceOffset[i], Index: sourceIndex[i]},
				})
			}
		})
	return out, err
}
