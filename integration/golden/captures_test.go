package golden

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// TestCapturesAreWhatTheSDKsSend runs the programs that send each kind of item
// and compares the requests with collector/testdata/captures: the request line,
// the names of the header's fields, the encoding and the items.
func TestCapturesAreWhatTheSDKsSend(t *testing.T) {
	folder := filepath.Join(harness.Root(t), "collector", "testdata", "captures")
	captured := map[string][]byte{}
	ran := 0
	sdks := map[string]func(t *testing.T, env []string, dsn string){
		"go": func(t *testing.T, env []string, _ string) { harness.Output(t, 3*time.Minute, harness.SentryGo(t, env)) },
		"node": func(t *testing.T, env []string, _ string) {
			harness.Output(t, 3*time.Minute, harness.SentryNode(t, env))
		},
		"python": func(t *testing.T, env []string, _ string) {
			harness.Output(t, 3*time.Minute, harness.SentryPython(t, env))
		},
		"python-gzip": func(t *testing.T, env []string, _ string) {
			harness.Output(t, 3*time.Minute, harness.SentryPython(t, append(env, "HOPTRACE_COMPRESSION=gzip")))
		},
		"java": func(t *testing.T, env []string, _ string) {
			harness.Output(t, 3*time.Minute, harness.SentryJava(t, env))
		},
		"browser": func(t *testing.T, _ []string, dsn string) {
			harness.SentryBrowser(t, url.Values{"dsn": {dsn}, "limited": {"1"}})
		},
		"cli": func(t *testing.T, _ []string, dsn string) { runCLI(t, dsn) },
	}
	for _, name := range slices.Sorted(maps.Keys(sdks)) {
		t.Run(name, func(t *testing.T) {
			server := StartServer(t)
			sdks[name](t, []string{"HOPTRACE_DSN=" + server.DSN(), "HOPTRACE_LIMITED=" + limitedCase}, server.DSN())
			takeRequests(t, name, server, captured)
			ran++
		})
	}
	if t.Failed() {
		return
	}
	if ran < len(sdks) {
		if *update {
			t.Fatal("-update needs all SDKs, but -run chose some")
		}
		return
	}
	if *update {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		for name, raw := range captured {
			path := filepath.Join(folder, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("wrote %d requests under %s", len(captured), folder)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.http"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name, err := filepath.Rel(folder, path)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if captured[filepath.ToSlash(name)] == nil {
			if !again.MatchString(name) {
				t.Errorf("%s was not sent this time", name)
			}
			continue
		}
		if got, want := outline(t, captured[filepath.ToSlash(name)]), outline(t, raw); got != want {
			t.Errorf("%s is another request than in the file\ngot:\n%s\nwant:\n%s", name, got, want)
		}
		delete(captured, filepath.ToSlash(name))
	}
	for _, name := range slices.Sorted(maps.Keys(captured)) {
		if !again.MatchString(name) {
			t.Errorf("%s was sent, but is no file yet; go test ./golden -update writes it", name)
		}
	}
}

// again is a request like one before it. How many of them come depends on how
// fast all is: SDKs send sessions and client reports by the clock.
var again = regexp.MustCompile(`\.[0-9]+\.http$`)

// runCLI uses sentry-cli as scripts and cron jobs do.
func runCLI(t *testing.T, dsn string) {
	t.Helper()
	for _, args := range harness.SentryCLICalls(t) {
		p := harness.Start(t, harness.SentryCLI(t, dsn, args...))
		if err := p.Wait(time.Minute); err != nil {
			t.Fatalf("sentry-cli %v: %v\n%s", args, err, p.Tail(20))
		}
	}
}

// takeRequests writes each request of the server anew, without the machine.
func takeRequests(t *testing.T, sdk string, server *Server, into map[string][]byte) {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	python := harness.Python(t, filepath.Join(harness.Root(t), "integration", "python"))
	a := NewAnonymiser(map[string]string{
		harness.Root(t): "/srv/shop", home: "/home/app", os.TempDir(): "/var/tmp", filepath.Dir(filepath.Dir(python)): "/srv/venv",
		server.Address: "hoptrace.example", "127.0.0.1": "192.0.2.1",
		url.QueryEscape(server.Address): "hoptrace.example",
		`"server_name":"` + host + `"`:  `"server_name":"web-1"`, `"server_name": "` + host + `"`: `"server_name": "web-1"`,
	})
	received := time.Now()
	for nth, req := range server.Taken(t) {
		what := describe(t, req)
		name := sdk + "/" + what + ".http"
		for n := 2; into[name] != nil; n++ {
			name = sdk + "/" + what + "." + strconv.Itoa(n) + ".http"
		}
		into[name] = rewrite(t, a, req, name, received, nth)
	}
}

// describe is what a request's file is called after: the case of its event, or
// else the kinds of its items.
func describe(t *testing.T, req *Request) string {
	t.Helper()
	if !req.isEnvelope() {
		return strings.Trim(strings.ReplaceAll(strings.TrimPrefix(req.URL.Path, "/api/"+captureProject), "/", "-"), "-")
	}
	e, err := ParseEnvelope(req.Content)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, item := range e.Items {
		switch item.Type {
		case "event":
			var v struct{ Tags map[string]string }
			if err := json.Unmarshal(item.Payload, &v); err != nil {
				t.Fatal(err)
			}
			if c := v.Tags["case"]; c != "" {
				return c
			}
			return "event"
		case "client_report":
			if len(e.Items) > 1 {
				continue
			}
		}
		if !slices.Contains(kinds, item.Type) {
			kinds = append(kinds, item.Type)
		}
	}
	if len(kinds) == 0 {
		return "header-only"
	}
	if slices.Equal(kinds, []string{"attachment"}) {
		return "attachment-alone" // its event was limited: that of an event is called as the event
	}
	return strings.Join(kinds, "+")
}

func rewrite(t *testing.T, a *Anonymiser, req *Request, name string, received time.Time, nth int) []byte {
	t.Helper()
	content := req.Content
	if req.isEnvelope() {
		e, err := ParseEnvelope(content)
		if err != nil {
			t.Fatal(err)
		}
		parts := [][]byte{e.Header}
		for _, item := range e.Items {
			parts = append(parts, item.Header, item.Payload)
		}
		if parts, err = a.Parts(parts, name, received, nth); err != nil {
			t.Fatal(err)
		}
		e.Header = parts[0]
		for i := range e.Items {
			e.Items[i].Header, e.Items[i].Payload = parts[1+2*i], parts[2+2*i]
		}
		content = e.Bytes()
	} else if len(content) > 0 {
		content = a.Bytes(content, name, received, nth)
	}
	body, err := compress(req.Header.Get("Content-Encoding"), content)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for line := range strings.SplitSeq(strings.TrimSuffix(string(a.Bytes(req.Head, name, received, nth)), "\r\n\r\n"), "\r\n") {
		if key, _, _ := strings.Cut(line, ":"); strings.EqualFold(key, "content-length") {
			line = key + ": " + strconv.Itoa(len(body))
		}
		out.WriteString(line + "\r\n")
	}
	out.WriteString("\r\n")
	if !req.Chunked {
		out.Write(body)
		return out.Bytes()
	}
	if len(body) > 0 {
		fmt.Fprintf(&out, "%x\r\n%s\r\n", len(body), body)
	}
	out.WriteString("0\r\n\r\n")
	return out.Bytes()
}

// outline is what of a request does not change from run to run.
func outline(t *testing.T, raw []byte) string {
	t.Helper()
	req, err := ParseRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatalf("%v: %.300q", err, raw)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, query of %v\n", req.Method, req.URL.Path, slices.Sorted(maps.Keys(req.URL.Query())))
	fmt.Fprintf(&b, "fields %v, chunked %v\n", slices.Sorted(maps.Keys(req.Header)), req.Chunked)
	fmt.Fprintf(&b, "encoding %q, type %q\n", req.Header.Get("Content-Encoding"), req.Header.Get("Content-Type"))
	if req.isEnvelope() {
		e, err := ParseEnvelope(req.Content)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range e.Items {
			var keys map[string]json.RawMessage
			if err := json.Unmarshal(item.Header, &keys); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "item %s, header of %v\n", item.Type, slices.Sorted(maps.Keys(keys)))
		}
	}
	return b.String()
}
