package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/collector"
	"github.com/hoptrace/hoptrace/collector/beacon"
	"github.com/hoptrace/hoptrace/collector/lagwatch"
	"github.com/hoptrace/hoptrace/collector/overload"
	"github.com/hoptrace/hoptrace/collector/quota"
	"github.com/hoptrace/hoptrace/internal/config"
	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/internal/selftelemetry"
	"github.com/hoptrace/hoptrace/web"
	"github.com/hoptrace/hoptrace/web/access"
)

// envPrefix starts the environment variables that are settings.
const envPrefix = "HOPTRACE_"

// envIgnore start with it and are no settings: they are for scripts and tests.
var envIgnore = []string{"HOPTRACE_CONFIG", "HOPTRACE_BIN", "HOPTRACE_ORDERS_BIN", "HOPTRACE_CACHE", "HOPTRACE_ARTEFACTS", "HOPTRACE_LIBCHDB", "HOPTRACE_TOKEN"}

// settings are what a person can set; the help texts are printed by
// `hoptrace config`. Parts with a Config of their own bring it along.
type settings struct {
	Data        string       `yaml:"data" help:"directory of everything that is kept; one process at a time"`
	MemoryLimit config.Bytes `yaml:"memory_limit" help:"soft limit of the Go heap of this process (the engine has its own)"`

	Log struct {
		Level  string `yaml:"level" help:"debug, info, warn or error"`
		Format string `yaml:"format" help:"text, json, or auto: text on a terminal, JSON otherwise"`
	} `yaml:"log"`

	Telemetry struct {
		Listen string `yaml:"listen" help:"/metrics, /healthz and /readyz of this process"`
		Pprof  bool   `yaml:"pprof" help:"serve /debug/pprof there, too, for go tool pprof"`
	} `yaml:"telemetry"`

	Kafka         kafka.Config         `yaml:"kafka"`
	EmbeddedKafka embeddedkafka.Config `yaml:"embedded_kafka"`

	ClickHouse struct {
		Address       string `yaml:"address" help:"host:port of a server's native protocol; empty in 'all' means the embedded engine"`
		User          string `yaml:"user" help:"user name"`
		Password      string `yaml:"password" secret:"true" help:"password; for 'hoptrace clickhouse' the one that others must give"`
		Database      string `yaml:"database" help:"database; made when it is missing"`
		RetentionDays int    `yaml:"retention_days" help:"days that spans, messages, events and payloads are kept"`
	} `yaml:"clickhouse"`

	EmbeddedClickHouse struct {
		Library     string       `yaml:"library" help:"path of libchdb; empty means where 'make libchdb' puts it"`
		MemoryLimit config.Bytes `yaml:"memory_limit" help:"memory that the engine may use"`
		Listen      string       `yaml:"listen" help:"'hoptrace clickhouse' only: serve the embedded engine to other processes"`
	} `yaml:"embedded_clickhouse"`

	Metadata struct {
		DSN string `yaml:"dsn" secret:"true" help:"sqlite:PATH or postgres://…; empty means metadata.db in the data directory"`
	} `yaml:"metadata"`

	Blobs struct {
		Dir string `yaml:"dir" help:"directory of raw payloads; empty means blobs in the data directory"`
	} `yaml:"blobs"`

	Collector collector.Config `yaml:"collector"`

	Quota struct {
		Redis string            `yaml:"redis" secret:"true" help:"redis://… in which several collectors count quotas together; empty means that each counts for itself"`
		Abuse quota.AbuseConfig `yaml:"abuse"`
	} `yaml:"quota"`

	Overload overload.Config `yaml:"overload"`

	Spool struct {
		Dir      string       `yaml:"dir" help:"directory of the collector's spool: what Kafka does not take now; empty means spool in the data directory, 'off' none"`
		MaxBytes config.Bytes `yaml:"max_bytes" help:"most that the spool holds; then senders are told to wait"`
	} `yaml:"spool"`

	Pipeline struct {
		BatchWait  time.Duration `yaml:"batch_wait" help:"longest time that a batch is gathered before it is stored; shorter costs CPU at low rates"`
		BatchSpans int           `yaml:"batch_spans" help:"spans that make a batch full"`
		AcceptGaps bool          `yaml:"accept_gaps" help:"go on at the earliest record when a group's offset fell out of retention; the loss is counted"`
	} `yaml:"pipeline"`

	LagWatch lagwatch.Config `yaml:"lagwatch"`
	Beacon   beacon.Config   `yaml:"beacon"`

	Web struct {
		Listen       string   `yaml:"listen" help:"the UI and its API"`
		AllowedHosts []string `yaml:"allowed_hosts" help:"host names besides loopback that the UI may be called by"`
		Auth         string   `yaml:"auth" help:"auto: one must sign in once there is a member, or when others than this machine's people reach the UI; required: always"`
		PublicURL    string   `yaml:"public_url" help:"how people reach the UI, as https://hoptrace.example.com; needed behind a proxy and for web.oidc"`

		Session access.SessionConfig `yaml:"session"`
		OIDC    access.OIDCConfig    `yaml:"oidc"`
		TLS     web.TLSConfig        `yaml:"tls"`
	} `yaml:"web"`
}

func defaultSettings() settings {
	var s settings
	s.Data = "./data"
	s.MemoryLimit = 448 << 20
	s.Log.Level, s.Log.Format = "info", "auto"
	s.Telemetry.Listen = "127.0.0.1:13133"
	s.Kafka = kafka.DefaultConfig()
	s.Kafka.Brokers, s.Kafka.ClientID = nil, ""
	s.EmbeddedKafka = embeddedkafka.DefaultConfig()
	s.ClickHouse.Database, s.ClickHouse.User = "hoptrace", "hoptrace"
	s.ClickHouse.RetentionDays = 14
	s.EmbeddedClickHouse.MemoryLimit = 1536 << 20
	s.EmbeddedClickHouse.Listen = "127.0.0.1:9000"
	s.Collector = collector.DefaultConfig()
	s.Quota.Abuse = quota.DefaultAbuse()
	s.Overload = overload.DefaultConfig()
	s.Spool.MaxBytes = 512 << 20
	s.Pipeline.BatchWait = 500 * time.Millisecond
	s.Pipeline.BatchSpans = 50_000
	s.LagWatch = lagwatch.DefaultConfig()
	s.Beacon = beacon.DefaultConfig()
	s.Web.Listen = "127.0.0.1:8090"
	signIn := access.DefaultConfig()
	s.Web.Auth, s.Web.Session, s.Web.OIDC = signIn.Auth, signIn.Session, signIn.OIDC
	return s
}

// validate names every fault of the values and of what the role needs. It
// makes the data directory absolute.
func (s *settings) validate(r role) error {
	var faults []error
	bad := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if s.Data == "" {
		bad("data", "is empty; name a directory")
	} else if abs, err := filepath.Abs(s.Data); err != nil {
		bad("data", "%v", err)
	} else {
		s.Data = abs
	}
	address := func(key, addr string) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			bad(key, "%q is no address; write it like 127.0.0.1:8090", addr)
		} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			bad(key, "%q has no port from 0 to 65535", addr)
		}
	}
	if _, err := selftelemetry.NewLogger(io.Discard, s.Log.Level, "auto"); err != nil {
		faults = append(faults, err)
	}
	if _, err := selftelemetry.NewLogger(io.Discard, "info", s.Log.Format); err != nil {
		faults = append(faults, err)
	}
	address("telemetry.listen", s.Telemetry.Listen)
	address("embedded_clickhouse.listen", s.EmbeddedClickHouse.Listen)
	address("web.listen", s.Web.Listen)
	if s.ClickHouse.Address != "" {
		address("clickhouse.address", s.ClickHouse.Address)
	}
	if s.EmbeddedKafka.Dir == "" {
		s.EmbeddedKafka.Dir = filepath.Join(s.Data, "kafka")
	}
	broker := s.Kafka
	if len(broker.Brokers) == 0 {
		broker.Brokers = []string{s.EmbeddedKafka.Listen}
	}
	faults = append(faults, broker.Validate(), s.EmbeddedKafka.Validate(), s.Collector.Validate(), s.Quota.Abuse.Validate(), s.Overload.Validate(), s.LagWatch.Validate(), s.Beacon.Validate(), s.accessConfig().Validate(), s.Web.TLS.Validate())
	atLeast := func(key string, got, least config.Bytes) {
		if got < least {
			have, _ := got.MarshalText()
			want, _ := least.MarshalText()
			bad(key, "%s is too little; at least %s", have, want)
		}
	}
	atLeast("memory_limit", s.MemoryLimit, 64<<20)
	atLeast("spool.max_bytes", s.Spool.MaxBytes, 2*s.Collector.MaxRequestBytes)
	atLeast("embedded_clickhouse.memory_limit", s.EmbeddedClickHouse.MemoryLimit, 256<<20)
	if s.ClickHouse.RetentionDays < 1 || s.ClickHouse.RetentionDays > 3650 {
		bad("clickhouse.retention_days", "%d; want 1 to 3650", s.ClickHouse.RetentionDays)
	}
	if s.Pipeline.BatchWait < 10*time.Millisecond || s.Pipeline.BatchWait > time.Minute {
		bad("pipeline.batch_wait", "%s; want 10ms to 1m", s.Pipeline.BatchWait)
	}
	if s.Pipeline.BatchSpans < 100 || s.Pipeline.BatchSpans > 100_000 {
		bad("pipeline.batch_spans", "%d; want 100 to 100000", s.Pipeline.BatchSpans)
	}
	if d := s.Metadata.DSN; d != "" && !strings.HasPrefix(d, "sqlite:") && !strings.HasPrefix(d, "postgres://") && !strings.HasPrefix(d, "postgresql://") {
		bad("metadata.dsn", "want sqlite:PATH or postgres://…")
	}
	return errors.Join(append(faults, r.needs(s)...)...)
}

// accessConfig is how people sign in.
func (s *settings) accessConfig() access.Config {
	return access.Config{Auth: s.Web.Auth, PublicURL: s.Web.PublicURL, Session: s.Web.Session, OIDC: s.Web.OIDC}
}

// metadataDSN is the metadata store's, by default in the data directory.
func (s *settings) metadataDSN() string {
	if s.Metadata.DSN != "" {
		return s.Metadata.DSN
	}
	return "sqlite:" + filepath.Join(s.Data, "metadata.db")
}

// spoolDir is where the collector's spool lies; empty when there is none.
func (s *settings) spoolDir() string {
	switch s.Spool.Dir {
	case "off":
		return ""
	case "":
		return filepath.Join(s.Data, "spool")
	}
	return s.Spool.Dir
}

// nodesDir is where the payloads of events lie.
func (s *settings) nodesDir() string { return filepath.Join(s.blobsDir(), "nodes") }

func (s *settings) blobsDir() string {
	if s.Blobs.Dir != "" {
		return s.Blobs.Dir
	}
	return filepath.Join(s.Data, "blobs")
}
