package embeddedkafka

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// A partition without records has no segment file, and kfake, which finds out
// where a partition ends by reading its segments, would count its offsets from
// 0 again after a restart. Offsets given out twice would be taken for replays
// by everything behind the broker, whose writes are idempotent by them. So the
// high watermarks are kept beside the log, and restoreOffsets hands them to
// kfake in its own form: a snapshot that names one empty segment.

// watermarks is the content of the watermark file: by topic id, since a topic
// that is made again under the same name begins at 0.
type watermarks struct {
	Version int                `json:"version"`
	Topics  map[string][]int64 `json:"topics"` // topic id in base64 → high watermark of each partition
}

const watermarksVersion = 1

// saveWatermarks writes where each partition ends. It returns once that is durable.
func (b *Broker) saveWatermarks(ctx context.Context) error {
	topics, err := b.admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the topics: %w", err)
	}
	ends, err := b.admin.ListEndOffsets(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the end offsets: %w", err)
	}
	return b.writeWatermarks(topics, ends)
}

func (b *Broker) writeWatermarks(topics kadm.TopicDetails, ends kadm.ListedOffsets) error {
	w := watermarks{Version: watermarksVersion, Topics: make(map[string][]int64, len(topics))}
	for name, t := range topics {
		offsets := make([]int64, len(t.Partitions))
		for p := range t.Partitions {
			if end, ok := ends.Lookup(name, p); ok && end.Err == nil && int(p) < len(offsets) {
				offsets[p] = end.Offset
			}
		}
		w.Topics[base64.StdEncoding.EncodeToString(t.ID[:])] = offsets
	}
	b.watermarkMu.Lock()
	defer b.watermarkMu.Unlock()
	return writeFileDurably(b.watermarkFile(), w)
}

// writeFileDurably replaces path by v as JSON: after a crash the file is the
// old or the new one.
func writeFileDurably(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode %q: %w", path, err)
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	return nil
}

// persistedTopics is the part of kfake's topics.json that is read here.
type persistedTopics struct {
	Topics []struct {
		Name       string `json:"name"`
		ID         string `json:"id"`
		Partitions int    `json:"partitions"`
	} `json:"topics"`
}

// snapshot is the part of kfake's snapshot.json that is read and written here.
type snapshot struct {
	Version          int               `json:"version"`
	HighWatermark    int64             `json:"high_watermark"`
	LastStableOffset int64             `json:"last_stable_offset"`
	LogStartOffset   int64             `json:"log_start_offset"`
	Epoch            int32             `json:"epoch"`
	CreatedAt        time.Time         `json:"created_at"`
	Segments         []snapshotSegment `json:"segments"`
}

type snapshotSegment struct {
	BaseOffset int64 `json:"base_offset"`
	Size       int64 `json:"size"`
}

// restoreOffsets makes sure, before kfake loads logDir, that every partition
// goes on where it ended and that its sums are right (see correctSums). It returns the
// size of the log.
func restoreOffsets(logDir, watermarkFile string, log *slog.Logger) (int64, error) {
	var topics persistedTopics
	if err := readJSON(filepath.Join(logDir, "topics.json"), &topics); err != nil {
		return 0, err
	}
	var saved watermarks
	if err := readJSON(watermarkFile, &saved); err != nil {
		return 0, err
	}
	if saved.Version > watermarksVersion {
		return 0, fmt.Errorf("the broker's directory was written by a newer version: %q has version %d, this program knows %d", watermarkFile, saved.Version, watermarksVersion)
	}
	var total int64
	for _, t := range topics.Topics {
		ends := saved.Topics[t.ID]
		for p := range t.Partitions {
			dir := partitionDir(logDir, t.Name, p)
			segments, err := listSegments(dir)
			if err != nil {
				return 0, err
			}
			var size int64
			for _, s := range segments {
				size += s.size
				n, err := correctSums(filepath.Join(dir, strconv.FormatInt(s.base, 10)+".dat"))
				if err != nil {
					return 0, err
				}
				if n > 0 {
					log.Debug("sums of batches that the broker had stamped are put right", "topic", t.Name, "partition", p, "segment", s.base, "batches", n)
				}
			}
			total += size
			if size > 0 {
				continue // the records tell the end
			}
			var snap snapshot
			if err := readJSON(filepath.Join(dir, "snapshot.json"), &snap); err != nil {
				return 0, err
			}
			end := snap.HighWatermark
			if p < len(ends) {
				end = max(end, ends[p])
			}
			if end == 0 {
				continue
			}
			if err := writeEmptyPartition(dir, segments, snap, end); err != nil {
				return 0, fmt.Errorf("cannot restore the end offset of topic %q partition %d: %w", t.Name, p, err)
			}
			log.Debug("empty partition goes on where it ended", "topic", t.Name, "partition", p, "offset", end)
		}
	}
	return total, nil
}

// writeEmptyPartition leaves in dir one empty segment that begins at end, and
// the snapshot that says so.
func writeEmptyPartition(dir string, old []segment, snap snapshot, end int64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range old {
		for _, ext := range []string{".dat", ".idx"} {
			if err := os.Remove(filepath.Join(dir, strconv.FormatInt(s.base, 10)+ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	f, err := os.Create(filepath.Join(dir, strconv.FormatInt(end, 10)+".dat"))
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if snap.CreatedAt.IsZero() {
		snap.CreatedAt = time.Now()
	}
	snap.Version = 1
	snap.HighWatermark, snap.LastStableOffset, snap.LogStartOffset = end, end, end
	snap.Segments = []snapshotSegment{{BaseOffset: end}}
	return writeFileDurably(filepath.Join(dir, "snapshot.json"), snap)
}

// segment is one segment file of a partition.
type segment struct {
	base     int64
	size     int64
	modified time.Time
}

// listSegments returns the segment files in dir by offset, oldest first. A
// directory that does not exist has none.
func listSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the segments in %q: %w", dir, err)
	}
	var out []segment
	for _, e := range entries {
		base, isSegment := strings.CutSuffix(e.Name(), ".dat")
		n, err := strconv.ParseInt(base, 10, 64)
		if !isSegment || err != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted just now
		}
		if err != nil {
			return nil, fmt.Errorf("cannot list the segments in %q: %w", dir, err)
		}
		out = append(out, segment{base: n, size: info.Size(), modified: info.ModTime()})
	}
	sortSegments(out)
	return out, nil
}

// partitionDir is where kfake keeps a partition.
func partitionDir(logDir, topic string, partition int) string {
	return filepath.Join(logDir, "partitions", url.PathEscape(topic)+"-"+strconv.Itoa(partition))
}

// readJSON reads path into v; a file that does not exist leaves v as it is.
func readJSON(path string, v any) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", path, err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("cannot read %q: it is damaged: %w", path, err)
	}
	return nil
}
