package main

import (
	"context"
	"sync"
	"time"
)

// topicsPart makes the topics before what needs them starts. A collector with a
// spool does not wait for brokers that are away: senders would lose what they send
// meanwhile. It goes on, and the topics are made when the brokers are back.
type topicsPart struct {
	a       *app
	stop    context.CancelFunc
	running sync.WaitGroup
}

// patience is how long such a collector waits for the brokers.
const patience = 3 * time.Second

func (*topicsPart) Name() string { return "topics" }

func (p *topicsPart) Start(ctx context.Context) error {
	role := p.a.role
	if role.pipeline || role.broker || p.a.settings.spoolDir() == "" {
		return p.a.ensureTopics(ctx)
	}
	first, cancel := context.WithTimeout(ctx, patience)
	err := p.a.ensureTopics(first)
	cancel()
	if err == nil || ctx.Err() != nil {
		return err
	}
	p.a.log.Warn("Kafka is away: the collector takes data into its spool until it is back", "err", err)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.running.Go(func() {
		for background.Err() == nil {
			if err := p.a.ensureTopics(background); err == nil {
				p.a.log.Info("Kafka is back; the topics are there")
				return
			}
			select { // brokers answered, and refused
			case <-background.Done():
			case <-time.After(5 * time.Second):
			}
		}
	})
	return nil
}

func (p *topicsPart) Shutdown(context.Context) error {
	if p.stop != nil {
		p.stop()
	}
	p.running.Wait()
	return nil
}
