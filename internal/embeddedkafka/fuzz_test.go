package embeddedkafka

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestFrame makes a frame as a client sends it.
func requestFrame(req kmsg.Request) []byte {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("fuzz"))
	return f.AppendRequest(nil, req, 7)
}

func FuzzParseRequest(f *testing.F) {
	topic := "orders"
	meta := kmsg.NewPtrMetadataRequest()
	meta.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: topic, NumPartitions: 3, ReplicationFactor: 1}}
	for _, req := range []kmsg.Request{meta, create, kmsg.NewPtrCreatePartitionsRequest(), kmsg.NewPtrDeleteRecordsRequest()} {
		for v := int16(0); v <= req.MaxVersion(); v++ {
			req.SetVersion(v)
			f.Add(requestFrame(req))
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 14 {
			return // refused before it is parsed
		}
		req, err := parseRequest(frame)
		if err != nil {
			return
		}
		// What is put together again means the same.
		again, err := parseRequest(req.frame())
		if err != nil {
			t.Fatalf("a frame of ours cannot be parsed: %v", err)
		}
		if !bytes.Equal(again.AppendTo(nil), req.AppendTo(nil)) {
			t.Fatal("the request changed")
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
