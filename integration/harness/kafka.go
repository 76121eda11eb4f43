package harness

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Kafka is one real Apache Kafka broker.
type Kafka struct {
	Address string
	// Advertised is what the broker tells clients of itself: Address, unless it was
	// started under a name.
	Advertised string
	Version    string
	Process    *Process
	// Secure is its listener that speaks TLS with a certificate of CAFile and wants
	// SASL PLAIN as SecureUser with SecurePassword.
	Secure, CAFile string

	t       testing.TB
	command Command
}

// Whom the listener Kafka.Secure takes in.
const (
	SecureUser     = "hoptrace"
	SecurePassword = "only-for-tests"
)

// StartKafka starts a KRaft node of Apache Kafka in a temporary folder and
// waits until it answers. It needs java and mvn (scripts/install-test-parts);
// the jars come once from Maven and are kept in the user's cache folder. A name is
// what the broker calls its host to clients, which then dial by DialLoopback.
func StartKafka(t testing.TB, name ...string) *Kafka {
	t.Helper()
	jars, version := kafkaJars(t)
	java := LookPath(t, "java")
	dir := t.TempDir()
	address, controller, secure := FreeAddress(t), FreeAddress(t), FreeAddress(t)
	caFile, keystore := certificate(t, dir)
	advertised := address
	if len(name) > 0 {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		advertised = net.JoinHostPort(name[0], port)
	}
	config := filepath.Join(dir, "server.properties")
	properties := strings.Join([]string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + controller,
		"listeners=PLAINTEXT://" + address + ",SECURE://" + secure + ",CONTROLLER://" + controller,
		"advertised.listeners=PLAINTEXT://" + advertised + ",SECURE://" + secure,
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name=PLAINTEXT",
		"ssl.keystore.type=PEM",
		"ssl.keystore.location=" + keystore,
		"listener.name.secure.sasl.enabled.mechanisms=PLAIN",
		`listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_` + SecureUser + `="` + SecurePassword + `";`,
		"log.dirs=" + filepath.Join(dir, "log"),
		"num.partitions=3",
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
		"auto.create.topics.enable=true",
		"",
	}, "\n")
	if err := os.WriteFile(config, []byte(properties), 0o600); err != nil {
		t.Fatalf("cannot write Kafka's configuration: %v", err)
	}
	classpath := filepath.Join(jars, "*")
	id := strings.TrimSpace(string(Output(t, time.Minute, Command{
		Name: "kafka-random-uuid", Path: java, Args: []string{"-cp", classpath, "kafka.tools.StorageTool", "random-uuid"},
	})))
	Output(t, time.Minute, Command{
		Name: "kafka-format", Path: java,
		Args: []string{"-cp", classpath, "kafka.tools.StorageTool", "format", "-t", id, "-c", config},
	})
	k := &Kafka{Address: address, Advertised: advertised, Secure: secure, CAFile: caFile, Version: version, t: t, command: Command{
		Name: "kafka", Path: java,
		Args: []string{"-Xmx512m", "-cp", classpath, "kafka.Kafka", config},
	}}
	took := k.Restart()
	t.Logf("real part: Apache Kafka %s (KRaft), answering after %s", version, took.Round(time.Millisecond))
	return k
}

// Restart starts the broker again on its data, after Process was stopped or killed,
// and waits until it answers.
func (k *Kafka) Restart() time.Duration {
	k.t.Helper()
	k.Process = Start(k.t, k.command)
	return Until(k.t, "Apache Kafka answers on "+k.Address, 90*time.Second, func() error {
		if !k.Process.Running() {
			k.t.Fatalf("Apache Kafka ended while starting: %v\n%s", k.Process.err, k.Process.Tail(40))
		}
		return PingKafka(k.t.Context(), k.Address)
	})
}

// certificate writes one of 127.0.0.1 that is its own authority, and what Kafka's
// key store of type PEM is: the key, then the certificate.
func certificate(t testing.TB, dir string) (certFile, keystore string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a broker under test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certFile, keystore = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "keystore.pem")
	for file, b := range map[string][]byte{
		certFile: chain,
		keystore: append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), chain...),
	} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keystore
}

// DialLoopback dials the port of an address on this machine, whatever host it names.
func DialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// PingKafka asks a broker for its versions and metadata.
func PingKafka(ctx context.Context, address string) error {
	// A client in its back-off is slower to notice than a plain dial.
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	_ = conn.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RetryTimeout(2*time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return client.Ping(ctx)
}

var kafkaVersion = regexp.MustCompile(`<kafka\.version>([0-9.]+)</kafka\.version>`)

// kafkaJars gets the jars of integration/kafka/pom.xml.
func kafkaJars(t testing.TB) (dir, version string) {
	t.Helper()
	folder := filepath.Join(Root(t), "integration", "kafka")
	b, err := os.ReadFile(filepath.Join(folder, "pom.xml"))
	if err != nil {
		t.Fatalf("cannot read Kafka's pom: %v", err)
	}
	m := kafkaVersion.FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s names no kafka.version", folder)
	}
	version = string(m[1])
	return Jars(t, folder, "kafka_2.13-"+version+".jar"), version
}

// LookPath finds a program or fails with the way to get it.
func LookPath(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := findProgram(name); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed; scripts/install-test-parts installs what the tests need", strings.Join(names, ", "))
	return ""
}

func findProgram(name string) (string, error) {
	if path, err := lookPathIn(os.Getenv("PATH"), name); err == nil {
		return path, nil
	}
	// Debian keeps the Postgres server's programs off the PATH.
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%s: not found", name)
	}
	return found[len(found)-1], nil
}

func lookPathIn(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		full := filepath.Join(dir, name)
		if info, err := os.Stat(full); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", os.ErrNotExist
}
