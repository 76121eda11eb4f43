package embeddedclickhouse

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLibraryIsFoundBySettingThenEnvironmentThenCache(t *testing.T) {
	cache, other := t.TempDir(), t.TempDir()
	t.Setenv("HOPTRACE_CACHE", cache)
	t.Setenv(LibraryEnv, "")
	cached := filepath.Join(cache, "libchdb-"+libraryRelease, "libchdb.so")

	_, err := FindLibrary("")
	if !errors.Is(err, ErrNoLibrary) {
		t.Fatalf("FindLibrary of an empty cache: %v; want ErrNoLibrary", err)
	}
	for _, want := range []string{cached, "make libchdb", "clickhouse.address"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	touch := func(path string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f := func(explicit, want string) {
		t.Helper()
		if got, err := FindLibrary(explicit); err != nil || got != want {
			t.Fatalf("FindLibrary(%q) = %q, %v; want %q", explicit, got, err, want)
		}
	}
	touch(cached)
	f("", cached)
	byEnv := touch(filepath.Join(other, "env.so"))
	t.Setenv(LibraryEnv, byEnv)
	f("", byEnv)
	bySetting := touch(filepath.Join(other, "setting.so"))
	f(bySetting, bySetting)

	_, err = FindLibrary(filepath.Join(other, "missing.so"))
	if !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "embedded_clickhouse.library") {
		t.Fatalf("FindLibrary of a wrong setting: %v; want ErrNoLibrary that names the setting", err)
	}
	t.Setenv(LibraryEnv, other) // a folder
	if _, err = FindLibrary(""); !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), LibraryEnv) {
		t.Fatalf("FindLibrary of a folder: %v; want ErrNoLibrary that names the variable", err)
	}
}

func TestPackageAndBinaryNameOneRelease(t *testing.T) {
	text, err := os.ReadFile("libchdb/package.json")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), `"`+libraryRelease+`"`); n != 5 { // its own and four systems'
		t.Fatalf("libchdb/package.json names %s %d times; want 5", libraryRelease, n)
	}
}

func TestLibraryVersionIsCompared(t *testing.T) {
	f := func(version string, ok bool) {
		t.Helper()
		if err := checkLibraryVersion(version); (err == nil) != ok {
			t.Fatalf("checkLibraryVersion(%q) = %v; want ok %v", version, err, ok)
		}
	}
	f("26.7.3", true)
	f("26.7.3.1-stable", true)
	f("26.7.10", true)
	f("26.8.0", true)
	f("27.1", true)
	f("26.7.2", false)
	f("26.5.3", false)
	f("4.0.0", false)
	f("", false)
	f("what", false)
}

func TestEngineErrorsAreTakenApart(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got := ""
		if err := parseException(text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Fatalf("parseException(%q) = %q; want %q", text, got, want)
		}
	}
	f("", "")
	f("Code: 60. DB::Exception: Unknown table", "code 60: DB::Exception: Unknown table")
	f("Code: 73. DB::Exception: Code: 73. DB::Exception: Unknown format", "code 73: DB::Exception: Unknown format")
	f("Query failed: Code: 62. DB::ParsingException: bad\nCode: 1. x", "code 62: DB::ParsingException: bad\nCode: 1. x")
	f("something else", "code 1002: DB::Exception: something else")
	f("Code: 99999999999. DB::Exception: x", "code 1002: DB::Exception: Code: 99999999999. DB::Exception: x")
}
