// Package envelope receives what Sentry SDKs and browsers send: envelopes, the
// older single events, crash reports, attachments, check-ins and security
// reports. It authenticates them, asks the policy about each item and hands it
// on to the topic of its kind, large ones in pieces. What an event means is not
// its business (see pipeline/normalize).
package envelope

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/collector/produce"
	"github.com/hoptrace/hoptrace/collector/project"
	"github.com/hoptrace/hoptrace/schemas"
)

// Config of a Receiver. All sizes are bytes and must be positive.
type Config struct {
	MaxBytes int64 // a request as it comes
	MaxRaw   int64 // and decompressed
	MaxRatio int64 // and how many times larger it may become
	MaxItems int   // in one envelope

	MaxEventBytes        int64 // one event, transaction, security or user report
	MaxAttachmentBytes   int64 // all attachments of a request
	MaxAttachments       int
	MaxContainerBytes    int64 // spans, logs or trace metrics in one item
	MaxSessionBytes      int64
	MaxCheckInBytes      int64
	MaxProfileBytes      int64
	MaxReplayBytes       int64
	MaxClientReportBytes int64
	MaxRecordBytes       int // larger ones are divided, where they can be

	RetryAfter time.Duration
	From       project.From // reads who sends out of requests
}

// Deps are what a Receiver works with. All are needed.
type Deps struct {
	Projects *project.Resolver
	Producer *produce.Producer
	Budget   *bound.Budget
	Counts   *outcome.Counts
	Outcomes outcome.Recorder
	Gate     policy.Gate
	Log      *slog.Logger
}

// Receiver takes envelopes and what can be told as one.
type Receiver struct {
	cfg  Config
	deps Deps
	now  func() time.Time
}

// New makes a receiver.
func New(cfg Config, deps Deps) *Receiver { return &Receiver{cfg, deps, time.Now} }

// Errors of a request, apart from those of packages bound, produce and project.
var (
	// ErrHeaderMismatch means that the envelope's dsn is not what it was authenticated with.
	ErrHeaderMismatch = errors.New("the envelope's dsn and the request's credentials differ")
	// ErrBadEvent means that a single event is no event.
	ErrBadEvent = errors.New("invalid event")
	// ErrRateLimited means that a quota is used up.
	ErrRateLimited = errors.New("rate limited: a quota is used up")
	// ErrOrigin means that the project takes nothing from the page's origin.
	ErrOrigin = errors.New("event submission rejected: the project does not allow this origin")
)

// door is how a request comes in.
type door struct {
	protocol string
	project  string // as it stands in the path
	key      string // in the path, where one may stand
	any      bool   // no project in the path: the key's
	dsnOnly  bool   // the envelope's dsn counts, and nothing else
	hasDSN   bool   // an envelope's dsn may do instead of other credentials
	take     func(*intake, *request) (reply, error)
}

// request is what came, and what is known of who sends.
type request struct {
	*http.Request
	w       http.ResponseWriter
	body    *bound.Stream
	authErr error // why there are no credentials; an envelope's dsn may do instead
	wanted  uint64
	key     string
}

// reply is an answer of success.
type reply struct {
	code int
	text string // plain text instead of JSON
	id   schemas.EventID
}

// Envelope takes a request whose body is an envelope. projectID is what stands
// in the path.
func (r *Receiver) Envelope(w http.ResponseWriter, req *http.Request, projectID string) {
	r.serve(w, req, door{protocol: outcome.Envelope, project: projectID, hasDSN: true, take: r.takeEnvelope})
}

// Tunnel is Envelope for a browser whose requests to Sentry are blocked: only
// the dsn in the first line says for whom it is.
func (r *Receiver) Tunnel(w http.ResponseWriter, req *http.Request) {
	r.serve(w, req, door{protocol: outcome.Tunnel, any: true, dsnOnly: true, hasDSN: true, take: r.takeEnvelope})
}

// Store takes a request whose body is one event: JSON, or base64 of zlib of
// JSON. An empty projectID means that of the key.
func (r *Receiver) Store(w http.ResponseWriter, req *http.Request, projectID string) {
	r.serve(w, req, door{protocol: outcome.Store, project: projectID, any: projectID == "", take: r.takeStore})
}

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request, d door) {
	lease, err := r.deps.Budget.Lease(0)
	if err != nil {
		r.refuse(w, d.protocol, err, nil, 0)
		return
	}
	defer lease.Release()
	in, err := r.newIntake(req.Context(), lease)
	if err != nil {
		r.refuse(w, d.protocol, err, nil, 0)
		return
	}
	defer in.close()
	rq := &request{Request: req, w: w}
	answer, err := r.handle(in, rq, &d)
	wire := int64(0)
	if rq.body != nil {
		wire = rq.body.Wire()
		rq.body.Close()
	}
	if err != nil {
		in.abandon(err)
		if code, reason := codeOf(err); !in.recorded && in.from.Project.ID != 0 && code >= 400 && code < 500 && code != http.StatusTooManyRequests {
			// Nothing of it could be told apart.
			r.record(in, schemas.CategoryDefault, schemas.OutcomeInvalid, reason, 1, in.id)
		}
		r.refuse(w, d.protocol, err, in, wire)
		return
	}
	policy.SetHeader(w.Header(), in.allLimits())
	r.reply(w, d.protocol, answer, wire)
}

func (r *Receiver) handle(in *intake, rq *request, d *door) (reply, error) {
	var err error
	if !d.any {
		if rq.wanted, err = project.ParseID(d.project); err != nil {
			return reply{}, err
		}
	}
	in.from = r.cfg.From.Request(rq.Request)
	if d.dsnOnly {
		rq.authErr = project.ErrNoAuth
	} else {
		sources := project.Sources{Sentry: rq.Header["X-Sentry-Auth"], Authorization: rq.Header["Authorization"], Path: d.key}
		if rq.URL.RawQuery != "" {
			sources.Query = rq.URL.Query()
		}
		var c project.Credentials
		c, rq.authErr = sources.Credentials()
		rq.key, in.sdk = c.Key, c.Client
		if rq.authErr != nil && (!d.hasDSN || !errors.Is(rq.authErr, project.ErrNoAuth)) {
			return reply{}, rq.authErr
		}
	}
	if rq.authErr == nil { // before the body is read: strangers cost little
		if err := r.admit(in, rq); err != nil {
			return reply{}, err
		}
	}
	limits := bound.Body{MaxBytes: r.cfg.MaxBytes, MaxDecompressed: r.cfg.MaxRaw, MaxRatio: r.cfg.MaxRatio}
	if rq.body, err = limits.Open(rq.w, rq.Request); err != nil {
		return reply{}, err
	}
	answer, err := d.take(in, rq)
	if err != nil {
		return reply{}, err
	}
	if err := in.finish(); err != nil {
		return reply{}, err
	}
	if err := in.outcome(); err != nil {
		return reply{}, err
	}
	if answer.id == (schemas.EventID{}) {
		answer.id = in.id
	}
	return answer, nil
}

// admit finds the project of rq.key and lets the gate decide whether its
// requests are read.
func (r *Receiver) admit(in *intake, rq *request) error {
	found, err := r.deps.Projects.Find(in.ctx, rq.key)
	if err != nil {
		return err
	}
	if rq.wanted != 0 && found.Project.ID != rq.wanted {
		return fmt.Errorf("%w (project %d was addressed)", project.ErrMismatch, rq.wanted)
	}
	in.from.Project, in.from.Key, in.from.KeyID, in.from.KeyLimit = found.Project, rq.key, found.Key.ID, found.Key.Limit
	if limits, refuse := r.deps.Gate.Admit(in.ctx, &in.from); refuse {
		reason := "rate_limited"
		if len(limits) > 0 {
			in.limits, reason = limits, limits[0].Reason
		}
		// What is in it is not read, and counts as one.
		r.record(in, schemas.CategoryDefault, schemas.OutcomeAbuse, reason, 1, schemas.EventID{})
		return ErrRateLimited
	}
	return nil
}

// record tells an outcome of what in hands over.
func (r *Receiver) record(in *intake, cat schemas.Category, o schemas.Outcome, reason string, n int64, id schemas.EventID) {
	if n > 0 {
		in.recorded = true
		r.deps.Outcomes.Record(in.from.Project.ID, in.from.Key, cat, o, reason, n, id)
	}
}

func (r *Receiver) takeEnvelope(in *intake, rq *request) (reply, error) {
	if err := in.lease.Grow(BufferBytes); err != nil {
		return reply{}, err
	}
	body := NewReader(rq.body, r.cfg.MaxItems)
	defer body.Close()
	h, err := body.Header()
	if err != nil {
		return reply{}, err
	}
	if err := r.compareDSN(in, rq, h.DSN); err != nil {
		return reply{}, err
	}
	in.id, in.sentAt = h.EventID, h.SentAt
	return reply{}, in.envelope(body)
}

// compareDSN holds the envelope's own dsn against the credentials, or uses it
// when there were none.
func (r *Receiver) compareDSN(in *intake, rq *request, dsn string) error {
	if dsn == "" {
		return rq.authErr
	}
	key, id, err := project.ParseDSN(dsn)
	if err != nil {
		return err
	}
	if rq.wanted != 0 && id != rq.wanted {
		return fmt.Errorf("%w: dsn names project %d, the path %d", ErrHeaderMismatch, id, rq.wanted)
	}
	if rq.authErr != nil {
		rq.key, rq.wanted = key, id
		return r.admit(in, rq)
	}
	if key != rq.key {
		return fmt.Errorf("%w: dsn has another key", ErrHeaderMismatch)
	}
	return nil
}

func (r *Receiver) takeStore(in *intake, rq *request) (reply, error) {
	k := kinds["event"]
	// Base64 takes a third more.
	body, err := readWhole(rq.body, in.mem.event[:0], -1, k.name, int(r.cfg.MaxEventBytes/3*4+1<<10), in.lease)
	if e, ok := errors.AsType[*bound.TooLargeError](err); ok && e.What == k.name {
		e.Limit = r.cfg.MaxEventBytes
		return reply{}, in.unreadable(k, err)
	}
	if err != nil {
		return reply{}, err
	}
	in.mem.event = body
	payload, err := storeBody(body, r.cfg.MaxEventBytes, in.lease)
	if err != nil {
		return reply{}, in.unreadable(k, err)
	}
	in.items = 1
	return reply{}, in.event(k, payload)
}

// unreadable counts what is no event or check-in, as the body or the URL tells it, as
// invalid, and gives the error back. Where the server is short of memory, the sender is to come again.
func (in *intake) unreadable(k *kind, err error) error {
	code, reason := codeOf(err)
	if code == http.StatusTooManyRequests {
		return err
	}
	in.r.record(in, k.category, schemas.OutcomeInvalid, reason, 1, in.id)
	return err
}

// storeBody undoes base64 and zlib, which old SDKs put around an event.
func storeBody(body []byte, limit int64, lease *bound.Lease) ([]byte, error) {
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) == 0 || trimmed[0] == '{' {
		return trimmed, nil
	}
	if err := lease.Grow(len(trimmed)); err != nil {
		return nil, err
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(trimmed)))
	n, err := base64.StdEncoding.Decode(raw, trimmed)
	if err != nil {
		return nil, fmt.Errorf("%w: neither a JSON object nor base64", ErrBadEvent)
	}
	raw = raw[:n]
	if len(raw) > 0 && raw[0] == '{' {
		return raw, nil
	}
	if err := lease.Grow(int(limit)); err != nil {
		return nil, err
	}
	return bound.Unzlib(raw, limit)
}

// readBody reads a small body whole.
func (in *intake) readBody(rq *request, what string, limit int64) ([]byte, error) {
	body, err := readWhole(rq.body, in.mem.item[:0], -1, what, int(limit), in.lease)
	if err != nil {
		return nil, err
	}
	in.mem.item = body
	return bytes.TrimSpace(body), nil
}

// reply answers success.
func (r *Receiver) reply(w http.ResponseWriter, protocol string, a reply, wire int64) {
	h := w.Header()
	CORS(h)
	body := make([]byte, 0, 64)
	if a.text != "" {
		body = append(body, a.text...)
		h["Content-Type"] = textType
	} else {
		h["Content-Type"] = jsonType
		body = append(body, '{')
		if a.id != (schemas.EventID{}) {
			body = append(body, `"id":"`...)
			body = append(body, a.id.String()...)
			body = append(body, '"')
		}
		body = append(body, '}')
	}
	code := a.code
	if code == 0 {
		code = http.StatusOK
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // a sender that is gone learns nothing
	r.deps.Counts.Request(protocol, strconv.Itoa(code), wire)
}

var (
	jsonType = []string{"application/json"}
	textType = []string{"text/plain; charset=utf-8"}
)
