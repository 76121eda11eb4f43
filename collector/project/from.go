package project

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/hoptrace/hoptrace/collector/policy"
)

// From reads what is known of a sender before it is authenticated. The zero
// value believes the connection only.
type From struct {
	// Forwarded: believe X-Forwarded-For, because a proxy of ours sets it.
	Forwarded bool
}

// maxHeaderText is how much of a header is looked at.
const maxHeaderText = 1 << 10

// Request reads the client's address, its agent and its origin.
func (f From) Request(req *http.Request) policy.Sender {
	from := policy.Sender{UserAgent: clip(req.Header.Get("User-Agent"), maxHeaderText), Origin: req.Header.Get("Origin")}
	if from.Origin == "" || from.Origin == "null" {
		from.Origin = req.Header.Get("Referer")
	}
	from.Origin = clip(from.Origin, maxHeaderText)
	if ap, err := netip.ParseAddrPort(req.RemoteAddr); err == nil {
		from.Client = ap.Addr().Unmap().WithZone("")
	}
	if f.Forwarded {
		// The last is whom our proxy saw; what stands before it anybody may write.
		values := req.Header["X-Forwarded-For"]
		if n := len(values); n > 0 {
			last := values[n-1]
			last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
			if ap, err := netip.ParseAddrPort(last); err == nil {
				from.Client = ap.Addr().Unmap().WithZone("")
			} else if addr, err := netip.ParseAddr(last); err == nil {
				from.Client = addr.Unmap().WithZone("")
			}
		}
	}
	return from
}
