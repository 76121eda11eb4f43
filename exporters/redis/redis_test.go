package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/exportertest"
	"github.com/hoptrace/hoptrace/internal/testredis"
)

func TestRedisPassesTheContract(t *testing.T) {
	server := testredis.Start(t)
	var n atomic.Int64
	exportertest.Counters(t, func(t *testing.T) exporters.Counters {
		s, err := Open(t.Context(), Config{URL: server.URL, Prefix: fmt.Sprintf("test%d:", n.Add(1))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

func TestALostServerIsNamedAndComesBack(t *testing.T) {
	server := testredis.Start(t)
	s, err := Open(t.Context(), Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c := []exporters.Counter{{Key: "a", Limit: 10, Until: time.Now().Add(time.Hour)}}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.Take(ctx, c, 1); !errors.Is(err, exporters.ErrUnavailable) || !strings.Contains(err.Error(), server.Addr) {
		t.Errorf("Take of a stopped server: %v; want ErrUnavailable with the address", err)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(15 * time.Second)
	for {
		if _, err := s.Take(t.Context(), c, 1); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the server is back, but: %v", err)
		}
	}
}

func TestABadURLIsRefusedWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"", "localhost:6379", "redis://user:secret@", "http://secret@x", "redis://:secret@127.0.0.1:1/0"} {
		s, err := Open(t.Context(), Config{URL: url})
		if err == nil {
			_ = s.Close()
			t.Fatalf("Open(%q) succeeded", url)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) tells the password: %v", url, err)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	server := testredis.Start(b)
	s, err := Open(b.Context(), Config{URL: server.URL})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	c := []exporters.Counter{{Key: "a", Limit: -1, Until: time.Now().Add(time.Hour)}, {Key: "b", Limit: -1, Until: time.Now().Add(time.Hour)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Take(b.Context(), c, 1); err != nil {
			b.Fatal(err)
		}
	}
}
