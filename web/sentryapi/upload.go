package sentryapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1" //nolint:gosec // the protocol's name of content; no secret
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

func (h *Handler) chunkOptions(r *request) (any, error) {
	return map[string]any{
		// A path: behind a proxy the client knows the host better.
		"url":       Prefix + "organizations/" + url.PathEscape(r.PathValue("org")) + "/chunk-upload/",
		"chunkSize": chunkSize, "chunksPerRequest": chunksPerRequest, "maxFileSize": h.cfg.MaxBundleBytes, "maxRequestSize": maxRequest,
		"concurrency": concurrentPosts, "hashAlgorithm": "sha1", "compression": []string{"gzip"},
		"accept": []string{"release_files", "artifact_bundles", "artifact_bundles_v2"},
	}, nil
}

// slow gives a body of many megabytes the time that it may need; the server's own
// bound is made for questions.
func (r *request) slow(now time.Time) error {
	c := http.NewResponseController(r.w)
	return errors.Join(c.SetReadDeadline(now.Add(slowClient)), c.SetWriteDeadline(now.Add(slowClient+time.Minute)))
}

// turn waits for one of the places of those who hold a chunk in memory.
func (h *Handler) turn(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	select {
	case h.posts <- struct{}{}:
		return func() { <-h.posts }, nil
	case <-ctx.Done():
		return nil, problem{http.StatusServiceUnavailable, "too many uploads at once; try again"}
	}
}

// parts opens a multipart body of at most limit bytes.
func (r *request) parts(limit int64) (*multipart.Reader, error) {
	r.Body = http.MaxBytesReader(r.w, r.Body, limit)
	m, err := r.MultipartReader()
	if err != nil {
		return nil, badRequest("the body is not multipart/form-data: %.200s", err)
	}
	return m, nil
}

func nextPart(m *multipart.Reader) (*multipart.Part, error) {
	p, err := m.NextPart()
	if err == nil || errors.Is(err, io.EOF) {
		return p, err
	}
	return nil, brokenBody(err)
}

// brokenBody tells faults of the client's from those of the store.
func brokenBody(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return badRequest("the body breaks off or is no multipart/form-data: %.200s", err)
}

func (h *Handler) uploadChunks(r *request) (any, error) {
	release, err := h.turn(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	if err := r.slow(h.now()); err != nil {
		return nil, err
	}
	m, err := r.parts(maxRequest + 1<<20)
	if err != nil {
		return nil, err
	}
	buf := bytes.NewBuffer(make([]byte, 0, 64<<10))
	for n := 0; ; n++ {
		p, err := nextPart(m)
		if errors.Is(err, io.EOF) {
			return map[string]any{}, nil
		}
		if err != nil {
			return nil, err
		}
		if n == chunksPerRequest {
			return nil, badRequest("more than %d chunks in a request", chunksPerRequest)
		}
		var body io.Reader = p
		switch p.FormName() {
		case "file":
		case "file_gzip":
			z, err := gzip.NewReader(p)
			if err != nil {
				return nil, badRequest("chunk %.50q is not gzip: %.100s", p.FileName(), err)
			}
			body = z
		default:
			return nil, badRequest("field %.50q: want file or file_gzip", p.FormName())
		}
		sum := p.FileName()
		if !isSHA1(sum) {
			return nil, badRequest("chunk %.50q is not named by its SHA-1", sum)
		}
		buf.Reset()
		if _, err := buf.ReadFrom(io.LimitReader(body, chunkSize+1)); err != nil {
			return nil, brokenBody(err)
		}
		if buf.Len() > chunkSize {
			return nil, problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("chunk %s has more than %d bytes", sum, chunkSize)}
		}
		got, err := h.putChunk(r.Context(), buf.Bytes(), sum)
		if err != nil {
			return nil, err
		}
		if got != sum {
			return nil, badRequest("chunk %s has the SHA-1 %s: it was damaged on its way", sum, got)
		}
	}
}

// putChunk stores bytes under their SHA-1, which it returns. With another want
// it stores nothing.
func (h *Handler) putChunk(ctx context.Context, b []byte, want string) (string, error) {
	s := sha1.Sum(b) //nolint:gosec // see above
	sum := hex.EncodeToString(s[:])
	if want != "" && sum != want {
		return sum, nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	now := h.now().UnixNano()
	missing, err := h.deps.Artifacts.MissingChunks(ctx, []string{sum}, now)
	if err != nil || len(missing) == 0 {
		return sum, err
	}
	if err := h.deps.Artifacts.ReserveChunk(ctx, sum, int64(len(b)), now); err != nil {
		return sum, err
	}
	if err := h.deps.Blobs.Put(ctx, exporters.ChunkKey(sum), b); err != nil {
		return sum, err
	}
	return sum, h.deps.Artifacts.ChunkStored(ctx, sum, now)
}

// putFile stores a file in chunks. limit is exclusive of nothing: a file of more
// bytes fails with errTooLong.
func (h *Handler) putFile(ctx context.Context, body io.Reader, limit int64, f *exporters.ArtifactFile) error {
	whole := sha1.New() //nolint:gosec // see above
	buf := bytes.NewBuffer(make([]byte, 0, 64<<10))
	for {
		buf.Reset()
		n, err := buf.ReadFrom(io.LimitReader(body, chunkSize))
		if err != nil {
			return readError{err}
		}
		if n == 0 {
			break
		}
		if f.Size += n; f.Size > limit {
			return errTooLong
		}
		_, _ = whole.Write(buf.Bytes()) // never fails
		sum, err := h.putChunk(ctx, buf.Bytes(), "")
		if err != nil {
			return err
		}
		f.Chunks = append(f.Chunks, sum)
		if n < chunkSize {
			break
		}
	}
	f.SHA1 = hex.EncodeToString(whole.Sum(nil))
	return nil
}

var errTooLong = errors.New("the file is too long")

// readError is an error of what is read, not of the store.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

func isSHA1(s string) bool { return len(s) == 40 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ---- putting together ----

type assembleBody struct {
	Checksum string   `json:"checksum"`
	Chunks   []string `json:"chunks"`
	Projects []string `json:"projects"`
	Version  string   `json:"version"`
	Dist     string   `json:"dist"`
}

func (b *assembleBody) check() error {
	if !isSHA1(b.Checksum) {
		return badRequest("checksum %.50q: want a SHA-1, 40 hex digits", b.Checksum)
	}
	if len(b.Chunks) == 0 || len(b.Chunks) > maxChunks {
		return badRequest("%d chunks: want 1 to %d", len(b.Chunks), maxChunks)
	}
	for _, c := range b.Chunks {
		if !isSHA1(c) {
			return badRequest("chunk %.50q: want a SHA-1, 40 hex digits", c)
		}
	}
	return nil
}

// assembleAnswer is the state of an upload.
type assembleAnswer struct {
	State   string   `json:"state"` // not_found, created, assembling, ok, error
	Missing []string `json:"missingChunks"`
	Detail  *string  `json:"detail"`
}

func (h *Handler) assembleBundle(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	var b assembleBody
	if err := r.decode(&b); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	if len(b.Projects) == 0 || len(b.Projects) > maxProjects {
		return nil, badRequest("%d projects: want 1 to %d", len(b.Projects), maxProjects)
	}
	dist, err := checkDist(b.Dist)
	if err != nil {
		return nil, err
	}
	if b.Version == "" && dist != "" {
		return nil, badRequest("a dist (%q) needs a release", dist)
	}
	if b.Version != "" {
		if _, err := checkVersion(b.Version); err != nil {
			return nil, err
		}
	}
	var holds []exporters.ArtifactHold
	for _, name := range b.Projects {
		p, err := h.findProject(ctx, name)
		if err != nil {
			return nil, err
		}
		holds = append(holds, exporters.ArtifactHold{Project: p.ID, Release: b.Version, Dist: dist})
	}
	return h.assemble(ctx, b, holds)
}

// assembleRelease is how older clients upload: the release is made before, and
// the dist stands in the bundle.
func (h *Handler) assembleRelease(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	var b assembleBody
	version, err := r.version()
	if err != nil {
		return nil, err
	}
	if err := r.decode(&b); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	release, err := h.deps.Releases.Release(ctx, version)
	if err != nil {
		return nil, err
	}
	if len(release.Projects) == 0 {
		return nil, badRequest("release %q is of no project: sentry-cli releases new -p PROJECT", version)
	}
	b.Version = ""
	var holds []exporters.ArtifactHold
	for _, id := range release.Projects {
		holds = append(holds, exporters.ArtifactHold{Project: id, Release: version, Dist: exporters.DistOfBundle})
	}
	return h.assemble(ctx, b, holds)
}

// assemble answers what became of an upload, and starts to put it together when
// all its chunks are there. It is asked again and again with the same body.
func (h *Handler) assemble(ctx context.Context, b assembleBody, holds []exporters.ArtifactHold) (any, error) {
	now := h.now()
	ok := assembleAnswer{State: "ok", Missing: []string{}}
	if b.Version != "" {
		projects := make([]uint64, 0, len(holds))
		for _, hold := range holds {
			projects = append(projects, hold.Project)
		}
		if _, err := h.deps.Releases.PutRelease(ctx, b.Version, exporters.ReleaseChange{Projects: projects}, now.UnixNano()); err != nil {
			return nil, err
		}
	}
	done := h.assembler.finished()
	err := h.deps.Artifacts.HoldBundle(ctx, b.Checksum, holds, now.UnixNano())
	if err == nil {
		return ok, nil
	}
	if !errors.Is(err, exporters.ErrNotFound) {
		return nil, err
	}
	missing, err := h.deps.Artifacts.MissingChunks(ctx, b.Chunks, now.UnixNano())
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return assembleAnswer{State: "not_found", Missing: missing}, nil
	}
	a := exporters.Assembly{Checksum: b.Checksum, Chunks: b.Chunks, Holds: holds, Created: now.UnixNano()}
	if err := h.deps.Artifacts.PutAssembly(ctx, a, now.Add(-faultFor).UnixNano()); err != nil {
		return nil, err
	}
	h.assembler.kick()
	// Most are done in a moment: then the client need not ask again.
	wait := time.NewTimer(assembleWait)
	defer wait.Stop()
	for {
		a, err := h.deps.Artifacts.Assembly(ctx, b.Checksum)
		if errors.Is(err, exporters.ErrNotFound) {
			if err := h.deps.Artifacts.HoldBundle(ctx, b.Checksum, holds, now.UnixNano()); err != nil {
				return nil, err
			}
			return ok, nil
		}
		if err != nil {
			return nil, err
		}
		if a.Fault != "" {
			return assembleAnswer{State: "error", Missing: []string{}, Detail: &a.Fault}, nil
		}
		select {
		case <-done:
			done = h.assembler.finished()
		case <-wait.C:
			return assembleAnswer{State: "assembling", Missing: []string{}}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ---- files by themselves, as older clients upload them ----

type fileJSON struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Dist        *string           `json:"dist"`
	Headers     map[string]string `json:"headers"`
	Size        int64             `json:"size"`
	SHA1        string            `json:"sha1"`
	DateCreated *string           `json:"dateCreated"`
}

func fileOf(f exporters.ArtifactFile, dist string) fileJSON {
	j := fileJSON{ID: f.Bundle, Name: f.URL, Dist: optional(dist), Headers: f.Headers, Size: f.Size, SHA1: f.SHA1, DateCreated: timeText(f.Created)}
	if !f.Single {
		j.ID += "-" + nameHash(f.Path) // of a bundle: it can be told, and not removed alone
	}
	if j.Headers == nil {
		j.Headers = map[string]string{}
	}
	return j
}

func nameHash(s string) string {
	sum := sha1.Sum([]byte(s)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:8])
}

// releaseProjects are the project of the path, or those of the release.
func (h *Handler) releaseProjects(ctx context.Context, r *request) (version string, projects []uint64, err error) {
	if version, err = r.version(); err != nil {
		return "", nil, err
	}
	if projects, err = h.pathProject(ctx, r); err != nil || len(projects) > 0 {
		return version, projects, err
	}
	release, err := h.deps.Releases.Release(ctx, version)
	if err == nil && len(release.Projects) == 0 {
		err = badRequest("release %q is of no project", version)
	}
	return version, release.Projects, err
}

func (h *Handler) listFiles(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	skip, err := r.skip()
	if err != nil {
		return nil, err
	}
	version, projects, err := h.releaseProjects(ctx, r)
	if err != nil {
		return nil, err
	}
	files, err := h.deps.Artifacts.FilesOfRelease(ctx, projects[0], version, skip, perPage+1)
	if err != nil {
		return nil, err
	}
	out := make([]fileJSON, 0, len(files))
	for _, f := range files {
		out = append(out, fileOf(f, ""))
	}
	return page(r, skip, out), nil
}

func (h *Handler) uploadFile(r *request) (any, error) {
	release, err := h.turn(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	if err := r.slow(h.now()); err != nil {
		return nil, err
	}
	version, projects, err := h.releaseProjects(r.Context(), r)
	if err != nil {
		return nil, err
	}
	m, err := r.parts(h.cfg.MaxFileBytes + 1<<20)
	if err != nil {
		return nil, err
	}
	f := exporters.ArtifactFile{Path: "file", Headers: map[string]string{}}
	name, dist, has := "", "", false
	for n := 0; ; n++ {
		p, err := nextPart(m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if n == 32 {
			return nil, badRequest("more than 32 fields")
		}
		if p.FormName() == "file" && !has {
			has = true
			if name == "" {
				name = p.FileName()
			}
			switch err := h.putFile(r.Context(), p, h.cfg.MaxFileBytes, &f); {
			case errors.Is(err, errTooLong):
				return nil, problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("%.200s has more than %d bytes", name, h.cfg.MaxFileBytes)}
			case errors.As(err, new(readError)):
				return nil, brokenBody(err)
			case err != nil:
				return nil, err
			}
			continue
		}
		value, err := io.ReadAll(io.LimitReader(p, maxURL+1))
		if err != nil {
			return nil, brokenBody(err)
		}
		if len(value) > maxURL {
			return nil, badRequest("field %.50q has more than %d bytes", p.FormName(), maxURL)
		}
		switch p.FormName() {
		case "name":
			name = string(value)
		case "dist":
			if dist, err = checkDist(string(value)); err != nil {
				return nil, err
			}
		case "header":
			key, v, _ := strings.Cut(string(value), ":")
			keepHeader(&f, key, strings.TrimSpace(v))
		}
	}
	if !has || name == "" {
		return nil, badRequest("want the fields file and name")
	}
	f.URL, f.Kind = name, kindOf(name)
	return h.keepFile(r, version, dist, projects, f)
}

func (h *Handler) keepFile(r *request, version, dist string, projects []uint64, f exporters.ArtifactFile) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	now := h.now().UnixNano()
	sum := sha1.Sum(fmt.Appendf(nil, "%d\x00%q\x00%q\x00%q\x00%s\x00%q", projects, version, dist, f.URL, f.SHA1, f.Headers)) //nolint:gosec // see above
	b := exporters.ArtifactBundle{Key: hex.EncodeToString(sum[:]), Single: true, Created: now, Files: []exporters.ArtifactFile{f}}
	holds := make([]exporters.ArtifactHold, 0, len(projects))
	for _, p := range projects {
		holds = append(holds, exporters.ArtifactHold{Project: p, Release: version, Dist: dist})
	}
	if err := h.deps.Artifacts.PutBundle(ctx, b, holds); err != nil {
		return nil, err
	}
	// It takes the place of what was uploaded under its name.
	for _, p := range projects {
		old, err := h.deps.Artifacts.FilesByURL(ctx, p, version, dist, []string{f.URL})
		if err != nil {
			return nil, err
		}
		for _, o := range old {
			if !o.Single || o.Bundle == b.Key {
				continue
			}
			if err := h.deps.Artifacts.DropSingle(ctx, p, version, o.Bundle); err != nil && !errors.Is(err, exporters.ErrNotFound) {
				return nil, err
			}
		}
	}
	f.Bundle, f.Single, f.Created = b.Key, true, now
	return created{fileOf(f, dist)}, nil
}

// kindOf tells by its name what a file is.
func kindOf(name string) string {
	name, _, _ = strings.Cut(name, "?")
	switch strings.ToLower(path.Ext(name)) {
	case ".map":
		return exporters.ArtifactSourceMap
	case ".js", ".cjs", ".mjs", ".jsbundle", ".bundle":
		return exporters.ArtifactMinified
	}
	return ""
}

func (h *Handler) deleteFile(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	version, projects, err := h.releaseProjects(ctx, r)
	if err != nil {
		return nil, err
	}
	id := r.PathValue("file")
	if strings.Contains(id, "-") {
		return nil, badRequest("the file is part of a bundle; delete all files of the release instead")
	}
	found := false
	for _, p := range projects {
		err := h.deps.Artifacts.DropSingle(ctx, p, version, id)
		if err != nil && !errors.Is(err, exporters.ErrNotFound) {
			return nil, err
		}
		found = found || err == nil
	}
	if !found {
		return nil, problem{http.StatusNotFound, fmt.Sprintf("release %q has no file with the id %.50q", version, id)}
	}
	return nil, nil
}

// deleteSourceMaps takes all files from a release: ?name= is its version.
func (h *Handler) deleteSourceMaps(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	projects, err := h.pathProject(ctx, r)
	if err != nil {
		return nil, err
	}
	version, err := checkVersion(r.URL.Query().Get("name"))
	if err != nil {
		return nil, err
	}
	return nil, h.deps.Artifacts.DropRelease(ctx, projects[0], version)
}

// keptHeaders are those that finding a source map needs.
var keptHeaders = []string{"sourcemap", "x-sourcemap"}

// keepHeader takes a header of a file; its debug id may stand in one.
func keepHeader(f *exporters.ArtifactFile, key, value string) {
	key = strings.ToLower(strings.TrimSpace(key))
	switch {
	case key == "debug-id":
		f.DebugID = normalDebugID(value)
	case slices.Contains(keptHeaders, key) && value != "" && len(value) <= maxURL:
		if f.Headers == nil {
			f.Headers = make(map[string]string)
		}
		f.Headers[key] = value
	}
}

// normalDebugID is 32 hex digits in lower case, or "" of what is none. What some
// append to it is cut.
func normalDebugID(id string) string {
	id = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(id), "-", ""))
	if len(id) < 32 || !isHex(id[:32]) {
		return ""
	}
	return id[:32]
}
