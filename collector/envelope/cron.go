package envelope

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/schemas"
)

// ErrBadCheckIn means that a check-in by URL lacks something.
var ErrBadCheckIn = errors.New("invalid check-in")

// maxEnvironment is the most bytes that the name of an environment has.
const maxEnvironment = 64

var validSlug = regexp.MustCompile(`^[A-Za-z0-9_-]{1,50}$`)

// Cron takes a check-in that a shell script can send: slug names the monitor,
// key may stand in the path, and status, check_in_id, duration, environment and
// monitor_config in the query or in a body of JSON, which counts more.
func (r *Receiver) Cron(w http.ResponseWriter, req *http.Request, projectID, slug, key string) {
	r.serve(w, req, door{protocol: outcome.Cron, project: projectID, key: key, take: func(in *intake, rq *request) (reply, error) {
		k := kinds["check_in"]
		payload, id, err := in.cron(rq, slug)
		if err != nil {
			return reply{}, in.unreadable(k, err)
		}
		in.items = 1
		return reply{code: http.StatusAccepted, id: id}, in.checkIn(k, payload)
	}})
}

func (in *intake) cron(rq *request, slug string) (payload []byte, id schemas.EventID, err error) {
	if !validSlug.MatchString(slug) {
		return nil, id, fmt.Errorf("%w: the monitor's slug %q is not 1 to 50 letters, digits, hyphens and underscores", ErrBadCheckIn, clip(slug, 64))
	}
	body, err := in.readBody(rq, "check_in", in.r.cfg.MaxCheckInBytes)
	if err != nil {
		return nil, id, err
	}
	return checkInOf(slug, rq.URL.Query(), body)
}

// checkInOf is the check-in of a query and a body, which may be empty. Without
// an id it has that of zeroes: the monitor's latest that is in progress.
func checkInOf(slug string, query url.Values, body []byte) (payload []byte, id schemas.EventID, err error) {
	members := map[string][]byte{}
	for _, name := range []string{"status", "check_in_id", "environment"} {
		if v := query.Get(name); v != "" {
			members[name] = appendText(nil, v)
		}
	}
	if v := query.Get("duration"); v != "" {
		members["duration"] = []byte(v)
	}
	if len(body) > 0 {
		err := bound.Members(body, maxHeaderDepth, func(key, value []byte) error {
			switch string(key) {
			case "status", "check_in_id", "environment", "duration", "monitor_config", "contexts":
				if !isNull(value) {
					members[string(key)] = value
				}
			}
			return nil
		})
		if err != nil {
			return nil, id, fmt.Errorf("%w: the body: %w", ErrBadCheckIn, err)
		}
	}
	switch status, _ := bound.Text(members["status"]); status {
	case "ok", "error", "in_progress":
	default:
		return nil, id, fmt.Errorf("%w: status is %q, want ok, error or in_progress", ErrBadCheckIn, clip(status, 40))
	}
	if v, has := members["check_in_id"]; has {
		text, _ := bound.Text(v)
		if id, err = ParseID(text); err != nil {
			return nil, id, fmt.Errorf("%w: check_in_id %q is no UUID", ErrBadCheckIn, clip(text, 64))
		}
	}
	if v, has := members["environment"]; has {
		text, ok := bound.Text(v)
		if !ok || len(text) > maxEnvironment || strings.ContainsAny(text, "/\r\n") {
			return nil, id, fmt.Errorf("%w: environment %q is no text of at most %d bytes without slashes and line ends", ErrBadCheckIn, clip(string(v), 80), maxEnvironment)
		}
	}
	if v, has := members["duration"]; has {
		d, err := strconv.ParseFloat(string(v), 64)
		if err != nil || d < 0 || d > 1e9 {
			return nil, id, fmt.Errorf("%w: duration %q is no number of seconds", ErrBadCheckIn, clip(string(v), 40))
		}
		members["duration"] = strconv.AppendFloat(nil, d, 'f', -1, 64)
	}
	o := object(nil).text("check_in_id", id.String()).text("monitor_slug", slug)
	for _, name := range []string{"status", "duration", "environment", "monitor_config", "contexts"} {
		if v, has := members[name]; has {
			o = o.raw(name, v)
		}
	}
	return o.end(), id, nil
}
