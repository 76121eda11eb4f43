package api

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// LineStage is one stage of the pipeline, as its table tells.
type LineStage struct{ Name, Topic, DLQ, Group, Does string }

// LineHealth tells how our own line does: collector, stages, stores, web.
type LineHealth struct {
	Finding  finding.Finding   `json:"finding"`
	RuledOut [][]finding.Piece `json:"ruledOut"` // causes that were looked for and are none
	Now      Nanos             `json:"now"`
	From     Nanos             `json:"from"`
	StepNs   int64             `json:"stepNs"` // series have slots of it, from From on
	// Processes that reported in the stretch, those that are late first.
	Processes []HealthProcess  `json:"processes"`
	Collector *HealthCollector `json:"collector"` // null when no process that collects reports
	Stages    []HealthStage    `json:"stages"`
	Stores    []HealthStore    `json:"stores"`
	Web       *HealthWeb       `json:"web"`     // null when no process that serves the UI reports
	Letters   *int64           `json:"letters"` // open dead letters; null when the broker cannot be asked
}

// HealthProcess is one process of ours.
type HealthProcess struct {
	Instance    string   `json:"instance"`
	Role        string   `json:"role"`
	Host        string   `json:"host"`
	Version     string   `json:"version"`
	Started     Nanos    `json:"started"`
	Reported    Nanos    `json:"reported"`
	Late        bool     `json:"late"` // it should have reported again by now
	MemoryBytes *int64   `json:"memoryBytes"`
	CPU         *float64 `json:"cpu"` // cores in use
}

// HealthCollector is all collectors together.
type HealthCollector struct {
	State         string     `json:"state"`
	Requests      *float64   `json:"requests"` // a second
	Refused       *float64   `json:"refused"`  // a second, answered 429 or 5xx
	Bytes         *float64   `json:"bytes"`    // a second, compressed as they came
	Pressure      *float64   `json:"pressure"` // in [0, 1], of the one that is worst off
	SpoolBytes    int64      `json:"spoolBytes"`
	SpoolMaxBytes int64      `json:"spoolMaxBytes"`
	SpoolRequests int64      `json:"spoolRequests"`
	ProduceNs     *int64     `json:"produceNs"` // mean until Kafka acknowledged
	Received      []*float64 `json:"received"`  // requests a second over time
	RefusedOver   []*float64 `json:"refusedOver"`
}

// HealthStage is one stage, all processes that run it together. Counts are of the
// stretch shown, rates of the last minute.
type HealthStage struct {
	Name        string   `json:"name"`
	Topic       string   `json:"topic"`
	DLQ         string   `json:"dlq"`
	Group       string   `json:"group"`
	Does        string   `json:"does"`
	State       string   `json:"state"`
	Why         string   `json:"why"`
	Processes   int      `json:"processes"`
	Records     *float64 `json:"records"` // a second, read and made durable
	Items       *float64 `json:"items"`   // a second: spans, events, points in them
	Written     *float64 `json:"written"` // records a second onto the topic
	LagRecords  *int64   `json:"lagRecords"`
	BehindNs    *int64   `json:"behindNs"`
	HandleNs    *int64   `json:"handleNs"` // mean from a batch complete to durable
	WriteNs     *int64   `json:"writeNs"`  // mean of what the store took for a batch
	Batches     int64    `json:"batches"`
	Slow        int64    `json:"slow"` // batches that took more than a second
	Retries     int64    `json:"retries"`
	Errors      int64    `json:"errors"` // commits and fetches that failed, panics that were caught
	DeadLetters int64    `json:"deadLetters"`
	Gaps        int64    `json:"gaps"`     // times that the next record was gone
	Lost        int64    `json:"lost"`     // records that accepted gaps skipped
	Standing    []string `json:"standing"` // what stands still, and why
	// Failures are the last ones of each process and kind in the stretch, newest first.
	Failures  []HealthFailure `json:"failures"`
	LastBatch *Nanos          `json:"lastBatch"` // the report that first had it; null when there was none in the stretch
	ItemsOver []*float64      `json:"itemsOver"` // items a second over time
	LagOver   []*float64      `json:"lagOver"`   // records over time
}

// HealthFailure is what a process last failed by, of one kind.
type HealthFailure struct {
	Kind    string `json:"kind"` // handling: it is tried again; fetching, committing; panic: it was caught
	At      Nanos  `json:"at"`
	Says    string `json:"says"`
	Process string `json:"process"`
}

// HealthStore is one store.
type HealthStore struct {
	Name       string `json:"name"`
	Error      string `json:"error"` // why it does not answer; empty when it does
	AnsweredNs *int64 `json:"answeredNs"`
	Rows       *int64 `json:"rows"`
	Parts      *int64 `json:"parts"`
	Bytes      *int64 `json:"bytes"`
	FreeBytes  *int64 `json:"freeBytes"`
	TotalBytes *int64 `json:"totalBytes"`
	Memory     *int64 `json:"memory"`
	// Inserted is rows a second of the last minute, of all stages; null when nobody tells.
	Inserted *float64 `json:"inserted"`
	WriteNs  *int64   `json:"writeNs"` // mean of a batch, of all stages
}

// HealthWeb is the API of all processes that serve it.
type HealthWeb struct {
	Requests *float64   `json:"requests"` // a second
	MeanNs   *int64     `json:"meanNs"`
	Answered int64      `json:"answered"` // in the stretch
	Slow     int64      `json:"slow"`     // took more than a second
	Failed   int64      `json:"failed"`   // answered 5xx
	Over     []*float64 `json:"over"`     // requests a second over time
}

const (
	healthSlots = 60
	// healthLate is how old a last report may be: three were due.
	healthLate = 3*exporters.HealthEvery + 5*time.Second
	// healthNow is what rates of the present are found over.
	healthNow = time.Minute
	// healthAsk bounds the questions to the store and the broker: the page is most
	// wanted when they do not answer.
	healthAsk = 2 * time.Second
)

func (h *Handler) healthRoutes() {
	h.handle("/api/v1/health", []string{"from"}, h.health)
}

// health answers /health.
func (h *Handler) health(ctx context.Context, q *query) (any, error) {
	from := q.time("from")
	if q.fault != nil {
		return nil, q.fault
	}
	if h.deps.Health == nil {
		return nil, errorf(501, "no_health", "ask the server that `hoptrace web` or `hoptrace all` starts", "this process does not know what others report")
	}
	if from.IsZero() {
		from = q.now.Add(-exporters.HealthFine)
	}
	if q.now.Sub(from) > exporters.HealthCoarse {
		from = q.now.Add(-exporters.HealthCoarse)
	}
	if !from.Before(q.now.Add(-time.Minute)) {
		from = q.now.Add(-time.Minute)
	}
	reports, err := h.deps.Health.Health(ctx, from, q.now.Add(time.Second))
	if err != nil {
		return nil, err
	}
	w := newHealthWindow(reports, from, q.now)
	out := LineHealth{Now: nanos(q.now.UnixNano()), From: nanos(from.UnixNano()), StepNs: int64(w.step), Processes: w.processes(), Collector: w.collector(), Web: w.web(), Stages: []HealthStage{}}
	lag := map[string]stageLag{}
	if report, err := h.report(ctx); err == nil {
		lag = lagOfStages(report, h.deps.Stages)
	}
	for _, s := range h.deps.Stages {
		out.Stages = append(out.Stages, w.stage(s, lag[s.Group]))
	}
	store := w.store("clickhouse")
	if h.deps.StoreHealth != nil {
		asking, cancel := context.WithTimeout(ctx, healthAsk)
		told, err := h.deps.StoreHealth.StoreHealth(asking)
		cancel()
		store.tell(told, err)
	}
	out.Stores = append(out.Stores, store)
	if h.deps.Letters != nil && h.deps.LetterEnds != nil {
		asking, cancel := context.WithTimeout(ctx, healthAsk)
		topics, err := h.letterTopics(asking, nil)
		cancel()
		if err == nil {
			open := int64(0)
			for _, t := range topics {
				open += t.Open
			}
			out.Letters = &open
		} else {
			h.log.Debug("web: cannot count the dead letters", "err", err)
		}
	}
	facts := out.facts(q.now.Sub(from))
	out.Finding, out.RuledOut = finding.ForHealth(facts), finding.HealthRuledOut(facts)
	return out, nil
}

// facts are what the finding is made of.
func (out *LineHealth) facts(shown time.Duration) finding.Health {
	f := finding.Health{Processes: len(out.Processes), Range: shown.Round(time.Second), Free: math.NaN(), Letters: -1}
	now, _ := strconv.ParseInt(string(out.Now), 10, 64)
	for _, p := range out.Processes {
		at, _ := strconv.ParseInt(string(p.Reported), 10, 64)
		age := time.Duration(max(now-at, 0)).Round(time.Second)
		if p.Late {
			f.Silent = append(f.Silent, p.Instance)
			if f.SilentFor == 0 {
				f.SilentFor = age
			}
		} else {
			f.Oldest = max(f.Oldest, age)
		}
	}
	if c := out.Collector; c != nil {
		f.Collects, f.Spooled = true, c.SpoolRequests
		f.Pressure, f.Refused = value(c.Pressure), value(c.Refused)
	}
	for _, s := range out.Stages {
		one := finding.HealthStage{
			Name: s.Name, Topic: s.Topic, State: finding.HealthState(s.State), Why: s.Why, Behind: -1, Lag: -1, Read: math.NaN(), Written: math.NaN(), Write: -1, Retries: s.Retries, DeadLetters: s.DeadLetters,
		}
		if s.BehindNs != nil {
			one.Behind = time.Duration(*s.BehindNs)
		}
		if s.LagRecords != nil {
			one.Lag = *s.LagRecords
		}
		if s.Records != nil {
			one.Read = *s.Records
		}
		if s.Written != nil {
			one.Written = *s.Written
		}
		if s.WriteNs != nil {
			one.Write = time.Duration(*s.WriteNs)
		}
		f.Stages = append(f.Stages, one)
	}
	for _, s := range out.Stores {
		if s.Error != "" {
			f.StoreSays = s.Error
		}
		if s.FreeBytes != nil && s.TotalBytes != nil && *s.TotalBytes > 0 {
			f.Free = float64(*s.FreeBytes) / float64(*s.TotalBytes)
		}
	}
	if out.Letters != nil {
		f.Letters = *out.Letters
	}
	return f
}

func value(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// healthWindow is what reports tell of a stretch.
type healthWindow struct {
	from, now time.Time
	step      time.Duration
	by        [][]exporters.ProcessReport // of one process each, in order of time
}

func newHealthWindow(reports []exporters.ProcessReport, from, now time.Time) *healthWindow {
	w := &healthWindow{from: from, now: now, step: now.Sub(from) / healthSlots}
	for begin := 0; begin < len(reports); {
		end := begin + 1
		for end < len(reports) && reports[end].Instance == reports[begin].Instance {
			end++
		}
		w.by = append(w.by, reports[begin:end])
		begin = end
	}
	return w
}

func (w *healthWindow) late(rs []exporters.ProcessReport) bool {
	return w.now.Sub(rs[len(rs)-1].At) > healthLate
}

// ended tells that a process was shut down: it is missed by nobody.
func ended(rs []exporters.ProcessReport) bool {
	_, ok := rs[len(rs)-1].Notes[exporters.HealthEnded]
	return ok
}

func (w *healthWindow) processes() []HealthProcess {
	out := make([]HealthProcess, 0, len(w.by))
	for _, rs := range w.by {
		if ended(rs) {
			continue
		}
		last := &rs[len(rs)-1]
		p := HealthProcess{
			Instance: last.Instance, Role: last.Role, Host: last.Host, Version: last.Version, Started: nanos(last.Started.UnixNano()), Reported: nanos(last.At.UnixNano()), Late: w.late(rs),
		}
		if v, ok := last.Values["process_resident_memory_bytes"]; ok {
			p.MemoryBytes = ptr(int64(v))
		}
		one := healthWindow{from: w.from, now: w.now, step: w.step, by: [][]exporters.ProcessReport{rs}}
		p.CPU = one.rate("process_cpu_seconds_total")
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b HealthProcess) int {
		if a.Late != b.Late {
			if a.Late {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Instance, b.Instance)
	})
	return out
}

// has tells that some process in time reports the value.
func (w *healthWindow) has(key string) bool { return w.runs(key) > 0 }

func (w *healthWindow) runs(key string) (n int) {
	for _, rs := range w.by {
		if _, ok := rs[len(rs)-1].Values[key]; ok && !ended(rs) {
			n++
		}
	}
	return n
}

// grown is what a counter grew by between two reports, a restart minded.
func grown(before, after *exporters.ProcessReport, key string) float64 {
	v := after.Values[key]
	if before.Started.Equal(after.Started) {
		return max(v-before.Values[key], 0)
	}
	return v
}

// total is what a counter grew by in the stretch, over all processes.
func (w *healthWindow) total(key string) float64 {
	sum := 0.0
	for _, rs := range w.by {
		for i := 1; i < len(rs); i++ {
			sum += grown(&rs[i-1], &rs[i], key)
		}
		if first := &rs[0]; first.Started.After(w.from) {
			sum += first.Values[key] // it began within the stretch
		}
	}
	return sum
}

// latest is what a counter grew by in the last minute, and over how long, over the
// processes that report in time.
func (w *healthWindow) latest(key string) (sum, seconds float64) {
	for _, rs := range w.by {
		last := &rs[len(rs)-1]
		if w.late(rs) || ended(rs) {
			continue
		}
		one, first := 0.0, last.At
		for i := len(rs) - 1; i > 0 && last.At.Sub(rs[i-1].At) <= healthNow+exporters.HealthEvery/2; i-- {
			one += grown(&rs[i-1], &rs[i], key)
			first = rs[i-1].At
		}
		sum += one
		seconds = max(seconds, last.At.Sub(first).Seconds())
	}
	return sum, seconds
}

// rate is a counter's growth a second now; nil while too little was reported.
func (w *healthWindow) rate(keys ...string) *float64 {
	sum, over := 0.0, 0.0
	for _, key := range keys {
		v, seconds := w.latest(key)
		sum += v
		over = max(over, seconds)
	}
	if over <= 0 {
		return nil
	}
	return ptr(sum / over)
}

// mean is that of a histogram of seconds in the last minute, of the stretch when
// nothing was observed in it; nil without any.
func (w *healthWindow) mean(name, label string) *int64 {
	sum, _ := w.latest(name + "_sum" + label)
	n, _ := w.latest(name + "_count" + label)
	if n == 0 {
		sum, n = w.total(name+"_sum"+label), w.total(name+"_count"+label)
	}
	if n == 0 {
		return nil
	}
	return ptr(int64(sum / n * float64(time.Second)))
}

// over spreads a counter's growth a second over the slots; null where nobody told.
func (w *healthWindow) over(keys ...string) []*float64 {
	grew, told := make([]float64, healthSlots), make([]bool, healthSlots)
	for _, rs := range w.by {
		for i := 1; i < len(rs); i++ {
			begin, end := rs[i-1].At, rs[i].At
			if end.Sub(begin) <= 0 || end.Sub(begin) > 4*max(w.step, exporters.HealthCoarseEvery) {
				continue // it was away: nobody knows when it grew
			}
			v := 0.0
			for _, key := range keys {
				v += grown(&rs[i-1], &rs[i], key)
			}
			w.spread(begin, end, v/end.Sub(begin).Seconds(), grew, told)
		}
	}
	return series(grew, told)
}

// spread adds a rate to the slots that [begin, end) covers, each by its share.
func (w *healthWindow) spread(begin, end time.Time, rate float64, to []float64, told []bool) {
	for slot := max(int(begin.Sub(w.from)/w.step), 0); slot < healthSlots; slot++ {
		left := w.from.Add(time.Duration(slot) * w.step)
		if !left.Before(end) {
			return
		}
		right := left.Add(w.step)
		covered := min(right.Sub(begin), end.Sub(left), end.Sub(begin), w.step)
		if covered <= 0 {
			continue
		}
		to[slot] += rate * float64(covered) / float64(w.step)
		told[slot] = true
	}
}

// gauge is the sum of a gauge over processes, over the slots: the last value of each in
// a slot, else the one before.
func (w *healthWindow) gauge(key string) []*float64 {
	sum, told := make([]float64, healthSlots), make([]bool, healthSlots)
	for _, rs := range w.by {
		for i := range rs {
			v, ok := rs[i].Values[key]
			if !ok {
				continue
			}
			end := rs[i].At.Add(2 * exporters.HealthEvery)
			if i+1 < len(rs) && rs[i+1].At.Sub(rs[i].At) <= 4*max(w.step, exporters.HealthCoarseEvery) {
				end = rs[i+1].At
			}
			// A slot belongs to the report that its middle lies behind.
			for slot := max(int(rs[i].At.Sub(w.from)/w.step), 0); slot < healthSlots; slot++ {
				middle := w.from.Add(time.Duration(slot)*w.step + w.step/2)
				if middle.After(end) {
					break
				}
				if !middle.Before(rs[i].At) {
					sum[slot] += v
					told[slot] = true
				}
			}
		}
	}
	return series(sum, told)
}

func series(v []float64, told []bool) []*float64 {
	out := make([]*float64, len(v))
	for i := range v {
		if told[i] {
			out[i] = &v[i]
		}
	}
	return out
}

// last is a gauge of the last reports, by how it is put together.
func (w *healthWindow) last(key string, put func(a, b float64) float64) (v float64, ok bool) {
	for _, rs := range w.by {
		now, has := rs[len(rs)-1].Values[key]
		switch {
		case !has || w.late(rs) || ended(rs):
		case !ok:
			v, ok = now, true
		default:
			v = put(v, now)
		}
	}
	return v, ok
}

func add(a, b float64) float64 { return a + b }

// keys are those of the last reports that begin so.
func (w *healthWindow) keys(prefix string, match func(rest string) bool) []string {
	seen := map[string]bool{}
	for _, rs := range w.by {
		for key := range rs[len(rs)-1].Values {
			if rest, ok := strings.CutPrefix(key, prefix); ok && match(rest) {
				seen[key] = true
			}
		}
	}
	out := make([]string, 0, len(seen))
	for key := range seen {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

func anyRest(string) bool { return true }

// refusedCode tells an answer of a collector that took nothing for lack of room, or failed.
func refusedCode(code string) bool { return code == "429" || strings.HasPrefix(code, "5") }

func (w *healthWindow) collector() *HealthCollector {
	if !w.has("collector_pressure") {
		return nil
	}
	all := w.keys("collector_requests_total/", anyRest)
	refused := w.keys("collector_requests_total/", refusedCode)
	c := &HealthCollector{
		Requests: w.rate(all...), Refused: w.rate(refused...), Bytes: w.rate("collector_request_bytes_total"), ProduceNs: w.mean("collector_produce_seconds", ""),
		Received: w.over(all...), RefusedOver: w.over(refused...), State: string(finding.HealthOK),
	}
	if c.Requests != nil && c.Refused == nil {
		c.Refused = ptr(0.0) // no answer of that kind was ever given
	}
	if v, ok := w.last("collector_pressure", math.Max); ok {
		c.Pressure = &v
	}
	gauge := func(key string) int64 {
		v, _ := w.last(key, add)
		return int64(v)
	}
	c.SpoolBytes, c.SpoolMaxBytes, c.SpoolRequests = gauge("collector_spool_bytes"), gauge("collector_spool_max_bytes"), gauge("collector_spool_requests")
	switch p := c.Pressure; {
	case p == nil:
		c.State = string(finding.HealthSilent)
	case *p >= 1:
		c.State = string(finding.HealthFailing)
	case *p >= 0.7 || c.SpoolRequests > 0:
		c.State = string(finding.HealthBehind)
	case value(c.Requests) == 0:
		c.State = string(finding.HealthIdle)
	}
	return c
}

func (w *healthWindow) web() *HealthWeb {
	codes := w.keys("web_requests_total/", anyRest)
	if len(codes) == 0 {
		return nil
	}
	out := &HealthWeb{Requests: w.rate(codes...), MeanNs: w.mean("web_request_duration_seconds", ""), Slow: int64(w.total("web_request_duration_seconds_slow")), Over: w.over(codes...)}
	for _, key := range codes {
		n := int64(w.total(key))
		out.Answered += n
		if strings.HasPrefix(key, "web_requests_total/5") {
			out.Failed += n
		}
	}
	return out
}

func (w *healthWindow) store(name string) HealthStore {
	s := HealthStore{Name: name, Inserted: w.rate(w.keys("pipeline_batch_items_sum/", anyRest)...)}
	sum, n := 0.0, 0.0
	for _, key := range w.keys("pipeline_write_seconds_sum/", anyRest) {
		v, _ := w.latest(key)
		sum += v
	}
	for _, key := range w.keys("pipeline_write_seconds_count/", anyRest) {
		v, _ := w.latest(key)
		n += v
	}
	if n > 0 {
		s.WriteNs = ptr(int64(sum / n * float64(time.Second)))
	}
	return s
}

// tell adds what the store said of itself.
func (s *HealthStore) tell(told exporters.StoreHealth, err error) {
	if err != nil {
		s.Error = clip(err.Error(), 300)
		return
	}
	s.AnsweredNs = ptr(int64(told.Answered))
	for _, f := range []struct {
		to **int64
		v  int64
	}{{&s.Rows, told.Rows}, {&s.Parts, told.Parts}, {&s.Bytes, told.Bytes}, {&s.FreeBytes, told.Free}, {&s.TotalBytes, told.Total}, {&s.Memory, told.Memory}} {
		if f.v >= 0 {
			*f.to = ptr(f.v)
		}
	}
}

// stageLag is what the lag watcher tells of a stage's group.
type stageLag struct {
	known   bool
	state   exporters.LagState
	reason  string
	records int64
	behind  time.Duration
	written float64 // NaN when not known
	read    float64
}

// lagOfStages finds the groups of the stages among those that are watched.
func lagOfStages(r exporters.LagReport, stages []LineStage) map[string]stageLag {
	ours := map[string]bool{}
	for _, s := range stages {
		ours[s.Group] = true
	}
	out := map[string]stageLag{}
	for i := range r.Clusters {
		for j := range r.Clusters[i].Groups {
			g := &r.Clusters[i].Groups[j]
			if !ours[g.Group] || len(g.Topics) == 0 || out[g.Group].known {
				continue
			}
			t := g.Topics[0].Total()
			out[g.Group] = stageLag{known: true, state: t.State, reason: t.Reason, records: t.Lag, behind: t.Behind, written: t.Written, read: t.Read}
		}
	}
	return out
}

func (w *healthWindow) stage(s LineStage, lag stageLag) HealthStage {
	at := "/" + s.Name            // what the stages of one name write together
	inTopic := at + "/" + s.Topic // stages of one name read several topics
	out := HealthStage{
		Name: s.Name, Topic: s.Topic, DLQ: s.DLQ, Group: s.Group, Does: s.Does, Processes: w.runs("consume_lag_records" + inTopic), Standing: []string{}, Failures: []HealthFailure{},
		Records: w.rate("consume_records_total" + inTopic), Items: w.rate("consume_items_total" + inTopic), HandleNs: w.mean("consume_handle_seconds", inTopic), WriteNs: w.mean("pipeline_write_seconds", at),
		Batches: int64(w.total("consume_batches_total" + inTopic)), Slow: int64(w.total("consume_handle_seconds_slow" + inTopic)), Retries: int64(w.total("consume_retries_total" + inTopic)),
		Errors:      int64(w.total("consume_commit_errors_total"+inTopic) + w.total("consume_fetch_errors_total"+inTopic) + w.total("consume_panics_total"+inTopic)),
		DeadLetters: int64(w.total("consume_dead_letters_total" + inTopic)), Gaps: int64(w.total("consume_gaps_total" + inTopic)), Lost: int64(w.total("consume_lost_records_total" + inTopic)),
		ItemsOver: w.over("consume_items_total" + inTopic), LagOver: w.gauge("consume_lag_records" + inTopic),
	}
	silent, runs := 0, 0
	for _, rs := range w.by {
		last := &rs[len(rs)-1]
		// Every process that runs the pipeline runs each stage, whether it has partitions or not.
		if _, ok := last.Values["pipeline_batch_items_count/"+s.Name]; !ok && last.Role != "pipeline" && last.Role != "all" {
			continue
		}
		if !ended(rs) {
			runs++
			if w.late(rs) {
				silent++
			}
		}
		for key, note := range last.Notes {
			if key == "stands"+inTopic || strings.HasPrefix(key, "stands"+inTopic+"/") {
				out.Standing = append(out.Standing, note)
			}
			if kind, ok := strings.CutPrefix(key, "failed"+inTopic+"/"); ok {
				out.Failures = appendFailure(out.Failures, last, kind, note, w.from)
			}
		}
		for i := len(rs) - 1; i > 0; i-- {
			if grown(&rs[i-1], &rs[i], "consume_batches_total"+inTopic) > 0 {
				if t := nanos(rs[i].At.UnixNano()); out.LastBatch == nil || t > *out.LastBatch {
					out.LastBatch = &t
				}
				break
			}
		}
	}
	slices.Sort(out.Standing)
	slices.SortFunc(out.Failures, func(a, b HealthFailure) int {
		return cmp.Or(compareNanos(b.At, a.At), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Process, b.Process))
	})
	out.Failures = out.Failures[:min(len(out.Failures), maxHealthFailures)]
	if v, ok := w.last("consume_lag_records"+inTopic, add); ok {
		out.LagRecords = ptr(int64(v))
	}
	if lag.known {
		out.LagRecords = ptr(lag.records)
		if lag.behind >= 0 {
			out.BehindNs = ptr(int64(lag.behind))
		}
		if !math.IsNaN(lag.written) {
			out.Written = ptr(lag.written)
		}
	}
	out.State, out.Why = w.state(s, &out, lag, runs, silent)
	return out
}

// maxHealthFailures bounds the failures of a stage that are told.
const maxHealthFailures = 20

// appendFailure adds what a process last failed by, of one kind, when that was in the
// stretch. The note is its time in Unix ns and what the error says.
func appendFailure(list []HealthFailure, of *exporters.ProcessReport, kind, note string, from time.Time) []HealthFailure {
	at, says, _ := strings.Cut(note, " ")
	ns, err := strconv.ParseInt(at, 10, 64)
	if err != nil || ns < from.UnixNano() {
		return list
	}
	return append(list, HealthFailure{Kind: kind, At: nanos(ns), Says: says, Process: of.Instance})
}

// state judges a stage; the first that holds is the worst.
func (w *healthWindow) state(s LineStage, out *HealthStage, lag stageLag, runs, silent int) (state, why string) {
	retried, _ := w.latest("consume_retries_total/" + s.Name + "/" + s.Topic)
	stands, _ := w.last("consume_stalled_partition/"+s.Name+"/"+s.Topic, add)
	switch {
	case runs == 0:
		return string(finding.HealthUnknown), "no process that runs it reports"
	case silent == runs:
		return string(finding.HealthSilent), "the processes that run it do not report"
	case len(out.Standing) > 0:
		return string(finding.HealthStopped), out.Standing[0]
	case stands > 0:
		return string(finding.HealthStopped), "records of " + strconv.Itoa(int(stands)) + " partitions were deleted unread"
	case retried > 0:
		return string(finding.HealthFailing), "what it did failed " + strconv.FormatInt(int64(retried), 10) + " times in the last minute, and is tried again"
	case lag.known && (lag.state == exporters.LagStall || lag.state == exporters.LagStop):
		return string(finding.HealthStopped), lag.reason
	case lag.known && lag.records > 0 && (lag.state == exporters.LagWarn || lag.behind > finding.HealthFar):
		return string(finding.HealthBehind), lag.reason
	case value(out.Records) == 0 && (out.LagRecords == nil || *out.LagRecords == 0):
		return string(finding.HealthIdle), ""
	}
	return string(finding.HealthOK), ""
}

func ptr[T any](v T) *T { return &v }
