package envelope

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/collector/produce"
	"github.com/hoptrace/hoptrace/collector/project"
	"github.com/hoptrace/hoptrace/schemas"
)

// Config of a Receiver. All sizes are bytes and must be positive.
type Config struct {
	MaxBytes      int64 // an envelope as it comes
	MaxRaw        int64 // and decompressed
	MaxEventBytes int   // one event
	MaxItems      int   // in one envelope
	RetryAfter    time.Duration
}

// maxEventDepth bounds the nesting of an event.
const maxEventDepth = 200

// Deps are what a Receiver works with. All are needed.
type Deps struct {
	Projects *project.Resolver
	Producer *produce.Producer
	Budget   *bound.Budget
	Counts   *outcome.Counts
	Log      *slog.Logger
}

// Receiver takes envelopes and single events.
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
)

// Envelope takes a request whose body is an envelope. projectID is what stands
// in the path.
func (r *Receiver) Envelope(w http.ResponseWriter, req *http.Request, projectID string) {
	r.serve(w, req, outcome.Envelope, projectID, r.takeEnvelope)
}

// Store takes a request whose body is one event: JSON, or base64 of zlib of
// JSON. An empty projectID means that of the key.
func (r *Receiver) Store(w http.ResponseWriter, req *http.Request, projectID string) {
	r.serve(w, req, outcome.Store, projectID, r.takeStore)
}

// request is what both forms have in common.
type request struct {
	credentials project.Credentials
	authErr     error  // why there are none; an envelope's dsn may do instead
	wanted      uint64 // zero: the key's
	body        []byte
	lease       *bound.Lease
}

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request, protocol, projectID string, take func(context.Context, *request) (schemas.EventID, error)) {
	lease, err := r.deps.Budget.Lease(0)
	if err != nil {
		r.refuse(w, protocol, err, 0)
		return
	}
	defer lease.Release()
	in := &request{lease: lease}
	id, wire, err := r.read(w, req, protocol, projectID, in, take)
	if err != nil {
		r.refuse(w, protocol, err, wire)
		return
	}
	body := []byte("{}")
	if id != (schemas.EventID{}) {
		body = []byte(`{"id":"` + id.String() + `"}`)
	}
	r.write(w, protocol, http.StatusOK, body, wire)
}

func (r *Receiver) read(w http.ResponseWriter, req *http.Request, protocol, projectID string, in *request, take func(context.Context, *request) (schemas.EventID, error)) (id schemas.EventID, wire int64, err error) {
	if projectID != "" || protocol == outcome.Envelope {
		if in.wanted, err = project.ParseID(projectID); err != nil {
			return id, 0, err
		}
	}
	in.credentials, in.authErr = project.FromRequest(req.Header.Get("X-Sentry-Auth"), req.Header.Get("Authorization"), req.URL.Query())
	if in.authErr != nil && (protocol == outcome.Store || !errors.Is(in.authErr, project.ErrNoAuth)) {
		return id, 0, in.authErr
	}
	if in.authErr == nil { // before the body is read: strangers cost little
		if err := r.authorize(req.Context(), in.credentials.Key, &in.wanted); err != nil {
			return id, 0, err
		}
	}
	in.body, wire, err = bound.Body{MaxBytes: r.cfg.MaxBytes, MaxDecompressed: r.cfg.MaxRaw}.Read(w, req, in.lease)
	if err != nil {
		return id, wire, err
	}
	id, err = take(req.Context(), in)
	return id, wire, err
}

// authorize checks that key belongs to the wanted project, or fills wanted in.
func (r *Receiver) authorize(ctx context.Context, key string, wanted *uint64) error {
	p, err := r.deps.Projects.ByKey(ctx, key)
	if err != nil {
		return err
	}
	if *wanted != 0 && p.ID != *wanted {
		return fmt.Errorf("%w (project %d was addressed)", project.ErrMismatch, *wanted)
	}
	*wanted = p.ID
	return nil
}

func (r *Receiver) takeEnvelope(ctx context.Context, in *request) (schemas.EventID, error) {
	received := r.now()
	header, items, err := Parse(in.body, r.cfg.MaxItems)
	if err != nil {
		return schemas.EventID{}, err
	}
	if err := r.compareDSN(ctx, header.DSN, in); err != nil {
		return schemas.EventID{}, err
	}
	id := header.EventID
	var payload []byte
	for _, item := range items {
		if item.Type != "event" {
			r.deps.Counts.Unsupported(typeLabel(item.Type))
			continue
		}
		if payload != nil {
			r.deps.Counts.Refused("duplicate_item")
			continue
		}
		if err := r.checkEvent(item.Payload); err != nil {
			if len(items) == 1 { // nobody else in the envelope is hurt by an error
				return id, err
			}
			r.badItem(err)
			continue
		}
		payload = item.Payload
	}
	if payload == nil {
		return id, nil
	}
	return r.event(ctx, in, received, payload, id)
}

// compareDSN holds the envelope's own dsn against the credentials, or uses it
// when there were none.
func (r *Receiver) compareDSN(ctx context.Context, dsn string, in *request) error {
	if dsn == "" {
		return in.authErr
	}
	key, id, err := project.ParseDSN(dsn)
	if err != nil {
		return err
	}
	if id != in.wanted {
		return fmt.Errorf("%w: dsn names project %d, the path %d", ErrHeaderMismatch, id, in.wanted)
	}
	if in.authErr != nil {
		return r.authorize(ctx, key, &in.wanted)
	}
	if key != in.credentials.Key {
		return fmt.Errorf("%w: dsn has another key", ErrHeaderMismatch)
	}
	return nil
}

func (r *Receiver) takeStore(ctx context.Context, in *request) (schemas.EventID, error) {
	received := r.now()
	payload, err := storeBody(in.body, int64(r.cfg.MaxEventBytes), in.lease)
	if err != nil {
		return schemas.EventID{}, err
	}
	if err := r.checkEvent(payload); err != nil {
		return schemas.EventID{}, err
	}
	return r.event(ctx, in, received, payload, schemas.EventID{})
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

// whatEvent is what a TooLargeError of checkEvent calls an event.
const whatEvent = "event"

func (r *Receiver) checkEvent(payload []byte) error {
	if len(payload) > r.cfg.MaxEventBytes {
		return &bound.TooLargeError{What: whatEvent, Limit: int64(r.cfg.MaxEventBytes)}
	}
	if err := bound.CheckObject(payload, maxEventDepth); err != nil {
		return fmt.Errorf("%w: %w", ErrBadEvent, err)
	}
	return nil
}

// badItem counts an item that is left out of its envelope.
func (r *Receiver) badItem(err error) {
	_, reason := codeOf(err)
	r.deps.Counts.Refused(reason)
	r.deps.Log.Debug("left an item out of its envelope", "reason", reason, "err", err)
}

// event makes one event durable. id is the envelope's, which wins over the
// event's own; with neither it gets a new one.
func (r *Receiver) event(ctx context.Context, in *request, received time.Time, payload []byte, id schemas.EventID) (schemas.EventID, error) {
	if id == (schemas.EventID{}) {
		id = ownID(payload)
	}
	if id == (schemas.EventID{}) {
		id = newID()
	}
	// A copy: the payload may be a small part of a large envelope, and Kafka's
	// client may keep it longer than the lease.
	record := produce.Event(in.wanted, received, bytes.Clone(payload), id)
	if err := r.deps.Producer.Produce(ctx, record); err != nil {
		return schemas.EventID{}, err
	}
	r.deps.Counts.EventAccepted(schemas.TopicIngestEvents)
	return id, nil
}

// ownID is what the event says its id is; zero when it does not or when that
// is no id.
func ownID(payload []byte) schemas.EventID {
	var p struct {
		EventID json.RawMessage `json:"event_id"`
	}
	if json.Unmarshal(payload, &p) != nil || p.EventID == nil {
		return schemas.EventID{}
	}
	id, err := parseIDField(p.EventID)
	if err != nil {
		return schemas.EventID{}
	}
	return id
}

// newID is a random UUID, version 4.
func newID() schemas.EventID {
	var id schemas.EventID
	_, _ = rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// typeLabel keeps the label's values few.
func typeLabel(t string) string {
	switch t {
	case "transaction", "span", "log", "trace_metric", "attachment", "session", "sessions", "client_report", "check_in",
		"profile", "profile_chunk", "replay_event", "replay_recording", "replay_video", "feedback", "user_report",
		"statsd", "metric_buckets", "security", "raw_security", "nel", "form_data", "unreal_report", "otel_span":
		return t
	}
	return "unknown"
}
