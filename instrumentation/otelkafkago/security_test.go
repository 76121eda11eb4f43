package otelkafkago

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"hash/crc32"
	"net"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// A whole way, group and commit included, through TLS and each kind of login.
func TestEveryLoginWorksOnBothSides(t *testing.T) {
	server, client := certificate(t)
	mechanism := func(m sasl.Mechanism, err error) sasl.Mechanism {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, login := range []sasl.Mechanism{
		plain.Mechanism{Username: "user", Password: "secret"},
		mechanism(scram.Mechanism(scram.SHA256, "user", "secret")),
		mechanism(scram.Mechanism(scram.SHA512, "user", "secret")),
	} {
		t.Run(login.Name(), func(t *testing.T) {
			rec := record()
			c := broker(t, 1, kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser(login.Name(), "user", "secret"))
			tr := &kafka.Transport{TLS: client, SASL: login}
			t.Cleanup(tr.CloseIdleConnections)
			write(t, newWriter(t, c, func(w *kafka.Writer) { w.Transport = tr }, WithTracerProvider(rec)), "a")
			r := newReader(t, c, func(cfg *kafka.ReaderConfig) {
				billing(cfg)
				cfg.Dialer = &kafka.Dialer{TLS: client, SASLMechanism: login, Timeout: 5 * time.Second}
			}, WithTracerProvider(rec))
			m := fetchOne(t, r)
			if err := r.Process(within(t), m, done); err != nil {
				t.Fatal(err)
			}
			if err := r.CommitMessages(within(t), m); err != nil {
				t.Fatal(err)
			}
			number(t, rec.wait(t, "send orders", 1)[0], messaging.AttrProduceAcked)
			number(t, rec.wait(t, "process orders", 1)[0], messaging.AttrConsumeAnswered)
			rec.wait(t, "commit orders", 1)
			if got := r.Counts(); got != (ReaderCounts{}) {
				t.Errorf("counts = %+v; want none", got)
			}
			bad := newReader(t, c, func(cfg *kafka.ReaderConfig) {
				cfg.Dialer = &kafka.Dialer{TLS: client, Timeout: 5 * time.Second, SASLMechanism: plain.Mechanism{Username: "user", Password: "wrong"}}
				cfg.MaxAttempts, cfg.ReadBackoffMin, cfg.ReadBackoffMax = 1, time.Millisecond, time.Millisecond
			}, WithTracerProvider(rec))
			if _, err := bad.FetchMessage(within(t)); err == nil {
				t.Error("a wrong password is no error")
			}
		})
	}
}

func TestTheServersNameIsThatOfTheAddressUnlessItIsGiven(t *testing.T) {
	f := func(given, address, want string) {
		t.Helper()
		asked := make(chan string, 1)
		server, _ := certificate(t)
		server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			asked <- hello.ServerName
			return nil, nil
		}
		l, err := tls.Listen("tcp", "127.0.0.1:0", server)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if conn, err := l.Accept(); err == nil {
				_ = conn.(*tls.Conn).HandshakeContext(context.Background())
				_ = conn.Close()
			}
		}()
		config := &tls.Config{ServerName: given, InsecureSkipVerify: true} //nolint:gosec // the name is what is tested
		d := watchedDialer(&kafka.Dialer{TLS: config, DialFunc: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
		}}, newFetchLog(), nil, now)
		conn, err := d.DialFunc(within(t), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if got := <-asked; got != want {
			t.Errorf("name given %q, address %q: asked for %q; want %q", given, address, got, want)
		}
		if config.ServerName != given {
			t.Errorf("the caller's config was changed to %q", config.ServerName)
		}
	}
	f("", "broker.example:9093", "broker.example")
	f("other.example", "broker.example:9093", "other.example")
	f("", "127.0.0.1:9093", "") // an address is no name
}

func TestAHandshakeThatNobodyAnswersEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := watchedDialer(&kafka.Dialer{TLS: &tls.Config{MinVersion: tls.VersionTLS12}, Timeout: 50 * time.Millisecond}, newFetchLog(), nil, now)
	start := time.Now()
	conn, err := d.DialContext(within(t), "tcp", l.Addr().String())
	if err == nil {
		_ = conn.Close()
		t.Fatal("the connection was made")
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("it took %v; want the dialer's timeout", took)
	}
}

// stampAppends makes c stamp LogAppendTime: kfake does so for batches that ask for
// it.
func stampAppends(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			for _, p := range topic.Partitions {
				const checksum, attributes = 17, 21
				p.Records[attributes+1] |= logAppendTime
				binary.BigEndian.PutUint32(p.Records[checksum:], crc32.Checksum(p.Records[attributes:], crc32.MakeTable(crc32.Castagnoli)))
			}
		}
		return nil, nil, false
	})
}

func TestLogAppendTimeIsTheBrokersOnBothSides(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	stampAppends(c)
	w := newWriter(t, c, nil, WithTracerProvider(rec))
	old := time.Now().Add(-time.Hour) // what the producer says does not count
	for i := range 3 {
		if err := w.WriteMessages(within(t), kafka.Message{Value: []byte{byte(i)}, Time: old}); err != nil {
			t.Fatal(err)
		}
		sleep(3 * time.Millisecond)
	}
	r := newReader(t, c, nil, WithTracerProvider(rec))
	for range 3 {
		if err := r.Process(within(t), fetchOne(t, r), done); err != nil {
			t.Fatal(err)
		}
	}
	sent := rec.wait(t, "send orders", 3)
	for i, s := range rec.wait(t, "process orders", 3) {
		appended := number(t, sent[i], messaging.AttrProduceAppended)
		if got := number(t, s, messaging.AttrConsumeRecordTime); got != appended {
			t.Errorf("record %d: record time %v; want when it was appended, %v", i, time.Unix(0, got), time.Unix(0, appended))
		}
		if written := number(t, sent[i], messaging.AttrProduceWritten); appended < written-int64(time.Millisecond) {
			t.Errorf("record %d was appended %v before it was written", i, time.Duration(written-appended))
		}
	}
}
