package persist

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// keep is every store behind the attachments at once. Its step number failAt fails:
// before it stores when that is odd, after it otherwise.
type keep struct {
	mu       sync.Mutex
	blobs    map[string]string
	files    []schemas.File
	feedback map[schemas.EventID]schemas.Feedback
	events   map[int64]int // how often each offset was handed on
	step     int
	failAt   int
}

func newKeep() *keep {
	return &keep{blobs: map[string]string{}, feedback: map[schemas.EventID]schemas.Feedback{}, events: map[int64]int{}}
}

var errStep = errors.New("this step fails")

func (k *keep) do(f func()) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.step++
	if k.step == k.failAt && k.failAt%2 == 1 {
		return errStep
	}
	f()
	if k.step == k.failAt {
		return errStep
	}
	return nil
}

func (k *keep) Put(_ context.Context, key string, data []byte) error {
	return k.do(func() { k.blobs[key] = string(data) })
}
func (k *keep) Get(context.Context, string) ([]byte, error) { return nil, exporters.ErrNotFound }
func (k *keep) Delete(context.Context, string) error        { return nil }

func (k *keep) WriteFiles(_ context.Context, files []schemas.File) error {
	return k.do(func() { k.files = append(k.files, files...) })
}

func (k *keep) WrittenFiles(_ context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	out := map[schemas.Position]struct{}{}
	for _, f := range k.files {
		if f.Source == source && f.Position.Offset >= from {
			out[f.Position] = struct{}{}
		}
	}
	return out, nil
}

func (k *keep) WriteFeedback(_ context.Context, list []schemas.Feedback) error {
	return k.do(func() {
		for _, f := range list {
			k.feedback[f.ID] = f
		}
	})
}

func (k *keep) Assigned(context.Context, []consume.Partition) error { return nil }
func (k *keep) Revoked(context.Context, []consume.Partition)        {}
func (k *keep) Handle(_ context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	err = k.do(func() {
		for i := range batch {
			k.events[batch[i].Offset]++
			if e := new(wire.IngestEvent); e.DecodeMsgpack(batch[i].Value) == nil && string(e.Payload) == "poison" {
				dead = append(dead, consume.DeadLetter{Record: &batch[i], Reason: "undecodable: poison"})
			}
		}
	})
	return dead, err
}

const (
	eventA = "0a000000000000000000000000000000"
	eventB = "0b000000000000000000000000000000"
	fileA  = "9ec79c33-ec99-42ab-8353-589fcb2e04dc"
)

func attachmentRecord(offset int64, m interface{ AppendMsgpack([]byte) []byte }) consume.Record {
	return consume.Record{
		Topic: topics.IngestAttachments, TopicID: topicID, Offset: offset, Value: m.AppendMsgpack(nil), Headers: headers("42", schemas.SchemaIngestAttachments), Timestamp: received,
	}
}

func attachmentBatch() []consume.Record {
	a := wire.EventAttachment{ID: fileA, Name: "dump.dmp", ContentType: "application/x-dmp", AttachmentType: "event.minidump", Chunks: 2, Size: 5}
	limited := wire.EventAttachment{ID: "1-1", Name: "limited", RateLimited: true, Size: 9, Chunks: 1}
	large := wire.EventAttachment{ID: "2-2", Name: "", AttachmentType: "profile", Chunks: 9, Size: 9 << 20}
	return []consume.Record{
		attachmentRecord(10, &wire.AttachmentChunk{Type: "attachment_chunk", EventID: eventA, ProjectID: 42, ID: fileA, ChunkIndex: 0, Payload: []byte("MDM")}),
		attachmentRecord(11, &wire.AttachmentChunk{Type: "attachment_chunk", EventID: eventA, ProjectID: 42, ID: fileA, ChunkIndex: 1, Payload: []byte("P!")}),
		attachmentRecord(12, &wire.UserReport{Type: "user_report", EventID: eventA, ProjectID: 42, StartTime: 1, Payload: []byte(`{"name":"Ada","email":"ada@x.example","comments":" it crashed "}`)}),
		attachmentRecord(13, &wire.IngestEvent{Type: "event", EventID: eventA, ProjectID: 42, Payload: []byte(`{}`), Attachments: []wire.EventAttachment{a, limited}}),
		attachmentRecord(14, &wire.Attachment{Type: "attachment", EventID: eventB, ProjectID: 42, Attachment: large}),
		attachmentRecord(15, &wire.UserReport{Type: "user_report", EventID: eventA, ProjectID: 42, StartTime: 1, Payload: []byte(`{"name":"Ada"}`)}),
		attachmentRecord(16, &wire.AttachmentChunk{Type: "attachment_chunk", EventID: eventA, ProjectID: 42, ID: "../../x", Payload: []byte("x")}),
		attachmentRecord(17, &wire.IngestEvent{Type: "event", EventID: eventB, ProjectID: 42, Payload: []byte(`{}`), Attachments: []wire.EventAttachment{{ID: "A"}}}),
		attachmentRecord(18, &wire.IngestEvent{Type: "event", EventID: eventB, ProjectID: 42, Payload: []byte(`poison`)}),
		attachmentRecord(19, &wire.IngestEvent{Type: "event", EventID: eventB, ProjectID: 42, Payload: []byte(`{}`)}),
	}
}

func newAttachments(k *keep) *Attachments {
	return NewAttachments(k, k, k, k, metrics(), quiet())
}

// deadOffsets are those of the dead letters, which must be elements of the batch.
func deadOffsets(t *testing.T, batch []consume.Record, dead []consume.DeadLetter) (out []int64) {
	t.Helper()
	for _, d := range dead {
		found := false
		for i := range batch {
			found = found || d.Record == &batch[i]
		}
		if !found {
			t.Errorf("the dead letter of offset %d is no element of the batch", d.Record.Offset)
		}
		out = append(out, d.Record.Offset)
	}
	return out
}

// wantAttachments checks what attachmentBatch leaves behind.
func wantAttachments(t *testing.T, k *keep) {
	t.Helper()
	event := schemas.EventID{0x0a}
	if d := cmp.Diff(map[string]string{schemas.FileChunkKey(42, event, fileA, 0): "MDM", schemas.FileChunkKey(42, event, fileA, 1): "P!"}, k.blobs); d != "" {
		t.Errorf("blobs (-want +got):\n%s", d)
	}
	source := Source(topics.IngestAttachments, topicID, 0)
	if d := cmp.Diff([]schemas.File{
		{Project: 42, Kind: schemas.FileAttachment, Event: event, ID: fileA, Name: "dump.dmp", ContentType: "application/x-dmp", Type: "event.minidump", Size: 5, Chunks: 2, Time: received.UnixNano(), Source: source, Position: schemas.Position{Offset: 13}},
		{Project: 42, Kind: schemas.FileProfile, Event: schemas.EventID{0x0b}, ID: "2-2", Size: 9 << 20, Chunks: 9, Time: received.UnixNano(), Source: source, Position: schemas.Position{Offset: 14}},
	}, k.files); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if len(k.feedback) != 1 {
		t.Fatalf("%d feedbacks, want 1", len(k.feedback))
	}
	for _, f := range k.feedback {
		f.ID = schemas.EventID{}
		if d := cmp.Diff(schemas.Feedback{Project: 42, Event: event, Received: received.UnixNano(), Name: "Ada", Email: "ada@x.example", Message: "it crashed", Source: "user_report", Status: schemas.FeedbackUnresolved}, f); d != "" {
			t.Errorf("feedback (-want +got):\n%s", d)
		}
	}
	for _, offset := range []int64{13, 18, 19} {
		if k.events[offset] == 0 {
			t.Errorf("the event of offset %d was not handed on", offset)
		}
	}
	if len(k.events) != 3 {
		t.Errorf("handed on as events: %v", k.events)
	}
}

func TestAttachmentsReportsAndEventsGoTheirWays(t *testing.T) {
	k := newKeep()
	h := newAttachments(k)
	assign(t, h, partition(topics.IngestAttachments, 0, 10))
	batch := attachmentBatch()
	dead, err := h.Handle(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int64{16, 17, 15, 18}, deadOffsets(t, batch, dead)); d != "" {
		t.Errorf("dead letters (-want +got):\n%s", d)
	}
	for _, l := range dead {
		if l.Record.Offset == 16 && !strings.Contains(l.Reason, `"../../x"`) {
			t.Errorf("the reason does not name the id: %s", l.Reason)
		}
	}
	wantAttachments(t, k)
}

func TestACrashAfterAnyStepLeavesNoAttachmentTwiceOrLost(t *testing.T) {
	for failAt := 1; ; failAt++ {
		k := newKeep()
		k.failAt = failAt
		h := newAttachments(k)
		assign(t, h, partition(topics.IngestAttachments, 0, 10))
		if _, err := h.Handle(t.Context(), attachmentBatch()); err == nil {
			if failAt < 6 {
				t.Fatalf("the batch has %d steps only", failAt-1)
			}
			break
		} else if !errors.Is(err, errStep) {
			t.Fatal(err)
		}
		// The same process tries again; or another one, after a crash.
		if failAt%3 == 0 {
			h = newAttachments(k)
			assign(t, h, partition(topics.IngestAttachments, 0, 10))
		}
		for range 2 {
			if _, err := h.Handle(t.Context(), attachmentBatch()); err != nil {
				t.Fatal(err)
			}
		}
		wantAttachments(t, k)
	}
}

func itemRecord(topic, schema string, offset int64, item wire.RawItem) consume.Record {
	item.ProjectID = 42
	return consume.Record{Topic: topic, TopicID: topicID, Offset: offset, Value: item.AppendMsgpack(nil), Headers: headers("42", schema), Timestamp: received}
}

func TestProfilesAndReplaysAreKeptByteForByteAndOnce(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	record := func(offset int64, item wire.RawItem) consume.Record {
		return itemRecord(topics.IngestReplayEvents, schemas.SchemaIngestReplayEvents, offset, item)
	}
	broken := record(3, wire.RawItem{Type: "replay_event"})
	broken.Value = broken.Value[:4]
	batch := []consume.Record{
		record(1, wire.RawItem{Type: "replay_event", EventID: eventA, Payload: []byte(`{"trace_ids":["` + trace + `"]}`), ContentType: "application/json"}),
		record(2, wire.RawItem{Type: "replay_recording", EventID: eventA, Payload: []byte("\x00\xff{")}),
		broken,
		record(4, wire.RawItem{Type: "replay_event", Payload: []byte(`{broken`)}),
	}
	for failAt := 0; failAt < 6; failAt++ {
		k := newKeep()
		k.failAt = failAt
		h := NewReplays(k, k, metrics(), quiet())
		assign(t, h, partition(topics.IngestReplayEvents, 0, 1))
		for range 3 {
			dead, err := h.Handle(t.Context(), batch)
			if err != nil {
				if !errors.Is(err, errStep) {
					t.Fatal(err)
				}
				h = NewReplays(k, k, metrics(), quiet())
				assign(t, h, partition(topics.IngestReplayEvents, 0, 1))
				continue
			}
			if d := cmp.Diff([]int64{3}, deadOffsets(t, batch, dead)); d != "" {
				t.Errorf("dead letters (-want +got):\n%s", d)
			}
		}
		if len(k.files) != 3 || len(k.blobs) != 3 {
			t.Fatalf("%d rows and %d blobs after step %d failed, want 3 of each", len(k.files), len(k.blobs), failAt)
		}
		for i, want := range []string{`{"trace_ids":["` + trace + `"]}`, "\x00\xff{", `{broken`} {
			f := k.files[i]
			if got, ok := k.blobs[schemas.FileChunkKey(42, f.Event, f.ID, 0)]; !ok || got != want || f.Size != int64(len(want)) || f.Chunks != 1 {
				t.Errorf("item %d is %q of %+v, want %q", i, got, f, want)
			}
		}
		if k.files[0].Trace.String() != trace || k.files[0].Event.String() != eventA || k.files[0].ContentType != "application/json" || !k.files[2].Trace.IsZero() {
			t.Errorf("files = %+v", k.files)
		}
	}
}

func TestAProfileTellsItsTrace(t *testing.T) {
	k := newKeep()
	h := NewProfiles(k, k, metrics(), quiet())
	assign(t, h, partition(topics.Profiles, 0, 0))
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	record := func(offset int64, kind, payload string) consume.Record {
		return itemRecord(topics.Profiles, schemas.SchemaProfiles, offset, wire.RawItem{Type: kind, EventID: eventA, Payload: []byte(payload)})
	}
	if dead, err := h.Handle(t.Context(), []consume.Record{
		record(0, "profile", `{"transaction":{"trace_id":"`+trace+`"}}`),
		record(1, "profile", `{"transactions":[{"trace_id":"`+trace+`"}]}`),
		record(2, "profile_chunk", `{"contexts":{"trace":{"trace_id":"`+trace+`"}}}`),
		record(3, "profile_chunk", `{"transaction":7}`),
	}); err != nil || len(dead) != 0 {
		t.Fatalf("Handle = %v, %v", dead, err)
	}
	for i, f := range k.files {
		if has := f.Trace.String() == trace; has != (i < 3) {
			t.Errorf("file %d has trace %s", i, f.Trace)
		}
	}
}

func TestFeedbackEventsAreReadAndBounded(t *testing.T) {
	k := newKeep()
	h := NewFeedback(k, metrics(), quiet())
	assign(t, h, partition(topics.IngestFeedbackEvents, 0, 0))
	record := func(offset int64, id, payload string) consume.Record {
		m := wire.IngestEvent{Type: "event", EventID: id, ProjectID: 42, Payload: []byte(payload)}
		return consume.Record{Topic: topics.IngestFeedbackEvents, TopicID: topicID, Offset: offset, Value: m.AppendMsgpack(nil), Headers: headers("42", schemas.SchemaIngestFeedbackEvents), Timestamp: received}
	}
	long := strings.Repeat("ü", schemas.MaxFeedbackMessage)
	batch := []consume.Record{
		record(0, eventA, `{"release":"shop@1","environment":"prod","user":{"email":"u@x.example"},"contexts":{"trace":{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"},"feedback":{"message":"`+long+`","name":"Ada","url":"https://x.example","source":"widget","associated_event_id":"0B000000-0000-0000-0000-000000000000","replay_id":"`+eventB+`"}}}`),
		record(1, eventB, `{"contexts":{"feedback":{"message":7}}}`),
		record(2, eventB, `{"contexts":{"feedback":"it broke"}}`),
		record(3, eventB, `{"contexts"`),
	}
	for range 2 { // the second time as a replay
		dead, err := h.Handle(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]int64{1, 2, 3}, deadOffsets(t, batch, dead)); d != "" {
			t.Errorf("dead letters (-want +got):\n%s", d)
		}
	}
	f := k.feedback[schemas.EventID{0x0a}]
	if len(k.feedback) != 1 || len(f.Message) != schemas.MaxFeedbackMessage || f.Email != "u@x.example" || f.Name != "Ada" || f.Event != (schemas.EventID{0x0b}) ||
		f.Replay != (schemas.EventID{0x0b}) || f.Trace.IsZero() || f.Source != "widget" || f.Release != "shop@1" || f.Environment != "prod" || f.Project != 42 {
		f.Message = "…"
		t.Errorf("feedback = %+v", f)
	}
}
