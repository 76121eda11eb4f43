// Package kafka is the one place that opens Kafka clients. It knows how to
// reach the brokers, how we produce and how we read as a group; what is in a
// record and what becomes of it is others' business.
package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Config says how to reach Kafka.
type Config struct {
	// Brokers are host:port; one that answers is enough to find the others.
	Brokers []string `yaml:"brokers" help:"the bus: host:port, comma separated; empty in 'all' means the embedded broker"`

	// ClientID is the name that the brokers see in logs and quotas.
	ClientID string `yaml:"client_id" help:"name that the brokers see; empty means hoptrace and the role"`

	// Topics are the brokers' names of topics that are called otherwise than in
	// package topics, which has the logical ones.
	Topics Names `yaml:"topics" help:"names of topics at the brokers that differ from ours: ours=theirs, comma separated"`

	TLS  TLSConfig  `yaml:"tls"`
	SASL SASLConfig `yaml:"sasl"`
}

// TLSConfig is off unless Enabled.
type TLSConfig struct {
	Enabled bool `yaml:"enabled" help:"speak TLS to the brokers"`

	// CAFile holds the authorities to trust, PEM. Empty means the system's.
	CAFile string `yaml:"ca_file" help:"PEM file of the authorities to trust; empty means the system's"`

	// CertFile and KeyFile are our own certificate, PEM; both or neither.
	CertFile string `yaml:"cert_file" help:"PEM file of our certificate; with key_file or not at all"`
	KeyFile  string `yaml:"key_file" help:"PEM file of its key"`

	// ServerName is checked against the brokers' certificate instead of the
	// name that was dialled.
	ServerName string `yaml:"server_name" help:"name to check the brokers' certificate against, instead of the one dialled"`
}

// SASLConfig is off while Mechanism is empty.
type SASLConfig struct {
	Mechanism string `yaml:"mechanism" help:"plain, scram-sha-256 or scram-sha-512; empty means none"` // plain, scram-sha-256 or scram-sha-512
	Username  string `yaml:"username" help:"user name"`
	Password  string `yaml:"password" secret:"true" help:"password"` // never logged
}

var mechanisms = []string{"plain", "scram-sha-256", "scram-sha-512"}

// DefaultConfig is the embedded broker's address.
func DefaultConfig() Config {
	return Config{Brokers: []string{"127.0.0.1:9092"}, ClientID: "hoptrace"}
}

// Validate names every fault of c at once. It opens no file.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("kafka."+format, args...)) }
	if len(c.Brokers) == 0 {
		bad("brokers is empty; name at least one host:port")
	}
	for _, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			bad("brokers: %q is not host:port", b)
		}
	}
	c.Topics.validate(bad)
	if !c.TLS.Enabled && (c.TLS.CAFile != "" || c.TLS.CertFile != "" || c.TLS.KeyFile != "" || c.TLS.ServerName != "") {
		bad("tls has settings but is not enabled; set kafka.tls.enabled, or remove them")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls needs both cert_file and key_file, or neither")
	}
	switch {
	case c.SASL.Mechanism == "":
		if c.SASL.Username != "" || c.SASL.Password != "" {
			bad("sasl has a user or password but no mechanism; set one of %s", strings.Join(mechanisms, ", "))
		}
	case !slices.Contains(mechanisms, c.SASL.Mechanism):
		bad("sasl.mechanism is %q; it must be one of %s", c.SASL.Mechanism, strings.Join(mechanisms, ", "))
	case c.SASL.Username == "" || c.SASL.Password == "":
		bad("sasl needs a username and a password")
	}
	return errors.Join(errs...)
}

// tlsConfig returns nil when TLS is off.
func (c TLSConfig) tlsConfig() (*tls.Config, error) {
	if !c.Enabled {
		return nil, nil // off is no error
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read kafka.tls.ca_file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka.tls.ca_file %q holds no certificate in PEM", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot load kafka.tls.cert_file and key_file: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// mechanism returns nil when SASL is off.
func (c SASLConfig) mechanism() sasl.Mechanism {
	switch c.Mechanism {
	case "plain":
		return plain.Auth{User: c.Username, Pass: c.Password}.AsMechanism()
	case "scram-sha-256":
		return scram.Auth{User: c.Username, Pass: c.Password}.AsSha256Mechanism()
	case "scram-sha-512":
		return scram.Auth{User: c.Username, Pass: c.Password}.AsSha512Mechanism()
	}
	return nil
}
