package normalize

import (
	"net/url"
	"strings"

	"github.com/hoptrace/hoptrace/pipeline/document"
)

// report turns a browser's report into an event: its body goes under the name of
// its kind, as SDKs send it.
func (n *Normalizer) report(root *document.Node) {
	move := func(from, to string) {
		if v := root.Get(from); v.Is('{') && root.Get(to) == nil {
			v.Rename(to)
		}
	}
	move("csp-report", "csp")
	move("expect-ct-report", "expectct")
	move("expect-staple-report", "expectstaple")
	wrap := func(to string) {
		body := n.doc.Copy(root)
		root.Become(n.doc.Object())
		root.Set(to, body)
	}
	switch body := root.Get("body"); {
	case body.Is('{') && root.Get("type").Scalar() == "csp-violation":
		csp := n.doc.Object()
		for c := body.First(); c != nil; c = c.Next() {
			key := c.Key()
			if to, is := reportNames[key]; is {
				key = to
			}
			if csp.Get(key) == nil {
				csp.Set(key, n.doc.Copy(c))
			}
		}
		root.Become(n.doc.Object())
		root.Set("csp", csp)
	case body.Is('{') && root.Get("type").Scalar() == "network-error":
		wrap("nel")
	case root.Get("known-pins") != nil && root.Get("hpkp") == nil:
		wrap("hpkp")
	}
	if root.Get("platform") == nil {
		root.Set("platform", n.doc.String("other"))
	}
}

// reportNames are the Reporting API's names for what report-uri calls otherwise.
var reportNames = map[string]string{
	"documentURL": "document-uri", "referrer": "referrer", "blockedURL": "blocked-uri", "effectiveDirective": "effective-directive",
	"originalPolicy": "original-policy", "sourceFile": "source-file", "sample": "script-sample", "statusCode": "status-code",
	"lineNumber": "line-number", "columnNumber": "column-number", "disposition": "disposition",
}

// security reads a browser's report and gives the event a message.
func (n *Normalizer) security(root *document.Node, f *fields) {
	e := n.e
	s := &e.Security
	host := func(v *document.Node, keys ...string) string {
		for _, k := range keys {
			if h := v.Get(k).Scalar(); h != "" {
				return cut(hostOf(h), maxShort)
			}
		}
		return ""
	}
	var message string
	switch {
	case f.csp.Is('{'):
		get := func(name string) string {
			return or(f.csp.Get(name).Scalar(), f.csp.Get(strings.ReplaceAll(name, "-", "_")).Scalar())
		}
		s.Kind = "csp"
		directive, _, _ := strings.Cut(strings.TrimSpace(or(get("effective-directive"), get("violated-directive"))), " ")
		s.Directive = cut(directive, maxShort)
		document := get("document-uri")
		s.DocumentHost = cut(hostOf(document), maxShort)
		blocked := strings.TrimSpace(get("blocked-uri"))
		switch {
		case blocked == "" || blocked == "self" || blocked == "'self'":
			s.Blocked = "self"
		case strings.Contains(blocked, "://"):
			if s.Blocked = cut(hostOf(blocked), maxShort); s.Blocked == s.DocumentHost && s.Blocked != "" {
				s.Blocked = "self"
			}
		default: // inline, eval, data, a scheme or a host alone
			s.Blocked = cut(strings.TrimSuffix(blocked, ":"), maxShort)
		}
		kind := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(s.Directive, "-elem"), "-attr"), "-src")
		s.LocalScriptViolated = kind == "script" && (s.Blocked == "self" || s.Blocked == "inline" || s.Blocked == "eval")
		switch {
		case s.LocalScriptViolated && strings.Contains(get("violated-directive"), "'unsafe-inline'"), s.Blocked == "inline":
			message = "Blocked inline " + or(quoted(kind), "content")
		case s.Blocked == "eval":
			message = "Blocked eval " + or(quoted(kind), "content")
		default:
			message = "Blocked " + or(quoted(kind), "content") + " from " + quoted(s.Blocked)
		}
		e.Culprit = or(get("violated-directive"), s.Directive)
	case f.hpkp.Is('{'):
		s.Kind, s.DocumentHost = "hpkp", host(f.hpkp, "hostname", "noted-hostname")
		message = "Public key pinning validation failed for " + quoted(s.DocumentHost)
	case f.expectCT.Is('{'):
		s.Kind, s.DocumentHost = "expect-ct", host(f.expectCT, "hostname")
		message = "Expect-CT failed for " + quoted(s.DocumentHost)
	case f.expectStaple.Is('{'):
		s.Kind, s.DocumentHost = "expect-staple", host(f.expectStaple, "hostname")
		message = "Expect-Staple failed for " + quoted(s.DocumentHost)
	case f.nel.Is('{'):
		s.Kind, s.DocumentHost = "nel", host(f.nel, "url")
		kind := cut(f.nel.Get("body").Get("type").Scalar(), maxShort)
		message = "Network error " + quoted(or(kind, "unknown")) + " at " + quoted(s.DocumentHost)
	default:
		return
	}
	if e.Message == "" {
		e.Message = cut(message, maxText)
		entry := n.doc.Object()
		entry.Set("formatted", n.doc.String(e.Message))
		root.Set("logentry", entry)
	}
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "'" + s + "'"
}

func hostOf(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return s
}
