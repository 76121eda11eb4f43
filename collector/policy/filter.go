package policy

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/hoptrace/hoptrace/schemas"
)

// Reasons of the inbound filters, in Sentry's words.
const (
	ReasonCORS              = "cors"
	ReasonBrowserExtensions = "browser-extensions"
	ReasonLegacyBrowsers    = "legacy-browsers"
	ReasonLocalhost         = "localhost"
	ReasonWebCrawlers       = "web-crawlers"
	ReasonErrorMessage      = "error-message"
	ReasonReleaseVersion    = "release-version"
	ReasonIPAddress         = "ip-address"
)

// filters are a project's inbound filters, ready to use.
type filters struct {
	legacy, localhost, crawlers, extensions bool
	messages, releases                      globs
	networks                                []netip.Prefix
	origins                                 []origin
	fromPayload                             bool // one of them asks what is in the payload
}

func newFilters(s *schemas.ProjectSettings) filters {
	f := filters{
		legacy: s.Filters.LegacyBrowsers, localhost: s.Filters.Localhost, crawlers: s.Filters.WebCrawlers, extensions: s.Filters.BrowserExtensions,
		messages: newGlobs(s.Filters.ErrorMessages), releases: newGlobs(s.Filters.Releases),
	}
	for _, ip := range s.Filters.ClientIPs {
		if p, err := schemas.ParseNetwork(ip); err == nil { // Validate refuses others
			f.networks = append(f.networks, p)
		}
	}
	for _, o := range s.AllowedOrigins {
		f.origins = append(f.origins, newOrigin(o))
	}
	f.fromPayload = f.legacy || f.localhost || f.crawlers || f.extensions || len(f.messages) > 0 || len(f.releases) > 0 || len(f.networks) > 0
	return f
}

// bySender asks what is known without the payload. An empty reason lets pass.
func (f *filters) bySender(from *Sender) string {
	if len(f.networks) > 0 && f.listed(from.Client) {
		return ReasonIPAddress
	}
	return ""
}

func (f *filters) listed(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for _, n := range f.networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// byFacts asks what stands in an event or a transaction. An empty reason lets
// pass.
func (f *filters) byFacts(from *Sender, x *facts) string {
	if f.extensions && x.extension {
		return ReasonBrowserExtensions
	}
	if len(f.networks) > 0 && f.listed(address(x.userIP)) {
		return ReasonIPAddress
	}
	if f.localhost && (isLocalHost(x.url) || address(x.userIP).Unmap().IsLoopback() || address(x.remoteAddr).Unmap().IsLoopback()) {
		return ReasonLocalhost
	}
	if len(x.release) > 0 && f.releases.match(x.release) {
		return ReasonReleaseVersion
	}
	for _, m := range x.messages {
		if f.messages.match(m) {
			return ReasonErrorMessage
		}
	}
	if reason := f.byAgent(string(x.agent[:min(len(x.agent), maxAgent)])); reason != "" {
		return reason
	}
	if len(x.agent) == 0 {
		return f.byAgent(from.UserAgent)
	}
	return ""
}

func (f *filters) byAgent(agent string) string {
	switch {
	case agent == "" || !f.legacy && !f.crawlers:
		return ""
	case f.crawlers && isCrawler(agent):
		return ReasonWebCrawlers
	case f.legacy && isLegacyBrowser(agent):
		return ReasonLegacyBrowsers
	}
	return ""
}

// address is the zero one when text is none.
func address(text []byte) netip.Addr {
	if len(text) == 0 || len(text) > 64 {
		return netip.Addr{}
	}
	ip, _ := netip.ParseAddr(string(text))
	return ip
}

func isLocalHost(text []byte) bool {
	if len(text) == 0 {
		return false
	}
	u, err := url.Parse(string(text[:min(len(text), 2<<10)]))
	if err != nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := address([]byte(host)).Unmap()
	return ip.IsLoopback() || ip.IsUnspecified() && ip.IsValid()
}

// origin is an allowed web origin; empty parts do not ask.
type origin struct {
	any                bool
	scheme, host, port string
	below              bool // hosts below it, too
}

func newOrigin(s string) origin {
	s = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), "/"))
	if s == "*" {
		return origin{any: true}
	}
	var o origin
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		o.scheme, s = strings.TrimSuffix(scheme, "*"), rest
	}
	s, _, _ = strings.Cut(s, "/")
	if rest, ok := strings.CutPrefix(s, "*."); ok {
		o.below, s = true, rest
	}
	o.host, o.port = splitPort(s)
	return o
}

func splitPort(host string) (name, port string) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return strings.Trim(host[:i], "[]"), host[i+1:]
	}
	return strings.Trim(host, "[]"), ""
}

// allowed tells whether a browser may send from the origin that it names. What
// names none is no browser. Header may be a Referer, too.
func (f *filters) allowed(header string) bool {
	if len(f.origins) == 0 || header == "" {
		return true
	}
	u, err := url.Parse(header)
	scheme, host, port := "", "", ""
	if err == nil {
		scheme, host, port = strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	}
	for _, o := range f.origins {
		switch {
		case o.any:
			return true
		case host == "": // "null" and what is broken
		case o.scheme != "" && o.scheme != scheme, o.port != "" && o.port != port:
		case host == o.host, o.below && strings.HasSuffix(host, "."+o.host):
			return true
		}
	}
	return false
}
