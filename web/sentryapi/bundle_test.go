package sentryapi

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
)

// archive packs files and a manifest.
func archive(t testing.TB, manifest string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("SYSB\x02\x00\x00\x00") // what sentry-cli puts before the archive
	z := zip.NewWriter(&b)
	add := func(name, data string) {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		add(name, data)
	}
	if manifest != "" {
		add("manifest.json", manifest)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const shopManifest = `{"files":{
	"files/_/_/app.min.js":{"type":"minified_source","url":"~/app.min.js","headers":{"debug-id":"5FD4F98F-ba7e-55e2-b0d3-787f216a6535","Sourcemap":"app.min.js.map","x":"y"}},
	"files/_/_/app.min.js.map":{"type":"source_map","url":"~/app.min.js.map"}},
	"debug_id":"0b08608a-5e37-5da7-867e-fdeb2c1020c1","dist":"d1","note":"hey","org":"o","extra":{"a":[1,{"b":null}]},"release":null}`

func TestBundleOfSentryCLIIsRead(t *testing.T) {
	data := archive(t, shopManifest, map[string]string{"files/_/_/app.min.js": "x()", "files/_/_/app.min.js.map": "{}", "more": "not listed"})
	b, err := readBundle(bytes.NewReader(data), int64(len(data)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if b.note != "hey" || b.dist != "d1" || len(b.files) != 2 {
		t.Fatalf("got note %q, dist %q and %d files; want hey, d1 and 2", b.note, b.dist, len(b.files))
	}
	f := b.files[0]
	if f.URL != "~/app.min.js" || f.Kind != exporters.ArtifactMinified || f.DebugID != "5fd4f98fba7e55e2b0d3787f216a6535" || len(f.Headers) != 1 || f.Headers["sourcemap"] != "app.min.js.map" {
		t.Errorf("got %+v, want the script with its debug id and header", f.ArtifactFile)
	}
	rc, err := f.packed.Open()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(rc); err != nil || string(got) != "x()" {
		t.Errorf("the file has %q, %v; want %q", got, err, "x()")
	}
}

func TestFaultsOfABundleAreNamed(t *testing.T) {
	f := func(data []byte, want string) {
		t.Helper()
		_, err := readBundle(bytes.NewReader(data), int64(len(data)), 1000)
		if err == nil || !errors.As(err, new(bundleError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want a fault with %q", err, want)
		}
	}
	listed := func(path, file string) string { return `{"files":{"` + path + `":` + file + `}}` }
	f(nil, "no zip archive")
	f([]byte("PK"), "no zip archive")
	f([]byte(strings.Repeat("x", 100_000)), "no zip archive")
	whole := archive(t, shopManifest, map[string]string{"a": "b"})
	f(whole[:len(whole)-1], "no zip archive")
	f(archive(t, "", map[string]string{"a": "b"}), "no manifest.json")
	f(archive(t, "[]", nil), "[ where { should be")
	f(archive(t, `{"files":{}`, nil), "cannot be read")
	f(archive(t, `{"files":[]}`, nil), "[ where { should be")
	f(archive(t, listed("a", "1"), nil), "cannot be read")
	f(archive(t, listed("a", "{}"), nil), `lists "a", which is not in the archive`)
	f(archive(t, `{"files":{"a":{},"a":{}}}`, map[string]string{"a": ""}), "listed twice")
	f(archive(t, listed(strings.Repeat("a", maxPath+1), "{}"), nil), "want a path of 1 to 1024")
	f(archive(t, listed("", "{}"), nil), "want a path of 1 to 1024")
	f(archive(t, listed("a", `{"url":"`+strings.Repeat("u", maxURL+1)+`"}`), nil), "a URL of at most 2048")
	f(archive(t, listed("a", "{}"), map[string]string{"a": strings.Repeat("x", 1001)}), "has 1001 bytes, at most 1000")
	f(archive(t, `{"dist":"*"}`, nil), `dist "*"`)
	f(archive(t, `{"dist":"`+strings.Repeat("d", 65)+`"}`, nil), "at most 64 bytes")
	var many strings.Builder
	many.WriteString(`{"files":{`)
	for i := range maxFiles + 1 {
		fmt.Fprintf(&many, `"%d":{},`, i)
	}
	f(archive(t, strings.TrimSuffix(many.String(), ",")+"}}", nil), "more than 20000 files")
	f(archive(t, strings.Repeat(" ", maxManifest+1), nil), "manifest.json has")

	// A directory that says it is small, and is not.
	long := append(bytes.Repeat([]byte("x"), maxDirectory+1<<17), whole...)
	end := long[len(long)-22:]
	binary.LittleEndian.PutUint32(end[16:], 0)
	f(long, "directory has more than")
	zip64 := append([]byte("PK\x06\x07"+strings.Repeat("\x00", 16)), whole[len(whole)-22:]...)
	f(zip64, "zip64")
}

func TestBombIsRefusedBeforeItIsUnpacked(t *testing.T) {
	files := map[string]string{}
	manifest := map[string]any{}
	for i := range 3 {
		name := fmt.Sprint("f", i)
		files[name], manifest[name] = strings.Repeat("\x00", 30<<20), struct{}{}
	}
	m, err := json.Marshal(map[string]any{"files": manifest})
	if err != nil {
		t.Fatal(err)
	}
	data := archive(t, string(m), files)
	if _, err := readBundle(bytes.NewReader(data), int64(len(data)), 64<<20); err == nil || !strings.Contains(err.Error(), "100 times the archive") {
		t.Errorf("got error %v for %d bytes that become 90 MiB, want one that names the ratio", err, len(data))
	}
}

func TestDebugIDsAreNormalised(t *testing.T) {
	f := func(id, want string) {
		t.Helper()
		if got := normalDebugID(id); got != want {
			t.Errorf("normalDebugID(%q) = %q, want %q", id, got, want)
		}
	}
	f("5FD4F98F-ba7e-55e2-b0d3-787f216a6535", "5fd4f98fba7e55e2b0d3787f216a6535")
	f("5fd4f98fba7e55e2b0d3787f216a6535", "5fd4f98fba7e55e2b0d3787f216a6535")
	f("5fd4f98f-ba7e-55e2-b0d3-787f216a6535-1a", "5fd4f98fba7e55e2b0d3787f216a6535")
	f("5fd4f98f", "")
	f("zzd4f98fba7e55e2b0d3787f216a6535", "")
	f("", "")
}

func FuzzReadBundle(f *testing.F) {
	f.Add(archive(f, shopManifest, map[string]string{"files/_/_/app.min.js": "x()", "files/_/_/app.min.js.map": "{}"}))
	f.Add(archive(f, `{"files":{"a":{"headers":{"debug-id":"1"}}},"dist":"x"}`, map[string]string{"a": "b"}))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := readBundle(bytes.NewReader(data), int64(len(data)), 1<<16)
		if err != nil {
			if !errors.As(err, new(bundleError)) {
				t.Fatalf("bytes in memory fail with %v, which is no fault of the bundle", err)
			}
			return
		}
		for _, x := range b.files {
			rc, err := x.packed.Open()
			if err != nil {
				continue
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(rc, 1<<20)) // a damaged file is told when it is unpacked
		}
	})
}

func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(shopManifest))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := readManifest(bytes.NewReader(data))
		if err == nil && len(b.files) > maxFiles {
			t.Fatalf("%d files were read", len(b.files))
		}
	})
}
