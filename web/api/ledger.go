package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Ledger tells where every item went that senders handed over.
type Ledger struct {
	// Lines has one element a category.
	Lines []LedgerLine `json:"lines"`
	// Backlog is what the stages have not read yet, over all projects and times.
	// Null when this process cannot ask the broker.
	Backlog []LedgerBacklog `json:"backlog"`
	// Balanced: every item has its end, or lies in the backlog.
	Balanced bool   `json:"balanced"`
	Verdict  string `json:"verdict"`
}

// LedgerLine is one category. Received is the sum of all that follow it but Other.
type LedgerLine struct {
	Category      string `json:"category"`
	Received      int64  `json:"received"`
	Stored        int64  `json:"stored"`
	Filtered      int64  `json:"filtered"`
	Limited       int64  `json:"limited"`
	Invalid       int64  `json:"invalid"`
	ClientDiscard int64  `json:"clientDiscard"`
	Parked        int64  `json:"parked"`
	InFlight      int64  `json:"inFlight"`
	// Untold are among the received: they have an end, and no collector told yet that it
	// took them. One that was killed never tells of its last second.
	Untold  int64          `json:"untold"`
	Reasons []LedgerReason `json:"reasons"`
}

// LedgerReason is a part of one column.
type LedgerReason struct {
	Outcome  string `json:"outcome"`
	Reason   string `json:"reason"`
	Quantity int64  `json:"quantity"`
}

// LedgerBacklog is one stage.
type LedgerBacklog struct {
	Stage   string `json:"stage"`
	Topic   string `json:"topic"`
	Records int64  `json:"records"`
}

// ledger answers /ledger.
func (h *Handler) ledger(ctx context.Context, q *query) (any, error) {
	r, project := q.timeRange(), q.project.ID
	if q.bool("all") {
		project = 0
	}
	if q.fault != nil {
		return nil, q.fault
	}
	// The backlog first: what is stored in between is then in the lines, and never
	// missing from both.
	var backlog []exporters.Backlog
	known := h.deps.Backlogs != nil
	if known {
		asking, cancel := context.WithTimeout(ctx, backlogTimeout)
		var err error
		backlog, err = h.deps.Backlogs.Backlogs(asking)
		cancel()
		if known = err == nil; !known {
			h.log.Warn("web: cannot ask what the stages have not read yet; the ledger is told without it", "err", err)
		}
	}
	lines, err := h.deps.Ledger.Ledger(ctx, project, r)
	if err != nil {
		return nil, fmt.Errorf("cannot read the ledger: %w", err)
	}
	out := Ledger{Lines: ledgerLines(lines)}
	if known {
		out.Backlog = make([]LedgerBacklog, len(backlog))
		for i, b := range backlog {
			out.Backlog[i] = LedgerBacklog(b)
		}
	}
	out.Balanced, out.Verdict = verdict(out.Lines, backlog, known)
	return out, nil
}

// backlogTimeout is how long the broker may take to answer. The ledger's own lines are
// in the store, and most wanted when the broker is away.
const backlogTimeout = 3 * time.Second

// ledgerLines makes a line a category of what became of its items: what the
// collector accepted has no end yet unless a stage tells one.
func ledgerLines(in []exporters.LedgerLine) []LedgerLine {
	by := map[schemas.Category]*LedgerLine{}
	var order []schemas.Category
	accepted, inPipeline := map[schemas.Category]int64{}, map[schemas.Category]int64{}
	for _, l := range in {
		line := by[l.Category]
		if line == nil {
			line = &LedgerLine{Category: string(l.Category), Reasons: []LedgerReason{}}
			by[l.Category], order = line, append(order, l.Category)
		}
		own := strings.HasPrefix(l.Reason, schemas.PipelineReason)
		switch l.Outcome {
		case schemas.OutcomeAccepted:
			accepted[l.Category] += l.Quantity
			continue
		case schemas.OutcomeStored:
			line.Stored += l.Quantity
		case schemas.OutcomeParked:
			line.Parked += l.Quantity
		case schemas.OutcomeFiltered:
			line.Filtered += l.Quantity
		case schemas.OutcomeRateLimited, schemas.OutcomeAbuse, schemas.OutcomeCardinalityLimited:
			line.Limited += l.Quantity
		case schemas.OutcomeInvalid:
			line.Invalid += l.Quantity
		case schemas.OutcomeClientDiscard:
			line.ClientDiscard += l.Quantity
		}
		if own || l.Outcome == schemas.OutcomeStored || l.Outcome == schemas.OutcomeParked {
			inPipeline[l.Category] += l.Quantity
		}
		if l.Outcome != schemas.OutcomeStored {
			line.Reasons = append(line.Reasons, LedgerReason{l.Outcome.String(), strings.TrimPrefix(l.Reason, schemas.PipelineReason), l.Quantity})
		}
	}
	slices.Sort(order)
	out := make([]LedgerLine, 0, len(order))
	for _, c := range order {
		line := by[c]
		line.InFlight, line.Untold = max(accepted[c]-inPipeline[c], 0), max(inPipeline[c]-accepted[c], 0)
		line.Received = line.Stored + line.Filtered + line.Limited + line.Invalid + line.ClientDiscard + line.Parked + line.InFlight
		out = append(out, *line)
	}
	return out
}

// verdict says whether what is in flight is explained by what the stages have not
// read.
func verdict(lines []LedgerLine, backlog []exporters.Backlog, known bool) (balanced bool, text string) {
	var unread, spooled, inFlight, inFlightBytes int64
	var untold []string
	for _, b := range backlog {
		if b.Stage == exporters.StageSpool {
			spooled += b.Records
		} else {
			unread += b.Records
		}
	}
	for _, l := range lines {
		if l.Untold > 0 {
			untold = append(untold, fmt.Sprintf("%d of %s", l.Untold, l.Category))
		}
		if schemas.Category(l.Category).InBytes() {
			inFlightBytes += l.InFlight
		} else {
			inFlight += l.InFlight
		}
	}
	what := fmt.Sprintf("%d items", inFlight)
	if inFlightBytes > 0 {
		what = fmt.Sprintf("%d items and %d bytes", inFlight, inFlightBytes)
	}
	defer func() {
		if len(untold) > 0 {
			text += "; collectors have not told of " + strings.Join(untold, ", ") + " that have their end: they do so within seconds, unless one was killed or another program wrote to the topics"
		}
	}()
	switch {
	case spooled > 0:
		return true, fmt.Sprintf("%d requests wait in the collector's spool until Kafka takes them, and are counted then; besides, %s are in flight", spooled, what)
	case inFlight == 0 && inFlightBytes == 0:
		return true, "everything that was received has its end"
	case !known:
		return false, what + " are in flight; this process cannot ask the broker whether they lie in its topics"
	case unread > 0:
		return true, fmt.Sprintf("%s are in flight; the stages have %d records to read", what, unread)
	}
	return false, what + " have no end, and the stages have read all there is: they are in a collector's spool or in a batch that is being stored, or lost; look again in some seconds"
}
