package cases

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	tracecollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func encode(t *testing.T, seed uint64) (string, Told) {
	t.Helper()
	requests, metrics, told := Make(seed, noon)
	var all strings.Builder
	for _, m := range requests {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 4<<20 {
			t.Errorf("a request has %d bytes", len(b))
		}
		all.Write(b)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(metrics)
	if err != nil {
		t.Fatal(err)
	}
	all.Write(b)
	return all.String(), told
}

func TestTheSameSeedGivesTheSameCases(t *testing.T) {
	one, told := encode(t, 7)
	again, toldAgain := encode(t, 7)
	if one != again {
		t.Error("two runs with seed 7 differ")
	}
	if other, _ := encode(t, 8); one == other {
		t.Error("seeds 7 and 8 give the same")
	}
	a, _ := json.Marshal(told)
	b, _ := json.Marshal(toldAgain)
	if string(a) != string(b) {
		t.Errorf("told %s and then %s", a, b)
	}
}

// What the cases promise is counted in what is sent.
func TestCasesAreWhatTheySay(t *testing.T) {
	requests, _, told := Make(1, noon)
	byTrace := map[string]int{}
	services, ids := map[string]bool{}, map[string]bool{}
	attributes, links, batch, zero := 0, 0, int64(0), 0
	for _, r := range requests {
		for _, rs := range r.ResourceSpans {
			services[rs.Resource.Attributes[0].Value.GetStringValue()] = true
			for _, s := range rs.ScopeSpans[0].Spans {
				byTrace[hexOf(s)]++
				if ids[string(s.SpanId)] {
					t.Fatalf("span id %x is there twice", s.SpanId)
				}
				ids[string(s.SpanId)] = true
				if s.EndTimeUnixNano < s.StartTimeUnixNano || s.EndTimeUnixNano > uint64(noon.UnixNano()) { //nolint:gosec // this century
					t.Errorf("%s runs from %d to %d", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano)
				}
				if s.EndTimeUnixNano == s.StartTimeUnixNano {
					zero++
				}
				links = max(links, len(s.Links))
				for _, kv := range s.Attributes {
					attributes = max(attributes, len(kv.Value.GetStringValue()))
					if kv.Key == "messaging.batch.message_count" {
						batch = max(batch, kv.Value.GetIntValue())
					}
				}
			}
		}
	}
	if len(services) < Services {
		t.Errorf("there are %d services, want %d at least", len(services), Services)
	}
	for name, want := range map[string]int{"trace of 10,000 spans": TraceSpans, "odd spans": 10, "deep": 300} {
		for _, c := range told.Cases {
			if c.Name == name && byTrace[c.Trace] != want {
				t.Errorf("%s has %d spans, want %d", name, byTrace[c.Trace], want)
			}
		}
	}
	if links < 128 || attributes < 8192 || batch != BatchSize || zero == 0 {
		t.Errorf("most links %d, longest attribute %d, largest batch %d, spans of no length %d", links, attributes, batch, zero)
	}
	if told.Spans != len(ids) {
		t.Errorf("told %d spans, there are %d", told.Spans, len(ids))
	}
	for _, c := range told.Cases {
		if c.Name == "" || c.Says == "" || c.Trace == "" {
			t.Errorf("case %+v does not say what and where it is", c)
		}
	}
}

func TestWhatIsRefusedIsAnError(t *testing.T) {
	f := func(status int, body []byte, want string) {
		t.Helper()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write(body) //nolint:errcheck // the test sees it
		}))
		defer s.Close()
		_, err := Send(context.Background(), Config{OTLP: s.URL, Seed: 1, Now: noon})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Send with an answer of %d gives %v; want %q", status, err, want)
		}
	}
	f(http.StatusTooManyRequests, []byte("slower"), "answered 429: slower")
	rejected, err := proto.Marshal(&tracecollector.ExportTraceServiceResponse{PartialSuccess: &tracecollector.ExportTracePartialSuccess{RejectedSpans: 3, ErrorMessage: "no"}})
	if err != nil {
		t.Fatal(err)
	}
	f(http.StatusOK, rejected, "refused 3 spans: no")
	if _, err := Send(context.Background(), Config{}); err == nil {
		t.Error("no address is no error")
	}
}

func TestErrorsAreSentAsEnvelopes(t *testing.T) {
	var mu sync.Mutex
	types := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/envelope/") {
			return
		}
		body, err := io.ReadAll(r.Body)
		lines := strings.Split(strings.TrimSpace(string(body)), "\n")
		var e struct {
			Exception struct {
				Values []struct{ Type string }
			}
		}
		if err != nil || len(lines) != 3 || json.Unmarshal([]byte(lines[2]), &e) != nil || len(e.Exception.Values) != 1 {
			http.Error(w, "no envelope", http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		types[e.Exception.Values[0].Type]++
	}))
	defer s.Close()
	told, err := Send(context.Background(), Config{OTLP: s.URL, DSN: strings.Replace(s.URL, "://", "://key@", 1) + "/1", Seed: 1, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	if len(types) != Issues || types["Burst"] != 250 {
		t.Errorf("got %d kinds of errors and %d of the burst, want %d and 250", len(types), types["Burst"], Issues)
	}
	if last := told.Cases[len(told.Cases)-1]; last.Name != "errors" {
		t.Errorf("the last case is %+v", last)
	}
}
