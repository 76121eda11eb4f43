package otelfranz

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"hash/crc32"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

var versions = []struct {
	name string
	max  func() *kversion.Versions
}{
	{"1.0", kversion.V1_0_0}, {"2.4", kversion.V2_4_0}, {"2.8", kversion.V2_8_0}, {"3.5", kversion.V3_5_0}, {"newest", kversion.Stable},
}

// answerProduce is an answer to a produce request with one code for all.
func answerProduce(req kmsg.Request, code int16) kmsg.Response {
	q := req.(*kmsg.ProduceRequest)
	resp := q.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range q.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.BaseOffset = p.Partition, code, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func refuse(code int16) func(kmsg.Request) (kmsg.Response, error, bool) {
	return func(req kmsg.Request) (kmsg.Response, error, bool) { return answerProduce(req, code), nil, true }
}

// refuseOnce answers the first produce request with NOT_ENOUGH_REPLICAS.
func refuseOnce(once *sync.Once) func(kmsg.Request) (kmsg.Response, error, bool) {
	return func(req kmsg.Request) (kmsg.Response, error, bool) {
		var resp kmsg.Response
		once.Do(func() { resp = answerProduce(req, 19) })
		return resp, nil, resp != nil
	}
}

// stampAppend makes the broker take the batches of a request as those of a topic
// with LogAppendTime, which kfake knows by the batch alone.
func stampAppend(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // as kfake wants it
	for _, t := range req.(*kmsg.ProduceRequest).Topics {
		for _, p := range t.Partitions {
			p.Records[22] |= 1 << 3
			binary.BigEndian.PutUint32(p.Records[17:], crc32.Checksum(p.Records[21:], crc32.MakeTable(crc32.Castagnoli)))
		}
	}
	return nil, nil, false
}

// certificates makes a broker's TLS configuration and one that trusts it.
func certificates(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
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
