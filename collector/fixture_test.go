package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	shopKey  = "0123456789abcdef0123456789abcdef"
	otherKey = "fedcba9876543210fedcba9876543210"
)

// memory is a Kafka that keeps records in memory, and can fail.
type memory struct {
	mu      sync.Mutex // guards the following
	records []*kgo.Record
	err     error
	hang    bool // never acknowledges
	panics  bool
	broken  []error // why records are not what their topics' contracts say
}

func (m *memory) ProduceSync(ctx context.Context, records ...*kgo.Record) error {
	m.mu.Lock()
	err, hang, panics := m.err, m.hang, m.panics
	if err == nil && !hang && !panics {
		m.records = append(m.records, records...)
		for _, r := range records {
			if err := wire.CheckRecord(r.Topic, func(key string) string { return headerOf(r, key) }, r.Value); err != nil {
				m.broken = append(m.broken, err)
			}
		}
	}
	m.mu.Unlock()
	if panics {
		panic("a bug")
	}
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (m *memory) Ping(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// taken empties it and gives what it had of one topic.
func (m *memory) taken(topic string) []*kgo.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out, rest []*kgo.Record
	for _, r := range m.records {
		if r.Topic == topic {
			out = append(out, r)
		} else {
			rest = append(rest, r)
		}
	}
	m.records = rest
	return out
}

func headerOf(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// projects is a metadata store in memory.
type projects struct {
	mu   sync.Mutex // guards the following
	all  []schemas.Project
	down error
}

func (p *projects) ProjectByKey(_ context.Context, key string) (schemas.Project, schemas.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil {
		return schemas.Project{}, schemas.Key{}, p.down
	}
	for _, x := range p.all {
		for _, k := range x.Keys {
			if k == key {
				return x, schemas.Key{ID: 1, Project: x.ID, Public: key, Active: true}, nil
			}
		}
	}
	return schemas.Project{}, schemas.Key{}, exporters.ErrNotFound
}

func (p *projects) ProjectsVersion(context.Context) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return 1, p.down
}

func (p *projects) EnsureProject(_ context.Context, slug, name string) (schemas.Project, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil {
		return schemas.Project{}, p.down
	}
	for _, x := range p.all {
		if x.Slug == slug {
			return x, nil
		}
	}
	x := schemas.Project{ID: uint64(len(p.all) + 1), Slug: slug, Name: name}
	p.all = append(p.all, x)
	return x, nil
}

// house is a collector that runs, with what it works with.
type house struct {
	*Collector
	t        *testing.T
	kafka    *memory
	projects *projects
	registry *prometheus.Registry
	log      *lockedBuffer
	client   *http.Client
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newHouse(t *testing.T, change func(*Config)) *house {
	t.Helper()
	return newHouseWith(t, change, func(*Deps) {})
}

// newHouseWith is newHouse with other things to work with.
func newHouseWith(t *testing.T, change func(*Config), with func(*Deps)) *house {
	t.Helper()
	cfg := DefaultConfig()
	cfg.GRPC, cfg.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	if change != nil {
		change(&cfg)
	}
	h := &house{
		t: t, kafka: &memory{}, registry: prometheus.NewRegistry(), log: &lockedBuffer{},
		projects: &projects{all: []schemas.Project{
			{ID: 1, Slug: "shop", Keys: []string{shopKey}},
			{ID: 2, Slug: "other", Keys: []string{otherKey}},
		}},
		client: &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second},
	}
	deps := Deps{
		Kafka: h.kafka, Projects: h.projects, Registerer: h.registry,
		Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	with(&deps)
	c, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	h.Collector = c
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.kafka.mu.Lock()
		for _, err := range h.kafka.broken {
			t.Errorf("the collector wrote a record that breaks its contract: %v", err)
		}
		h.kafka.mu.Unlock()
		h.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for range 2 { // twice is safe
			if err := c.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	return h
}

func (h *house) url(path string) string { return "http://" + h.HTTPAddr().String() + path }

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   string
}

func (h *house) do(method, path string, headers map[string]string, body io.Reader) answer {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url(path), body)
	if err != nil {
		h.t.Fatal(err)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (h *house) post(path string, headers map[string]string, body []byte) answer {
	h.t.Helper()
	return h.do(http.MethodPost, path, headers, bytes.NewReader(body))
}

// metric is the sum of the samples of a name whose labels contain all of the
// given "name=value" pairs.
func (h *house) metric(name string, labels ...string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "hoptrace_collector_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if hasLabels(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func hasLabels(m *dto.Metric, labels []string) bool {
	for _, want := range labels {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetName()+"="+l.GetValue() == want
		}
		if !found {
			return false
		}
	}
	return true
}

func (h *house) wantMetric(want float64, name string, labels ...string) {
	h.t.Helper()
	if got := h.metric(name, labels...); got != want {
		h.t.Errorf("metric %s%v = %v; want %v", name, labels, got, want)
	}
}

func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("waited 10 s in vain: %s; log:\n%s", what, h.log.String())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (a answer) want(t *testing.T, code int, parts ...string) {
	t.Helper()
	if a.code != code {
		t.Errorf("answer %d %s; want %d", a.code, a.body, code)
	}
	for _, p := range parts {
		if !strings.Contains(a.body, p) {
			t.Errorf("answer %q does not contain %q", a.body, p)
		}
	}
}

var errDown = fmt.Errorf("dial: %w", errors.New("connection refused"))
