package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc/codes"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/collector/produce"
	"github.com/hoptrace/hoptrace/collector/project"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// Config of a Receiver. All sizes are bytes and must be positive.
type Config struct {
	MaxRequestBytes      int64 // a request as it comes
	MaxDecompressedBytes int64 // and as it is
	MaxRecordBytes       int   // of one record's value
	RequireAuth          bool  // refuse senders without a DSN key
	RetryAfter           time.Duration
	From                 project.From // reads who sends out of HTTP requests
}

// Deps are what a Receiver works with. All are needed.
type Deps struct {
	Projects *project.Resolver
	Producer *produce.Producer
	Budget   *bound.Budget
	Counts   *outcome.Counts
	Outcomes outcome.Recorder
	Gate     policy.Gate
	// Scrub gives a request without what its project wants out of it; kind is as
	// in policy.Item. Nil: nothing goes.
	Scrub func(from *policy.Sender, kind string, data []byte) []byte
	Log   *slog.Logger
}

// Receiver takes traces, metrics and logs; both protocols share it.
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

// ErrRateLimited means that a quota is used up.
var ErrRateLimited = errors.New("rate limited: a quota is used up")

// sender finds who sends, and asks the gate for admission. wanted is the project
// of the path, zero for none.
func (r *Receiver) sender(ctx context.Context, sources project.Sources, wanted uint64, from policy.Sender) (*policy.Sender, error) {
	c, err := sources.Credentials()
	if errors.Is(err, project.ErrNoAuth) && wanted == 0 && !r.cfg.RequireAuth {
		if from.Project, err = r.deps.Projects.Default(ctx); err != nil {
			return nil, err
		}
		return &from, r.admit(ctx, &from)
	}
	if err != nil {
		return nil, err
	}
	found, err := r.deps.Projects.Find(ctx, c.Key)
	if err != nil {
		return nil, err
	}
	if wanted != 0 && found.Project.ID != wanted {
		return nil, fmt.Errorf("%w (project %d was addressed)", project.ErrMismatch, wanted)
	}
	from.Project, from.Key, from.KeyID, from.KeyLimit = found.Project, c.Key, found.Key.ID, found.Key.Limit
	return &from, r.admit(ctx, &from)
}

func (r *Receiver) admit(ctx context.Context, from *policy.Sender) error {
	if limits, refuse := r.deps.Gate.Admit(ctx, from); refuse {
		return &limitedError{limits}
	}
	return nil
}

// limitedError is ErrRateLimited with the limits that hold.
type limitedError struct{ limits []policy.RateLimit }

func (e *limitedError) Error() string { return ErrRateLimited.Error() }
func (e *limitedError) Unwrap() error { return ErrRateLimited }

// category is what a signal's items count as, and kind what the gate calls them.
func (s Signal) category() schemas.Category {
	return [...]schemas.Category{schemas.CategorySpan, schemas.CategoryTraceMetric, schemas.CategoryLogItem}[s]
}

func (s Signal) kind() string { return [...]string{"span", "trace_metric", "log"}[s] }

// bytesCategory counts the bytes of a signal; empty for spans, of which the
// number counts only.
func (s Signal) bytesCategory() schemas.Category {
	return [...]schemas.Category{"", schemas.CategoryTraceMetricByte, schemas.CategoryLogByte}[s]
}

func (r *Receiver) record(from *policy.Sender, cat schemas.Category, o schemas.Outcome, reason string, n int64) {
	if n > 0 && cat != "" {
		r.deps.Outcomes.Record(from.Project.ID, from.Key, cat, o, reason, n, schemas.EventID{})
	}
}

// take checks the bytes of one request and returns when what is valid is
// durable. before holds what was refused already. The report is right only
// without an error.
func (r *Receiver) take(ctx context.Context, signal Signal, from *policy.Sender, data []byte, before Report, lease *bound.Lease) (Report, error) {
	received := r.now()
	if r.deps.Scrub != nil {
		scrubbed := r.deps.Scrub(from, signal.kind(), data)
		if len(scrubbed) != len(data) || len(data) > 0 && &scrubbed[0] != &data[0] { // a copy
			if err := lease.Grow(len(scrubbed)); err != nil {
				return Report{}, err
			}
		}
		data = scrubbed
	}
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
	r.reject(signal, from, &report)
	var kept func()
	if report.Items > 0 {
		d := r.deps.Gate.Item(ctx, from, policy.Item{Type: signal.kind(), Category: signal.category(), Quantity: report.Items, Size: int64(len(data))})
		if !d.Keep {
			if d.Outcome == schemas.OutcomeRateLimited {
				limits := r.deps.Gate.Limits(ctx, from)
				if d.Limit != nil {
					limits = policy.AddLimit(slices.Clone(limits), *d.Limit)
				}
				return Report{}, &limitedError{limits}
			}
			return report, nil
		}
		kept = d.Kept
	}
	records := make([]*kgo.Record, len(parts))
	size := 0
	for i, p := range parts {
		records[i] = record(signal, from.Project.ID, received, p)
		size += len(p.Data)
	}
	if err := r.deps.Producer.Produce(ctx, records...); err != nil {
		a := answerTo(err)
		o := schemas.OutcomeRateLimited
		if !a.retry {
			o = schemas.OutcomeInvalid
		}
		r.record(from, signal.category(), o, a.reason, int64(report.Items))
		r.record(from, signal.bytesCategory(), o, a.reason, int64(size))
		return Report{}, err
	}
	if kept != nil {
		kept()
	}
	switch signal {
	case Traces:
		r.deps.Counts.SpansAccepted(report.Items, len(records), schemas.TopicIngestSpans)
	case Metrics:
		r.deps.Counts.PointsAccepted(report.Items, len(records), schemas.TopicIngestMetrics)
	case Logs:
		r.deps.Counts.LogsAccepted(report.Items, len(records), topics.IngestLogs)
	}
	r.record(from, signal.category(), schemas.OutcomeAccepted, "", int64(report.Items))
	r.record(from, signal.bytesCategory(), schemas.OutcomeAccepted, "", int64(size))
	if report.Truncated > 0 {
		r.deps.Counts.Truncated(report.Truncated)
	}
	return report, nil
}

// reject counts what was refused of a request.
func (r *Receiver) reject(signal Signal, from *policy.Sender, report *Report) {
	count := [...]func(string, int){r.deps.Counts.SpansRejected, r.deps.Counts.PointsRejected, r.deps.Counts.LogsRejected}[signal]
	for reason, n := range report.Rejected {
		if n > 0 {
			count(Reason(reason).String(), n)
			r.record(from, signal.category(), schemas.OutcomeInvalid, Reason(reason).String(), int64(n))
		}
	}
}

func record(signal Signal, projectID uint64, received time.Time, p Part) *kgo.Record {
	switch signal {
	case Metrics:
		return produce.Metrics(projectID, received, p.Data, p.Items, p.Truncated)
	case Logs:
		return produce.Logs(projectID, received, p.Data, p.Items, p.Truncated)
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
	case errors.Is(err, ErrRateLimited):
		return answer{http.StatusTooManyRequests, codes.ResourceExhausted, true, "rate_limited"}
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

// retryAfter is how long a sender is to wait because of err.
func (r *Receiver) retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*limitedError](err); ok {
		if n := policy.Seconds(e.limits); n > 0 {
			return time.Duration(n) * time.Second
		}
	}
	return max(r.cfg.RetryAfter, time.Second)
}
