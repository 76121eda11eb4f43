package main

import (
	"context"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// artifactsUnused is how long uploaded files are kept that nothing made use of.
const artifactsUnused = 90 * 24 * time.Hour

// artifactsAtOnce bounds one removal, so that uploads get their turn between two.
const artifactsAtOnce = 500

// rowsAtOnce is the same for rows of the metadata store.
const rowsAtOnce = 1000

// janitor removes payloads that are older than what the event store keeps, and
// uploaded files that are of no use any more.
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
			removed, more, err = j.a.blobs.Clean(ctx, time.Now().Add(-keep), exporters.ChunksFolder)
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
		if removed, err := j.a.nodes.Clean(ctx, time.Now().Add(-keep)); err != nil {
			if ctx.Err() == nil {
				j.a.log.Warn("cannot clean the payloads of events; the next try is in an hour", "err", err)
			}
		} else if removed > 0 {
			j.a.log.Info("removed the payloads of old events", "files", removed)
		}
		j.expireArtifacts(ctx)
		j.expireRows(ctx, "feedback", j.a.metadata.ExpireFeedback, time.Now().Add(-keep))
		j.expireRows(ctx, "check-ins", j.a.metadata.ExpireCheckIns, time.Now().Add(-keep))
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func (j *janitor) expireArtifacts(ctx context.Context) {
	for more := true; more; {
		now := time.Now()
		var removed int
		var err error
		removed, more, err = j.a.metadata.ExpireArtifacts(ctx, now.Add(-artifactsUnused).UnixNano(), now.UnixNano(), artifactsAtOnce,
			func(sha1 string) error { return j.a.blobs.Delete(ctx, exporters.ChunkKey(sha1)) })
		if err != nil {
			if ctx.Err() == nil {
				j.a.log.Warn("cannot remove unused uploads; the next try is in an hour", "err", err)
			}
			return
		}
		if removed > 0 {
			j.a.log.Info("removed unused uploads", "chunks", removed)
		}
	}
}

// expireRows removes old rows of the metadata store, some at a time.
func (j *janitor) expireRows(ctx context.Context, what string, remove func(ctx context.Context, before int64, limit int) (int, error), before time.Time) {
	for {
		removed, err := remove(ctx, before.UnixNano(), rowsAtOnce)
		if err != nil {
			if ctx.Err() == nil {
				j.a.log.Warn("cannot remove old "+what+"; the next try is in an hour", "err", err)
			}
			return
		}
		if removed > 0 {
			j.a.log.Info("removed old "+what, "rows", removed)
		}
		if removed < rowsAtOnce {
			return
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
