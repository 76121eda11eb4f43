package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
)

var (
	flagBroker   = flag.String("broker", "stub", "stub (inside this process), embedded (hoptrace's broker in another process) or kafka (Apache Kafka from Maven)")
	flagRounds   = flag.Int("rounds", 25, "most rounds; each measures every client of a family once")
	flagBudget   = flag.Duration("budget", 2*time.Minute, "time for one benchmark function; rounds are cut to keep it, but not below 3")
	flagMessages = flag.Int("messages", 10_000, "messages a round; a multiple of 1000")
	flagWays     = flag.String("ways", "", "regular expression of the ways measured, such as ^sampled/100$; empty means all")
	flagClients  = flag.String("clients", "", "regular expression of the clients measured beside the raw ones; empty means all")
)

var clientFilter, wayFilter *regexp.Regexp

// roleVar makes a child of the test binary play another process.
const roleVar = "HOPTRACE_PEERS_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "sink":
		fail(sink())
	case "embedded":
		fail(embedded(os.Getenv(roleVar + "_DIR")))
	default:
		flag.Parse()
		slog.SetDefault(slog.New(slog.DiscardHandler)) // our advisor's findings are none about a benchmark
		var err error
		if clientFilter, err = regexp.Compile(*flagClients); err != nil {
			fail(fmt.Errorf("-clients: %w", err))
		}
		if wayFilter, err = regexp.Compile(*flagWays); err != nil {
			fail(fmt.Errorf("-ways: %w", err))
		}
		fail(checkFilter(clientFilter, clients()))
		if *flagMessages < 1000 || *flagMessages%1000 != 0 {
			fail(fmt.Errorf("-messages is %d; it must be a multiple of 1000", *flagMessages))
		}
		os.Exit(m.Run())
	}
}

// checkFilter tells when filter leaves no client to measure: a run without lines
// would look like one that went well.
func checkFilter(filter *regexp.Regexp, all []*client) error {
	var names []string
	for _, c := range all {
		if c.raw == c.name {
			continue // measured anyway, but only beside others
		}
		if filter.MatchString(c.name) {
			return nil
		}
		names = append(names, c.name)
	}
	return fmt.Errorf("-clients is %q, which matches none of the clients that are measured beside the raw ones: %s; give a regular expression such as '%s|%s'",
		filter, strings.Join(names, ", "), names[0], names[len(names)-1])
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child starts this binary in a role and returns the address that it prints.
// It ends when its standard input does.
func child(tb testing.TB, role string) string {
	tb.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), roleVar+"="+role, roleVar+"_DIR="+tb.TempDir())
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatalf("the process in the role of %s told no address: %v", role, err)
	}
	return strings.TrimSpace(line)
}

func waitForParent() { _, _ = io.Copy(io.Discard, os.Stdin) }

// embedded is hoptrace's broker, bounded to keep little of what it is sent.
func embedded(dir string) error {
	c := embeddedkafka.DefaultConfig()
	c.Dir, c.Listen = dir, "127.0.0.1:0"
	c.RetentionBytes, c.SegmentBytes, c.MaxLogBytes, c.CleanerInterval = 96<<20, 8<<20, 256<<20, 2*time.Second
	b, err := embeddedkafka.New(c, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	if err := b.Start(context.Background()); err != nil {
		return err
	}
	fmt.Println(b.Addr())
	waitForParent()
	return b.Shutdown(context.Background())
}

// sinkCounts is what the sink took, as GET /counts tells.
type sinkCounts struct {
	Requests int64 // of all kinds
	Bytes    int64
	DDTraces int64 // as the header X-Datadog-Trace-Count says
}

// sink takes OTLP over HTTP and what Datadog's agent takes, and forgets it.
func sink() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var requests, size, traces atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(sinkCounts{requests.Load(), size.Load(), traces.Load()})
	})
	// What an agent says of itself; without it the tracer would not drop
	// unsampled traces, but send them.
	mux.HandleFunc("GET /info", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"version":"7.60.0","endpoints":["/v0.4/traces","/v0.5/traces","/v0.6/stats","/v0.1/pipeline_stats"],"client_drop_p0s":true}`)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		requests.Add(1)
		size.Add(n)
		if c, err := strconv.ParseInt(r.Header.Get("X-Datadog-Trace-Count"), 10, 64); err == nil {
			traces.Add(c)
			_, _ = io.WriteString(w, `{"rate_by_service":{}}`)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	})
	fmt.Println(l.Addr())
	go func() {
		waitForParent()
		_ = l.Close()
	}()
	_ = (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(l)
	return nil
}

func countsOf(address string) (c sinkCounts, err error) {
	res, err := http.Get("http://" + address + "/counts")
	if err != nil {
		return c, fmt.Errorf("cannot ask the sink for its counts: %w", err)
	}
	defer res.Body.Close()
	return c, json.NewDecoder(res.Body).Decode(&c)
}

// realBroker starts the broker that -broker names and returns its address and
// what it is.
func realBroker(tb testing.TB) (address, name string) {
	tb.Helper()
	switch *flagBroker {
	case "embedded":
		return child(tb, "embedded"), "embedded"
	case "kafka":
		k := harness.StartKafka(tb)
		return k.Address, "apache-kafka-" + k.Version
	}
	tb.Fatalf("-broker is %q; it must be stub, embedded or kafka", *flagBroker)
	return "", ""
}
