package normalize

import (
	"net"
	"strconv"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/schemas"
)

// Metrics drops the impossible points and puts the others in order, in place,
// in their order: what a point is about moves from its attributes to its
// fields. Received is Unix ns, when the collector had them. Reasons are NoTime
// (counted as NoStart), InFuture and TooOld.
func Metrics(cfg Config, points []schemas.MetricPoint, received int64, dropped *Dropped) []schemas.MetricPoint {
	cfg = cfg.withDefaults()
	latest, earliest := received+int64(cfg.MaxFuture), received-int64(cfg.MaxAge)
	n := 0
	for i := range points {
		p := &points[i]
		reason := Reasons
		switch {
		case p.Time <= 0:
			reason = NoStart
		case p.Time > latest:
			reason = InFuture
		case p.Time < earliest:
			reason = TooOld
		}
		if reason != Reasons {
			dropped[reason]++
			continue
		}
		tidyPoint(p)
		if n != i {
			points[n] = *p
		}
		n++
	}
	return points[:n]
}

func tidyPoint(p *schemas.MetricPoint) {
	p.Name = or(cut(p.Name, MaxName), unnamed)
	p.Unit, p.Description, p.Scope = cut(p.Unit, MaxName), cut(p.Description, MaxName), cut(p.Scope, MaxName)
	p.Service = or(cut(p.Service, MaxName), unknownService)
	if p.Start < 0 {
		p.Start = 0
	}
	p.BootID, _ = schemas.Lookup(p.Resource, messaging.AttrBootID)
	address, port := "", ""
	kept := p.Attributes[:0]
	for _, a := range p.Attributes {
		switch a.Key {
		case messaging.AttrDestinationName:
			p.Topic = cut(a.Value, MaxName)
		case messaging.AttrPartitionID:
			n, err := strconv.ParseInt(a.Value, 10, 32)
			if err != nil || n < 0 {
				kept = append(kept, a)
				continue
			}
			p.Partition = int32(n)
		case messaging.AttrConsumerGroup:
			p.Group = cut(a.Value, MaxName)
		case messaging.AttrClientID:
			p.ClientID = cut(a.Value, MaxName)
		case messaging.AttrServerAddress:
			address = cut(a.Value, MaxName)
		case messaging.AttrServerPort:
			port = cut(a.Value, 16)
		default:
			kept = append(kept, a)
		}
	}
	p.Attributes = kept
	if p.Broker = address; address != "" && port != "" {
		p.Broker = net.JoinHostPort(address, port)
	}
}
