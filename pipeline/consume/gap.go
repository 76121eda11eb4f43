package consume

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Gap is a stretch of a partition that the group has not read and cannot read
// any more.
type Gap struct {
	Topic     string
	Partition int32

	// From is the offset that was to be read next, To the earliest that is
	// there. When From is beyond the end of the log (the topic was made
	// again, or the brokers lost its end) To is smaller.
	From, To int64

	At       time.Time // when it was found
	Accepted bool      // reading went on at To; otherwise the partition is stopped
}

// Lost is how many offsets were skipped: 0 when From was beyond the end.
func (g Gap) Lost() int64 { return max(g.To-g.From, 0) }

// Gaps returns the gaps of this member's partitions, by partition, the last of
// each. A gap that is not Accepted is a partition that stands still.
func (l *Loop) Gaps() []Gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Gap, 0, len(l.gaps))
	for _, g := range l.gaps {
		out = append(out, g)
	}
	return out
}

// gap deals with a partition whose next record is gone: it stands still, or
// goes on at the earliest record when that is allowed.
func (l *Loop) gap(ctx context.Context, partition int32, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	g := Gap{Topic: l.cfg.Topic, Partition: partition, From: -1, To: -1, At: time.Now()}
	starts, err := l.admin.Kadm().ListStartOffsets(ctx, l.cfg.Topic)
	if start, ok := starts.Lookup(l.cfg.Topic, partition); err == nil && ok && start.Err == nil {
		g.To = start.Offset
	}
	l.mu.Lock()
	o := l.owned[partition]
	if o != nil {
		g.From = max(o.position, o.next)
	}
	l.mu.Unlock()
	if o == nil {
		return // another member's by now, which will see it itself
	}
	if g.From < 0 {
		if committed, err := l.admin.Kadm().FetchOffsets(ctx, l.cfg.Group); err == nil {
			if c, ok := committed.Lookup(l.cfg.Topic, partition); ok && c.Err == nil {
				g.From = c.At
			}
		}
	}
	g.Accepted = l.cfg.AcceptGaps && g.To >= 0
	l.mu.Lock()
	previous, known := l.gaps[partition]
	l.gaps[partition] = g
	l.mu.Unlock()

	attrs := []any{"partition", partition, "committed", g.From, "earliest", g.To, "lost_records", g.Lost(), "cause", cause}
	if !known || previous.From != g.From || previous.To != g.To || previous.Accepted != g.Accepted {
		l.metrics.gaps.WithLabelValues(l.cfg.Stage, l.cfg.Topic, strconv.FormatBool(g.Accepted)).Inc()
	}
	if !g.Accepted {
		l.metrics.stalled.WithLabelValues(l.cfg.Stage, l.cfg.Topic, partitionLabel(partition)).Set(1)
		l.log.Error("records are gone before they were read: the partition stands still. "+
			"To go on at the earliest record and accept the loss, start with pipeline.accept_gaps=true; "+
			"to choose another offset, stop the group and set its offset with Kafka's tools", attrs...)
		return
	}
	l.metrics.lost.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Add(float64(g.Lost()))
	l.log.Error("records are gone before they were read: going on at the earliest, as pipeline.accept_gaps says", attrs...)
	// Not committed here: records from before the gap may be in the batch at
	// hand, and the next batch's commit comes soon enough.
	l.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{l.cfg.Topic: {partition: {Epoch: -1, Offset: g.To}}})
}

func partitionLabel(p int32) string { return strconv.Itoa(int(p)) }
