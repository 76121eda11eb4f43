package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// FileList are files that are kept as they came.
type FileList struct {
	Files []File `json:"files"`
	// Next pages: pass both as before and skip. Null on the last page.
	Next *FileCursor `json:"next"`
}

// FileCursor is a place in the list of files.
type FileCursor struct {
	Before Nanos `json:"before"`
	Skip   int   `json:"skip"`
}

// File is an attachment, a profile or a part of a replay.
type File struct {
	Kind        string `json:"kind"`
	Event       string `json:"event"` // 32 hex digits: of the event, profile or replay; zeroes when it told none
	ID          string `json:"id"`
	Name        string `json:"name"`
	ContentType string `json:"contentType"` // as the client gave it
	Type        string `json:"type"`        // what an attachment is for
	Size        int64  `json:"size"`
	Time        Nanos  `json:"time"`
	TraceID     string `json:"traceId"`  // empty when it told none
	Download    string `json:"download"` // path of its bytes
}

func (h *Handler) fileRoutes() {
	h.handle("/api/v1/events/{event}/attachments", nil, h.attachments)
	h.handle("/api/v1/attachments/{event}/{id}", nil, h.download)
	h.handle("/api/v1/items", []string{"from", "to", "type", "before", "skip", "limit"}, h.items)
}

// hasFiles refuses questions that this process cannot answer.
func (h *Handler) hasFiles() error {
	if h.deps.Files == nil {
		return errorf(http.StatusNotImplemented, "no_files", "ask a server of hoptrace", "this server has no store of files")
	}
	return nil
}

func fileJSON(f *schemas.File) File {
	event := f.Event.String()
	return File{
		Kind: string(f.Kind), Event: event, ID: f.ID, Name: f.Name, ContentType: f.ContentType, Type: f.Type, Size: f.Size, Time: nanos(f.Time), TraceID: traceText(f.Trace),
		Download: "/api/v1/attachments/" + event + "/" + f.ID + "?project=" + strconv.FormatUint(f.Project, 10),
	}
}

func (q *query) pathEvent() (schemas.EventID, error) {
	id, ok := parseEventID(q.path("event"))
	if !ok {
		return id, badParameter("event", q.path("event"), "32 hex digits")
	}
	return id, nil
}

// attachments answers /events/{event}/attachments.
func (h *Handler) attachments(ctx context.Context, q *query) (any, error) {
	if err := h.hasFiles(); err != nil {
		return nil, err
	}
	event, err := q.pathEvent()
	if err != nil {
		return nil, err
	}
	found, err := h.deps.Files.FilesOfEvent(ctx, q.project.ID, event, most)
	if err != nil {
		return nil, fmt.Errorf("cannot list the attachments of event %s: %w", event, err)
	}
	out := FileList{Files: []File{}}
	for i := range found {
		if found[i].Kind == schemas.FileAttachment {
			out.Files = append(out.Files, fileJSON(&found[i]))
		}
	}
	return out, nil
}

// items answers /items.
func (h *Handler) items(ctx context.Context, q *query) (any, error) {
	if err := h.hasFiles(); err != nil {
		return nil, err
	}
	fq := exporters.FileQuery{Project: q.project.ID, Range: q.timeRange(), Before: q.nanos("before"), Limit: q.limit(100), Kinds: schemas.ItemKinds()}
	if s := q.text("type"); s != "" {
		if !slices.Contains(fq.Kinds, schemas.FileKind(s)) {
			q.refuse("type", s, "profile, profile_chunk, replay_event, replay_recording or replay_video")
		}
		fq.Kinds = []schemas.FileKind{schemas.FileKind(s)}
	}
	if s := q.text("skip"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 10_000 {
			q.refuse("skip", s, "a whole number from 0 to 10000; go on with a smaller time range")
		}
		fq.Skip = n
	}
	if q.fault != nil {
		return nil, q.fault
	}
	found, err := h.deps.Files.Files(ctx, fq)
	if err != nil {
		return nil, fmt.Errorf("cannot list items: %w", err)
	}
	out := FileList{Files: make([]File, len(found))}
	for i := range found {
		out.Files[i] = fileJSON(&found[i])
	}
	if len(found) == fq.Limit {
		last := found[len(found)-1].Time
		next := &FileCursor{Before: nanos(last)}
		if last == fq.Before {
			next.Skip = fq.Skip
		}
		for i := range found {
			if found[i].Time == last {
				next.Skip++
			}
		}
		out.Next = next
	}
	return out, nil
}

// file is an answer that is no JSON: bytes out of the blob store.
type file struct {
	schemas.File
	blobs exporters.Blobs
	first []byte // the first chunk, read already
}

// download answers /attachments/{event}/{id}.
func (h *Handler) download(ctx context.Context, q *query) (any, error) {
	if err := h.hasFiles(); err != nil {
		return nil, err
	}
	event, err := q.pathEvent()
	if err != nil {
		return nil, err
	}
	id := q.path("id")
	if !schemas.ValidFileID(id) {
		return nil, badParameter("id", id, "1 to 64 of a-z, 0-9 and hyphens")
	}
	f, err := h.deps.Files.File(ctx, q.project.ID, event, id)
	if errors.Is(err, exporters.ErrNotFound) {
		return nil, errorf(http.StatusNotFound, "file_not_found", "retention may have deleted it, or its event is still on its way", "event %s has no attachment %s", event, id)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find attachment %s of event %s: %w", id, event, err)
	}
	// What is not whole is told before the first byte is sent.
	out := &file{File: f, blobs: h.deps.Blobs}
	if f.Chunks > 0 {
		if out.first, err = out.chunk(ctx, 0); err != nil {
			return nil, out.missing(0, err)
		}
	}
	if c, ok := h.deps.Blobs.(exporters.BlobChecker); ok {
		for i := int64(1); i < f.Chunks; i++ {
			has, err := c.Has(ctx, out.key(i))
			if err == nil && !has {
				err = exporters.ErrNotFound
			}
			if err != nil {
				return nil, out.missing(i, err)
			}
		}
	}
	return out, nil
}

func (f *file) key(i int64) string { return schemas.FileChunkKey(f.Project, f.Event, f.ID, i) }

func (f *file) chunk(ctx context.Context, i int64) ([]byte, error) { return f.blobs.Get(ctx, f.key(i)) }

func (f *file) missing(i int64, err error) error {
	if errors.Is(err, exporters.ErrNotFound) {
		return errorf(http.StatusNotFound, "chunk_missing", "retention may have deleted it, or the blob store is not the one that the pipeline writes to",
			"part %d of %d of attachment %s of event %s is not in the blob store", i+1, f.Chunks, f.ID, f.Event)
	}
	return fmt.Errorf("cannot read part %d of %d of attachment %s of event %s: %w", i+1, f.Chunks, f.ID, f.Event, err)
}

// chunkTime is what a reader may take for one part.
const chunkTime = time.Minute

// answer sends what a question gave: JSON, or a file.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, out any, err error) int {
	if e, ok := out.(*export); ok && err == nil {
		return h.sendExport(w, r, e)
	}
	f, ok := out.(*file)
	if err != nil || !ok {
		return h.write(w, r, out, err)
	}
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream") // whatever it is, no browser shows it
	header.Set("Content-Disposition", disposition(f.Name))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.FormatInt(f.Size, 10))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return http.StatusOK
	}
	if err := f.send(r.Context(), w); err != nil {
		if !errors.Is(err, errLeft) {
			h.log.Warn("web: an attachment was sent in part", "path", r.URL.Path, "err", err)
		}
		panic(http.ErrAbortHandler) // the status is out: a cut connection is what is left to tell it with
	}
	return http.StatusOK
}

// errLeft: the reader went away.
var errLeft = errors.New("the reader left")

// send writes the parts, one after the other: one of them is in memory at a time.
func (f *file) send(ctx context.Context, w io.Writer) error {
	left := f.Size
	data := f.first
	var deadline func(time.Time) error
	if rw, ok := w.(http.ResponseWriter); ok {
		deadline = http.NewResponseController(rw).SetWriteDeadline
	}
	for i := int64(0); i < f.Chunks; i++ {
		if i > 0 {
			var err error
			if data, err = f.chunk(ctx, i); err != nil {
				return f.missing(i, err)
			}
		}
		if left -= int64(len(data)); left < 0 {
			break
		}
		if deadline != nil {
			_ = deadline(time.Now().Add(chunkTime)) // where it cannot be set the server's own holds
		}
		if _, err := w.Write(data); err != nil {
			return errLeft
		}
	}
	if left != 0 {
		return fmt.Errorf("attachment %s of event %s: its %d parts have not the %d bytes that it is said to have", f.ID, f.Event, f.Chunks, f.Size)
	}
	return nil
}

// disposition tells a browser to save a file under its name, or what is harmless
// of it.
func disposition(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune(`<>:"|?*`, r) || unicode.In(r, unicode.Cf) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if name = strings.Trim(name, ". "); name == "" {
		name = "attachment"
	}
	return mime.FormatMediaType("attachment", map[string]string{"filename": clip(name, 200)})
}
