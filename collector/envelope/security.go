package envelope

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/schemas"
)

// ErrBadReport means that a browser's report is none.
var ErrBadReport = errors.New("invalid security report")

// maxReports bounds the reports of one request.
const maxReports = 100

// Security takes what browsers report about policies of a page: one report, or
// a list of them as the Reporting API sends. item is "raw_security" or "nel".
func (r *Receiver) Security(w http.ResponseWriter, req *http.Request, projectID, item string) {
	r.serve(w, req, door{protocol: outcome.Security, project: projectID, take: func(in *intake, rq *request) (reply, error) {
		k := kinds[item]
		body, err := in.readBody(rq, k.name, r.cfg.MaxEventBytes)
		if err != nil {
			return reply{}, err
		}
		in.items = 1
		query := rq.URL.Query()
		return reply{}, in.securityReports(k, item, body, query.Get("sentry_release"), query.Get("sentry_environment"))
	}})
}

// securityReports takes one report or a list of them. Each becomes an event of
// type "security" with a JSON of ours:
//
//	{"kind", "report", "user_agent", "release", "environment"}
//
// report is what the browser sent, word for word.
func (in *intake) securityReports(k *kind, item string, data []byte, release, environment string) error {
	n := 0
	each := func(report []byte) error {
		if n++; n > maxReports {
			return &bound.TooLargeError{What: "the number of reports", Limit: maxReports, Unit: "reports"}
		}
		kind, err := reportKind(report, item == "nel")
		if err != nil {
			in.invalid(k, 1, in.id, "invalid_report", fmt.Errorf("%w: %w", ErrBadReport, err))
			return nil
		}
		id := in.id
		if n > 1 || id == (schemas.EventID{}) || in.has(k) {
			id = newID()
		}
		if in.id == (schemas.EventID{}) {
			in.id = id
		}
		payload := object(make([]byte, 0, len(report)+512)).text("kind", kind).raw("report", report).
			text("user_agent", in.from.UserAgent).text("release", short(release, 250)).text("environment", short(environment, 64)).end()
		if err := in.lease.Grow(cap(payload)); err != nil {
			return err
		}
		d, ok := in.ask(k, 1, int64(len(payload)), id, payload)
		e := held{kind: k, id: id, payload: d.Payload}
		if !ok {
			e.dropped, e.outcome, e.reason = true, d.Outcome, d.Reason
		}
		in.held = append(in.held, e)
		return nil
	}
	err := bound.Elements(data, maxEventDepth, each)
	if errors.Is(err, bound.ErrNoArray) {
		if err = bound.CheckObject(data, maxEventDepth); err == nil {
			return each(data)
		}
	}
	if _, large := errors.AsType[*bound.TooLargeError](err); err == nil || large || errors.Is(err, bound.ErrOverload) {
		return err
	}
	in.invalid(k, 1, in.id, "invalid_json", fmt.Errorf("%w: %w", ErrBadReport, err))
	return nil
}

// reportKind tells what a report is about: csp, expectct, expectstaple, hpkp or nel.
func reportKind(report []byte, isNEL bool) (kind string, err error) {
	err = bound.Members(report, maxEventDepth, func(key, value []byte) error {
		switch string(key) {
		case "csp-report":
			kind = "csp"
		case "expect-ct-report":
			kind = "expectct"
		case "expect-staple-report":
			kind = "expectstaple"
		case "known-pins", "noted-hostname":
			kind = "hpkp"
		case "type":
			switch string(value) {
			case `"csp-violation"`:
				kind = "csp"
			case `"network-error"`:
				kind = "nel"
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case isNEL:
		return "nel", nil
	case kind == "":
		return "", errors.New("it is of no kind that is known")
	}
	return kind, nil
}
