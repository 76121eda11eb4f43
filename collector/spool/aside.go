package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// asideFolder holds what Kafka refused for good: acknowledged once, so kept for a
// person to look at. It counts against no bound; a topic whose max.message.bytes
// was lowered is what fills it.
const asideFolder = "refused"

// putAside keeps an entry durably outside the queue.
func (q *Queue) putAside(entry []byte) error {
	dir := filepath.Join(q.cfg.Dir, asideFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot put an entry of the spool aside: %w", err)
	}
	f, err := os.CreateTemp(dir, time.Now().UTC().Format("20060102-150405")+"-*.entry")
	if err != nil {
		return fmt.Errorf("cannot put an entry of the spool aside: %w", err)
	}
	_, err = f.Write(entry)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot put an entry of the spool aside: %w", err), os.Remove(f.Name()))
	}
	return nil
}
