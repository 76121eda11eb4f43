package api

import (
	"bytes"
	"context"
	"mime"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// memoryFiles is a FileReader of a few files.
type memoryFiles struct {
	files []schemas.File
	asked []exporters.FileQuery
}

func (s *memoryFiles) Files(_ context.Context, q exporters.FileQuery) (out []schemas.File, err error) {
	s.asked = append(s.asked, q)
	for i := q.Skip; i < len(s.files) && len(out) < q.Limit; i++ {
		out = append(out, s.files[i])
	}
	return out, nil
}

func (s *memoryFiles) FilesOfEvent(_ context.Context, project uint64, event schemas.EventID, _ int) (out []schemas.File, err error) {
	for _, f := range s.files {
		if f.Project == project && f.Event == event {
			out = append(out, f)
		}
	}
	return out, nil
}

func (s *memoryFiles) File(_ context.Context, project uint64, event schemas.EventID, id string) (schemas.File, error) {
	for _, f := range s.files {
		if f.Project == project && f.Event == event && f.ID == id {
			return f, nil
		}
	}
	return schemas.File{}, exporters.ErrNotFound
}

const eventOne = "01000000000000000000000000000000"

// withFile gives a server that has one attachment of three parts.
func withFile(t *testing.T) (*Handler, *fakestore.Store, schemas.File) {
	store := fakestore.Orders(testNow)
	h := newHandler(t, store)
	f := schemas.File{
		Project: store.AllProjects[0].ID, Kind: schemas.FileAttachment, Event: schemas.EventID{1}, ID: "0-a", Name: "../../x\r\n\"y.html", ContentType: "text/html", Type: "event.minidump",
		Size: 7, Chunks: 3, Time: 1000,
	}
	for i, part := range []string{"<b>", "\x00\xff", "ok"} {
		if err := store.Put(t.Context(), schemas.FileChunkKey(f.Project, f.Event, f.ID, int64(i)), []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	h.deps.Files = &memoryFiles{files: []schemas.File{f}}
	return h, store, f
}

func TestAnAttachmentIsListedAndDownloadedAsItWas(t *testing.T) {
	h, _, f := withFile(t)
	list := get[FileList](t, h, "/events/"+eventOne+"/attachments", http.StatusOK)
	if len(list.Files) != 1 || list.Files[0].Size != 7 || list.Files[0].Type != "event.minidump" {
		t.Fatalf("attachments = %+v", list)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	resp, err := http.Get(server.URL + list.Files[0].Download)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil || body.String() != "<b>\x00\xffok" {
		t.Errorf("the body is %q, %v", body.String(), err)
	}
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	if err != nil || kind != "attachment" || params["filename"] != "x___y.html" {
		t.Errorf("Content-Disposition is %q: %v, %v", resp.Header.Get("Content-Disposition"), params, err)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Length": strconv.FormatInt(f.Size, 10),
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestWhatIsNotWholeIsNotServedAsIfItWere(t *testing.T) {
	h, store, f := withFile(t)
	path := "/attachments/" + eventOne + "/0-a"
	delete(store.AllBlobs, schemas.FileChunkKey(f.Project, f.Event, f.ID, 0))
	if e := get[Problem](t, h, path, http.StatusNotFound); e.Code != "chunk_missing" {
		t.Errorf("without its first part: %+v", e)
	}
	// A part that is gone behind the first cuts the connection short.
	h, store, f = withFile(t)
	delete(store.AllBlobs, schemas.FileChunkKey(f.Project, f.Event, f.ID, 2))
	server := httptest.NewServer(h)
	defer server.Close()
	resp, err := http.Get(server.URL + "/api/v1" + path)
	if err == nil {
		defer resp.Body.Close()
		var body bytes.Buffer
		if _, err = body.ReadFrom(resp.Body); err == nil {
			t.Errorf("a file without its last part was served: %q", body.String())
		}
	}
	// So does one whose parts are not as long as its row says.
	h, store, f = withFile(t)
	store.AllBlobs[schemas.FileChunkKey(f.Project, f.Event, f.ID, 1)] = []byte("longer than it was")
	second := httptest.NewServer(h)
	defer second.Close()
	if resp, err = http.Get(second.URL + "/api/v1" + path); err == nil {
		defer resp.Body.Close()
		var body bytes.Buffer
		if _, err = body.ReadFrom(resp.Body); err == nil {
			t.Errorf("a file with another part was served: %q", body.String())
		}
	}
	// A store that can tell what it has is asked before anything is sent.
	h, store, f = withFile(t)
	h.deps.Blobs = checked{store}
	delete(store.AllBlobs, schemas.FileChunkKey(f.Project, f.Event, f.ID, 2))
	if e := get[Problem](t, h, path, http.StatusNotFound); e.Code != "chunk_missing" {
		t.Errorf("without its last part: %+v", e)
	}
}

type checked struct{ *fakestore.Store }

func (c checked) Has(_ context.Context, key string) (bool, error) {
	_, ok := c.AllBlobs[key]
	return ok, nil
}

func TestFilesThatAreNotThereAreNamed(t *testing.T) {
	h, _, _ := withFile(t)
	for path, code := range map[string]string{
		"/attachments/" + eventOne + "/0-b": "file_not_found", "/attachments/02000000000000000000000000000000/0-a": "file_not_found",
	} {
		if e := get[Problem](t, h, path, http.StatusNotFound); e.Code != code {
			t.Errorf("%s = %+v, want %s", path, e, code)
		}
	}
	for _, path := range []string{"/attachments/1/0-a", "/attachments/" + eventOne + "/A", "/events/x/attachments", "/items?type=attachment", "/items?skip=-1", "/items?limit=501"} {
		if e := get[Problem](t, h, path, http.StatusBadRequest); e.Code != "bad_parameter" {
			t.Errorf("%s = %+v", path, e)
		}
	}
	h.deps.Files = nil
	if e := get[Problem](t, h, "/items", http.StatusNotImplemented); e.Code != "no_files" {
		t.Errorf("without a store: %+v", e)
	}
}

func TestItemsAreFilteredAndPagedWithoutLoss(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	store := &memoryFiles{}
	for i := range 7 {
		store.files = append(store.files, schemas.File{Kind: schemas.FileProfile, ID: strconv.Itoa(i), Time: 1000})
	}
	h.deps.Files = store
	var got []string
	for path := "/items?limit=3&type=profile"; ; {
		page := get[FileList](t, h, path, http.StatusOK)
		for _, f := range page.Files {
			got = append(got, f.ID)
		}
		if page.Next == nil {
			break
		}
		path = "/items?limit=3&type=profile&before=" + string(page.Next.Before) + "&skip=" + strconv.Itoa(page.Next.Skip)
	}
	if len(got) != 7 || got[0] != "0" || got[6] != "6" {
		t.Errorf("paging gave %v", got)
	}
	if q := store.asked[0]; len(q.Kinds) != 1 || q.Kinds[0] != schemas.FileProfile {
		t.Errorf("asked %+v", q)
	}
}
