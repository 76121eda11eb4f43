package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1" //nolint:gosec // the protocol's name of content
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/blobs"
	"github.com/hoptrace/hoptrace/exporters/metadata"
	"github.com/hoptrace/hoptrace/web/access"
	"github.com/hoptrace/hoptrace/web/sentryapi"
)

// cliServer is the API that sentry-cli talks to, over SQLite and files.
type cliServer struct {
	*httptest.Server
	t        *testing.T
	dir      string
	metadata *metadata.Store
	blobs    *switchable
	api      *sentryapi.Handler
	project  uint64
	token    string
}

// switchable is a blob store that can be broken.
type switchable struct {
	exporters.Blobs
	broken atomic.Bool
}

func (s *switchable) Get(ctx context.Context, key string) ([]byte, error) {
	if s.broken.Load() {
		return nil, fmt.Errorf("disk is away: %w", exporters.ErrUnavailable)
	}
	return s.Blobs.Get(ctx, key)
}

func newCLIServer(t *testing.T, cfg sentryapi.Config) *cliServer {
	t.Helper()
	s := &cliServer{t: t, dir: t.TempDir()}
	var err error
	if s.metadata, err = metadata.Open(t.Context(), "sqlite:"+filepath.Join(s.dir, "metadata.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.metadata.Close() })
	p, err := s.metadata.EnsureProject(t.Context(), "shop", "Shop")
	if err != nil {
		t.Fatal(err)
	}
	s.project = p.ID
	cfgBlobs := blobs.DefaultConfig()
	cfgBlobs.Dir = filepath.Join(s.dir, "blobs")
	files, err := blobs.Open(cfgBlobs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = files.Close() })
	s.blobs = &switchable{Blobs: files}
	s.token = s.newToken("project:releases")
	s.serve(cfg)
	return s
}

func (s *cliServer) newToken(scopes string) string {
	s.t.Helper()
	code, out, stderr := command(nil, "tokens", "create", "ci", "--scopes", scopes, "--data", s.dir)
	if code != 0 {
		s.t.Fatalf("hoptrace tokens create ended with %d:\n%s", code, stderr)
	}
	return strings.TrimSpace(out)
}

// serve starts a process anew, so to say.
func (s *cliServer) serve(cfg sentryapi.Config) {
	s.t.Helper()
	var err error
	s.api, err = sentryapi.New(cfg, sentryapi.Deps{Projects: s.metadata, Releases: s.metadata, Artifacts: s.metadata, Tokens: s.metadata, Blobs: s.blobs},
		prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.api.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.Server = httptest.NewServer(s.api)
	s.t.Cleanup(s.stop)
}

func (s *cliServer) stop() {
	s.Close()
	if err := s.api.Shutdown(context.Background()); err != nil {
		s.t.Error(err)
	}
}

// ask sends a body (JSON, or as it is with a content type) and returns the answer.
func (s *cliServer) ask(method, path string, body any, contentType ...string) (int, map[string]any) {
	s.t.Helper()
	var r io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case io.Reader:
		r, kind = b, contentType[0]
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+sentryapi.Prefix+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]any{"link": resp.Header.Get("Link")}
	if bytes.HasPrefix(raw, []byte("[")) {
		var list []any
		err = json.Unmarshal(raw, &list)
		out["list"] = list
	} else if len(raw) > 0 {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		s.t.Fatalf("%s %s answered %d with %q: %v", method, path, resp.StatusCode, raw, err)
	}
	return resp.StatusCode, out
}

func (s *cliServer) want(code int, text, method, path string, body any, contentType ...string) map[string]any {
	s.t.Helper()
	got, out := s.ask(method, path, body, contentType...)
	if got != code || !strings.Contains(fmt.Sprint(out), text) {
		s.t.Errorf("%s %s answered %d, %v; want %d with %q", method, path, got, out, code, text)
	}
	return out
}

func sum(b []byte) string {
	s := sha1.Sum(b) //nolint:gosec // see above
	return hex.EncodeToString(s[:])
}

// form makes a multipart body of fields: name, file name, value.
func form(t *testing.T, fields ...[3]string) (io.Reader, string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for _, f := range fields {
		var w io.Writer
		var err error
		if f[1] == "" {
			w, err = m.CreateFormField(f[0])
		} else {
			w, err = m.CreateFormFile(f[0], f[1])
		}
		if err == nil {
			_, err = io.WriteString(w, f[2])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return &b, m.FormDataContentType()
}

func gzipped(b []byte) string {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.String()
}

func pack(t *testing.T, manifest string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	names := []string{"manifest.json"}
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		data := files[name]
		if name == "manifest.json" {
			data = manifest
		}
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (s *cliServer) upload(chunks ...[]byte) {
	s.t.Helper()
	var fields [][3]string
	for _, c := range chunks {
		fields = append(fields, [3]string{"file_gzip", sum(c), gzipped(c)})
	}
	body, kind := form(s.t, fields...)
	s.want(200, "", "POST", "organizations/o/chunk-upload/", body, kind)
}

// assembled asks until an upload is done with, and gives its last state.
func (s *cliServer) assembled(path string, body map[string]any) map[string]any {
	s.t.Helper()
	for range 20 {
		code, out := s.ask("POST", path, body)
		if code != 200 {
			s.t.Fatalf("POST %s answered %d, %v", path, code, out)
		}
		if out["state"] != "assembling" && out["state"] != "created" {
			return out
		}
	}
	s.t.Fatalf("POST %s: not put together after 20 answers", path)
	return nil
}

func (s *cliServer) files(debugID string) []exporters.ArtifactFile {
	s.t.Helper()
	fs, err := s.metadata.FilesByDebugID(s.t.Context(), s.project, debugID)
	if err != nil {
		s.t.Fatal(err)
	}
	return fs
}

const bundles = "organizations/o/artifactbundle/assemble/"

func TestRequestsOfSentryCLINeedAToken(t *testing.T) {
	s := newCLIServer(t, sentryapi.Config{})
	s.want(200, "project:releases", "GET", "", nil)
	good := s.token
	if !strings.HasPrefix(good, access.TokenPrefix) {
		t.Errorf("the token is %q, want one that begins with %s", good, access.TokenPrefix)
	}
	for _, token := range []string{"", "x", good + "x", strings.ToUpper(good)} {
		s.token = token
		s.want(401, "token", "GET", "", nil)
		s.want(401, "token", "GET", "nowhere/", nil)
		s.want(401, "token", "POST", "organizations/o/chunk-upload/", strings.NewReader(strings.Repeat("x", 100)), "text/plain")
	}
	s.token = s.newToken("project:read")
	s.want(200, "shop", "GET", "organizations/o/projects/", nil)
	s.want(403, "no scope project:releases", "POST", "organizations/o/releases/", map[string]any{"version": "v1", "projects": []string{"shop"}})
	s.token = good
	code, out, stderr := command(nil, "tokens", "list", "--data="+s.dir)
	if code != 0 || strings.Contains(out, good) || !strings.Contains(out, "project:read") || strings.Count(out, "never") != 2 {
		t.Errorf("hoptrace tokens list ended with %d; want both with the time of their use, never to expire, and no secret:\n%s%s", code, out, stderr)
	}
	if code, _, stderr := command(nil, "tokens", "revoke", "1", "--data="+s.dir); code != 0 {
		t.Fatalf("hoptrace tokens revoke ended with %d:\n%s", code, stderr)
	}
	s.want(401, "revoked", "GET", "", nil)
}

func TestTokensSaysWhatIsWrong(t *testing.T) {
	f := func(code int, want string, args ...string) {
		t.Helper()
		got, _, stderr := command(nil, append([]string{"tokens"}, args...)...)
		if got != code || !strings.Contains(stderr, want) {
			t.Errorf("hoptrace tokens %s ended with %d; want %d and %q:\n%s", args, got, code, want, stderr)
		}
	}
	f(2, "say which")
	f(2, `no command "make"`, "make")
	f(2, "name the token", "create")
	f(2, `no scope "all"`, "create", "ci", "--scopes", "all")
	f(2, "--scopes needs a value", "create", "ci", "--scopes")
	f(2, `"x" is no id`, "revoke", "x")
	f(2, "configuration has faults", "list", "--nonsense=1")
	f(1, "name the data directory", "list", "--data="+t.TempDir())
}

func TestBundleIsPutTogetherOnceAndFound(t *testing.T) {
	s := newCLIServer(t, sentryapi.Config{})
	const id = "5fd4f98f-ba7e-55e2-b0d3-787f216a6535"
	script := strings.Repeat("0123456789abcdef", 600_000) // more than a chunk
	zipped := pack(t, `{"files":{"a.js":{"type":"minified_source","url":"~/a.js","headers":{"debug-id":"`+id+`"}},"a.js.map":{"type":"source_map","url":"~/a.js.map","headers":{"debug-id":"`+id+`"}}},"note":"n"}`,
		map[string]string{"a.js": script, "a.js.map": "{}"})
	first, second := zipped[:len(zipped)/2], zipped[len(zipped)/2:]
	body := map[string]any{"checksum": sum(zipped), "chunks": []string{sum(first), sum(second)}, "projects": []string{"shop"}, "version": "shop@1.0", "dist": "d"}
	if out := s.assembled(bundles, body); out["state"] != "not_found" || fmt.Sprint(out["missingChunks"]) != fmt.Sprint([]string{sum(first), sum(second)}) {
		t.Fatalf("before the upload the answer is %v, want not_found with both chunks", out)
	}
	s.upload(first)
	if out := s.assembled(bundles, body); out["state"] != "not_found" || fmt.Sprint(out["missingChunks"]) != fmt.Sprint([]string{sum(second)}) {
		t.Fatalf("after half of the upload the answer is %v, want not_found with the other chunk", out)
	}
	s.upload(second, first)
	for range 2 {
		if out := s.assembled(bundles, body); out["state"] != "ok" {
			t.Fatalf("after the upload the answer is %v, want ok", out)
		}
	}
	fs := s.files("5fd4f98fba7e55e2b0d3787f216a6535")
	if len(fs) != 2 || len(fs[0].Chunks) != 2 {
		t.Fatalf("got %+v, want the script in two chunks and its map", fs)
	}
	got, err := exporters.ReadArtifact(t.Context(), s.blobs, fs[0], 1<<30)
	if err != nil || string(got) != script || fs[0].SHA1 != sum([]byte(script)) {
		t.Errorf("the script has %d bytes, %v; want the %d that were packed", len(got), err, len(script))
	}
	byURL, err := s.metadata.FilesByURL(t.Context(), s.project, "shop@1.0", "d", []string{"~/a.js.map"})
	if err != nil || len(byURL) != 1 {
		t.Errorf("by release and URL: %v, %v; want the map", byURL, err)
	}
	body["version"] = "shop@1.1" // the same bytes in another release
	if out := s.assembled(bundles, body); out["state"] != "ok" {
		t.Errorf("the same bundle for another release: %v, want ok", out)
	}
	s.want(200, "shop@1.1", "GET", "projects/o/shop/releases/", nil)
}

func TestUploadGoesOnWhereAKilledProcessLeftIt(t *testing.T) {
	s := newCLIServer(t, sentryapi.Config{})
	zipped := pack(t, `{"files":{"a.js":{"url":"~/a.js"}}}`, map[string]string{"a.js": "x()"})
	s.upload(zipped)
	s.blobs.broken.Store(true)
	body := map[string]any{"checksum": sum(zipped), "chunks": []string{sum(zipped)}, "projects": []string{"1"}, "version": "v1"}
	s.want(200, "assembling", "POST", bundles, body)
	s.stop()
	s.blobs.broken.Store(false)
	s.serve(sentryapi.Config{})
	deadline := time.Now().Add(30 * time.Second)
	for {
		fs, err := s.metadata.FilesOfRelease(t.Context(), s.project, "v1", 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(fs) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the next process did not put the upload together within 30 s")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestBadUploadsAreRefusedWithAReason(t *testing.T) {
	s := newCLIServer(t, sentryapi.Config{MaxBundleBytes: 1 << 20, MaxFileBytes: 1 << 20})
	post := func(code int, text string, fields ...[3]string) {
		t.Helper()
		body, kind := form(t, fields...)
		s.want(code, text, "POST", "organizations/o/chunk-upload/", body, kind)
	}
	data := []byte("hello")
	post(400, "damaged on its way", [3]string{"file", sum(data), "hellO"})
	post(400, "damaged on its way", [3]string{"file_gzip", sum(data), gzipped([]byte("hellO"))})
	post(400, "is not gzip", [3]string{"file_gzip", sum(data), "hello"})
	post(400, "not named by its SHA-1", [3]string{"file", "a.js", "hello"})
	post(400, "want file or file_gzip", [3]string{"other", sum(data), "hello"})
	post(413, "more than 8388608 bytes", [3]string{"file", sum(data), strings.Repeat("x", 8<<20+1)})
	post(413, "more than 8388608 bytes", [3]string{"file_gzip", sum(data), gzipped(make([]byte, 64<<20))}) // 64 kB that become 64 MB
	post(413, "the request has more than", [3]string{"file", sum(make([]byte, 8<<20)), string(make([]byte, 8<<20))}, [3]string{"file", sum(make([]byte, 8<<20)), string(make([]byte, 8<<20))},
		[3]string{"file", sum(make([]byte, 8<<20)), string(make([]byte, 8<<20))}, [3]string{"file", sum(make([]byte, 8<<20)), string(make([]byte, 8<<20))}, [3]string{"file", sum(data), strings.Repeat("x", 2<<20)})
	many := make([][3]string, 65)
	for i := range many {
		many[i] = [3]string{"file", sum(data), "hello"}
	}
	post(400, "more than 64 chunks", many...)
	s.want(400, "not multipart", "POST", "organizations/o/chunk-upload/", strings.NewReader("x"), "text/plain")
	s.want(400, "breaks off", "POST", "organizations/o/chunk-upload/", strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\""+sum(data)+"\"\r\n\r\nhel"), "multipart/form-data; boundary=b")

	ask := func(code int, text string, body map[string]any) {
		t.Helper()
		s.want(code, text, "POST", bundles, body)
	}
	ok := func() map[string]any {
		return map[string]any{"checksum": sum(data), "chunks": []string{sum(data)}, "projects": []string{"shop"}}
	}
	with := func(key string, v any) map[string]any {
		b := ok()
		b[key] = v
		return b
	}
	ask(400, "want a SHA-1", with("checksum", "x"))
	ask(400, "want a SHA-1", with("chunks", []string{"../../etc"}))
	ask(400, "0 chunks", with("chunks", []string{}))
	ask(404, `no project "other"`, with("projects", []string{"other"}))
	ask(400, "0 projects", with("projects", []string{}))
	ask(400, "needs a release", with("dist", "d"))
	ask(400, "release", with("version", " v1"))
	ask(400, "dist", map[string]any{"checksum": sum(data), "chunks": []string{sum(data)}, "projects": []string{"shop"}, "version": "v", "dist": "*"})

	fails := func(text string, zipped []byte, checksum string) {
		t.Helper()
		s.upload(zipped)
		out := s.assembled(bundles, map[string]any{"checksum": checksum, "chunks": []string{sum(zipped)}, "projects": []string{"shop"}})
		if out["state"] != "error" || !strings.Contains(fmt.Sprint(out["detail"]), text) {
			t.Errorf("got %v, want the state error with %q", out, text)
		}
	}
	fails("no zip archive", data, sum(data))
	fails("not "+sum([]byte("other")), []byte("one"), sum([]byte("other")))
	big := bytes.Repeat([]byte("0123456789"), 200_000)
	fails("more than 1048576 bytes", big, sum(big))
	long := pack(t, `{"files":{"a.js":{}}}`, map[string]string{"a.js": strings.Repeat("x", 1<<20+1)})
	fails("a.js has 1048577 bytes, at most 1048576", long, sum(long))
	lying := pack(t, `{"files":{"a.js":{}}}`, map[string]string{"a.js": strings.Repeat("x", 1<<20+1)})
	// Files are packed by name, so the first entry of the directory is a.js's; its
	// size stands 24 bytes in.
	at := bytes.Index(lying, []byte("PK\x01\x02"))
	copy(lying[at+24:], []byte{1, 0, 0, 0})
	fails("a.js", lying, sum(lying))
	if got := s.files("5fd4f98fba7e55e2b0d3787f216a6535"); len(got) != 0 {
		t.Errorf("files of faulty uploads are found: %+v", got)
	}
}

func TestLostChunkIsAskedForAgain(t *testing.T) {
	s := newCLIServer(t, sentryapi.Config{})
	zipped := pack(t, `{"files":{"a.js":{"url":"~/a.js"}}}`, map[string]string{"a.js": "x()"})
	s.upload(zipped)
	if err := s.blobs.Delete(t.Context(), exporters.ChunkKey(sum(zipped))); err != nil {
		t.Fatal(err)
	}
	body := map[string]any{"checksum": sum(zipped), "chunks": []string{sum(zipped)}, "projects": []string{"shop"}}
	if out := s.assembled(bundles, body); out["state"] != "error" || !strings.Contains(fmt.Sprint(out["detail"]), "upload it again") {
		t.Fatalf("got %v, want the state error that says to upload again", out)
	}
	if out := s.assembled(bundles, body); out["state"] != "not_found" {
		t.Fatalf("got %v, want not_found with the lost chunk", out)
	}
	s.upload(zipped)
	if out := s.assembled(bundles, body); out["state"] != "ok" {
		t.Errorf("got %v after it was uploaded again, want ok", out)
	}
}

func TestReleasesAndDeploysAreKept(t *testing.T) {
	s := newCLIServer(t, sentryapi.Config{})
	s.want(400, "is of no project", "POST", "organizations/o/releases/", map[string]any{"version": "shop@1.0", "projects": []string{}})
	s.want(201, "shop@1.0", "POST", "organizations/o/releases/", map[string]any{"version": "shop@1.0", "projects": []string{"shop"}, "dateStarted": "2026-11-30T11:45:15.626661780Z"})
	out := s.want(200, "archived", "POST", "organizations/o/releases/", map[string]any{"version": "shop@1.0", "projects": []string{}, "status": "archived"})
	if out["shortVersion"] != "1.0" || out["dateReleased"] != nil || out["dateStarted"] != "2026-11-30T11:45:15.626661Z" {
		t.Errorf("got %v, want the short version 1.0, started and not released", out)
	}
	s.want(200, "2026-11-30T12:00:00.000000Z", "PUT", "organizations/o/releases/shop@1.0/", map[string]any{"projects": []string{"shop"}, "dateReleased": "2026-11-30T12:00:00Z"})
	s.want(200, "commitCount:2", "PUT", "organizations/o/releases/shop@1.0", map[string]any{"commits": []any{map[string]any{"id": "a"}, map[string]any{"id": "b"}}})
	s.want(404, "does not exist", "PUT", "organizations/o/releases/none/", map[string]any{"commits": []any{}})
	s.want(201, "a/b c", "POST", "projects/o/shop/releases/", map[string]any{"version": "a/b c", "projects": []string{"shop"}})
	s.want(200, "a/b c", "GET", "organizations/o/releases/a%2Fb%20c/", nil)
	s.want(201, "prod", "POST", "organizations/o/releases/shop@1.0/deploys/", map[string]any{"environment": "prod", "name": "n", "dateStarted": "2026-11-30T11:43:35.9Z"})
	s.want(400, "want an environment", "POST", "organizations/o/releases/shop@1.0/deploys/", map[string]any{})
	s.want(404, "does not exist", "POST", "organizations/o/releases/none/deploys/", map[string]any{"environment": "prod"})
	s.want(200, "prod", "GET", "organizations/o/releases/shop@1.0/deploys/", nil)
	if out := s.want(200, "shop@1.0", "GET", "projects/o/shop/releases/", nil); len(out["list"].([]any)) != 2 {
		t.Errorf("got %v, want two releases", out)
	}
	s.want(204, "", "DELETE", "organizations/o/releases/shop@1.0/", nil)
	s.want(404, "does not exist", "GET", "organizations/o/releases/shop@1.0/", nil)
	s.want(501, "source maps only", "POST", "projects/o/shop/files/difs/assemble/", map[string]any{sum([]byte("x")): map[string]any{"name": "elf"}})
	s.want(404, "hoptrace does not serve GET", "GET", "organizations/o/events/", nil)
	s.want(400, "not the JSON", "POST", "organizations/o/releases/", strings.NewReader("{"), "application/json")
	for i := range 120 {
		if _, err := s.metadata.PutRelease(t.Context(), fmt.Sprint("v", i), exporters.ReleaseChange{Projects: []uint64{s.project}}, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	out = s.want(200, `rel="next"; results="true"; cursor="0:100:0"`, "GET", "projects/o/shop/releases/?cursor=", nil)
	if n := len(out["list"].([]any)); n != 100 {
		t.Errorf("the first page has %d releases, want 100", n)
	}
	out = s.want(200, `rel="next"; results="false"`, "GET", "projects/o/shop/releases/?cursor=0:100:0", nil)
	if n := len(out["list"].([]any)); n != 21 {
		t.Errorf("the second page has %d releases, want 21", n)
	}
	s.want(400, "cursor", "GET", "projects/o/shop/releases/?cursor=x", nil)
}

func TestOlderClientsUploadFileByFile(t *testing.T) {
	s := newCLIServer(t, sentryapi.Config{MaxFileBytes: 1 << 20})
	s.want(201, "", "POST", "projects/o/shop/releases/", map[string]any{"version": "v1", "projects": []string{"shop"}})
	post := func(code int, text string, fields ...[3]string) map[string]any {
		t.Helper()
		body, kind := form(t, fields...)
		return s.want(code, text, "POST", "projects/o/shop/releases/v1/files/", body, kind)
	}
	first := post(201, "~/a.js", [3]string{"file", "a.js", "x()"}, [3]string{"name", "", "~/a.js"}, [3]string{"dist", "", "d"}, [3]string{"header", "", "Sourcemap: a.js.map"}, [3]string{"header", "", "debug-id:5fd4f98f-ba7e-55e2-b0d3-787f216a6535"})
	post(413, "more than", [3]string{"file", "a.js", strings.Repeat("x", 1<<20+1)})
	post(400, "want the fields", [3]string{"name", "", "x"})
	second := post(201, "~/a.js", [3]string{"file", "a.js", "y()"}, [3]string{"name", "", "~/a.js"}, [3]string{"dist", "", "d"})
	fs, err := s.metadata.FilesByURL(t.Context(), s.project, "v1", "d", []string{"~/a.js"})
	if err != nil || len(fs) != 1 || fs[0].Bundle != second["id"] || first["id"] == second["id"] {
		t.Fatalf("got %+v, %v; want only the file that was uploaded last", fs, err)
	}
	if out := s.want(200, "~/a.js", "GET", "projects/o/shop/releases/v1/files/?cursor=", nil); len(out["list"].([]any)) != 1 {
		t.Errorf("got %v, want one file", out)
	}
	s.want(404, "no file with the id", "DELETE", "projects/o/shop/releases/v1/files/"+fmt.Sprint(first["id"])+"/", nil)
	s.want(204, "", "DELETE", "projects/o/shop/releases/v1/files/"+fmt.Sprint(second["id"])+"/", nil)
	s.want(404, "no file with the id", "DELETE", "projects/o/shop/releases/v1/files/"+fmt.Sprint(second["id"])+"/", nil)

	zipped := pack(t, `{"files":{"a.js":{"url":"~/b.js"}},"dist":"d2"}`, map[string]string{"a.js": "z()"})
	s.upload(zipped)
	if out := s.assembled("organizations/o/releases/v1/assemble/", map[string]any{"checksum": sum(zipped), "chunks": []string{sum(zipped)}}); out["state"] != "ok" {
		t.Fatalf("got %v, want ok", out)
	}
	if fs, err := s.metadata.FilesByURL(t.Context(), s.project, "v1", "d2", []string{"~/b.js"}); err != nil || len(fs) != 1 {
		t.Errorf("got %+v, %v; want the bundle's file under the dist of its manifest", fs, err)
	}
	s.want(404, "does not exist", "POST", "organizations/o/releases/none/assemble/", map[string]any{"checksum": sum(zipped), "chunks": []string{sum(zipped)}})
	s.want(204, "", "DELETE", "projects/o/shop/files/source-maps/?name=v1", nil)
	if fs, err := s.metadata.FilesOfRelease(t.Context(), s.project, "v1", 0, 10); err != nil || len(fs) != 0 {
		t.Errorf("got %+v, %v; want no file after all were deleted", fs, err)
	}
}
