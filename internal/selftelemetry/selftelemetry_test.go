package selftelemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestReadyOnlyWhenServingAndEveryPartSaysSo(t *testing.T) {
	s := NewServer("127.0.0.1:0", NewRegistry("test"), slog.New(slog.DiscardHandler))
	var fault error
	s.AddCheck(Check{"bus", func(context.Context) error { return fault }})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	url := "http://" + s.Addr()
	f := func(wantCode int, wantText string) {
		t.Helper()
		if code, body := get(t, url+"/readyz"); code != wantCode || !strings.Contains(body, wantText) {
			t.Fatalf("/readyz = %d %s; want %d and %q", code, body, wantCode, wantText)
		}
	}
	f(503, "starting or stopping")
	s.SetServing(true)
	f(200, `"bus":"ready"`)
	fault = errors.New("no broker answers")
	f(503, "no broker answers")
	if code, body := get(t, url+"/metrics"); code != 200 || !strings.Contains(body, `hoptrace_build_info{role="test"`) {
		t.Fatalf("/metrics = %d %.200s", code, body)
	}
	if code, _ := get(t, url+"/healthz"); code != 200 {
		t.Fatalf("/healthz = %d", code)
	}
	if code, _ := get(t, url+"/debug/pprof/"); code != 404 {
		t.Fatalf("/debug/pprof/ = %d where nobody asked for it", code)
	}
	for range 2 {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := http.Get(url + "/healthz"); err == nil {
		t.Fatal("the server answers after Shutdown")
	}
}

func TestProfilesAreServedOnRequest(t *testing.T) {
	s := NewServer("127.0.0.1:0", NewRegistry("test"), slog.New(slog.DiscardHandler))
	s.EnableProfiles()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Shutdown(context.Background()) }()
	for path, want := range map[string]string{"": "goroutine", "goroutine?debug=1": "TestProfilesAreServedOnRequest"} {
		if _, body := get(t, "http://"+s.Addr()+"/debug/pprof/"+path); !strings.Contains(body, want) {
			t.Errorf("/debug/pprof/%s has no %q: %.200s", path, want, body)
		}
	}
}

func TestAPortInUseNamesTheSetting(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	a := NewServer("127.0.0.1:0", NewRegistry("a"), log)
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Shutdown(context.Background()) }()
	err := NewServer(a.Addr(), NewRegistry("b"), log).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "--telemetry.listen") {
		t.Fatalf("Start on a used port = %v; want an error that names the setting", err)
	}
}

func TestLogIsJSONWhereNobodyWatches(t *testing.T) {
	var b bytes.Buffer
	l, err := NewLogger(&b, "info", "auto")
	if err != nil {
		t.Fatal(err)
	}
	l.Info("hello", "n", 1)
	l.Debug("not this")
	if got := b.String(); !strings.HasPrefix(got, "{") || strings.Contains(got, "not this") {
		t.Fatalf("log = %q; want one JSON line", got)
	}
	if _, err := NewLogger(&b, "loud", "auto"); err == nil {
		t.Fatal("level loud is taken")
	}
	if _, err := NewLogger(&b, "info", "xml"); err == nil {
		t.Fatal("format xml is taken")
	}
}
