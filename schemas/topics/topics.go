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
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// The names, for code that means one certain topic. They are logical: which
// topic of the brokers is meant is configuration (kafka.topics).
const (
	IngestEvents           = "ingest-events"
	IngestAttachments      = "ingest-attachments"
	IngestTransactions     = "ingest-transactions"
	IngestSpans            = "ingest-spans"
	IngestMetrics          = "ingest-metrics"
	IngestLogs             = "ingest-logs"
	IngestSessions         = "ingest-sessions"
	IngestMonitors         = "ingest-monitors"
	IngestFeedbackEvents   = "ingest-feedback-events"
	Profiles               = "profiles"
	IngestReplayEvents     = "ingest-replay-events"
	IngestReplayRecordings = "ingest-replay-recordings"
	Events                 = "events"
	EventReplacements      = "event-replacements"
	Outcomes               = "outcomes"
	ClockSamples           = "clock-samples"

	IngestEventsDLQ           = "ingest-events-dlq"
	IngestAttachmentsDLQ      = "ingest-attachments-dlq"
	IngestTransactionsDLQ     = "ingest-transactions-dlq"
	IngestSpansDLQ            = "ingest-spans-dlq"
	IngestMetricsDLQ          = "ingest-metrics-dlq"
	IngestLogsDLQ             = "ingest-logs-dlq"
	IngestSessionsDLQ         = "ingest-sessions-dlq"
	IngestMonitorsDLQ         = "ingest-monitors-dlq"
	IngestFeedbackEventsDLQ   = "ingest-feedback-events-dlq"
	ProfilesDLQ               = "profiles-dlq"
	IngestReplayEventsDLQ     = "ingest-replay-events-dlq"
	IngestReplayRecordingsDLQ = "ingest-replay-recordings-dlq"
	EventsDLQ                 = "events-dlq"
	EventReplacementsDLQ      = "event-replacements-dlq"
	OutcomesDLQ               = "outcomes-dlq"
	ClockSamplesDLQ           = "clock-samples-dlq"
)

// DLQHeadroomBytes is by how much the max.message.bytes of a dead-letter
// topic must exceed that of its topic: room for the headers that say why.
const DLQHeadroomBytes = 64 << 10

// Topic is one topic's contract.
type Topic struct {
	Name        string
	Description string

	// Owner is the part of hoptrace that answers for the contract.
	Owner string

	// Producers and Consumers are stages, by name. "external" is somebody
	// beside hoptrace, "operator" a person with a tool.
	Producers, Consumers []string

	// Key says what the record key is, for the reader.
	Key string

	// Schemas are the versions of what a record carries, oldest first. A
	// dead-letter topic has none: its records are those of its topic.
	Schemas []Schema

	// Partitions is how many a new topic gets. One that has more keeps them.
	Partitions int32

	// Creation is the topic's configuration in Kafka's names, as it is written
	// in the file. RetentionMs, MaxMessageBytes and Compression repeat three of
	// it.
	Creation map[string]string

	// RetentionMs is retention.ms, in milliseconds.
	RetentionMs int64

	// MaxMessageBytes is max.message.bytes: the bound of one record batch,
	// compressed, and so of one record.
	MaxMessageBytes int32

	// Compression is compression.type, which is what producers use: none,
	// gzip, snappy, lz4 or zstd.
	Compression string

	// DLQ is the dead-letter topic's name. Empty: this is one itself.
	DLQ string
}

// Schema is one version of what a topic's records carry.
type Schema struct {
	Version int `yaml:"version"`

	// Type is json, msgpack or protobuf.
	Type string `yaml:"type"`

	// Compatibility says what this version is to the one before: none,
	// backward (it reads what that wrote), forward (that reads what it writes)
	// or full (both). See package compat.
	Compatibility string `yaml:"compatibility_mode"`

	// Resource is a file below schemas/json, or the full name of a protobuf
	// message.
	Resource string `yaml:"resource"`

	// Header is the value of the record header "schema" that tells this
	// version from the others.
	Header string `yaml:"header"`
}

// Retention is RetentionMs as a duration.
func (t Topic) Retention() time.Duration { return time.Duration(t.RetentionMs) * time.Millisecond }

// IsDLQ tells whether t is a dead-letter topic.
func (t Topic) IsDLQ() bool { return strings.HasSuffix(t.Name, dlqSuffix) }

// Configs is the topic's configuration in Kafka's names, as the broker is to
// have it: without the compression, since it keeps the producer's.
func (t Topic) Configs() map[string]string {
	out := maps.Clone(t.Creation)
	delete(out, configCompression)
	return out
}

// Latest is the highest version; ok is false when there is none.
func (t Topic) Latest() (s Schema, ok bool) {
	if len(t.Schemas) == 0 {
		return s, false
	}
	return t.Schemas[len(t.Schemas)-1], true
}

// ByHeader finds the version that a record's header "schema" names. A record
// without that header is of the highest version.
func (t Topic) ByHeader(header string) (s Schema, ok bool) {
	if header == "" {
		return t.Latest()
	}
	for _, s := range t.Schemas {
		if s.Header == header {
			return s, true
		}
	}
	return s, false
}

const (
	dlqSuffix = "-dlq"

	configRetention   = "retention.ms"
	configMaxBytes    = "max.message.bytes"
	configCompression = "compression.type"
)

// file is a topic's YAML. The configuration may stand under any of three
// names, since all three are in use where Sentry's topics are described; the
// keys retention.ms, max.message.bytes and compression may stand beside them.
type file struct {
	Name        string            `yaml:"name"`
	Description string            `yaml:"description"`
	Owner       string            `yaml:"owner"`
	Producers   []string          `yaml:"producers"`
	Consumers   []string          `yaml:"consumers"`
	Key         string            `yaml:"key"`
	Schemas     []Schema          `yaml:"schemas"`
	Partitions  int32             `yaml:"partitions"`
	Creation    map[string]string `yaml:"topic_creation_config"`
	Config1     map[string]string `yaml:"topic_configuration"`
	Config2     map[string]string `yaml:"topic_configuration_config"`
	Retention   string            `yaml:"retention.ms"`
	MaxBytes    string            `yaml:"max.message.bytes"`
	Compression string            `yaml:"compression"`
	DLQ         string            `yaml:"dlq"`
}

// topic merges the spellings; the errors name what is said twice or is no
// number.
func (f file) topic() (Topic, error) {
	t := Topic{
		Name: f.Name, Description: strings.TrimSpace(f.Description), Owner: f.Owner, Producers: f.Producers, Consumers: f.Consumers,
		Key: f.Key, Schemas: f.Schemas, Partitions: f.Partitions, Creation: map[string]string{}, DLQ: f.DLQ,
	}
	var errs []error
	add := func(from map[string]string) {
		for _, k := range slices.Sorted(maps.Keys(from)) {
			if have, twice := t.Creation[k]; twice && have != from[k] {
				errs = append(errs, fmt.Errorf("topic %q: %s is said twice, as %s and as %s", f.Name, k, have, from[k]))
			}
			t.Creation[k] = from[k]
		}
	}
	add(f.Creation)
	add(f.Config1)
	add(f.Config2)
	for _, short := range []struct{ key, value string }{{configRetention, f.Retention}, {configMaxBytes, f.MaxBytes}, {configCompression, f.Compression}} {
		if short.value != "" {
			add(map[string]string{short.key: short.value})
		}
	}
	number := func(key string, bits int) int64 {
		text, ok := t.Creation[key]
		if !ok {
			return 0
		}
		n, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			errs = append(errs, fmt.Errorf("topic %q: %s is %q; it must be a whole number", f.Name, key, text))
		}
		return n
	}
	t.RetentionMs = number(configRetention, 64)
	t.MaxMessageBytes = int32(number(configMaxBytes, 32))
	t.Compression = t.Creation[configCompression]
	return t, errors.Join(errs...)
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
		var f file
		dec := yaml.NewDecoder(bytes.NewReader(raw))
		dec.KnownFields(true)
		if err := dec.Decode(&f); err != nil {
			errs = append(errs, fmt.Errorf("topic file %s: %w", name, err))
			continue
		}
		t, err := f.topic()
		if err != nil {
			errs = append(errs, fmt.Errorf("topic file %s: %w", name, err))
		}
		if want := strings.TrimSuffix(path.Base(name), ".yaml"); t.Name != want {
			errs = append(errs, fmt.Errorf("topic file %s: name is %q; it must be the file's", name, t.Name))
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return out, errors.Join(append(errs, validate(out))...)
}

var (
	validName    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,200}$`)
	compressions = []string{"none", "gzip", "snappy", "lz4", "zstd"}

	validStage  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	validHeader = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*/[0-9]+$`)
	validProto  = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\.[A-Z][A-Za-z0-9]*$`)
	types       = []string{"json", "msgpack", "protobuf"}
	modes       = []string{"none", "backward", "forward", "full"}
	validConfig = regexp.MustCompile(`^[a-z]+(\.[a-z]+)+$`)
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
		if t.Owner == "" {
			bad("owner is missing: say which part answers for it")
		}
		validateStages(t, bad)
		validateSchemas(t, bad)
		for _, k := range slices.Sorted(maps.Keys(t.Creation)) {
			if !validConfig.MatchString(k) {
				bad("topic_creation_config has %q, which is no name of a topic configuration in Kafka", k)
			}
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
		if t.IsDLQ() {
			if t.DLQ != "" {
				bad("a dead-letter topic has none itself")
			}
			continue
		}
		dlq, ok := byName[t.DLQ]
		switch {
		case t.DLQ != t.Name+dlqSuffix:
			bad("dlq is %q; it must be %q", t.DLQ, t.Name+dlqSuffix)
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

func validateStages(t Topic, bad func(string, ...any)) {
	for _, side := range []struct {
		name   string
		stages []string
	}{{"producers", t.Producers}, {"consumers", t.Consumers}} {
		if len(side.stages) == 0 {
			bad("%s is missing: name the stages", side.name)
		}
		for _, s := range side.stages {
			if !validStage.MatchString(s) {
				bad("%s has %q, which is no stage's name: lower-case letters, digits and hyphens", side.name, s)
			}
		}
	}
}

func validateSchemas(t Topic, bad func(string, ...any)) {
	if t.IsDLQ() {
		if len(t.Schemas) > 0 {
			bad("a dead-letter topic has no schemas: its records are those of its topic")
		}
		return
	}
	if len(t.Schemas) == 0 {
		bad("schemas is missing: name at least one version")
	}
	headers := map[string]int{}
	for i, s := range t.Schemas {
		if s.Version != i+1 {
			bad("schemas[%d]: version is %d; versions count up from 1, so it must be %d", i, s.Version, i+1)
		}
		if !slices.Contains(types, s.Type) {
			bad("schemas[%d]: type is %q; it must be one of %s", i, s.Type, strings.Join(types, ", "))
		}
		if !slices.Contains(modes, s.Compatibility) {
			bad("schemas[%d]: compatibility_mode is %q; it must be one of %s", i, s.Compatibility, strings.Join(modes, ", "))
		}
		switch want := fmt.Sprintf("%s.v%d.schema.json", t.Name, s.Version); {
		case s.Type == "protobuf" && !validProto.MatchString(s.Resource):
			bad("schemas[%d]: resource is %q; it must be the full name of a protobuf message", i, s.Resource)
		case s.Type != "protobuf" && s.Resource != want:
			bad("schemas[%d]: resource is %q; it must be %q", i, s.Resource, want)
		}
		if !validHeader.MatchString(s.Header) {
			bad("schemas[%d]: header is %q; it must be a name, a slash and a number", i, s.Header)
		} else if other, twice := headers[s.Header]; twice {
			bad("schemas[%d]: header %q is that of version %d already", i, s.Header, other)
		}
		headers[s.Header] = s.Version
	}
}
