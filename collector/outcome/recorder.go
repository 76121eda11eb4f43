package outcome

import "github.com/hoptrace/hoptrace/schemas"

// Recorder is told what became of what senders handed over: the collector's
// side of the ledger. It must not block, and may be called by many goroutines.
type Recorder interface {
	// Record counts quantity of a category. key is the DSN's, empty without one;
	// reason is empty for what was accepted; id is zero where it is no event's.
	// What is accepted is told once it is durable.
	Record(project uint64, key string, cat schemas.Category, o schemas.Outcome, reason string, quantity int64, id schemas.EventID)
}

// Fan tells several recorders.
type Fan []Recorder

// Record tells all.
func (f Fan) Record(project uint64, key string, cat schemas.Category, o schemas.Outcome, reason string, quantity int64, id schemas.EventID) {
	for _, r := range f {
		r.Record(project, key, cat, o, reason, quantity, id)
	}
}

// maxReasons bounds the values of the label "reason". SDKs make up reasons of
// their own; the ones beyond it are counted as "other".
const maxReasons = 200

// Record counts for the metric item_outcomes_total.
func (c *Counts) Record(_ uint64, _ string, cat schemas.Category, o schemas.Outcome, reason string, quantity int64, _ schemas.EventID) {
	if quantity <= 0 {
		return
	}
	c.ledger.WithLabelValues(string(cat), o.String(), c.label(reason)).Add(float64(quantity))
}

func (c *Counts) label(reason string) string {
	if reason == "" {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.reasons[reason]; known {
		return reason
	}
	if len(c.reasons) >= maxReasons {
		return "other"
	}
	c.reasons[reason] = struct{}{}
	return reason
}
