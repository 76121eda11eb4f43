package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// frames are requests and answers of every version that is followed, as another
// implementation of the protocol writes them.
func frames(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		b, err := hex.DecodeString(f[3])
		if err != nil {
			t.Fatal(err)
		}
		out[f[0]+" "+f[1]+" "+f[2]] = b
	}
	return out
}

// pipe is a connection whose other end is a buffer to read from.
type pipe struct {
	net.Conn
	in    bytes.Buffer
	chunk int // bytes a Read returns at most
}

func (p *pipe) Write(b []byte) (int, error) { return len(b), nil }

func (p *pipe) Read(b []byte) (int, error) {
	if p.chunk > 0 && len(b) > p.chunk {
		b = b[:p.chunk]
	}
	return p.in.Read(b)
}

func (p *pipe) Close() error { return nil }

// ticking is a clock that goes on by one at each look.
func ticking() func() int64 {
	n := int64(1000)
	return func() int64 { n++; return n }
}

func exchangeFrames(t *testing.T, c *Conn, p *pipe, request, response []byte, chunk int) {
	t.Helper()
	p.chunk = chunk
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	p.in.Write(response)
	b := make([]byte, 64)
	for p.in.Len() > 0 {
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryProduceVersionTellsWhenABatchWasWrittenAndAcked(t *testing.T) {
	all := frames(t)
	for v := 3; v <= 13; v++ {
		for _, chunk := range []int{1, 3, 0} {
			t.Run(strconv.Itoa(v)+"/"+strconv.Itoa(chunk), func(t *testing.T) {
				l := NewLog(Options{Now: ticking()})
				p := &pipe{}
				c := l.Conn(p, "broker:9092")
				if v >= 13 {
					exchangeFrames(t, c, p, all["metadata request 12"], all["metadata response 12"], chunk)
				}
				exchangeFrames(t, c, p, all["produce request "+strconv.Itoa(v)], all["produce response "+strconv.Itoa(v)], chunk)
				got, ok := l.Stored("orders", 1, 203)
				if !ok {
					t.Fatalf("nothing known of orders/1@203; %d frames unknown", l.Unknown())
				}
				if got.Written == 0 || got.Acked <= got.Written {
					t.Errorf("written %d, acked %d", got.Written, got.Acked)
				}
				want := Batch{
					FirstWritten: got.Written, Written: got.Written, Acked: got.Acked, Appended: 1700000000123e6,
					Attempts: 1, Throttle: 25 * time.Millisecond, First: 200, Records: 4, Broker: "broker:9092",
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Error(d)
				}
				for _, offset := range []int64{199, 204} {
					if _, ok := l.Stored("orders", 1, offset); ok {
						t.Errorf("offset %d is of no batch seen", offset)
					}
				}
				if _, ok := l.Stored("bills", 1, -1); ok {
					t.Error("a batch that was refused is taken for stored")
				}
				if n := l.Unknown(); n != 0 {
					t.Errorf("%d frames unknown", n)
				}
			})
		}
	}
}

func TestABatchSentAgainKeepsItsFirstTimeAndCountsAttempts(t *testing.T) {
	all := frames(t)
	l := NewLog(Options{Now: ticking()})
	p := &pipe{}
	c := l.Conn(p, "broker:9092")
	refuse, accept := all["produce response 9"], bytes.Clone(all["produce response 9"])
	exchangeFrames(t, c, p, all["produce request 9"], refuse, 0) // bills/1 is refused
	if first, n := l.Failed("bills", 1, 0); first == 0 || n != 1 {
		t.Errorf("failed %d times, first at %d; want once", n, first)
	}
	if _, n := l.Failed("bills", 1, 1<<62); n != 0 {
		t.Errorf("failed %d times after that", n)
	}
	// The same again, accepted for bills/1 as for orders/1.
	at := bytes.LastIndex(accept, []byte{0, 0, 0, 1, 0, 6})
	accept[at+5] = 0
	copy(accept[at+6:], []byte{0, 0, 0, 0, 0, 0, 0, 9})
	if _, err := c.Write(all["produce request 9"]); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil { // not answered: another attempt
		t.Fatal(err)
	}
	c = l.Conn(p, "broker:9093")
	exchangeFrames(t, c, p, all["produce request 9"], accept, 0)
	got, ok := l.Stored("bills", 1, 9)
	if !ok {
		t.Fatal("not known")
	}
	if got.Attempts != 3 || got.FirstWritten >= got.Written || got.Broker != "broker:9093" {
		t.Errorf("got %+v; want 3 attempts, the last at broker:9093", got)
	}
}

func TestEveryFetchVersionTellsWhenItWasAskedAndAnswered(t *testing.T) {
	all := frames(t)
	for v := 4; v <= 12; v++ {
		t.Run(strconv.Itoa(v), func(t *testing.T) {
			l := NewLog(Options{Fetches: true, Now: ticking()})
			p := &pipe{}
			c := l.Conn(p, "broker:9092")
			exchangeFrames(t, c, p, all["fetch request "+strconv.Itoa(v)], all["fetch response "+strconv.Itoa(v)], 0)
			got, ok := l.Fetched("bills", 1, 45)
			if !ok || got.Asked == 0 || got.Answered <= got.Asked {
				t.Errorf("got %+v, %v", got, ok)
			}
			if _, ok := l.Fetched("bills", 1, 40); ok {
				t.Error("a record before the one asked for is taken for one of this fetch")
			}
			if last, ok := c.LastFetch(); !ok || last != got {
				t.Errorf("last fetch %+v, %v; want %+v", last, ok, got)
			}
			l.Forget("bills", 1)
			if _, ok := l.Fetched("bills", 1, 45); ok {
				t.Error("a partition forgotten is still known")
			}
		})
	}
}

func TestAFetchThatIsNotUnderstoodMakesAllUnknown(t *testing.T) {
	all := frames(t)
	l := NewLog(Options{Fetches: true, Now: ticking()})
	p := &pipe{}
	c := l.Conn(p, "broker:9092")
	exchangeFrames(t, c, p, all["fetch request 11"], all["fetch response 11"], 0)
	strange := bytes.Clone(all["fetch request 11"])
	strange[7] = 99 // version
	exchangeFrames(t, c, p, strange, all["fetch response 11"], 0)
	if _, ok := l.Fetched("bills", 1, 45); ok {
		t.Error("a record could be of the fetch that was not understood")
	}
	if l.Unknown() != 1 {
		t.Errorf("%d unknown; want 1", l.Unknown())
	}
}

func TestEveryCommitVersionIsTold(t *testing.T) {
	all := frames(t)
	for v := 2; v <= 10; v++ {
		var got []Commit
		l := NewLog(Options{Commit: func(c Commit) { got = append(got, c) }, Now: ticking()})
		p := &pipe{}
		c := l.Conn(p, "broker:9092")
		if v >= 10 {
			l.learn([]topicName{{"orders", [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}})
		}
		exchangeFrames(t, c, p, all["commit request "+strconv.Itoa(v)], all["commit response "+strconv.Itoa(v)], 5)
		want := []Commit{{Group: "billing", Member: "member", Asked: 1001, Answered: 1002, Code: 27, Broker: "broker:9092", Offsets: []Offset{{Topic: "orders", Partition: 0, Next: 50}, {Topic: "orders", Partition: 1, Next: 51}}}}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(Offset{})); d != "" {
			t.Errorf("version %d: %s", v, d)
		}
	}
}

func TestOtherProtocolsPassUnharmed(t *testing.T) {
	l := NewLog(Options{Fetches: true, Now: ticking()})
	p := &pipe{}
	c := l.Conn(p, "broker:9092")
	if n, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); n != 18 || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	p.in.WriteString("HTTP/1.1 400 Bad Request\r\n\r\n")
	b := make([]byte, 100)
	if n, err := c.Read(b); n != 28 || err != nil {
		t.Fatalf("read: %d, %v", n, err)
	}
	if l.Unknown() == 0 {
		t.Error("not counted")
	}
}

func TestRawSASLTokensDoNotLoseThePlace(t *testing.T) {
	all := frames(t)
	l := NewLog(Options{Fetches: true, Now: ticking()})
	p := &pipe{}
	c := l.Conn(p, "broker:9092")
	exchangeFrames(t, c, p, []byte("\x00\x00\x00\x0c\x00user\x00secret"), []byte{0, 0, 0, 0}, 1)
	exchangeFrames(t, c, p, []byte{0, 0, 0, 2, 'o', 'k'}, []byte{0, 0, 0, 3, 'y', 'e', 's'}, 2)
	exchangeFrames(t, c, p, all["produce request 9"], all["produce response 9"], 3)
	exchangeFrames(t, c, p, all["fetch request 11"], all["fetch response 11"], 3)
	if _, ok := l.Stored("orders", 1, 203); !ok || l.Unknown() != 0 {
		t.Errorf("the batch is known: %v; %d unknown", ok, l.Unknown())
	}
	if _, ok := l.Fetched("orders", 1, 45); !ok {
		t.Error("the fetch is not known")
	}
}

func TestARequestWithoutAcksIsNotWaitedFor(t *testing.T) {
	request := bytes.Clone(frames(t)["produce request 7"])
	at := bytes.Index(request, []byte("client")) + len("client") + 2 // behind the null transactional id
	if request[at] != 0xff || request[at+1] != 0xff {
		t.Fatalf("acks are not at %d", at)
	}
	request[at], request[at+1] = 0, 0
	l := NewLog(Options{Now: ticking()})
	c := l.Conn(&pipe{}, "broker:9092")
	for range 10 {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.underWay); n != 0 || l.Unknown() != 0 {
		t.Errorf("%d requests wait, %d unknown", n, l.Unknown())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	all := frames(t)
	l := NewLog(Options{Now: ticking()})
	p := &pipe{}
	c := l.Conn(p, "broker:9092")
	for range 4 * maxBatches {
		exchangeFrames(t, c, p, all["produce request 9"], all["produce response 9"], 0)
	}
	for range 2 * maxUnderWay {
		if _, err := c.Write(all["produce request 9"]); err != nil {
			t.Fatal(err)
		}
	}
	for k, part := range l.partitions {
		if len(part.stored) > maxBatches || len(part.failed) > maxFailed {
			t.Errorf("%v: %d stored, %d failed", k, len(part.stored), len(part.failed))
		}
	}
	if len(c.underWay) > maxUnderWay {
		t.Errorf("%d requests under way", len(c.underWay))
	}
}

func FuzzConnNeverPanicsNorChangesBytes(f *testing.F) {
	for _, b := range frames(f) {
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, request, response []byte) {
		l := NewLog(Options{Fetches: true, Commit: func(Commit) {}, Now: ticking()})
		p := &pipe{chunk: 7}
		c := l.Conn(p, "broker:9092")
		before := bytes.Clone(request)
		if n, err := c.Write(request); n != len(request) || err != nil || !bytes.Equal(before, request) {
			t.Fatalf("write: %d, %v", n, err)
		}
		p.in.Write(response)
		var got []byte
		b := make([]byte, 16)
		for {
			n, err := c.Read(b)
			got = append(got, b[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, response) {
			t.Fatal("bytes read are not those sent")
		}
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	})
}
