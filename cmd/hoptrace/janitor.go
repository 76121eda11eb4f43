package main

import (
	"context"
	"time"
)

// janitor removes payloads that are older than what the event store keeps.
type janitor struct {
	a      *app
	cancel context.CancelFunc
	done   chan struct{}
}

func (j *janitor) Name() string { return "janitor" }

func (j *janitor) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel, j.done = cancel, make(chan struct{})
	go j.run(ctx)
	return nil
}

func (j *janitor) run(ctx context.Context) {
	defer close(j.done)
	every := time.NewTicker(time.Hour)
	defer every.Stop()
	for {
		keep := time.Duration(j.a.settings.ClickHouse.RetentionDays) * 24 * time.Hour
		for more := true; more; {
			var removed int
			var err error
			removed, more, err = j.a.blobs.Clean(ctx, time.Now().Add(-keep))
			if err != nil {
				if ctx.Err() == nil {
					j.a.log.Warn("cannot clean payloads; the next try is in an hour", "err", err)
				}
				break
			}
			if removed > 0 {
				j.a.log.Info("removed old payloads", "payloads", removed)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// Shutdown stops cleaning and waits.
func (j *janitor) Shutdown(context.Context) error {
	if j.cancel == nil {
		return nil
	}
	j.cancel()
	<-j.done
	return nil
}
