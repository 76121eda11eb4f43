package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/internal/dirlock"
	"github.com/hoptrace/hoptrace/internal/embeddedclickhouse"
)

// TestMain lets the test binary be the engine's child, as main does.
func TestMain(m *testing.M) {
	if embeddedclickhouse.IsChild(os.Args) {
		os.Exit(embeddedclickhouse.RunChild())
	}
	os.Exit(m.Run())
}

func command(environ []string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, environ, &out, &errs)
	return code, out.String(), errs.String()
}

func TestAWrongCommandOrSettingEndsWithTwoAndSaysTheWayOut(t *testing.T) {
	f := func(environ, args []string, want ...string) {
		t.Helper()
		code, _, stderr := command(environ, args...)
		if code != 2 {
			t.Fatalf("hoptrace %s ended with %d; want 2", args, code)
		}
		for _, w := range want {
			if !strings.Contains(stderr, w) {
				t.Errorf("hoptrace %s does not say %q:\n%s", args, w, stderr)
			}
		}
	}
	f(nil, []string{"al"}, `no command "al"`, "hoptrace all")
	f([]string{"HOPTRACE_WEB_LISTN=x"}, []string{"all", "--web.listen", "nowhere", "--memory_limit=1KiB", "--clickhouse.retention_days=0"},
		"HOPTRACE_WEB_LISTEN", "web.listen", "memory_limit", "clickhouse.retention_days")
	f(nil, []string{"pipeline"}, "kafka.brokers", "clickhouse.address", "metadata.dsn", "blobs.dir")
	f(nil, []string{"collector"}, "kafka.brokers", "metadata.dsn")
	f(nil, []string{"web"}, "clickhouse.address", "metadata.dsn")
	f(nil, []string{"clickhouse"}, "clickhouse.password")
	f(nil, []string{"all", "--config", "/nowhere/hoptrace.yaml"}, "/nowhere/hoptrace.yaml")
	f(nil, []string{"all", "--log.level=loud", "--log.format=xml", "--web.listen=127.0.0.1:99999", "--config"},
		"log.level", "log.format", "web.listen", "flag --config")
}

func TestConfigPrintsWhatAllWouldUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "h.yaml")
	if err := os.WriteFile(file, []byte("kafka:\n  sasl:\n    mechanism: plain\n    username: u\n    password: hunter2\nweb:\n  listen: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command([]string{"HOPTRACE_CONFIG=" + file, "HOPTRACE_WEB_LISTEN=127.0.0.1:2"}, "config", "--collector.http=127.0.0.1:3")
	if code != 0 {
		t.Fatalf("ended with %d:\n%s", code, stderr)
	}
	for _, want := range []string{"listen: 127.0.0.1:2  # from environment", "http: 127.0.0.1:3  # from flag", "mechanism: plain  # from file", "password: '***'"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("does not print %q:\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "hunter2") {
		t.Error("prints a password")
	}
}

func TestASecondProcessOnOneDirectoryIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	lock, err := dirlock.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	code, _, stderr := command(nil, "all", "--data", dir, "--log.format=text")
	if code != 1 || !strings.Contains(stderr, dir) || !strings.Contains(stderr, "in use by the process with pid") || !strings.Contains(stderr, "--data") {
		t.Fatalf("ended with %d:\n%s", code, stderr)
	}
}
