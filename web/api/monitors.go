package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/monitor"
	"github.com/hoptrace/hoptrace/schemas"
)

// MonitorList are a project's monitors, by slug.
type MonitorList struct {
	Monitors []Monitor `json:"monitors"`
}

// Monitor is a job that checks in.
type Monitor struct {
	Slug         string                `json:"slug"`
	Name         string                `json:"name"`
	Status       string                `json:"status"` // active, muted or disabled
	Config       schemas.MonitorConfig `json:"config"`
	Created      Nanos                 `json:"created"`
	Environments []MonitorEnvironment  `json:"environments"`
}

// MonitorEnvironment is how it fares in one environment.
type MonitorEnvironment struct {
	Name    string `json:"name"`
	Status  string `json:"status"` // of the last run that is over
	Last    *Nanos `json:"last"`
	Next    *Nanos `json:"next"`
	Failing bool   `json:"failing"`
	Event   string `json:"event"` // that made the issue; empty when there is none
}

// MonitorCreate makes a monitor.
type MonitorCreate struct {
	Slug   string                `json:"slug"`
	Name   string                `json:"name,omitempty"`
	Status string                `json:"status,omitempty"`
	Config schemas.MonitorConfig `json:"config"`
}

// MonitorUpdate changes one. What is not given stays.
type MonitorUpdate struct {
	Name   *string                `json:"name,omitempty"`
	Status *string                `json:"status,omitempty"`
	Config *schemas.MonitorConfig `json:"config,omitempty"`
}

// CheckInList is a page of runs, newest first.
type CheckInList struct {
	CheckIns []CheckIn `json:"checkIns"`
	// Next pages: pass it as before. Null on the last page.
	Next *string `json:"next"`
}

// CheckIn is one run of a job, or that it was missed.
type CheckIn struct {
	ID          string `json:"id"`
	Environment string `json:"environment"`
	Status      string `json:"status"`
	Time        Nanos  `json:"time"`
	Updated     Nanos  `json:"updated"`
	Duration    *Nanos `json:"duration"`
	TraceID     string `json:"traceId"`
	Release     string `json:"release"`
}

func (h *Handler) monitorRoutes() {
	h.handle("/api/v1/monitors", nil, h.monitors)
	h.act(http.MethodPost, "/api/v1/monitors", h.createMonitor)
	h.handle("/api/v1/monitors/{slug}", nil, h.monitor)
	h.act(http.MethodPut, "/api/v1/monitors/{slug}", h.updateMonitor)
	h.act(http.MethodDelete, "/api/v1/monitors/{slug}", h.deleteMonitor)
	h.handle("/api/v1/monitors/{slug}/check-ins", []string{"environment", "before", "limit"}, h.checkIns)
}

func (h *Handler) hasMonitors() error {
	if h.deps.Monitors == nil {
		return errorf(http.StatusNotImplemented, "no_monitors", "ask a server of hoptrace", "this server has no store of monitors")
	}
	return nil
}

func monitorJSON(m *schemas.Monitor) Monitor {
	out := Monitor{Slug: m.Slug, Name: m.Name, Status: string(m.Status), Config: m.Config, Created: nanos(m.Created), Environments: make([]MonitorEnvironment, len(m.Environments))}
	for i := range m.Environments {
		e := &m.Environments[i]
		out.Environments[i] = MonitorEnvironment{Name: e.Name, Status: string(e.Status), Last: known(e.Last), Next: known(e.Next), Failing: e.Failing, Event: eventText(e.Event)}
	}
	return out
}

// monitorError says what the store refused.
func monitorError(err error, slug string) error {
	switch {
	case errors.Is(err, exporters.ErrNotFound):
		return errorf(http.StatusNotFound, "monitor_not_found", "/api/v1/monitors lists the monitors", "there is no monitor %q", clip(slug, 64))
	case errors.Is(err, exporters.ErrExists):
		return errorf(http.StatusConflict, "monitor_exists", "choose another slug, or change the monitor that has it", "there is a monitor %q already", clip(slug, 64))
	case errors.Is(err, exporters.ErrTooLarge):
		return errorf(http.StatusConflict, "too_many_monitors", "delete those that are of no use", "a project has at most %d monitors", exporters.MaxMonitors)
	case errors.Is(err, exporters.ErrInvalid):
		return errorf(http.StatusBadRequest, "bad_monitor", "mend what the message names and send it again", "%s", clip(err.Error(), 4<<10))
	}
	return err
}

func (h *Handler) monitors(ctx context.Context, q *query) (any, error) {
	if err := h.hasMonitors(); err != nil {
		return nil, err
	}
	list, err := h.deps.Monitors.Monitors(ctx, q.project.ID)
	if err != nil {
		return nil, fmt.Errorf("cannot list monitors: %w", err)
	}
	out := MonitorList{Monitors: make([]Monitor, len(list))}
	for i := range list {
		out.Monitors[i] = monitorJSON(&list[i])
	}
	return out, nil
}

func (h *Handler) monitor(ctx context.Context, q *query) (any, error) {
	if err := h.hasMonitors(); err != nil {
		return nil, err
	}
	m, err := h.deps.Monitors.Monitor(ctx, q.project.ID, q.path("slug"))
	if err != nil {
		return nil, monitorError(err, q.path("slug"))
	}
	return monitorJSON(&m), nil
}

func (h *Handler) createMonitor(ctx context.Context, q *query) (any, error) {
	if err := h.hasMonitors(); err != nil {
		return nil, err
	}
	var in MonitorCreate
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Status == "" {
		in.Status = string(schemas.MonitorActive)
	}
	m, err := h.deps.Monitors.CreateMonitor(ctx, schemas.Monitor{
		Project: q.project.ID, Slug: in.Slug, Name: in.Name, Status: schemas.MonitorStatus(in.Status), Config: monitor.WithDefaults(in.Config), Created: h.now().UnixNano(),
	})
	if err != nil {
		return nil, monitorError(err, in.Slug)
	}
	return monitorJSON(&m), nil
}

func (h *Handler) updateMonitor(ctx context.Context, q *query) (any, error) {
	if err := h.hasMonitors(); err != nil {
		return nil, err
	}
	var in MonitorUpdate
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	slug := q.path("slug")
	m, err := h.deps.Monitors.Monitor(ctx, q.project.ID, slug)
	if err != nil {
		return nil, monitorError(err, slug)
	}
	if in.Name != nil {
		m.Name = *in.Name
	}
	if in.Status != nil {
		m.Status = schemas.MonitorStatus(*in.Status)
	}
	if in.Config != nil {
		m.Config = monitor.WithDefaults(*in.Config)
	}
	if m, err = h.deps.Monitors.UpdateMonitor(ctx, m, h.now().UnixNano()); err != nil {
		return nil, monitorError(err, slug)
	}
	return monitorJSON(&m), nil
}

func (h *Handler) deleteMonitor(ctx context.Context, q *query) (any, error) {
	if err := h.hasMonitors(); err != nil {
		return nil, err
	}
	if err := h.deps.Monitors.DeleteMonitor(ctx, q.project.ID, q.path("slug")); err != nil {
		return nil, monitorError(err, q.path("slug"))
	}
	return Done{Done: true}, nil
}

func (h *Handler) checkIns(ctx context.Context, q *query) (any, error) {
	if err := h.hasMonitors(); err != nil {
		return nil, err
	}
	slug, limit := q.path("slug"), q.limit(50)
	var before int64
	var beforeID schemas.EventID
	if s := q.text("before"); s != "" {
		at, id, _ := strings.Cut(s, ".")
		var err error
		var ok bool
		before, err = strconv.ParseInt(at, 10, 64)
		if beforeID, ok = parseEventID(id); err != nil || before <= 0 || !ok {
			q.refuse("before", s, "what the last page gave as next")
		}
	}
	if q.fault != nil {
		return nil, q.fault
	}
	if _, err := h.deps.Monitors.Monitor(ctx, q.project.ID, slug); err != nil {
		return nil, monitorError(err, slug)
	}
	list, err := h.deps.Monitors.CheckIns(ctx, q.project.ID, slug, q.text("environment"), before, beforeID, limit)
	if err != nil {
		return nil, fmt.Errorf("cannot list the check-ins of monitor %q: %w", clip(slug, 64), err)
	}
	out := CheckInList{CheckIns: make([]CheckIn, len(list))}
	for i := range list {
		c := &list[i]
		o := CheckIn{ID: c.ID.String(), Environment: c.Environment, Status: string(c.Status), Time: nanos(c.Time), Updated: nanos(c.Updated), TraceID: traceText(c.Trace), Release: c.Release}
		if c.Duration >= 0 {
			d := nanos(c.Duration)
			o.Duration = &d
		}
		out.CheckIns[i] = o
	}
	if len(list) == limit {
		last := &list[len(list)-1]
		next := strconv.FormatInt(last.Time, 10) + "." + last.ID.String()
		out.Next = &next
	}
	return out, nil
}
