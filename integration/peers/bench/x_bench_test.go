package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/integration/peers/stubbroker"
)

// client is one library, or one way to use it.
type client struct {
	name    string
	raw     string // the name of the client that it wraps; its own if it wraps none
	modules []string
	// telemetry is where its spans go.
	telemetry func(*cell) (telemetry, error)
	// produce and consume return what sends or reads n messages.
	produce, consume func(*cell, telemetry) (func(n int) error, error)
	// skip says why it is not measured in a cell; empty means that it is.
	skip func(benchmark string, call int) string
}

// clients in the order of the output. Each raw one comes before what wraps it.
func clients() []*client {
	var all []*client
	all = append(all, kafkaGoClients()...)
	all = append(all, franzClients()...)
	return append(all, saramaClients()...)
}

// missing are peers that cannot be had here, and why.
var missing = []string{
	"dd-trace-go for franz-go (contrib/twmb/franz-go/v2): no version of the module could be had",
	"dd-trace-go v2.12.0's own contrib modules could not be had; v2.3.0 of contrib/segmentio/kafka-go and contrib/IBM/sarama is measured on tracer v2.12.0",
	"otelc, OTel eBPF and loongsuite are no libraries: they rewrite or watch the binary",
}

// target is the broker and the sink of the spans.
type target struct {
	stub    bool
	address string
	sink    string
}

const (
	produceTopic = "produce"
	keySize      = 10
	valueSize    = 1024
)

func consumeTopic(sampled bool) string {
	if sampled {
		return "consume-sampled"
	}
	return "consume-unsampled"
}

var value = make([]byte, valueSize)

// cell is one client in one way of use.
type cell struct {
	target  *target
	client  *client
	sampled bool
	call    int // messages a call
	n       int // messages a round
	note    func(format string, args ...any)
}

// stub is a broker within this process for one round.
func (c *cell) stub() *stubbroker.Broker {
	records := make([]stubbroker.Record, 500)
	for i := range records {
		records[i] = stubbroker.Record{Key: value[:keySize], Value: value, Headers: []stubbroker.Header{{Key: "traceparent", Value: traceparent(c.sampled)}}}
	}
	return stubbroker.New(stubbroker.Config{
		Topics: []string{produceTopic, consumeTopic(true), consumeTopic(false)}, Records: records, End: int64(c.n),
	})
}

func BenchmarkProduce(b *testing.B) {
	measure(b, "Produce", func(c *client) func(*cell, telemetry) (func(int) error, error) { return c.produce })
}

func BenchmarkConsume(b *testing.B) {
	measure(b, "Consume", func(c *client) func(*cell, telemetry) (func(int) error, error) { return c.consume })
}

// measure runs once (-benchtime 1x): the rounds are its own, since each must
// meet all clients of a family in turn.
func measure(b *testing.B, benchmark string, drive func(*client) func(*cell, telemetry) (func(int) error, error)) {
	t := &target{stub: true, sink: child(b, "sink")}
	name := "stub"
	if *flagBroker != "stub" {
		t.stub = false
		t.address, name = realBroker(b)
		fill(b, t.address, *flagMessages)
	}
	configuration(b, name)

	families := [][]*client{}
	for _, c := range clients() {
		switch {
		case drive(c) == nil:
		case c.raw == c.name:
			families = append(families, []*client{c})
		case clientFilter.MatchString(c.name):
			families[len(families)-1] = append(families[len(families)-1], c)
		}
	}
	deadline := time.Now().Add(*flagBudget)
	left := len(families) * 4
	for _, family := range families {
		for _, sampled := range []bool{true, false} {
			for _, call := range []int{1, 100} {
				limit := time.Until(deadline) / time.Duration(left)
				left--
				kind := "unsampled"
				if sampled {
					kind = "sampled"
				}
				way := fmt.Sprintf("%s/%d", kind, call)
				if len(family) < 2 || !wayFilter.MatchString(way) {
					continue
				}
				results := measureFamily(b, benchmark, way, family, t, sampled, call, limit, drive)
				for _, r := range results {
					b.Run(r.client+"/"+way, func(b *testing.B) {
						b.ReportMetric(0, "ns/op") // of an empty loop: leave it out
						b.ReportMetric(float64(r.rounds), "rounds")
						b.ReportMetric(r.median.cpu, "cpu-us/msg")
						b.ReportMetric(r.median.allocs, "allocs/msg")
						b.ReportMetric(r.median.bytes, "B/msg")
						b.ReportMetric(r.over.cpu, "over-raw-us/msg")
						b.ReportMetric(r.over.allocs, "over-raw-allocs/msg")
						b.ReportMetric(r.over.bytes, "over-raw-B/msg")
					})
				}
			}
		}
	}
}

func measureFamily(b *testing.B, benchmark, way string, family []*client, t *target, sampled bool, call int, limit time.Duration,
	drive func(*client) func(*cell, telemetry) (func(int) error, error),
) []result {
	note := func(format string, args ...any) {
		fmt.Fprintf(os.Stdout, "# %s/%s: %s\n", benchmark, way, fmt.Sprintf(format, args...))
	}
	vs := make([]*variant, 0, len(family))
	for _, cl := range family {
		if cl.skip != nil {
			if why := cl.skip(benchmark, call); why != "" {
				note("%s is left out: %s", cl.name, why)
				continue
			}
		}
		c := &cell{target: t, client: cl, sampled: sampled, call: call, n: *flagMessages, note: note}
		tel, err := cl.telemetry(c)
		if err != nil {
			b.Errorf("%s, %s: cannot set up its telemetry: %v", cl.name, way, err)
			continue
		}
		if tel.close != nil {
			defer tel.close()
		}
		run, err := drive(cl)(c, tel)
		if err != nil {
			b.Errorf("%s, %s: %v", cl.name, way, err)
			continue
		}
		if tel.check != nil {
			defer func() {
				if err := tel.check(); err != nil {
					b.Errorf("%s, %s: %v", cl.name, way, err)
				}
			}()
		}
		vs = append(vs, newVariant(cl, tel, run))
	}
	if len(vs) == 0 || vs[0].client.raw != vs[0].client.name {
		return nil // without raw there is nothing to compare with; it has been told
	}
	return compare(b, way, vs, *flagRounds, *flagMessages, limit)
}

// fill makes the topics of a real broker and what is consumed from them.
func fill(b *testing.B, address string, n int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopics(ctx, 1, 1, nil, produceTopic, consumeTopic(true), consumeTopic(false)); err != nil {
		b.Fatalf("cannot make the topics on %s: %v", address, err)
	}
	for _, sampled := range []bool{true, false} {
		records := make([]*kgo.Record, n)
		for i := range records {
			records[i] = &kgo.Record{
				Topic: consumeTopic(sampled), Key: value[:keySize], Value: value,
				Headers: []kgo.RecordHeader{{Key: "traceparent", Value: traceparent(sampled)}},
			}
		}
		if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
			b.Fatalf("cannot fill the topics on %s: %v", address, err)
		}
	}
}

var notKey = regexp.MustCompile(`[^a-z0-9-]+`)

// configuration prints the lines that benchstat reads as configuration, and
// which peers are missing.
func configuration(b *testing.B, broker string) {
	b.Helper()
	fmt.Printf("broker: %s\n", broker)
	fmt.Printf("go: %s\n", strings.TrimPrefix(runtime.Version(), "go"))
	fmt.Printf("gomaxprocs: %d\n", runtime.GOMAXPROCS(0))
	fmt.Printf("messages-a-round: %d\n", *flagMessages)
	fmt.Printf("value-bytes: %d\n", valueSize)
	// A test binary does not hold the versions of its modules.
	list, err := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "all").Output()
	if err != nil {
		b.Errorf("cannot list the versions of the modules; run it by go test in its own folder: %v", err)
		return
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(list)) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			versions[path] = version
		}
	}
	seen := map[string]bool{}
	for _, c := range clients() {
		for _, m := range c.modules {
			if v := versions[m]; !seen[m] && v != "" {
				seen[m] = true
				fmt.Printf("%s: %s\n", moduleKey(m), v)
			}
		}
	}
	for _, m := range missing {
		fmt.Printf("# missing: %s\n", m)
	}
}

// moduleKey shortens a module's path to a key of benchstat: "kotel", "otel-sdk".
func moduleKey(path string) string {
	short := map[string]string{
		"github.com/dnwe/otelsarama":                                   "otelsarama",
		"github.com/DataDog/dd-trace-go/v2":                            "dd-trace-go",
		"github.com/DataDog/dd-trace-go/contrib/IBM/sarama/v2":         "dd-trace-go-contrib-sarama",
		"github.com/Trendyol/otel-kafka-konsumer":                      "trendyol-otel-kafka-konsumer",
		"github.com/DataDog/dd-trace-go/contrib/segmentio/kafka-go/v2": "dd-trace-go-contrib-kafka-go",
		"go.opentelemetry.io/otel/sdk":                                 "otel-sdk",
	}
	if s := short[path]; s != "" {
		return s
	}
	return notKey.ReplaceAllString(strings.ToLower(path[strings.LastIndexByte(path, '/')+1:]), "-")
}
