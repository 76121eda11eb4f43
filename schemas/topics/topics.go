// Package topics is the list of Kafka topics between the stations, one YAML
// file a topic. It says what each carries and how it is set up; what is in a
// record is said by package schemas, and who makes the topics by package
// internal/kafka.
package topics

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// The names, for code that means one certain topic.
const (
	IngestSpans      = "ingest-spans"
	IngestEvents     = "ingest-events"
	IngestMetrics    = "ingest-metrics"
	IngestSpansDLQ   = "ingest-spans-dlq"
	IngestEventsDLQ  = "ingest-events-dlq"
	IngestMetricsDLQ = "ingest-metrics-dlq"
)

// DLQHeadroomBytes is by how much the max.message.bytes of a dead-letter
// topic must exceed that of its topic: room for the headers that say why.
const DLQHeadroomBytes = 64 << 10

// Topic is one topic's contract.
type Topic struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`

	// Key says what the record key is, for the reader.
	Key string `yaml:"key"`

	// Partitions is how many a new topic gets. One that has more keeps them.
	Partitions int32 `yaml:"partitions"`

	// RetentionMs is retention.ms, in milliseconds.
	RetentionMs int64 `yaml:"retention.ms"`

	// MaxMessageBytes is max.message.bytes: the bound of one record batch,
	// compressed, and so of one record.
	MaxMessageBytes int32 `yaml:"max.message.bytes"`

	// Compression is what producers use: none, gzip, snappy, lz4 or zstd.
	Compression string `yaml:"compression"`

	// DLQ is the dead-letter topic's name. Empty: this is one itself.
	DLQ string `yaml:"dlq"`
}

// Retention is RetentionMs as a duration.
func (t Topic) Retention() time.Duration { return time.Duration(t.RetentionMs) * time.Millisecond }

// Configs is the topic's configuration in Kafka's names. The broker keeps the
// producer's compression.
func (t Topic) Configs() map[string]string {
	return map[string]string{
		"retention.ms":      fmt.Sprint(t.RetentionMs),
		"max.message.bytes": fmt.Sprint(t.MaxMessageBytes),
	}
}

//go:embed *.yaml
var files embed.FS

var all = sync.OnceValues(func() ([]Topic, error) { return load(files) })

// All returns every topic by name. The slice is the caller's. It panics when
// the files built into the program are broken, which a test rules out.
func All() []Topic {
	ts, err := all()
	if err != nil {
		panic(err)
	}
	return slices.Clone(ts)
}

// Get returns the topic of that name, or an error that lists those there are.
func Get(name string) (Topic, error) {
	ts := All()
	names := make([]string, len(ts))
	for i, t := range ts {
		if t.Name == name {
			return t, nil
		}
		names[i] = t.Name
	}
	return Topic{}, fmt.Errorf("unknown topic %q: there are %s", name, strings.Join(names, ", "))
}

// load reads and checks every file of fsys.
func load(fsys fs.FS) ([]Topic, error) {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("cannot list the topic files: %w", err)
	}
	var out []Topic
	var errs []error
	for _, name := range names {
		raw, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("cannot read topic file %s: %w", name, err)
		}
		var t Topic
		dec := yaml.NewDecoder(bytes.NewReader(raw))
		dec.KnownFields(true)
		if err := dec.Decode(&t); err != nil {
			errs = append(errs, fmt.Errorf("topic file %s: %w", name, err))
			continue
		}
		if want := strings.TrimSuffix(path.Base(name), ".yaml"); t.Name != want {
			errs = append(errs, fmt.Errorf("topic file %s: name is %q; it must be the file's", name, t.Name))
		}
		t.Description = strings.TrimSpace(t.Description)
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return out, errors.Join(append(errs, validate(out))...)
}

var (
	validName    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,200}$`)
	compressions = []string{"none", "gzip", "snappy", "lz4", "zstd"}
)

// validate names every fault of the topics and of what they are to each other.
func validate(ts []Topic) error {
	byName := make(map[string]Topic, len(ts))
	for _, t := range ts {
		byName[t.Name] = t
	}
	var errs []error
	for _, t := range ts {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("topic %q: "+format, append([]any{t.Name}, args...)...))
		}
		if !validName.MatchString(t.Name) {
			bad("name must be lower-case letters, digits, dots and hyphens")
		}
		if t.Description == "" {
			bad("description is missing")
		}
		if t.Key == "" {
			bad("key is missing: say what records are keyed by")
		}
		if t.Partitions < 1 || t.Partitions > 1000 {
			bad("partitions is %d; it must be from 1 to 1000", t.Partitions)
		}
		if t.RetentionMs < time.Minute.Milliseconds() {
			bad("retention.ms is %d; it must be at least a minute", t.RetentionMs)
		}
		if t.MaxMessageBytes < 1<<10 || t.MaxMessageBytes > 64<<20 {
			bad("max.message.bytes is %d; it must be from 1 KiB to 64 MiB", t.MaxMessageBytes)
		}
		if !slices.Contains(compressions, t.Compression) {
			bad("compression is %q; it must be one of %s", t.Compression, strings.Join(compressions, ", "))
		}
		if strings.HasSuffix(t.Name, "-dlq") {
			if t.DLQ != "" {
				bad("a dead-letter topic has none itself")
			}
			continue
		}
		dlq, ok := byName[t.DLQ]
		switch {
		case t.DLQ != t.Name+"-dlq":
			bad("dlq is %q; it must be %q", t.DLQ, t.Name+"-dlq")
		case !ok:
			bad("its dead-letter topic %q has no file", t.DLQ)
		case dlq.MaxMessageBytes < t.MaxMessageBytes+DLQHeadroomBytes:
			bad("max.message.bytes of %q is %d; a record of %d bytes and %d of headers must fit", t.DLQ, dlq.MaxMessageBytes, t.MaxMessageBytes, DLQHeadroomBytes)
		case dlq.RetentionMs < t.RetentionMs:
			bad("dead letters are kept for less time than records")
		}
	}
	return errors.Join(errs...)
}
