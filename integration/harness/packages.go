package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Jars gets the jars of a folder's pom.xml from Maven, once per content of it,
// and returns the folder of the user's cache that holds them. A name of one of
// them, with its version, tells that all are there.
func Jars(t testing.TB, folder, jar string) string {
	t.Helper()
	pom := filepath.Join(folder, "pom.xml")
	return cached(t, pom, "", filepath.Base(folder), jar, func(dir string) {
		Output(t, 5*time.Minute, Command{
			Name: "mvn-" + filepath.Base(folder), Path: LookPath(t, "mvn"),
			Args: []string{"-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory=" + dir},
		})
	})
}

// Python makes a virtual environment with what a folder's requirements.txt
// names and returns its interpreter. It lies in the user's cache, one per
// content of the file and version of Python.
func Python(t testing.TB, folder string) string {
	t.Helper()
	python := LookPath(t, "python3")
	version := strings.TrimSpace(string(Output(t, time.Minute, Command{
		Name: "python-version", Path: python, Args: []string{"-c", "import platform; print(platform.python_version())"},
	})))
	requirements := filepath.Join(folder, "requirements.txt")
	dir := cached(t, requirements, version, filepath.Base(folder), "installed", func(dir string) {
		Output(t, time.Minute, Command{Name: "python-venv", Path: python, Args: []string{"-m", "venv", dir}})
		Output(t, 5*time.Minute, Command{
			Name: "pip", Path: filepath.Join(dir, "bin", "python"),
			Args: []string{"-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "--no-compile", "--require-hashes", "-r", requirements},
		})
		if err := os.WriteFile(filepath.Join(dir, "installed"), []byte(version+"\n"), 0o600); err != nil {
			t.Fatalf("cannot mark Python's environment as whole: %v", err)
		}
	})
	return filepath.Join(dir, "bin", "python")
}

// NodeModules installs what a folder's package-lock.json names, unless it is
// there. Test binaries that run at one time wait for each other.
func NodeModules(t testing.TB, folder string) {
	t.Helper()
	defer alone(t, "npm-"+filepath.Base(folder))()
	lock, err := os.Stat(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		t.Fatalf("%s has no lock file: %v", folder, err)
	}
	if done, err := os.Stat(filepath.Join(folder, "node_modules", ".package-lock.json")); err == nil && !done.ModTime().Before(lock.ModTime()) {
		return
	}
	Output(t, 5*time.Minute, Command{
		Name: "npm-" + filepath.Base(folder), Path: LookPath(t, "npm"), Dir: folder,
		Args: []string{"ci", "--no-audit", "--no-fund", "--loglevel=error"},
		Env:  []string{"PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1"},
	})
}

// alone waits until no other process holds the name, and returns what lets it
// go. The kernel lets go of it for a process that dies.
func alone(t testing.TB, name string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(cacheDir(t, "locks"), name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatalf("cannot open the lock %s: %v", name, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("cannot wait for the lock %s: %v", name, err)
	}
	return func() { _ = f.Close() }
}

// Chromium is the browser's path: CHROMIUM, or found on the PATH.
func Chromium(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	return LookPath(t, "chromium", "chromium-browser", "google-chrome")
}

// Examples builds examples and returns the folder of their programs, each called
// after its own.
func Examples(t testing.TB, names ...string) string {
	t.Helper()
	dir := filepath.Join(cacheDir(t, "bin"), "examples")
	args := append(make([]string, 0, 4+len(names)), "build", "-trimpath", "-o", dir+string(filepath.Separator))
	for _, name := range names {
		args = append(args, "./"+name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("cannot make the folder of the examples: %v", err)
	}
	Output(t, 10*time.Minute, Command{
		Name: "build-examples", Path: LookPath(t, "go"), Dir: filepath.Join(Root(t), "examples"), Env: []string{"CGO_ENABLED=0"}, Args: args,
	})
	return dir
}

// cached fills a folder of the user's cache once for each content of a file
// (and variant) and returns it. The file mark is the last of what fill makes.
func cached(t testing.TB, file, variant, name, mark string, fill func(dir string)) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("cannot read what to install: %v", err)
	}
	sum := sha256.Sum256(fmt.Appendf(b, "\n%s", variant))
	dir := filepath.Join(cacheDir(t, name), hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(filepath.Join(dir, mark)); err == nil {
		return dir
	}
	// Fill a folder beside it and rename: a cut-off download is no cache.
	half, err := os.MkdirTemp(filepath.Dir(dir), "half-")
	if err != nil {
		t.Fatalf("cannot make a folder for what %s names: %v", file, err)
	}
	defer os.RemoveAll(half)
	fill(half)
	if _, err := os.Stat(filepath.Join(half, mark)); err != nil {
		t.Fatalf("%s was installed, but not all of it is there: %v", file, err)
	}
	if err := os.Rename(half, dir); err != nil {
		if _, statErr := os.Stat(filepath.Join(dir, mark)); statErr != nil {
			t.Fatalf("cannot keep what %s names: %v", file, err)
		}
	}
	return dir
}
