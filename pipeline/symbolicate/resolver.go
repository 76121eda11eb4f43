package symbolicate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/hoptrace/hoptrace/exporters"
)

// Config bounds the resolver.
type Config struct {
	// MaxFileBytes bounds one script or source map. Zero or less means 64 MiB.
	MaxFileBytes int64
	// CacheBytes bounds what is kept of decoded files. Zero or less means 192 MiB.
	CacheBytes int64
	// LoadTimeout bounds reading and decoding one file. Zero or less means 20 s.
	LoadTimeout time.Duration
	// FreshFor is how long an answer stands before the store is asked again
	// whether there is a newer file. Zero or less means a minute.
	FreshFor time.Duration
	// MissingFor is the same for files that are not there. Zero or less means 20 s.
	MissingFor time.Duration
}

func (c Config) withDefaults() Config {
	set := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&c.MaxFileBytes, 64<<20)
	set(&c.CacheBytes, 192<<20)
	set((*int64)(&c.LoadTimeout), int64(20*time.Second))
	set((*int64)(&c.FreshFor), int64(time.Minute))
	set((*int64)(&c.MissingFor), int64(20*time.Second))
	return c
}

const (
	contextLines = 5   // before and after
	maxLine      = 512 // of a line of context, in bytes
	// maxAsked bounds the files of one request that are looked for in the store;
	// frames of others are answered from the cache only.
	maxAsked = 64
	// maxDecoding bounds the bytes of files that are decoded at one time.
	maxDecoding = 64 << 20
	usedEvery   = 12 * time.Hour
)

// Resolver finds frames in what was uploaded. It is safe for use by many goroutines.
type Resolver struct {
	cfg       Config
	artifacts exporters.Artifacts
	blobs     exporters.Blobs
	log       *slog.Logger
	now       func() time.Time

	cache    cache
	loading  singleflight.Group
	decoding *semaphore.Weighted

	found, notFound, loads, faults prometheus.Counter
}

// New makes a resolver over what was uploaded and registers its metrics.
func New(cfg Config, artifacts exporters.Artifacts, blobs exporters.Blobs, reg prometheus.Registerer, log *slog.Logger) (*Resolver, error) {
	cfg = cfg.withDefaults()
	r := &Resolver{
		cfg: cfg, artifacts: artifacts, blobs: blobs, log: log, now: time.Now,
		cache: cache{limit: cfg.CacheBytes}, decoding: semaphore.NewWeighted(maxDecoding),
	}
	frames := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hoptrace_symbolicate_frames_total", Help: "Frames of scripts, by whether their source was found.",
	}, []string{"found"})
	files := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hoptrace_symbolicate_loads_total", Help: "Scripts with their source maps that were read and decoded, by whether that went well.",
	}, []string{"result"})
	cached := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hoptrace_symbolicate_cache_bytes", Help: "What is kept of decoded files, about.",
	}, func() float64 { return float64(r.cache.bytes()) })
	for _, c := range []prometheus.Collector{frames, files, cached} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the metrics of symbolicate: %w", err)
		}
	}
	r.found, r.notFound = frames.WithLabelValues("yes"), frames.WithLabelValues("no")
	r.loads, r.faults = files.WithLabelValues("ok"), files.WithLabelValues("fault")
	return r, nil
}

// Resolve gives one result a frame, in order. It fails only when the stores
// cannot be asked; the same request may then be tried again. The caller must not
// change what results point to.
func (r *Resolver) Resolve(ctx context.Context, req Request) ([]Result, error) {
	out := make([]Result, len(req.Frames))
	now := r.now()
	asked := 0
	var before *script // the caller's frame's, nil when it has none
	var last *entry    // most frames are of one file
	var lastPath string
	found := 0
	for i := range req.Frames {
		f, res := &req.Frames[i], &out[i]
		caller := before
		before = nil
		if !hasFile(f.AbsPath) {
			continue
		}
		e := last
		if e == nil || f.AbsPath != lastPath {
			var err error
			if e, err = r.entry(ctx, &req, f.AbsPath, now, &asked); err != nil {
				return nil, err
			}
			last, lastPath = e, f.AbsPath
		}
		if e.script == nil {
			res.Reason = e.reason
			r.notFound.Inc()
			continue
		}
		r.use(ctx, e, now)
		if !e.script.resolve(f, res) {
			r.notFound.Inc()
			continue
		}
		found++
		before = e.script
		line, column := position(f)
		name := e.script.function(line, column, f.Function)
		if name == "" && caller != nil {
			line, column = position(&req.Frames[i-1])
			name = caller.calledAs(line, column, f.Function)
		}
		if name != "" {
			res.Function = name
		}
	}
	r.found.Add(float64(found))
	return out, nil
}

// position is a frame's from 0.
func position(f *Frame) (line, column uint32) {
	return uint32(f.Line - 1), uint32(max(f.Column-1, 0)) //nolint:gosec // resolve has checked them
}

var (
	notInApp        = false
	_        Frames = (*Resolver)(nil)
)

// resolve fills in what the map tells of a frame's position.
func (s *script) resolve(f *Frame, res *Result) bool {
	const most = 1 << 30
	if f.Line < 1 || f.Line > most || f.Column < 0 || f.Column > most {
		res.Reason = "the frame has no line"
		return false
	}
	line, column := position(f)
	t, ok := s.m.find(line, column)
	if f.Column == 0 && !s.m.isOneLine(line) {
		res.Reason = "the frame has no column, and its line comes from several lines of source"
		return false
	}
	if !ok && f.Column == 0 {
		t, ok = s.m.first(line)
	}
	if !ok {
		res.Reason = "the source map says nothing of this position: is it the map of another build?"
		return false
	}
	if t.source < 0 {
		res.Reason = "the source map says that no source stands behind this position"
		return false
	}
	src := &s.m.sources[t.source]
	res.Found, res.Source, res.Line, res.Column = true, src.name, int(t.line)+1, int(t.column)+1
	if src.ignored || isLibrary(src.name) {
		res.InApp = &notInApp
	}
	if src.text != nil {
		at := int(t.line)
		if l, ok := src.text.line(at); ok {
			res.ContextLine = around(l, int(t.column))
			from, to := max(0, at-contextLines), min(src.text.count(), at+contextLines+1)
			lines := make([]string, 0, to-from)
			for i := from; i < to; i++ {
				l, _ := src.text.line(i)
				lines = append(lines, around(l, 0))
			}
			res.Pre, res.Post = lines[:at-from:at-from], lines[at-from+1:]
		}
	}
	return true
}

// isOneLine tells whether all of a generated line comes from one line of source.
func (m *sourceMap) isOneLine(line uint32) bool {
	if line >= uint32(len(m.lines)-1) { //nolint:gosec // bounded
		return true // find says the rest
	}
	of := m.tokens[m.lines[line]:m.lines[line+1]]
	for i := range of {
		if of[i].line != of[0].line || of[i].source != of[0].source {
			return false
		}
	}
	return true
}

// first gives the first token of a line.
func (m *sourceMap) first(line uint32) (*token, bool) {
	if line >= uint32(len(m.lines)-1) || m.lines[line] == m.lines[line+1] { //nolint:gosec // bounded
		return nil, false
	}
	return &m.tokens[m.lines[line]], true
}

// isLibrary tells by its path that a source is not of the program.
func isLibrary(name string) bool {
	for _, part := range [...]string{"node_modules/", "webpack/runtime/", "webpack/bootstrap"} {
		if i := strings.Index(name, part); i == 0 || i > 0 && name[i-1] == '/' {
			return true
		}
	}
	return strings.Contains(name, "(webpack)")
}

// around cuts a long line to what stands about a column.
func around(l string, column int) string {
	if len(l) <= maxLine {
		return l
	}
	begin := max(0, min(column, len(l))-maxLine/2)
	if begin+maxLine > len(l) {
		begin = len(l) - maxLine
	}
	return strings.ToValidUTF8(l[begin:begin+maxLine], "")
}

// use notes at times that a bundle is of use, so that it is kept.
func (r *Resolver) use(ctx context.Context, e *entry, now time.Time) {
	if len(e.bundles) == 0 || !e.used(now) {
		return
	}
	if err := r.artifacts.UsedBundles(ctx, e.bundles, now.UnixNano()); err != nil {
		r.log.Warn("cannot note that uploaded files are in use", "bundles", e.bundles, "err", err)
	}
}

// entry gives what is known of the script that a frame names.
func (r *Resolver) entry(ctx context.Context, req *Request, absPath string, now time.Time, asked *int) (*entry, error) {
	k := key{project: req.Project, debugID: normalID(req.DebugIDs[absPath])}
	if k.debugID == "" {
		k.release, k.dist, k.path = req.Release, req.Dist, absPath
	}
	e, fresh := r.cache.get(k, now)
	if !fresh && *asked < maxAsked {
		*asked++
		var err error
		if e, err = r.load(ctx, k, e, now); err != nil {
			return nil, err
		}
	}
	if e == nil {
		e = &entry{reason: fmt.Sprintf("the stack names more than %d files that are not known yet", maxAsked)}
	}
	if e.script == nil && k.debugID != "" && req.Release != "" {
		// What was uploaded by release alone has no debug ids.
		byRelease := *req
		byRelease.DebugIDs = nil
		other, err := r.entry(ctx, &byRelease, absPath, now, asked)
		if err != nil {
			return nil, err
		}
		if other.script != nil {
			return other, nil
		}
	}
	return e, nil
}

// normalID is a debug id as it is stored: 32 hex digits, in lower case.
func normalID(id string) string {
	if len(id) == 32 && strings.IndexByte(id, '-') < 0 && strings.ToLower(id) == id {
		return id
	}
	id = strings.ToLower(strings.ReplaceAll(id, "-", ""))
	return id[:min(len(id), 32)]
}

// load asks the stores, once for all who ask at the same time.
func (r *Resolver) load(ctx context.Context, k key, old *entry, now time.Time) (*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ch := r.loading.DoChan(k.String(), func() (any, error) {
		// Not the context of one who asks: others wait for the same.
		loading, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.LoadTimeout)
		defer cancel()
		e, err := r.find(loading, k, old)
		if err != nil {
			return nil, err
		}
		fresh := r.cfg.FreshFor
		if e.script == nil {
			fresh = r.cfg.MissingFor
		}
		r.cache.put(k, e, now.Add(fresh))
		return e, nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case res := <-ch:
		if res.Err != nil {
			return nil, fmt.Errorf("cannot look for the source map of %s: %w", k, res.Err)
		}
		return res.Val.(*entry), nil
	}
}

// find finds the files of a key in the stores and decodes them, unless old has them.
func (r *Resolver) find(ctx context.Context, k key, old *entry) (*entry, error) {
	var files pair
	var err error
	if k.debugID != "" {
		files, err = r.byDebugID(ctx, k)
	} else {
		files, err = r.byRelease(ctx, k, old)
	}
	if err != nil {
		return nil, err
	}
	if files.reason != "" {
		return files.keepRef(&entry{reason: files.reason}), nil
	}
	if identity := files.identity(); old != nil && old.script != nil && old.identity == identity {
		return old, nil
	}
	e, err := r.decode(ctx, files)
	if err != nil {
		return nil, err
	}
	files.keepRef(e)
	if e.script == nil {
		r.faults.Inc()
		r.log.Warn("an uploaded source map is of no use", "for", k.String(), "reason", e.reason)
	} else {
		r.loads.Inc()
	}
	return e, nil
}

// pair is a script and its map. inline is the text of a data: URL in place of a
// map.
type pair struct {
	code, m *exporters.ArtifactFile
	script  []byte // the bytes of code, where they had to be read
	ref     string // what they say of where their map is
	inline  string
	reason  string // why there are none
}

// keepRef notes what a script says, so that it is not read again to know it.
func (f *pair) keepRef(e *entry) *entry {
	if f.code != nil && len(f.ref) <= maxURL {
		e.codeSHA1, e.ref = f.code.SHA1, f.ref
	}
	return e
}

// readRef reads where a script says its map is, "" when it says nothing. With a
// reason set, it cannot be read.
func (r *Resolver) readRef(ctx context.Context, f *pair, old *entry) error {
	if old != nil && old.ref != "" && old.codeSHA1 == f.code.SHA1 {
		f.ref = old.ref
		return nil
	}
	var err error
	if f.script, err = r.read(ctx, f.code); err != nil {
		*f, err = f.orGone(err)
		return err
	}
	f.ref = mappingURL(string(f.script))
	return nil
}

func (f *pair) identity() string {
	id := ""
	if f.code != nil {
		id = f.code.SHA1
	}
	if f.m != nil {
		id += " " + f.m.SHA1
	}
	return id
}

func (r *Resolver) byDebugID(ctx context.Context, k key) (f pair, err error) {
	files, err := r.artifacts.FilesByDebugID(ctx, k.project, k.debugID)
	if err != nil {
		return f, err
	}
	for i := range files {
		switch file := &files[i]; {
		case file.Kind == exporters.ArtifactSourceMap && f.m == nil:
			f.m = file
		case file.Kind == exporters.ArtifactMinified && f.code == nil:
			f.code = file
		}
	}
	if f.m == nil && f.code != nil {
		// The map may be in the script.
		if err := r.readRef(ctx, &f, nil); err != nil || f.reason != "" {
			return f, err
		}
		if strings.HasPrefix(f.ref, "data:") {
			f.inline = f.ref
			return f, nil
		}
	}
	if f.m == nil {
		f.reason = "no source map was uploaded for debug id " + k.debugID
	}
	return f, nil
}

func (r *Resolver) byRelease(ctx context.Context, k key, old *entry) (f pair, err error) {
	if k.release == "" {
		f.reason = "the event has no release, and the script no debug id: there is nothing to find its source map by"
		return f, nil
	}
	urls := candidates(k.path)
	files, err := r.artifacts.FilesByURL(ctx, k.project, k.release, k.dist, urls)
	if err != nil {
		return f, err
	}
	f.code = best(files, urls)
	if f.code == nil {
		f.reason = fmt.Sprintf("release %q%s has no file %s", k.release, distText(k.dist), last(urls))
		// Some upload only the map, beside where the script is.
		beside := make([]string, 0, len(urls))
		for _, u := range urls {
			beside = append(beside, u+".map")
		}
		files, err := r.artifacts.FilesByURL(ctx, k.project, k.release, k.dist, beside)
		if err != nil {
			return f, err
		}
		if f.m = best(files, beside); f.m != nil {
			f.reason = ""
		}
		return f, nil
	}
	ref := f.code.Headers["sourcemap"]
	if ref == "" {
		ref = f.code.Headers["x-sourcemap"]
	}
	if ref == "" {
		if err := r.readRef(ctx, &f, old); err != nil || f.reason != "" {
			return f, err
		}
		if ref = f.ref; ref == "" {
			f.reason = fmt.Sprintf("%s of release %q names no source map (sourceMappingURL)", f.code.URL, k.release)
			return f, nil
		}
	}
	if strings.HasPrefix(ref, "data:") {
		f.inline = ref
		return f, nil
	}
	at := referred(f.code.URL, ref)
	if at == "" {
		f.reason = fmt.Sprintf("%s of release %q names the source map %.200q, which is no URL", f.code.URL, k.release, ref)
		return f, nil
	}
	urls = candidates(at)
	if files, err = r.artifacts.FilesByURL(ctx, k.project, k.release, k.dist, urls); err != nil {
		return f, err
	}
	if f.m = best(files, urls); f.m == nil {
		f.reason = fmt.Sprintf("%s names the source map %s, which release %q%s has not", f.code.URL, at, k.release, distText(k.dist))
	}
	return f, nil
}

func distText(dist string) string {
	if dist == "" {
		return ""
	}
	return fmt.Sprintf(" (dist %q)", dist)
}

func last(s []string) string {
	if len(s) == 0 {
		return "of that name"
	}
	return s[len(s)-1]
}

// best is the newest file of the best URL.
func best(files []exporters.ArtifactFile, urls []string) *exporters.ArtifactFile {
	for _, u := range urls {
		for i := range files {
			if files[i].URL == u {
				return &files[i]
			}
		}
	}
	return nil
}

// orGone takes bytes that are missing or too many as a reason; other errors
// may heal.
func (f pair) orGone(err error) (pair, error) {
	switch {
	case errors.Is(err, exporters.ErrTooLarge), errors.Is(err, exporters.ErrNotFound):
		f.reason = "an uploaded file cannot be used: " + err.Error()
		return f, nil
	}
	return f, err
}

func (r *Resolver) read(ctx context.Context, f *exporters.ArtifactFile) ([]byte, error) {
	b, err := exporters.ReadArtifact(ctx, r.blobs, *f, r.cfg.MaxFileBytes)
	if err == nil && int64(len(b)) > r.cfg.MaxFileBytes {
		err = fmt.Errorf("%s: %w", f.URL, exporters.ErrTooLarge)
	}
	return b, err
}

// decode reads the files and makes an entry of them.
func (r *Resolver) decode(ctx context.Context, f pair) (*entry, error) {
	weight := int64(len(f.inline))
	if f.m != nil {
		weight += f.m.Size
	}
	if f.code != nil {
		weight += f.code.Size
	}
	weight = max(1, min(weight, maxDecoding))
	if err := r.decoding.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	defer r.decoding.Release(weight)
	e := &entry{identity: f.identity()}
	var data []byte
	var err error
	if f.m != nil {
		if data, err = r.read(ctx, f.m); err == nil {
			e.bundles = append(e.bundles, f.m.Bundle)
		}
	} else {
		data, err = dataURL(f.inline)
	}
	if err != nil {
		gone, err := f.orGone(err)
		if f.m != nil && err != nil {
			return nil, err
		}
		if err != nil {
			gone.reason = err.Error()
		}
		return &entry{reason: gone.reason}, nil
	}
	m, err := decodeMap(data)
	if err != nil {
		return &entry{reason: err.Error()}, nil // the file will not heal: the reason is the answer
	}
	s := &script{m: m}
	if f.code != nil {
		if f.script == nil {
			// Without it only names of functions are lost.
			if f.script, err = r.read(ctx, f.code); err != nil && !errors.Is(err, exporters.ErrNotFound) && !errors.Is(err, exporters.ErrTooLarge) {
				return nil, err
			}
		}
		if f.script != nil {
			s.code = &text{s: string(f.script)}
			if f.m == nil || f.code.Bundle != f.m.Bundle {
				e.bundles = append(e.bundles, f.code.Bundle)
			}
		}
	}
	e.script, e.size = s, m.size()
	if s.code != nil {
		e.size += s.code.size()
	}
	return e, nil
}

// dataURL gives the bytes of a data: URL.
func dataURL(s string) ([]byte, error) {
	head, body, ok := strings.Cut(strings.TrimPrefix(s, "data:"), ",")
	if !ok {
		return nil, errors.New("the source map in the script is a data: URL without data")
	}
	if strings.HasSuffix(head, ";base64") {
		b, err := base64.StdEncoding.DecodeString(body)
		if err != nil {
			return nil, fmt.Errorf("the source map in the script cannot be read: %w", err)
		}
		return b, nil
	}
	plain, err := url.PathUnescape(body)
	if err != nil {
		return nil, fmt.Errorf("the source map in the script cannot be read: %w", err)
	}
	return []byte(plain), nil
}
