package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/web/api"
)

// assets serves the built application from memory. Every path that is no file
// is the application's own route and gets index.html.
type assets struct {
	files map[string]asset
	index asset
	built bool
}

type asset struct {
	body, zipped []byte // zipped is nil where it saves nothing
	etag         string
	contentType  string
	forEver      bool // its name carries its hash
}

func newAssets(files fs.FS, built bool) (*assets, error) {
	a := &assets{files: map[string]asset{}, built: built}
	if !built {
		a.index = newAsset("index.html", []byte(notBuiltPage))
		return a, nil
	}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		a.files["/"+name] = newAsset(name, body)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the built UI: %w", err)
	}
	a.index = a.files["/index.html"]
	return a, nil
}

func newAsset(name string, body []byte) asset {
	sum := sha256.Sum256(body)
	out := asset{
		body: body, etag: hex.EncodeToString(sum[:8]), contentType: mime.TypeByExtension(path.Ext(name)),
		forEver: strings.HasPrefix(name, "assets/"),
	}
	switch path.Ext(name) { // not every system's table knows them
	case ".js":
		out.contentType = "text/javascript; charset=utf-8"
	case ".css":
		out.contentType = "text/css; charset=utf-8"
	case ".html":
		out.contentType = "text/html; charset=utf-8"
	case ".svg":
		out.contentType = "image/svg+xml"
	case "":
		out.contentType = "application/octet-stream"
	}
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression) // the level is valid
	_, _ = w.Write(body)                                  // memory does not fail
	_ = w.Close()
	if z.Len() < len(body)*9/10 {
		out.zipped = z.Bytes()
	}
	return out
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET is served", http.StatusMethodNotAllowed)
		return
	}
	f, ok := a.files[r.URL.Path]
	if !ok {
		if a.built && isFile(r.URL.Path) {
			http.NotFound(w, r) // of another build
			return
		}
		f = a.index
	}
	code := http.StatusOK
	if !a.built {
		code = http.StatusServiceUnavailable
	}
	f.serve(w, r, code)
}

// isFile tells a file from a page: names within a page's address, as those of topics,
// have dots, too.
func isFile(name string) bool {
	return strings.HasPrefix(name, "/assets/") || path.Dir(name) == "/" && path.Ext(name) != ""
}

func (f asset) serve(w http.ResponseWriter, r *http.Request, code int) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Add("Vary", "Accept-Encoding")
	if f.forEver {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	body, etag := f.body, `"`+f.etag+`"`
	if f.zipped != nil && api.AcceptsGzip(r) {
		body, etag = f.zipped, `"`+f.etag+`-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", etag)
	if code == http.StatusOK && matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the reader left
	}
}

func matches(header, etag string) bool {
	for _, one := range strings.Split(header, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == etag || one == "*" {
			return true
		}
	}
	return false
}

// notBuiltPage has no style and no script: the policy allows neither inline.
const notBuiltPage = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>hoptrace: the UI is not built</title></head>
<body>
<h1>The UI is not built into this binary</h1>
<p>The server and its API work: <a href="/api/v1/status">/api/v1/status</a>, <a href="/api/v1/openapi.yaml">/api/v1/openapi.yaml</a>.</p>
<p>To get the UI (it needs Node 20.19 or later):</p>
<pre>make ui
make build</pre>
<p><code>make run</code> does both and starts it.</p>
</body>
</html>
`
