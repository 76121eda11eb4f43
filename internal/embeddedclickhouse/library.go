package embeddedclickhouse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// LibraryEnv is the environment variable that names libchdb.
const LibraryEnv = "HOPTRACE_LIBCHDB"

// libraryRelease is the npm release of LibraryVersion that libchdb/fetch
// installs; it names the folder of the cache.
const libraryRelease = LibraryVersion + "-stable.1"

// ErrNoLibrary means that libchdb is not where it was looked for.
var ErrNoLibrary = errors.New("libchdb, the ClickHouse engine, was not found")

// FindLibrary gives the path of libchdb: explicit if that is set, else the
// environment variable HOPTRACE_LIBCHDB, else the cache that `make libchdb`
// fills. The error wraps ErrNoLibrary and names the ways out.
func FindLibrary(explicit string) (string, error) {
	for _, named := range []struct{ by, path string }{
		{"the setting embedded_clickhouse.library", explicit},
		{"the environment variable " + LibraryEnv, os.Getenv(LibraryEnv)},
	} {
		if named.path == "" {
			continue
		}
		if err := checkLibraryFile(named.path); err != nil {
			return "", fmt.Errorf("%w at %q, which %s names (%w); run `make libchdb` and leave it unset, or set clickhouse.address to a ClickHouse server",
				ErrNoLibrary, named.path, named.by, err)
		}
		return filepath.Abs(named.path)
	}
	path, err := cachedLibrary()
	if err != nil {
		return "", fmt.Errorf("%w: %w; set clickhouse.address to a ClickHouse server", ErrNoLibrary, err)
	}
	if err := checkLibraryFile(path); err != nil {
		return "", fmt.Errorf("%w at %q (%w); run `make libchdb` to get it (about 200 MB), or set embedded_clickhouse.library to its path, or clickhouse.address to a ClickHouse server",
			ErrNoLibrary, path, err)
	}
	return path, nil
}

func checkLibraryFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("no such file")
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a file")
	}
	return nil
}

// cachedLibrary is where libchdb/fetch puts the library; the two must agree.
func cachedLibrary() (string, error) {
	switch runtime.GOOS + "/" + runtime.GOARCH {
	case "linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64":
	default:
		return "", fmt.Errorf("there is none for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	base := os.Getenv("HOPTRACE_CACHE")
	if base == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", fmt.Errorf("no home directory: %w", err)
			}
			cache = filepath.Join(home, ".cache")
		}
		base = filepath.Join(cache, "hoptrace")
	}
	return filepath.Join(base, "libchdb-"+libraryRelease, "libchdb.so"), nil
}
