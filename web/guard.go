package web

import (
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/web/api"
)

// contentSecurityPolicy allows the application's own files and nothing else.
// React sets styles through the CSSOM, which needs no 'unsafe-inline'.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard sets the security headers and refuses requests whose Host is not ours:
// a page of another site can make its own name resolve to 127.0.0.1 (DNS
// rebinding), but it cannot send our name.
type guard struct {
	hosts   map[string]bool
	refused *prometheus.CounterVec
	log     *slog.Logger
	next    http.Handler
}

func newGuard(cfg Config, refused *prometheus.CounterVec, log *slog.Logger, next http.Handler) *guard {
	g := &guard{hosts: map[string]bool{"localhost": true}, refused: refused, log: log, next: next}
	if host, _, err := net.SplitHostPort(cfg.Listen); err == nil {
		if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
			g.hosts[strings.ToLower(host)] = true
		}
	}
	for _, h := range cfg.hosts() {
		g.hosts[strings.ToLower(h)] = true
	}
	return g
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if !g.allowed(hostName(r.Host)) {
		g.refused.WithLabelValues("host").Inc()
		api.WriteError(w, r, http.StatusForbidden, "host_not_allowed", "this server is not asked by that name",
			"use 127.0.0.1 or localhost, or add the name to the web role's allowed hosts", g.log)
		return
	}
	g.next.ServeHTTP(w, r)
}

func (g *guard) allowed(host string) bool {
	if g.hosts[host] {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// hostName is a Host header without its port and brackets, in lower case.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
