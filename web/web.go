// Package web serves the browser application and its API, and beside them what
// is mounted (see package sentryapi). Who may ask is package access's matter. It
// listens on loopback unless told otherwise, and refuses names that are not its own.
package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/web/access"
	"github.com/hoptrace/hoptrace/web/api"
	"github.com/hoptrace/hoptrace/web/ui"
)

// Config is what a person writes about the web role.
type Config struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string
	// AllowedHosts are further names by which the server may be asked, without
	// port. Loopback names and the host of Listen are always allowed.
	AllowedHosts []string
	// QueryTimeout bounds one question to the stores.
	QueryTimeout time.Duration
	// MaxConcurrentQueries bounds questions at the same time; the next is
	// answered with 503.
	MaxConcurrentQueries int
	// Access is how people sign in.
	Access access.Config
	// TLS makes the server speak https.
	TLS TLSConfig
	// Version is shown in the UI.
	Version string
	// Endpoints are shown on the first-run page and make the DSNs.
	Endpoints api.Endpoints
}

// DefaultConfig listens on 127.0.0.1:8090.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:8090", Access: access.DefaultConfig(), QueryTimeout: 10 * time.Second, MaxConcurrentQueries: 16, Version: "dev"}
}

// Validate names every fault at once.
func (c Config) Validate() error {
	var faults []error
	if host, port, err := net.SplitHostPort(c.Listen); err != nil {
		faults = append(faults, fmt.Errorf("listen is %q, want host:port as 127.0.0.1:8090", c.Listen))
	} else {
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			faults = append(faults, fmt.Errorf("listen has port %q, want 0 to 65535", port))
		}
		if host == "" {
			faults = append(faults, fmt.Errorf("listen is %q without a host: name 127.0.0.1, or 0.0.0.0 to serve every interface", c.Listen))
		}
	}
	for _, h := range c.AllowedHosts {
		if h == "" || hostName(h) != h {
			faults = append(faults, fmt.Errorf("allowed host is %q, want a name without scheme and port", h))
		}
	}
	faults = append(faults, c.Access.Validate(), c.TLS.Validate())
	if c.QueryTimeout <= 0 || c.QueryTimeout > 5*time.Minute {
		faults = append(faults, fmt.Errorf("query timeout is %s, want more than 0 and at most 5m", c.QueryTimeout))
	}
	if c.MaxConcurrentQueries < 1 || c.MaxConcurrentQueries > 1000 {
		faults = append(faults, fmt.Errorf("max concurrent queries is %d, want 1 to 1000", c.MaxConcurrentQueries))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// place is how people reach the server.
func (c Config) place() access.Place {
	local := func(host string) bool {
		ip := net.ParseIP(host)
		return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
	}
	host, _, err := net.SplitHostPort(c.Listen)
	p := access.Place{Beyond: err != nil || !local(host), Secure: c.TLS.Cert != ""}
	for _, h := range c.hosts() {
		p.Beyond = p.Beyond || !local(h) // a proxy passes on what others ask
	}
	return p
}

// hosts are the names besides loopback that the server is called by.
func (c Config) hosts() []string {
	out := slices.Clone(c.AllowedHosts)
	if u, err := url.Parse(c.Access.PublicURL); err == nil && u.Hostname() != "" {
		out = append(out, u.Hostname())
	}
	return out
}

// Deps are the stores that the web reads.
type Deps struct {
	Spans    exporters.SpanReader
	Messages exporters.MessageReader
	Metrics  exporters.MetricReader
	Clocks   exporters.ClockReader
	Logs     exporters.LogReader
	Ledger   exporters.LedgerReader
	Backlogs exporters.BacklogReader // may be nil
	Lag      exporters.LagReader     // nil: no cluster is watched
	Events   exporters.EventReader
	Issues   exporters.IssueStore
	// IssueEvents counts and searches what issues are made of.
	IssueEvents exporters.IssueEventReader
	// Joined tells what messages events are about.
	Joined   exporters.JoinedReader
	Projects exporters.Projects
	Blobs    exporters.Blobs
	Nodes    exporters.Nodes
	// Regrouper tries and explains grouping; nil means that this process cannot.
	Regrouper api.Regrouper
	// What is kept beside events; nil means that this process cannot show it.
	Files     exporters.FileReader
	Feedback  exporters.FeedbackStore
	Sessions  exporters.SessionReader
	Monitors  exporters.MonitorStore
	Topology  exporters.TopologyReader // may be nil
	Find      exporters.FindReader     // may be nil
	TopicSums exporters.TopicReader    // may be nil
	// NewIssues counts the issues of releases; nil means that they are not told.
	NewIssues exporters.ReleaseIssues
	// What our own processes report; any may be nil.
	Health      exporters.HealthReader
	StoreHealth exporters.StoreHealthReader
	Stages      []api.LineStage
	// Dead letters; nil means that this process knows no broker.
	Letters    api.Letters
	LetterEnds exporters.DeadLetterEnds
	// Search searches rows, Queries keeps searches; nil means that this process cannot.
	Search  exporters.SearchReader
	Queries exporters.SavedQueries
	// Access is made of Config.Access when it is nil. Without Accounts nobody signs
	// in, and whoever asks is an owner.
	Access   *access.Service
	Accounts exporters.Accounts
	Tokens   exporters.Tokens
}

// Mount is a handler of a path of its own, beside the UI and its API. It does not
// share their rules: it authenticates by itself.
type Mount struct {
	Prefix  string // as "/api/0/"
	Handler http.Handler
}

// Server is the web role.
type Server struct {
	cfg     Config
	log     *slog.Logger
	handler http.Handler
	access  *access.Service // nil: nobody signs in

	mu       sync.Mutex // guards the following
	http     *http.Server
	listener net.Listener
	done     chan struct{}
	stopped  bool
}

// New makes the role and registers its metrics (hoptrace_web_…). It opens nothing.
func New(cfg Config, deps Deps, reg prometheus.Registerer, log *slog.Logger, mounts ...Mount) (*Server, error) {
	files, built := ui.Files()
	return newServer(cfg, deps, files, built, reg, log, mounts...)
}

func newServer(cfg Config, deps Deps, files fs.FS, built bool, reg prometheus.Registerer, log *slog.Logger, mounts ...Mount) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Access == nil && deps.Accounts != nil {
		var err error
		if deps.Access, err = access.New(cfg.Access, cfg.place(), access.Deps{Accounts: deps.Accounts, Tokens: deps.Tokens}, log); err != nil {
			return nil, fmt.Errorf("web: %w", err)
		}
	}
	questions, err := api.New(api.Config{
		Version: cfg.Version, Endpoints: cfg.Endpoints, QueryTimeout: cfg.QueryTimeout, MaxConcurrent: cfg.MaxConcurrentQueries,
	}, api.Deps(deps), reg, log)
	if err != nil {
		return nil, err
	}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hoptrace_web_refused_total", Help: "Requests refused before they were looked at, by reason.",
	}, []string{"reason"})
	if err := reg.Register(refused); err != nil {
		return nil, fmt.Errorf("cannot register the web role's metrics: %w", err)
	}
	pages, err := newAssets(files, built)
	if err != nil {
		return nil, err
	}
	if !built {
		log.Warn("web: the UI is not built into this binary; the API works", "way_out", "make ui, then build again")
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", questions)
	mux.Handle("/", pages)
	if deps.Access != nil {
		mux.Handle("/auth/oidc/", deps.Access)
	}
	for _, m := range mounts {
		mux.Handle(m.Prefix, m.Handler)
	}
	return &Server{cfg: cfg, log: log, access: deps.Access, handler: newGuard(cfg, refused, log, mux)}, nil
}

// Handler serves everything, for tests and for a listener of one's own.
func (s *Server) Handler() http.Handler { return s.handler }

// Start listens and returns; requests are served until Shutdown.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil || s.stopped {
		return errors.New("cannot start the web role: it was started before")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s for the web UI: %w (another process has it? set another address)", s.cfg.Listen, err)
	}
	scheme := "http"
	if s.cfg.TLS.Cert != "" {
		secured, err := s.cfg.TLS.listen(l)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		l, scheme = secured, "https"
	}
	s.listener, s.done = l, make(chan struct{})
	s.http = &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      s.cfg.QueryTimeout + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	go func(server *http.Server, done chan struct{}) {
		defer close(done)
		if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("web: serving ended", "err", err)
		}
	}(s.http, s.done)
	s.log.Info("web: listening", "url", scheme+"://"+l.Addr().String())
	s.tellSetup(ctx, scheme+"://"+l.Addr().String())
	return nil
}

// tellSetup prints the link for the first owner when one must sign in and nobody can.
func (s *Server) tellSetup(ctx context.Context, here string) {
	if s.access == nil {
		return
	}
	path, err := s.access.SetupPath(ctx)
	if err != nil {
		s.log.Warn("web: cannot find out whether anybody can sign in", "err", err)
		return
	}
	if path == "" {
		return
	}
	if s.cfg.Access.PublicURL != "" {
		here = strings.TrimSuffix(s.cfg.Access.PublicURL, "/")
	}
	s.log.Warn("web: one must sign in here, and nobody can yet: open this link to become the first owner, or use the command; the link is good until it is used or the server is started again",
		"link", here+path, "command", "hoptrace members create --email you@example.com --role owner")
}

// Addr is the address that Start listens on, nil before.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Shutdown ends open requests within ctx, then cuts them. It is safe twice and
// without Start.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	server, done := s.http, s.done
	s.stopped = true
	s.mu.Unlock()
	if server == nil {
		return nil
	}
	err := server.Shutdown(ctx)
	if err != nil {
		_ = server.Close() // cut what did not end in time
		err = fmt.Errorf("cannot end all web requests in time: %w", err)
	}
	<-done
	return err
}
