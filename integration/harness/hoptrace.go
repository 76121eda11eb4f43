package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	buildOnce = map[string]func() (string, error){}
	buildMu   sync.Mutex // guards buildOnce
)

// Binary is the path of hoptrace: HOPTRACE_BIN, or built once by this test
// binary. A built one has the UI if web/ui/dist has.
func Binary(t testing.TB) string {
	t.Helper()
	return program(t, "hoptrace", "HOPTRACE_BIN", Root(t), "./cmd/hoptrace")
}

// Orders is the path of the example: ORDERS_BIN, or built once.
func Orders(t testing.TB) string {
	t.Helper()
	return program(t, "orders", "ORDERS_BIN", filepath.Join(Root(t), "examples"), "./orders")
}

func program(t testing.TB, name, variable, dir, pkg string) string {
	t.Helper()
	if path := os.Getenv(variable); path != "" {
		abs, err := filepath.Abs(path)
		if err == nil {
			_, err = os.Stat(abs)
		}
		if err != nil {
			t.Fatalf("%s names no program: %v", variable, err)
		}
		return abs
	}
	buildMu.Lock()
	build, ok := buildOnce[name]
	if !ok {
		out := filepath.Join(cacheDir(t, "bin"), name)
		goTool := LookPath(t, "go")
		build = sync.OnceValues(func() (string, error) {
			p := Start(t, Command{
				Name: "build-" + name, Path: goTool, Dir: dir, Env: []string{"CGO_ENABLED=0"},
				Args: []string{"build", "-trimpath", "-o", out, pkg},
			})
			if err := p.Wait(10 * time.Minute); err != nil {
				return "", fmt.Errorf("cannot build %s: %w\n%s", pkg, err, p.Tail(40))
			}
			return out, nil
		})
		buildOnce[name] = build
	}
	buildMu.Unlock()
	defer alone(t, "build-"+name)()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Hoptrace is one running process of the product.
type Hoptrace struct {
	Process *Process
	Data    string
	Web     string // http://host:port
	GRPC    string // host:port
	HTTP    string // http://host:port
	Kafka   string // host:port of the embedded broker, or of the broker given
	Own     string // http://host:port of /metrics, /healthz and /readyz
	// EngineAddress is host:port of the engine, only of the role clickhouse.
	EngineAddress string
	// ReadyAfter is the time from the start of the process to /readyz.
	ReadyAfter time.Duration

	t testing.TB
}

// What other processes give to the role clickhouse.
const (
	EngineUser     = "hoptrace"
	EnginePassword = "only-for-tests"
)

// Options of one process of hoptrace. The zero value is `hoptrace all` on a new
// data directory and free ports.
type Options struct {
	Role    string // empty means all
	Name    string // of the log file; empty means the role
	Data    string // empty means a new temporary folder
	Brokers string // kafka.brokers; empty means the embedded broker
	// Settings are more keys and values, as in the configuration file.
	Settings map[string]string
	// ReadyWithin is how long to wait for /readyz. Zero means 60 s.
	ReadyWithin time.Duration
}

// StartHoptrace starts the product and waits until it is ready.
func StartHoptrace(t testing.TB, o Options) *Hoptrace {
	t.Helper()
	h := LaunchHoptrace(t, o)
	h.WaitReady(t, o.ReadyWithin)
	return h
}

// LaunchHoptrace starts the product and does not wait.
func LaunchHoptrace(t testing.TB, o Options) *Hoptrace {
	t.Helper()
	if o.Role == "" {
		o.Role = "all"
	}
	if o.Name == "" {
		o.Name = "hoptrace-" + o.Role
	}
	if o.Data == "" {
		o.Data = filepath.Join(t.TempDir(), "data")
	}
	settings := map[string]string{"data": o.Data, "log.level": "info", "log.format": "text"}
	address := func(key string) string {
		a, ok := o.Settings[key]
		if !ok {
			a = FreeAddress(t)
		}
		settings[key] = a
		return a
	}
	h := &Hoptrace{
		t: t, Data: o.Data, GRPC: address("collector.grpc"), HTTP: "http://" + address("collector.http"),
		Web: "http://" + address("web.listen"), Own: "http://" + address("telemetry.listen"), Kafka: address("embedded_kafka.listen"),
	}
	if o.Role == "clickhouse" {
		settings["clickhouse.password"] = EnginePassword
		h.EngineAddress = address("embedded_clickhouse.listen")
	}
	if o.Brokers != "" {
		settings["kafka.brokers"] = o.Brokers
		h.Kafka = o.Brokers
	}
	for k, v := range o.Settings {
		settings[k] = v
	}
	args := append(make([]string, 0, 1+len(settings)), o.Role)
	for k, v := range settings {
		args = append(args, "--"+k+"="+v)
	}
	h.Process = Start(t, Command{Name: o.Name, Path: Binary(t), Args: args})
	return h
}

// WaitReady waits for /readyz and notes how long after the process's start that
// was. Zero means 60 s.
func (h *Hoptrace) WaitReady(t testing.TB, within time.Duration) {
	t.Helper()
	if within == 0 {
		within = time.Minute
	}
	Until(t, h.Process.Name+" is ready", within, func() error {
		if !h.Process.Running() {
			t.Fatalf("%s ended while starting: %v\n%s", h.Process.Name, h.Process.err, h.Process.Tail(60))
		}
		return Healthy(t.Context(), h.Own+"/readyz")
	})
	h.ReadyAfter = time.Since(h.Process.Started())
}

// probe is for questions that are asked again soon.
var probe = &http.Client{Timeout: 5 * time.Second}

// Healthy asks an address and returns nil on 200.
func Healthy(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := probe.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// Get asks the web API and decodes its answer. Path starts behind /api/v1/.
func (h *Hoptrace) Get(path string, into any) error {
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.Web+"/api/v1/"+path, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("cannot read the answer to %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return &StatusError{Path: path, Code: resp.StatusCode, Body: strings.TrimSpace(string(body))}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("cannot understand the answer to %s: %w: %.300s", path, err, body)
	}
	return nil
}

// StatusError is an answer of the API that is not 200.
type StatusError struct {
	Path string
	Code int
	Body string
}

// Error names the question and the answer.
func (e *StatusError) Error() string { return fmt.Sprintf("%s: %d: %.500s", e.Path, e.Code, e.Body) }

// IsStatus tells that the API answered with this code.
func IsStatus(err error, code int) bool {
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.Code == code
}

// MustGet is Get for answers that must come.
func (h *Hoptrace) MustGet(t testing.TB, path string, into any) {
	t.Helper()
	if err := h.Get(path, into); err != nil {
		t.Fatalf("cannot ask the web API: %v", err)
	}
}
