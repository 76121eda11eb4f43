// Package selftelemetry is how a hoptrace process tells about itself: its own
// log, and one small HTTP server with /metrics, /healthz and /readyz. It
// collects nothing of the users'.
package selftelemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewLogger writes text to a terminal and JSON elsewhere, unless format
// ("text", "json", "auto") says otherwise. Level is slog's name of it.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log.level %q: want debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "auto", "":
		if f, ok := w.(*os.File); !ok || !isTerminal(f) {
			return slog.New(slog.NewJSONHandler(w, opts)), nil
		}
	default:
		return nil, fmt.Errorf("log.format %q: want text, json or auto", format)
	}
	return slog.New(slog.NewTextHandler(w, opts)), nil
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// Version is the module version or VCS revision that the binary was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	if version == "" || version == "(devel)" {
		version = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				version = "devel-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return version
}

// NewRegistry makes a registry with the Go runtime's and the process's metrics
// and hoptrace_build_info.
func NewRegistry(role string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "hoptrace_build_info", Help: "Always 1; the labels tell the version and the role.",
	}, []string{"version", "role"})
	info.WithLabelValues(Version(), role).Set(1)
	r.MustRegister(info)
	return r
}

// Check tells whether a part is ready; nil means yes.
type Check struct {
	Name  string
	Ready func(ctx context.Context) error
}

// Server serves /metrics, /healthz and /readyz. It starts before all parts, so
// that a start that hangs can be seen, and stops after them.
type Server struct {
	listen   string
	registry *prometheus.Registry
	log      *slog.Logger
	profiles bool
	started  time.Time

	mu      sync.Mutex // guards the following
	checks  []Check
	serving bool // all parts have started and none is stopping
	ln      net.Listener
	http    *http.Server
	done    chan struct{}
}

// NewServer makes a server; it opens nothing before Start.
func NewServer(listen string, registry *prometheus.Registry, log *slog.Logger) *Server {
	return &Server{listen: listen, registry: registry, log: log}
}

// EnableProfiles serves /debug/pprof as well. Call it before Start.
func (s *Server) EnableProfiles() { s.profiles = true }

// Name is "telemetry".
func (s *Server) Name() string { return "telemetry" }

// AddCheck adds a part that /readyz asks. Order is kept.
func (s *Server) AddCheck(c Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, c)
}

// SetServing says that all parts have started (true) or are about to stop.
func (s *Server) SetServing(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = on
}

// Addr is the address it listens on, after Start.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil {
		return s.listen
	}
	return s.ln.Addr().String()
}

// Start listens.
func (s *Server) Start(ctx context.Context) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("cannot listen on telemetry.listen %s: %w; choose another address with --telemetry.listen", s.listen, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "version": Version()})
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	if s.profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan struct{})
	s.mu.Lock()
	s.ln, s.http, s.done, s.started = ln, srv, done, time.Now()
	s.mu.Unlock()
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("telemetry server ended", "err", err)
		}
	}()
	return nil
}

// Shutdown stops listening and waits for requests under way.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	srv, done := s.http, s.done
	s.http = nil
	s.mu.Unlock()
	if srv == nil {
		return nil
	}
	err := srv.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	<-done
	return err
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	checks, serving := s.checks[:len(s.checks):len(s.checks)], s.serving
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	code, parts := http.StatusOK, map[string]string{}
	if !serving {
		code = http.StatusServiceUnavailable
		parts["process"] = "starting or stopping"
	}
	if serving { // before that, parts are not there to be asked
		for _, c := range checks {
			parts[c.Name] = "ready"
			if err := c.Ready(ctx); err != nil {
				code, parts[c.Name] = http.StatusServiceUnavailable, err.Error()
			}
		}
	}
	writeJSON(w, code, map[string]any{"ready": code == http.StatusOK, "parts": parts, "up_seconds": int64(time.Since(s.started).Seconds())})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}
