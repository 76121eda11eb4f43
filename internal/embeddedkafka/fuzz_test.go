package embeddedkafka

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestFrame makes a frame as a client sends it.
func requestFrame(req kmsg.Request) []byte {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("fuzz"))
	return f.AppendRequest(nil, req, 7)
}

// memConn is a connection that has sent all it ever will.
type memConn struct {
	net.Conn
	r *bytes.Reader
}

func (c memConn) Read(p []byte) (int, error) { return c.r.Read(p) }
func (memConn) RemoteAddr() net.Addr         { return advertised("client:1") }

// FuzzFrames: whatever a client sends, kfake sees a prefix of it that begins
// no frame it could not take.
func FuzzFrames(f *testing.F) {
	topic := "orders"
	meta := kmsg.NewPtrMetadataRequest()
	meta.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	f.Add(requestFrame(meta))
	f.Add(append(requestFrame(kmsg.NewPtrApiVersionsRequest()), requestFrame(kmsg.NewPtrFetchRequest())...))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte{0, 0, 0, 9, 0, 3, 0, 0, 0, 0, 0, 1, 0xff})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, sent []byte) {
		l := &listener{cfg: DefaultConfig(), stats: new(stats), log: slog.New(slog.DiscardHandler)}
		c := &conn{Conn: memConn{r: bytes.NewReader(sent)}, l: l}
		c.r = bufio.NewReaderSize(c.Conn, 16)
		got, _ := io.ReadAll(c)
		if !bytes.HasPrefix(sent, got) {
			t.Fatalf("got %x out of %x", got, sent)
		}
		for rest := got; len(rest) > 0; {
			if len(rest) < 8 {
				t.Fatalf("a frame of %d bytes was begun", len(rest))
			}
			size := int(binary.BigEndian.Uint32(rest))
			if size < 10 || size > l.cfg.MaxRequestBytes || kmsg.RequestForKey(int16(binary.BigEndian.Uint16(rest[4:]))) == nil {
				t.Fatalf("a frame was begun that kfake cannot take: %x", rest[:8])
			}
			rest = rest[min(4+size, len(rest)):]
		}
	})
}

func TestRequestPutTogetherAgainIsTheSame(t *testing.T) {
	topic := "orders"
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: topic, NumPartitions: 3, ReplicationFactor: 1}}
	for v := int16(0); v <= req.MaxVersion(); v++ {
		req.SetVersion(v)
		want := requestFrame(req)
		parsed, err := parseRequest(want)
		if err != nil {
			t.Fatalf("version %d: %v", v, err)
		}
		if got := parsed.frame(); !bytes.Equal(got, want) {
			t.Errorf("version %d: got %x; want %x", v, got, want)
		}
	}
}
