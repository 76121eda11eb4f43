package lagwatch

import (
	"context"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// storeEvery is how often lag is kept: charts of hours need no more, and a
// partition that keeps up costs nothing.
const storeEvery = 30 * time.Second

// maxStored bounds the points of one write.
const maxStored = 20_000

// keeper knows what a cluster's last points told.
type keeper struct {
	at     time.Time
	behind map[lane]struct{} // had a lag
}

type lane struct {
	group string
	place
}

// store keeps lag over time as metric points. What the store does not take is
// counted and gone: the next points come in half a minute.
func (w *Watcher) store(ctx context.Context, c *cluster, now time.Time) {
	if now.Sub(c.keep.at) < storeEvery-c.cfg.Interval/2 {
		return
	}
	c.keep.at = now
	points := c.points(w.deps.Project, now)
	if len(points) == 0 {
		return
	}
	writing, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	result := "stored"
	if err := w.deps.Store.WriteMetrics(writing, points); err != nil {
		result = "lost"
		if ctx.Err() == nil {
			w.log.Warn("lagwatch: lag over time was not kept", "cluster", c.name, "points", len(points), "err", err)
		}
	}
	w.metrics.points.WithLabelValues(result).Add(float64(len(points)))
}

// points are those of the last round. Several watchers of one cluster write the
// same series, of which readers take the last value of a step: none counts twice.
func (c *cluster) points(project uint64, now time.Time) []schemas.MetricPoint {
	c.mu.Lock()
	groups := c.report.Groups
	c.mu.Unlock()
	var out []schemas.MetricPoint
	source := schemas.Source(hash("lagwatch", c.name, strconv.FormatInt(now.UnixNano(), 10)))
	add := func(name, unit, group, topic string, partition int32, value float64) {
		if len(out) == maxStored {
			return
		}
		out = append(out, schemas.MetricPoint{
			Project: project, Name: name, Unit: unit, Kind: schemas.MetricGauge, Topic: topic, Partition: partition, Group: group,
			Service: exporters.LagServicePrefix + c.name, Series: hash(c.name, group, topic, strconv.Itoa(int(partition))),
			Time: now.UnixNano(), Value: value, Source: source, Position: schemas.Position{Offset: now.UnixNano(), Index: uint32(len(out))},
		})
	}
	behind := map[lane]struct{}{}
	for _, g := range groups {
		if !g.Asked.Equal(now) {
			continue // a value of before is no sample of now
		}
		for i := range g.Topics {
			t := &g.Topics[i]
			sum := t.Total()
			add(exporters.MetricLagSum, "{record}", g.Group, t.Topic, schemas.Unknown, float64(sum.Lag))
			if sum.Behind >= 0 {
				add(exporters.MetricLagTimeMax, "s", g.Group, t.Topic, schemas.Unknown, sum.Behind.Seconds())
			}
			for _, p := range t.Partitions {
				l := lane{g.Group, place{t.Topic, p.Partition}}
				_, was := c.keep.behind[l]
				if p.Lag == 0 && !was {
					continue
				}
				if p.Lag > 0 {
					behind[l] = struct{}{}
				}
				add(exporters.MetricLag, "{record}", g.Group, t.Topic, p.Partition, float64(p.Lag))
				if p.Behind >= 0 {
					add(exporters.MetricLagTime, "s", g.Group, t.Topic, p.Partition, p.Behind.Seconds())
				}
			}
		}
	}
	c.keep.behind = behind
	return out
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // never fails
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}
