// Package cases makes what a user interface must bear and an example never has:
// waits of hours, parts below zero, batches of thousands, names in any script,
// records that nobody read. What it makes depends on the seed and the time only, so
// a picture of a page can be made again.
//
// Spans carry the attributes that the wrappers write. What a span cannot tell goes
// through a real broker when there is one ([Config.Kafka]): records that no stage can take, a
// topic of 24 partitions with one hot, a group that is behind.
package cases

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	metricscollector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracecollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Config says where to and how.
type Config struct {
	OTLP  string    // base URL of a collector's OTLP over HTTP
	DSN   string    // of the project that errors go to; empty leaves them out
	Kafka string    // address of a broker; empty leaves out what needs real records
	Seed  uint64    // the same seed and the same Now give the same spans
	Now   time.Time // the cases lie before it; zero means time.Now
}

// Case is one of them as it was sent, for whoever looks at what a page makes of it.
type Case struct {
	Name  string `json:"name"`
	Says  string `json:"says"`            // what it is, for people
	Trace string `json:"trace,omitempty"` // where to look first

	Topic     string             `json:"topic,omitempty"`
	Partition int32              `json:"partition"`
	Offset    int64              `json:"offset"`
	Group     string             `json:"group,omitempty"`
	Figures   map[string]float64 `json:"figures,omitempty"` // what pages must show, by name; times in ms
}

// Told is what was sent.
type Told struct {
	Seed  uint64    `json:"seed"`
	Now   time.Time `json:"now"`
	Spans int       `json:"spans"`
	Cases []Case    `json:"cases"`
}

// spansPerRequest keeps a request of 8 KB attributes below a collector's bound.
const spansPerRequest = 500

// Make builds the spans and the clock samples without sending any.
func Make(seed uint64, now time.Time) ([]*tracecollector.ExportTraceServiceRequest, *metricscollector.ExportMetricsServiceRequest, Told) {
	b := newBuilder(seed, now)
	told := Told{Seed: seed, Now: now}
	for _, make := range []func(*builder) Case{
		longWait, negative, batch, foreignBatch, cutBatch, retries, missingProducer, fortyServices, names, tenThousand, twoGroups,
		hotPartition, unread, oddSpans, longTopic, slashTopic, manyLinks, apart, cycle, deep,
	} {
		told.Cases = append(told.Cases, make(b))
	}
	requests := b.requests(spansPerRequest)
	out := make([]*tracecollector.ExportTraceServiceRequest, 0, len(requests))
	for _, r := range requests {
		for _, rs := range r {
			told.Spans += len(rs.ScopeSpans[0].Spans)
		}
		out = append(out, &tracecollector.ExportTraceServiceRequest{ResourceSpans: r})
	}
	return out, &metricscollector.ExportMetricsServiceRequest{ResourceMetrics: clockSamples(now)}, told
}

// Send makes all cases and sends them. It returns when the collector has taken them,
// which is before they are stored.
func Send(ctx context.Context, cfg Config) (Told, error) {
	if cfg.OTLP == "" {
		return Told{}, errors.New("there is no address to send to: set OTLP to the base URL of a collector, such as http://127.0.0.1:4318")
	}
	if cfg.Now.IsZero() {
		cfg.Now = time.Now()
	}
	base := strings.TrimRight(cfg.OTLP, "/")
	requests, metrics, told := Make(cfg.Seed, cfg.Now)
	for i, r := range requests {
		if err := post(ctx, base+"/v1/traces", r, &tracecollector.ExportTraceServiceResponse{}); err != nil {
			return told, fmt.Errorf("cannot send request %d of %d with spans: %w", i+1, len(requests), err)
		}
	}
	if err := post(ctx, base+"/v1/metrics", metrics, &metricscollector.ExportMetricsServiceResponse{}); err != nil {
		return told, fmt.Errorf("cannot send clock samples: %w", err)
	}
	if cfg.DSN != "" {
		more, err := sendErrors(ctx, cfg, told)
		if err != nil {
			return told, err
		}
		told.Cases = append(told.Cases, more...)
	}
	if cfg.Kafka != "" {
		more, err := live(ctx, cfg)
		if err != nil {
			return told, err
		}
		told.Cases = append(told.Cases, more...)
	}
	return told, nil
}

func post(ctx context.Context, url string, m, into proto.Message) error {
	body, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	answer, err := postBytes(ctx, url, "application/x-protobuf", body)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("cannot understand the answer of %s: %w", url, err)
	}
	if r, ok := into.(*tracecollector.ExportTraceServiceResponse); ok && r.GetPartialSuccess().GetRejectedSpans() > 0 {
		return fmt.Errorf("%s refused %d spans: %s", url, r.PartialSuccess.RejectedSpans, r.PartialSuccess.ErrorMessage)
	}
	return nil
}

func postBytes(ctx context.Context, url, contentType string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	told, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d: %.300s", url, answer.StatusCode, told)
	}
	return told, nil
}

func hexOf(s *tracepb.Span) string { return hex.EncodeToString(s.TraceId) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
