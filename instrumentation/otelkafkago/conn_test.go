package otelkafkago

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// certificate makes a self-signed one for 127.0.0.1.
func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12},
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

func TestTheTimesAreSeenThroughTLSAndSASL(t *testing.T) {
	server, client := certificate(t)
	c := broker(t, 1, kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "secret"))
	login := plain.Mechanism{Username: "user", Password: "secret"}
	rec := record()
	tr := &kafka.Transport{TLS: client, SASL: login}
	t.Cleanup(tr.CloseIdleConnections)
	w := newWriter(t, c, func(w *kafka.Writer) { w.Transport = tr }, WithTracerProvider(rec))
	write(t, w, "a", "b")
	d := &kafka.Dialer{TLS: client, SASLMechanism: login, Timeout: 5 * time.Second}
	r := newReader(t, c, func(cfg *kafka.ReaderConfig) { cfg.Dialer = d; cfg.GroupID = "g"; cfg.StartOffset = kafka.FirstOffset }, WithTracerProvider(rec))
	for range 2 {
		if err := r.Process(within(t), fetchOne(t, r), func(context.Context, kafka.Message) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range rec.wait(t, "process orders", 2) {
		if asked, answered := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeAnswered); asked >= answered {
			t.Errorf("asked %d, answered %d", asked, answered)
		}
	}
	if d.TLS != client {
		t.Error("the caller's Dialer was changed")
	}
}

func TestAnUntrustedBrokerIsRefusedAsKafkaGoDoes(t *testing.T) {
	server, _ := certificate(t)
	c := broker(t, 1, kfake.TLS(server))
	d := watchedDialer(&kafka.Dialer{TLS: &tls.Config{MinVersion: tls.VersionTLS12}, Timeout: 5 * time.Second}, newFetchLog(), nil, now)
	conn, err := d.DialContext(within(t), "tcp", c.ListenAddrs()[0])
	if err == nil {
		_ = conn.Close()
		t.Fatal("the connection was made; want the certificate refused")
	}
}

func now() int64 { return time.Now().UnixNano() }

func times(log *fetchLog, key topicPartition, offset int64) (asked, answered int64) {
	d := log.partition(key).match(offset)
	return d.asked, d.answered
}

// fetchRequest writes a request as kafka-go does.
func fetchRequest(version uint16, clientID, topic string, partition uint32, offset uint64) []byte {
	b := make([]byte, 4, 128)
	b = binary.BigEndian.AppendUint16(b, apiFetch)
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint32(b, 77)
	b = binary.BigEndian.AppendUint16(b, uint16(len(clientID)))
	b = append(b, clientID...)
	b = binary.BigEndian.AppendUint32(b, 0xffffffff)
	b = append(b, make([]byte, 8)...)
	switch version {
	case 5:
		b = append(b, make([]byte, 5)...)
	case 10:
		b = append(b, make([]byte, 13)...)
	}
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, partition)
	if version == 10 {
		b = append(b, make([]byte, 4)...)
	}
	b = binary.BigEndian.AppendUint64(b, offset)
	if version >= 5 {
		b = append(b, make([]byte, 8)...)
	}
	b = append(b, make([]byte, 4)...)
	if version == 10 {
		b = append(b, make([]byte, 4)...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func TestFetchRequestsOfEachVersionAreRead(t *testing.T) {
	for _, version := range []uint16{2, 5, 10} {
		b := fetchRequest(version, "me", "orders", 3, 1234)
		key, offset, correlation, ok := parseFetch(b)
		if !ok || key != (topicPartition{"orders", 3}) || offset != 1234 || correlation != 77 {
			t.Errorf("version %d: %v, %d, %d, %v", version, key, offset, correlation, ok)
		}
		for n := range b {
			if _, _, _, ok := parseFetch(b[:n]); ok {
				t.Errorf("version %d: the first %d of %d bytes are taken for a request", version, n, len(b))
			}
		}
		if _, _, _, ok := parseFetch(append(b, 0)); ok {
			t.Errorf("version %d: a byte too much is taken for a request", version)
		}
	}
	for _, version := range []uint16{0, 3, 11, 12} {
		if _, _, _, ok := parseFetch(fetchRequest(version, "me", "orders", 0, 0)); ok {
			t.Errorf("version %d is read; it is not known", version)
		}
	}
}

// pipe is a connection whose answers are given.
type pipe struct {
	net.Conn
	in bytes.Buffer
}

func (p *pipe) Write(b []byte) (int, error) { return len(b), nil }
func (p *pipe) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipe) Close() error                { return nil }

func answer(correlation uint32, size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+size))
	b = binary.BigEndian.AppendUint32(b, correlation)
	return append(b, make([]byte, size)...)
}

func TestAnswersAreFoundHoweverTheyAreCut(t *testing.T) {
	for step := 1; step < 40; step++ {
		log := newFetchLog()
		p := &pipe{}
		c := &watchedConn{Conn: p, log: log, now: now}
		key := topicPartition{"orders", 0}
		// An answer to something else, one with no body, then ours.
		p.in.Write(answer(12, 33))
		p.in.Write(answer(13, 0))
		p.in.Write(answer(77, 100))
		if _, err := c.Write(fetchRequest(10, "me", "orders", 0, 5)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, step)
		for p.in.Len() > 0 {
			if answered := log.partition(key).match(5).answered; answered != 0 && p.in.Len() > 100+8-1 {
				t.Fatalf("step %d: answered before the answer's first byte (%d bytes are left)", step, p.in.Len())
			}
			if _, err := c.Read(buf); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		if asked, answered := times(log, key, 5); asked == 0 || answered < asked {
			t.Errorf("step %d: asked %d, answered %d", step, asked, answered)
		}
	}
}

func TestWhatIsNotUnderstoodMakesTheTimesUnknown(t *testing.T) {
	f := func(name string, writes ...[]byte) {
		t.Helper()
		log := newFetchLog()
		p := &pipe{}
		c := &watchedConn{Conn: p, log: log, now: now}
		p.in.Write(answer(77, 10))
		for _, b := range append([][]byte{fetchRequest(10, "me", "orders", 0, 5)}, writes...) {
			if n, err := c.Write(b); n != len(b) || err != nil {
				t.Fatalf("%s: wrote %d, %v", name, n, err)
			}
		}
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
		if asked, answered := times(log, topicPartition{"orders", 0}, 5); asked != 0 || answered != 0 {
			t.Errorf("%s: asked %d, answered %d; want unknown", name, asked, answered)
		}
	}
	f("a TLS record", []byte{0x16, 0x03, 0x01, 0x02, 0, 1, 0, 1, 0xfc, 3, 3})
	f("a version not known", fetchRequest(11, "me", "orders", 0, 5))
	f("a request cut in two", fetchRequest(10, "me", "orders", 1, 5)[:40])
	f("a crumb", []byte{0, 0, 0})
	f("text", []byte("GET / HTTP/1.1\r\n\r\n"))
}

func TestLongRequestsInPiecesAreFollowed(t *testing.T) {
	log := newFetchLog()
	p := &pipe{}
	c := &watchedConn{Conn: p, log: log, now: now}
	long := make([]byte, 10_000) // a JoinGroup, say
	binary.BigEndian.PutUint32(long, uint32(len(long)-4))
	binary.BigEndian.PutUint16(long[4:], 11)
	copy(long[5000:], fetchRequest(10, "me", "orders", 9, 9)) // what it carries is no request
	for _, b := range [][]byte{long[:4096], long[4096:8192], long[8192:], fetchRequest(10, "me", "orders", 0, 5)} {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(log.partition(topicPartition{"orders", 0}).fetches); len(log.parts) != 1 || n != 1 || log.broken.Load() {
		t.Errorf("%d partitions, %d fetches, broken = %v; want the last request alone", len(log.parts), n, log.broken.Load())
	}
}

func TestFetchesRememberedAreBounded(t *testing.T) {
	log := newFetchLog()
	part := log.partition(topicPartition{"orders", 0})
	for i := range 3 * maxFetches {
		part.answer(part.ask(int64(i), now(), messaging.Server{}), now())
		part.ask(int64(i), now(), messaging.Server{}) // an empty answer: asked again
	}
	if n := len(part.fetches); n > maxFetches {
		t.Errorf("%d fetches are remembered; want at most %d", n, maxFetches)
	}
}

func FuzzWatchedConn(f *testing.F) {
	f.Add(fetchRequest(10, "me", "orders", 0, 5), answer(77, 10), 7)
	f.Add(fetchRequest(2, "", "t", 1, 0), []byte{0, 0, 0, 1, 9}, 1)
	f.Add([]byte{0x16, 3, 1}, []byte{255, 255, 255, 255}, 3)
	f.Add(request11(apiSyncGroup, 0, memberBody(1, "m")), []byte(bytesOf(assignment("orders", 1, 2))), 9)
	f.Add(append(request11(apiMetadata, 1, bytesOf(nil).u32(0)), fetchRequest(5, "me", "t", 1, 0)...), answer(77, 10), 20)
	f.Fuzz(func(t *testing.T, out, in []byte, step int) {
		if step <= 0 {
			step = 1
		}
		log := newFetchLog()
		p := &pipe{}
		p.in.Write(in)
		c := &watchedConn{Conn: p, log: log, group: newGroupLog(true), now: now}
		for len(out) > 0 {
			n := min(step, len(out))
			if w, err := c.Write(out[:n]); w != n || err != nil {
				t.Fatalf("wrote %d, %v", w, err)
			}
			out = out[n:]
		}
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, in) {
			t.Fatalf("read %x, %v; want %x", got, err, in)
		}
		for key := range log.parts {
			if asked, answered := times(log, key, 1<<62); answered != 0 && asked > answered {
				t.Fatalf("asked %d, answered %d", asked, answered)
			}
		}
	})
}
