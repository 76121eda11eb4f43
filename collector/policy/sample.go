package policy

import (
	"strconv"

	"github.com/hoptrace/hoptrace/schemas"
)

// rule is a sampling rule, ready to use.
type rule struct {
	id                                                     string
	kind                                                   string
	rate                                                   float64
	releases, environments, transactions, levels, platform globs
}

// sampling is a project's rules in order.
type sampling []rule

func newSampling(s *schemas.ProjectSettings) sampling {
	rules := make(sampling, 0, len(s.Sampling))
	for i := range s.Sampling {
		r := &s.Sampling[i]
		rules = append(rules, rule{
			id: r.ID, kind: r.Type, rate: r.Rate, releases: newGlobs(r.Releases), environments: newGlobs(r.Environments),
			transactions: newGlobs(r.Transactions), levels: newGlobs(r.Levels), platform: newGlobs(r.Platforms),
		})
	}
	return rules
}

// asks tells whether a rule is about things of this category.
func (s sampling) asks(c schemas.Category) bool {
	for i := range s {
		if s[i].about(c) {
			return true
		}
	}
	return false
}

func (r *rule) about(c schemas.Category) bool {
	switch r.kind {
	case schemas.SampleError:
		return c == schemas.CategoryError || c == schemas.CategoryDefault
	case schemas.SampleTransaction:
		return c == schemas.CategoryTransaction
	case schemas.SampleTrace:
		return c == schemas.CategoryTransaction || c == schemas.CategorySpan
	}
	return false
}

// decide gives the rule that fits, nil for none, and whether it keeps the thing.
// Things of one trace share their fate under rules of one rate.
func (s sampling) decide(c schemas.Category, x *facts, fallback schemas.EventID) (fits *rule, keep bool) {
	for i := range s {
		r := &s[i]
		if !r.about(c) || !r.fits(x) {
			continue
		}
		id := x.traceID
		if len(id) == 0 {
			id = x.eventID
		}
		if len(id) == 0 {
			id = fallback[:]
		}
		return r, share(id) < r.rate
	}
	return nil, true
}

func (r *rule) fits(x *facts) bool {
	level := x.level
	if len(level) == 0 {
		level = []byte("error")
	}
	return fit(r.releases, x.release) && fit(r.environments, x.environment) && fit(r.transactions, x.transaction) &&
		fit(r.levels, level) && fit(r.platform, x.platform)
}

func fit(gs globs, text []byte) bool { return len(gs) == 0 || gs.match(text) }

// share spreads ids evenly over [0, 1). Ids are compared as they are written but
// for case and dashes, so that every SDK's form of one id gives the same.
func share(id []byte) float64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range id {
		switch {
		case c == '-':
			continue
		case c >= 'A' && c <= 'F':
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * 1099511628211
	}
	// FNV's upper bits know little of the last bytes.
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return float64(h>>11) / (1 << 53)
}

// noted gives the payload with the rate at which it was kept, as
// _metrics.sample_rates, so that counts can be made whole again. x holds the
// places of payload.
func noted(payload []byte, x *facts, r *rule) []byte {
	note := append([]byte(`{"sample_rates":[{"id":"`), r.id...)
	note = append(note, `","rate":`...)
	note = strconv.AppendFloat(note, r.rate, 'g', -1, 64)
	note = append(note, `}]}`...)
	out := make([]byte, 0, len(payload)+len(note)+16)
	if x.metrics[1] > 0 { // an SDK has no business to say this
		out = append(out, payload[:x.metrics[0]]...)
		out = append(out, note...)
		return append(out, payload[x.metrics[1]:]...)
	}
	out = append(out, payload[:x.close]...)
	if !isEmptyBefore(payload, x.close) {
		out = append(out, ',')
	}
	out = append(out, `"_metrics":`...)
	out = append(out, note...)
	return append(out, payload[x.close:]...)
}

// isEmptyBefore tells that nothing stands between an object's opening brace and
// its closing one at i.
func isEmptyBefore(b []byte, i int) bool {
	for i--; i >= 0; i-- {
		switch b[i] {
		case ' ', '\n', '\r', '\t':
			continue
		}
		return b[i] == '{'
	}
	return false
}

// sampleSpans decides about each span of a container {"items":[…]} and gives
// what is left of it. Each kept one that a rule fits gets the attribute
// sentry.server_sample_rate. left counts the spans that were left out, by rule.
// ok is false when the container is broken.
func (s sampling) sampleSpans(payload []byte) (out []byte, kept int, left map[*rule]int, ok bool) {
	changed := false
	copied := 0
	end := object(payload, skipSpace(payload, 0), func(key []byte, at int) int {
		if string(key) != "items" || at >= len(payload) || payload[at] != '[' {
			return skipValue(payload, at)
		}
		out = append(out, payload[copied:at+1]...)
		first := true
		end := array(payload, at, func(at int) int {
			var x spanFacts
			end := x.read(payload, at)
			if end < 0 {
				return -1
			}
			r, keep := s.decide(schemas.CategorySpan, &x.facts, schemas.EventID{})
			if !keep {
				if left == nil {
					left = map[*rule]int{}
				}
				left[r]++
				changed = true
				return end
			}
			kept++
			if !first {
				out = append(out, ',')
			}
			first = false
			if r != nil && r.rate < 1 && payload[at] == '{' {
				out, changed = x.noted(out, payload, at, end, r.rate), true
			} else {
				out = append(out, payload[at:end]...)
			}
			return end
		})
		copied = end - 1
		return end
	})
	switch {
	case end < 0:
		return nil, 0, nil, false
	case !changed:
		return payload, kept, nil, true
	}
	return append(out, payload[copied:]...), kept, left, true
}

// spanFacts are what rules ask of a span in a container.
type spanFacts struct {
	facts
	attributes int // where their object opens; zero when there is none
	empty      bool
}

func (x *spanFacts) read(b []byte, at int) int {
	if at >= len(b) || b[at] != '{' {
		return skipValue(b, at)
	}
	return object(b, at, func(key []byte, at int) int {
		switch string(key) {
		case "trace_id":
			x.traceID, _ = textAt(b, at)
		case "attributes":
			if at >= len(b) || b[at] != '{' {
				break
			}
			x.attributes, x.empty = at, true
			return object(b, at, func(key []byte, at int) int {
				x.empty = false
				var into *[]byte
				switch string(key) {
				case "sentry.release":
					into = &x.release
				case "sentry.environment":
					into = &x.environment
				case "sentry.segment.name", "sentry.transaction":
					into = &x.transaction
				case "sentry.platform":
					into = &x.platform
				default:
					return skipValue(b, at)
				}
				return object(b, at, func(key []byte, at int) int {
					if string(key) == "value" {
						*into, _ = textAt(b, at)
					}
					return skipValue(b, at)
				})
			})
		}
		return skipValue(b, at)
	})
}

// noted appends the span with its rate.
func (x *spanFacts) noted(out, payload []byte, at, end int, rate float64) []byte {
	attribute := func(out []byte) []byte {
		out = append(out, `"sentry.server_sample_rate":{"type":"double","value":`...)
		return append(strconv.AppendFloat(out, rate, 'g', -1, 64), '}')
	}
	if x.attributes > 0 {
		out = append(out, payload[at:x.attributes+1]...)
		out = attribute(out)
		if !x.empty {
			out = append(out, ',')
		}
		return append(out, payload[x.attributes+1:end]...)
	}
	out = append(out, payload[at:end-1]...)
	if !isEmptyBefore(payload, end-1) {
		out = append(out, ',')
	}
	out = append(out, `"attributes":{`...)
	return append(attribute(out), '}', '}')
}
