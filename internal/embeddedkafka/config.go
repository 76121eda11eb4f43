package embeddedkafka

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// offsetsRetention is how long the committed offsets of a group without
// members are kept: long enough that a machine may be off over a holiday.
const offsetsRetention = 30 * 24 * time.Hour

// Config is what a person sets of the embedded broker.
type Config struct {
	// Dir holds everything the broker keeps. One process uses it at a time.
	Dir string `yaml:"dir" help:"directory of its log; empty means kafka in the data directory"`

	// Listen is the host:port that is bound: loopback, unless you trust whoever
	// can reach it. There is no authentication, and the protocol library lets
	// a crafted request burn a core for a minute. Port 0 takes a free one, which
	// is for tests: clients reconnect after a restart only to a fixed port.
	Listen string `yaml:"listen" help:"address; your own clients can use it"`

	// Advertise is the host:port that clients are told to connect to. Empty
	// means the bound address. It differs behind a container's port mapping.
	Advertise string `yaml:"advertise" help:"address that clients are told; empty means the one listened on"`

	// SegmentBytes is the size at which a partition's log file is closed and
	// the next begun. A start reads every file, retention by size deletes
	// whole files: smaller is finer, and makes more files.
	SegmentBytes int64 `yaml:"segment_bytes" help:"size at which a log file is closed and the next begun"`

	// RetentionTime is how long records are kept in topics that set no
	// retention.ms; -1ms means for ever. It counts from the record's time.
	RetentionTime time.Duration `yaml:"retention_time" help:"how long topics keep records unless they say otherwise; -1ms means for ever"`

	// RetentionBytes bounds one partition's log in topics that set no
	// retention.bytes; -1 means unbounded but for MaxLogBytes.
	RetentionBytes int64 `yaml:"retention_bytes" help:"how much a partition keeps unless its topic says otherwise; -1 means no bound"`

	// MaxLogBytes bounds all partitions' logs together: beyond it the oldest
	// closed segments go first, whichever topic they belong to, read or not, but
	// for what Holds keep. The last segment of each partition stays, so the disk
	// may hold one SegmentBytes a partition more. A start takes about 0.6 s a GB.
	MaxLogBytes int64 `yaml:"max_log_bytes" help:"all partitions together; beyond it the oldest files go first, but nothing that the pipeline has not read: then senders are told to wait"`

	// Holds keep what was not read yet.
	Holds []Hold `yaml:"-"`

	// CleanerInterval is the time between two passes of retention.
	CleanerInterval time.Duration `yaml:"cleaner_interval" help:"time between two passes of retention"`

	// MaxMessageBytes bounds one record batch, compressed, in topics that set
	// no max.message.bytes.
	MaxMessageBytes int `yaml:"max_message_bytes" help:"largest record batch, compressed, unless a topic says otherwise"`

	// MaxRequestBytes bounds one request; a larger one ends its connection.
	MaxRequestBytes int `yaml:"max_request_bytes" help:"largest request"`

	// MaxConnections bounds the connections open at once; more are closed
	// when they arrive.
	MaxConnections int `yaml:"max_connections" help:"open connections"`

	// MaxPartitions bounds the partitions of all topics together.
	MaxPartitions int `yaml:"max_partitions" help:"partitions of all topics together"`

	// AutoCreateTopics makes a topic on first use, as Kafka's
	// auto.create.topics.enable does.
	AutoCreateTopics bool `yaml:"auto_create_topics" help:"make a topic on first use"`

	// DefaultPartitions is how many partitions such a topic gets.
	DefaultPartitions int `yaml:"default_partitions" help:"partitions of such a topic"`
}

// DefaultConfig returns the settings for one machine, without Dir.
func DefaultConfig() Config {
	return Config{
		Listen:            "127.0.0.1:9092",
		SegmentBytes:      16 << 20,
		RetentionTime:     24 * time.Hour,
		RetentionBytes:    256 << 20,
		MaxLogBytes:       512 << 20,
		CleanerInterval:   time.Minute,
		MaxMessageBytes:   1<<20 + 12, // as Kafka's own default
		MaxRequestBytes:   100 << 20,
		MaxConnections:    1000,
		MaxPartitions:     4000,
		AutoCreateTopics:  true,
		DefaultPartitions: 1,
	}
}

// Validate names every fault of c at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("embedded_kafka."+format, args...)) }
	if c.Dir == "" {
		bad("dir is empty; name the directory that keeps the log")
	}
	hostport := func(name, value string) {
		host, port, err := net.SplitHostPort(value)
		if err != nil {
			bad("%s %q is not host:port: %w", name, value, err)
			return
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			bad("%s %q: port must be 0 to 65535", name, value)
		}
		if name == "advertise" && host == "" {
			bad("%s %q names no host", name, value)
		}
	}
	hostport("listen", c.Listen)
	if c.Advertise != "" {
		hostport("advertise", c.Advertise)
	}
	if c.SegmentBytes < 16<<10 || c.SegmentBytes > 1<<30 {
		bad("segment_bytes is %d; it must be from 16 KiB to 1 GiB", c.SegmentBytes)
	}
	if c.RetentionTime == 0 || c.RetentionTime < -time.Millisecond {
		bad("retention_time is %v; it must be positive, or -1ms to keep records for ever", c.RetentionTime)
	}
	if c.RetentionBytes == 0 || c.RetentionBytes < -1 {
		bad("retention_bytes is %d; it must be positive, or -1 for no bound a partition", c.RetentionBytes)
	}
	if c.MaxLogBytes < c.SegmentBytes {
		bad("max_log_bytes is %d; it must be at least segment_bytes (%d)", c.MaxLogBytes, c.SegmentBytes)
	}
	if c.CleanerInterval < 10*time.Millisecond {
		bad("cleaner_interval is %v; it must be at least 10ms", c.CleanerInterval)
	}
	if c.MaxMessageBytes < 1<<10 {
		bad("max_message_bytes is %d; it must be at least 1 KiB", c.MaxMessageBytes)
	}
	if c.MaxRequestBytes < c.MaxMessageBytes || c.MaxRequestBytes > 1<<30 {
		bad("max_request_bytes is %d; it must be from max_message_bytes (%d) to 1 GiB", c.MaxRequestBytes, c.MaxMessageBytes)
	}
	if c.MaxConnections < 1 {
		bad("max_connections is %d; it must be positive", c.MaxConnections)
	}
	if c.MaxPartitions < 1 {
		bad("max_partitions is %d; it must be positive", c.MaxPartitions)
	}
	if c.DefaultPartitions < 1 || c.DefaultPartitions > c.MaxPartitions {
		bad("default_partitions is %d; it must be from 1 to max_partitions (%d)", c.DefaultPartitions, c.MaxPartitions)
	}
	return errors.Join(errs...)
}
