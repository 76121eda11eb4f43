package envelope

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/outcome"
)

// Errors of crash reports and forms.
var (
	ErrNoMinidump  = errors.New("missing minidump: send it as file upload_file_minidump")
	ErrBadMinidump = errors.New("invalid minidump: it does not begin as one")
	ErrBadForm     = errors.New("invalid multipart form")
)

// minidumpField is the form's field with the minidump, as Breakpad and Crashpad
// call it.
const minidumpField = "upload_file_minidump"

// Minidump takes the crash report of a native program: a form, or the minidump
// alone. The answer is the event's id as text, as crash reporters keep it.
func (r *Receiver) Minidump(w http.ResponseWriter, req *http.Request, projectID string) {
	r.serve(w, req, door{protocol: outcome.Minidump, project: projectID, take: func(in *intake, rq *request) (reply, error) {
		id := in.ensureID()
		in.items = 1
		err := r.takeMinidump(in, rq)
		return reply{text: uuid(id)}, err
	}})
}

func (r *Receiver) takeMinidump(in *intake, rq *request) error {
	form, err := formOf(rq)
	if err != nil {
		return err
	}
	k := kinds["attachment"]
	dump := func(name, contentType string, src io.Reader) error {
		if name == "" {
			name = "minidump.dmp"
		}
		buffered := bufio.NewReaderSize(src, 512)
		head, err := buffered.Peek(6)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		switch {
		case len(head) == 0:
			return ErrNoMinidump
		case !isMinidump(head):
			return ErrBadMinidump
		}
		return in.attach(k, name, contentType, minidump, buffered, -1)
	}
	if form == nil {
		return dump("", "", rq.body)
	}
	err = r.eachPart(form, func(p *multipart.Part, src io.Reader) error {
		name, file := p.FormName(), p.FileName()
		switch {
		case name == minidumpField:
			return dump(file, p.Header.Get("Content-Type"), src)
		case strings.HasPrefix(file, "__sentry-event"):
			return in.attach(k, file, "", eventPayload, src, -1)
		case strings.HasPrefix(file, "__sentry-breadcrumb"):
			return in.attach(k, file, "", eventCrumbs, src, -1)
		case file != "":
			return in.attach(k, file, p.Header.Get("Content-Type"), plainAttachment, src, -1)
		}
		value, err := readWhole(src, in.mem.item[:0], -1, "form", int(r.cfg.MaxEventBytes), in.lease)
		if err != nil {
			return err
		}
		in.mem.item = value
		if err := in.lease.Grow(len(value)); err != nil {
			return err
		}
		return in.addField(name, string(value))
	})
	if err == nil && in.parts.report == "" && in.firstErr == nil && !in.limited {
		err = ErrNoMinidump
	}
	return err
}

// Attachments takes a form with files that belong to an event sent before.
func (r *Receiver) Attachments(w http.ResponseWriter, req *http.Request, projectID, eventID string) {
	r.serve(w, req, door{protocol: outcome.Attachments, project: projectID, take: func(in *intake, rq *request) (reply, error) {
		id, err := ParseID(eventID)
		if err != nil {
			return reply{}, fmt.Errorf("%w: %w", ErrBadEvent, err)
		}
		in.id = id
		form, err := formOf(rq)
		if err != nil {
			return reply{}, err
		}
		if form == nil {
			return reply{}, fmt.Errorf("%w: the content type is %q, want multipart/form-data", ErrBadForm, clip(rq.Header.Get("Content-Type"), 100))
		}
		k := kinds["attachment"]
		err = r.eachPart(form, func(p *multipart.Part, src io.Reader) error {
			if p.FileName() == "" {
				return nil
			}
			in.items++
			return in.attach(k, p.FileName(), p.Header.Get("Content-Type"), plainAttachment, src, -1)
		})
		if err == nil && in.items == 0 {
			err = fmt.Errorf("%w: it holds no file", ErrBadForm)
		}
		return reply{code: http.StatusCreated}, err
	}})
}

// formOf reads the body as a form; nil when it is none.
func formOf(rq *request) (*formReader, error) {
	t, params, err := mime.ParseMediaType(rq.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(t, "multipart/") {
		return nil, nil //nolint:nilerr // another content type is no error
	}
	boundary := params["boundary"]
	if boundary == "" || len(boundary) > 200 {
		return nil, fmt.Errorf("%w: its content type has no boundary", ErrBadForm)
	}
	watched := &watchedBody{r: rq.body, mark: []byte("--" + boundary + "--")}
	return &formReader{multipart.NewReader(watched, boundary), watched}, nil
}

type formReader struct {
	*multipart.Reader
	body *watchedBody
}

// watchedBody sees whether a form's last boundary came: the form's reader takes
// one that breaks off within a part's header for its end.
type watchedBody struct {
	r    io.Reader
	mark []byte
	tail []byte // the last bytes of what came, shorter than mark
	seen bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.seen {
		return n, err
	}
	most := len(b.mark) - 1
	b.tail = append(b.tail, p[:min(n, most)]...)
	b.seen = bytes.Contains(b.tail, b.mark) || bytes.Contains(p[:n], b.mark)
	if n < most {
		b.tail = append(b.tail[:0], b.tail[max(0, len(b.tail)-most):]...)
	} else {
		b.tail = append(b.tail[:0], p[n-most:n]...)
	}
	return n, err
}

// eachPart calls f for each part of a form, and reads its end.
func (r *Receiver) eachPart(form *formReader, f func(*multipart.Part, io.Reader) error) error {
	for n := 0; ; n++ {
		p, err := form.NextPart()
		if err == io.EOF { //nolint:errorlint // bare at the form's end; wrapped where a part breaks off
			if !form.body.seen {
				return fmt.Errorf("%w: it breaks off", ErrBadForm)
			}
			return nil
		}
		if err != nil {
			return formError(err)
		}
		if n == r.cfg.MaxItems {
			return &bound.TooLargeError{What: "the number of parts", Limit: int64(n), Unit: "parts"}
		}
		if err := f(p, formPart{p}); err != nil {
			return err
		}
	}
}

// formPart names what is wrong with a form.
type formPart struct{ io.Reader }

func (p formPart) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = formError(err)
	}
	return n, err
}

// formError lets the body's own errors through.
func formError(err error) error {
	if e, ok := errors.AsType[*bound.TooLargeError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*bound.CorruptError](err); ok {
		return e
	}
	return fmt.Errorf("%w: %w", ErrBadForm, err)
}
