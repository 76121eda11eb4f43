package otlp

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/collector/project"
)

// Content types of OTLP over HTTP.
const (
	typeProto = "application/x-protobuf"
	typeJSON  = "application/json"
)

// Serve takes a request to /v1/traces, /v1/metrics or /v1/logs.
func (r *Receiver) Serve(w http.ResponseWriter, req *http.Request, signal Signal) {
	r.serve(w, req, signal, 0, http.StatusOK)
}

// ServeSentry takes a request to Sentry's routes for OTLP, which name the
// project and answer 202.
func (r *Receiver) ServeSentry(w http.ResponseWriter, req *http.Request, signal Signal, projectID uint64) {
	r.serve(w, req, signal, projectID, http.StatusAccepted)
}

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request, signal Signal, wanted uint64, ok int) {
	isJSON, err := contentType(req)
	if err != nil {
		r.refuse(w, signal, err, isJSON, 0)
		return
	}
	lease, err := r.deps.Budget.Lease(0)
	if err != nil {
		r.refuse(w, signal, err, isJSON, 0)
		return
	}
	defer lease.Release()
	report, wire, err := r.receive(w, req, signal, wanted, isJSON, lease)
	if err != nil {
		r.refuse(w, signal, err, isJSON, wire)
		return
	}
	body := responseProto(&report)
	if isJSON {
		body = responseJSON(&report)
	}
	r.write(w, ok, isJSON, body, wire)
}

func (r *Receiver) receive(w http.ResponseWriter, req *http.Request, signal Signal, wanted uint64, isJSON bool, lease *bound.Lease) (Report, int64, error) {
	ctx := req.Context()
	sources := project.Sources{Sentry: req.Header["X-Sentry-Auth"], Authorization: req.Header["Authorization"]}
	if wanted != 0 && req.URL.RawQuery != "" { // only Sentry's routes have it in the query
		sources.Query = req.URL.Query()
	}
	from, err := r.sender(ctx, sources, wanted, r.cfg.From.Request(req))
	if err != nil {
		return Report{}, 0, err
	}
	limits := bound.Body{MaxBytes: r.cfg.MaxRequestBytes, MaxDecompressed: r.cfg.MaxDecompressedBytes}
	if isJSON { // its objects are several times its size
		limits.MaxDecompressed /= 4
	}
	data, wire, err := limits.Read(w, req, lease)
	if err != nil {
		return Report{}, wire, err
	}
	var before Report
	if isJSON {
		if data, before, err = fromJSON(signal, data, lease); err != nil {
			return Report{}, wire, err
		}
	}
	report, err := r.take(ctx, signal, from, data, before, lease)
	return report, wire, err
}

// refuse answers an error in the request's encoding.
func (r *Receiver) refuse(w http.ResponseWriter, signal Signal, err error, isJSON bool, wire int64) {
	a := r.fail(signal, outcome.OTLPHTTP, err)
	var retry time.Duration
	if a.retry {
		retry = r.retryAfter(err)
		w.Header().Set("Retry-After", strconv.Itoa(int(retry/time.Second)))
		if e, ok := errors.AsType[*limitedError](err); ok {
			policy.SetHeader(w.Header(), e.limits)
		}
	}
	body, err := statusBody(statusOf(a.grpc, err.Error(), retry), isJSON)
	if err != nil {
		r.deps.Log.Error("cannot encode an error", "err", err)
	}
	r.write(w, a.http, isJSON, body, wire)
}

func (r *Receiver) write(w http.ResponseWriter, code int, isJSON bool, body []byte, wire int64) {
	w.Header().Set("Content-Type", typeProto)
	if isJSON {
		w.Header().Set("Content-Type", typeJSON)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // a sender that is gone learns nothing
	r.deps.Counts.Request(outcome.OTLPHTTP, strconv.Itoa(code), wire)
}

// contentType tells whether the body is JSON, or fails with ErrContentType.
func contentType(req *http.Request) (isJSON bool, err error) {
	t, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	switch {
	case err == nil && t == typeJSON:
		return true, nil
	case err == nil && (t == typeProto || t == "application/protobuf"):
		return false, nil
	}
	return false, fmt.Errorf("%w %q: want %s or %s", ErrContentType, clip(req.Header.Get("Content-Type"), 100), typeProto, typeJSON)
}
