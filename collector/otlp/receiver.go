package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc/codes"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/collector/produce"
	"github.com/hoptrace/hoptrace/collector/project"
	"github.com/hoptrace/hoptrace/schemas"
)

// Config of a Receiver. All sizes are bytes and must be positive.
type Config struct {
	MaxRequestBytes      int64 // a request as it comes
	MaxDecompressedBytes int64 // and as it is
	MaxRecordBytes       int   // of one record's value
	RequireAuth          bool  // refuse senders without a DSN key
	RetryAfter           time.Duration
}

// Deps are what a Receiver works with. All are needed.
type Deps struct {
	Projects *project.Resolver
	Producer *produce.Producer
	Budget   *bound.Budget
	Counts   *outcome.Counts
	Log      *slog.Logger
}

// Receiver takes traces and metrics; both protocols share it.
type Receiver struct {
	cfg  Config
	deps Deps
	now  func() time.Time
}

// New makes a receiver.
func New(cfg Config, deps Deps) *Receiver { return &Receiver{cfg, deps, time.Now} }

// Errors of a request, apart from those of packages bound, produce and project.
var (
	// ErrMalformed means that the body is not what its content type says.
	ErrMalformed = errors.New("malformed request")
	// ErrContentType means that the body is neither protobuf nor JSON.
	ErrContentType = errors.New("unsupported content type")
)

// sender finds the project. wanted is the project of the path, zero for none.
func (r *Receiver) sender(ctx context.Context, authSentry, authorization string, wanted uint64) (uint64, error) {
	c, err := project.FromRequest(authSentry, authorization, nil)
	if errors.Is(err, project.ErrNoAuth) && wanted == 0 && !r.cfg.RequireAuth {
		p, err := r.deps.Projects.Default(ctx)
		return p.ID, err
	}
	if err != nil {
		return 0, err
	}
	p, err := r.deps.Projects.ByKey(ctx, c.Key)
	if err != nil {
		return 0, err
	}
	if wanted != 0 && p.ID != wanted {
		return 0, fmt.Errorf("%w (project %d was addressed)", project.ErrMismatch, wanted)
	}
	return p.ID, nil
}

// take checks the bytes of one request and returns when what is valid is
// durable. before holds what was refused already. The report is right only
// without an error.
func (r *Receiver) take(ctx context.Context, signal Signal, projectID uint64, data []byte, before Report, lease *bound.Lease) (Report, error) {
	received := r.now()
	if len(data) > r.cfg.MaxRecordBytes { // its parts are copies
		if err := lease.Grow(len(data)); err != nil {
			return Report{}, err
		}
	}
	parts, report, err := split(signal, data, r.cfg.MaxRecordBytes, received)
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	report.add(before)
	records := make([]*kgo.Record, len(parts))
	for i, p := range parts {
		records[i] = record(signal, projectID, received, p)
	}
	if err := r.deps.Producer.Produce(ctx, records...); err != nil {
		return Report{}, err
	}
	accepted, rejected, topic := r.deps.Counts.SpansAccepted, r.deps.Counts.SpansRejected, schemas.TopicIngestSpans
	if signal == Metrics {
		accepted, rejected, topic = r.deps.Counts.PointsAccepted, r.deps.Counts.PointsRejected, schemas.TopicIngestMetrics
	}
	accepted(report.Items, len(records), topic)
	for reason, n := range report.Rejected {
		if n > 0 {
			rejected(Reason(reason).String(), n)
		}
	}
	if report.Truncated > 0 {
		r.deps.Counts.Truncated(report.Truncated)
	}
	return report, nil
}

func record(signal Signal, projectID uint64, received time.Time, p Part) *kgo.Record {
	if signal == Metrics {
		return produce.Metrics(projectID, received, p.Data, p.Items, p.Truncated)
	}
	return produce.Spans(projectID, received, p.Data, p.Items, p.Truncated)
}

// answer is how an error is told.
type answer struct {
	http   int
	grpc   codes.Code
	retry  bool   // the sender should come again
	reason string // outcome
}

func answerTo(err error) answer {
	if _, ok := errors.AsType[*bound.TooLargeError](err); ok {
		return answer{http.StatusRequestEntityTooLarge, codes.ResourceExhausted, false, "too_large"}
	}
	if _, ok := errors.AsType[*bound.EncodingError](err); ok {
		return answer{http.StatusUnsupportedMediaType, codes.Unimplemented, false, "content_encoding"}
	}
	if _, ok := errors.AsType[*bound.CorruptError](err); ok {
		return answer{http.StatusBadRequest, codes.InvalidArgument, false, "invalid_compression"}
	}
	switch {
	case errors.Is(err, ErrMalformed):
		return answer{http.StatusBadRequest, codes.InvalidArgument, false, "invalid_otlp"}
	case errors.Is(err, ErrContentType):
		return answer{http.StatusUnsupportedMediaType, codes.InvalidArgument, false, "content_type"}
	case errors.Is(err, bound.ErrOverload):
		return answer{http.StatusTooManyRequests, codes.ResourceExhausted, true, "overload"}
	case errors.Is(err, project.ErrNoAuth), errors.Is(err, project.ErrMultipleAuth):
		return answer{http.StatusUnauthorized, codes.Unauthenticated, false, "auth"}
	case errors.Is(err, project.ErrBadAuth):
		return answer{http.StatusBadRequest, codes.InvalidArgument, false, "bad_auth"}
	case errors.Is(err, project.ErrUnknownKey):
		return answer{http.StatusForbidden, codes.PermissionDenied, false, "unknown_key"}
	case errors.Is(err, project.ErrDisabled):
		return answer{http.StatusForbidden, codes.PermissionDenied, false, "disabled"}
	case errors.Is(err, project.ErrMismatch):
		return answer{http.StatusForbidden, codes.PermissionDenied, false, "project_id"}
	case errors.Is(err, produce.ErrTooLarge):
		return answer{http.StatusRequestEntityTooLarge, codes.ResourceExhausted, false, "too_large"}
	case errors.Is(err, produce.ErrUnavailable):
		return answer{http.StatusServiceUnavailable, codes.Unavailable, true, "kafka_unavailable"}
	case errors.Is(err, project.ErrUnavailable):
		return answer{http.StatusServiceUnavailable, codes.Unavailable, true, "metadata_unavailable"}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return answer{http.StatusServiceUnavailable, codes.Unavailable, true, "canceled"}
	}
	return answer{http.StatusInternalServerError, codes.Internal, false, "internal"}
}

// fail counts an error, logs what the operator should know of, and gives its answer.
func (r *Receiver) fail(signal Signal, protocol string, err error) answer {
	a := answerTo(err)
	r.deps.Counts.Refused(a.reason)
	if a.http >= http.StatusInternalServerError {
		r.deps.Log.Warn("cannot take "+signal.items(), "protocol", protocol, "reason", a.reason, "err", err)
	} else {
		r.deps.Log.Debug("refused a request", "protocol", protocol, "reason", a.reason, "err", err)
	}
	return a
}

func (r *Receiver) retryAfter() string {
	return strconv.Itoa(max(1, int(r.cfg.RetryAfter/time.Second)))
}
