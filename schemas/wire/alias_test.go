package wire

import (
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// within tells whether part lies in the memory of whole.
func within(part, whole []byte) bool {
	p, w := uintptr(unsafe.Pointer(unsafe.SliceData(part))), uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	return p >= w && p+uintptr(len(part)) <= w+uintptr(len(whole))
}

const id32 = "0123456789abcdef0123456789abcdef"

func TestPayloadsAreDecodedWithoutACopy(t *testing.T) {
	want := IngestEvent{
		Type: "event", Payload: []byte(`{"message":"boom"}`), StartTime: 1_790_000_000, EventID: id32, ProjectID: 7, RemoteAddr: "192.0.2.1",
		Attachments: []EventAttachment{{ID: "a", Name: "log.txt", AttachmentType: "event.attachment", Chunks: 2, Size: 1 << 20}},
	}
	raw := want.AppendMsgpack(nil)
	var got IngestEvent
	if err := got.DecodeMsgpack(raw); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	if !within(got.Payload, raw) {
		t.Error("the payload was copied")
	}

	text := []byte(`[2,"insert",{"event_id":"` + id32 + `","group_id":1,"primary_hash":"` + id32 + `","project_id":1,"datetime":"2026-11-30T00:00:00Z","data": {"a":[1]}},` +
		`{"is_new":true,"is_regression":false,"is_new_group_environment":false,"skip_consume":false}]`)
	var event EventsInsert
	if err := event.DecodeJSON(text); err != nil {
		t.Fatal(err)
	}
	if string(event.Event.Data) != `{"a":[1]}` || !within(event.Event.Data, text) {
		t.Errorf("data is %s, in place: %v; want it as a part of the record", event.Event.Data, within(event.Event.Data, text))
	}
}
