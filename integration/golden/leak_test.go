package golden

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/integration/harness"
)

var (
	addresses = regexp.MustCompile(`(?:Chrome/)?\b[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b-?`)
	// Documentation has these (RFC 5737); the programs write them too. The others
	// are versions: of Chrome, of V8 (11.3.244.8-node.33) and of a jar.
	madeUp = regexp.MustCompile(`^(?:192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|Chrome/|.*-$|1\.1\.10\.7$)`)
	homes  = regexp.MustCompile(`/(?:root|work|tmp|Users|private)/|/home/[a-z]+`)
)

// TestNothingOfTheMachineIsInTheFiles reads all captured files, and what is
// compressed in them.
func TestNothingOfTheMachineIsInTheFiles(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`"(?:server_name|host[._]?name|server\.address|username)"[^,]{0,40}"(?:` + regexp.QuoteMeta(host) + `|` + regexp.QuoteMeta(me.Username) + `)"`)
	root := harness.Root(t)
	read := 0
	check := func(path string, b []byte) {
		t.Helper()
		text := string(b)
		for _, a := range addresses.FindAllString(text, -1) {
			if !madeUp.MatchString(a) {
				t.Errorf("%s has the address %s", path, a)
			}
		}
		for _, p := range homes.FindAllString(text, -1) {
			if p != "/home/app" {
				t.Errorf("%s has the path %s", path, p)
			}
		}
		for _, word := range []string{root, me.HomeDir, named.FindString(text), "//localhost", "SHELL", "PATH="} {
			if word != "" && strings.Contains(text, word) {
				t.Errorf("%s has %s", path, word)
			}
		}
	}
	for _, folder := range []string{filepath.Join("pipeline", "testdata", "golden"), filepath.Join("collector", "testdata", "captures")} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			read++
			name, _ := filepath.Rel(root, path)
			check(name, b)
			if filepath.Ext(path) == ".http" {
				req, err := ParseRequest(bufio.NewReader(bytes.NewReader(b)))
				if err != nil {
					return err
				}
				check(name, req.Content)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if read < 300 {
		t.Errorf("read %d files; want all", read)
	}
}
