package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Data string `yaml:"data" help:"where everything is kept"`
	Web  struct {
		Listen  string        `yaml:"listen"`
		Timeout time.Duration `yaml:"timeout"`
		Open    bool          `yaml:"open"`
	} `yaml:"web"`
	Kafka struct {
		Brokers  []string `yaml:"brokers"`
		Password string   `yaml:"password" secret:"true"`
		MaxBytes Bytes    `yaml:"max_bytes"`
		Retries  uint8    `yaml:"retries"`

		Topics map[string]string `yaml:"topics"`
	} `yaml:"kafka"`
	internal int //nolint:unused // shows that unexported fields are no settings
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hoptrace.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestALaterLayerWins(t *testing.T) {
	var c sample
	c.Data, c.Web.Listen, c.Kafka.Retries = "./data", "127.0.0.1:1", 3
	err := Of(&c).Load(Layers{
		File:      file(t, "web:\n  listen: 127.0.0.1:2\n  timeout: 5s\nkafka:\n  brokers: [a:1, b:2]\n  max_bytes: 64MiB\n  topics:\n    events: acme.events\n    outcomes: acme.outcomes\n"),
		Environ:   []string{"HOPTRACE_WEB_LISTEN=127.0.0.1:3", "OTHER=1", "HOPTRACE_BIN=x"},
		EnvPrefix: "HOPTRACE_", EnvIgnore: []string{"HOPTRACE_BIN"},
		Args: []string{"--web.listen", "127.0.0.1:4", "--web.open", "--kafka.max_bytes=1KiB"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var want sample
	want.Data, want.Web.Listen, want.Web.Timeout, want.Web.Open = "./data", "127.0.0.1:4", 5*time.Second, true
	want.Kafka.Brokers, want.Kafka.MaxBytes, want.Kafka.Retries = []string{"a:1", "b:2"}, 1024, 3
	want.Kafka.Topics = map[string]string{"events": "acme.events", "outcomes": "acme.outcomes"}
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(sample{})); diff != "" {
		t.Fatalf("want -, got +:\n%s", diff)
	}
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	var c sample
	path := file(t, "web:\n  lisen: x\n  timeout: soon\nkafka: 3\nnonsense: 1\n")
	err := Of(&c).Load(Layers{
		File: path, EnvPrefix: "HOPTRACE_",
		Environ: []string{"HOPTRACE_WEB_OPEN=perhaps", "HOPTRACE_WEB_LISTN=y"},
		Args:    []string{"--kafka.retries=300", "stray", "--web.timout", "3s", "--data"},
	})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{
		path + ":2: web.lisen: no such setting; did you mean web.listen?",
		path + ":3: web.timeout: \"soon\" is no duration",
		path + ":4: settings.kafka: want settings",
		path + ":5: nonsense: no such setting",
		"environment variable HOPTRACE_WEB_OPEN: \"perhaps\" is neither true nor false",
		"environment variable HOPTRACE_WEB_LISTN: no such setting; did you mean HOPTRACE_WEB_LISTEN?",
		"flag --kafka.retries: \"300\" is no whole number",
		"argument \"stray\"",
		"flag --web.timout: no such setting; did you mean web.timeout?",
		"flag --data: the value is missing",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q:\n%v", want, err)
		}
	}
}

func TestPrintedSettingsLoadBackAndHideSecrets(t *testing.T) {
	var c, back sample
	c.Data, c.Web.Timeout, c.Kafka.Brokers, c.Kafka.MaxBytes = "true", 90*time.Second, []string{"a:1", "b:2"}, 3<<20
	c.Kafka.Password, c.Kafka.Topics = "hunter2", map[string]string{"b": "2", "a": "1"}
	var b strings.Builder
	if err := Of(&c).Print(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Fatalf("a secret is printed:\n%s", b.String())
	}
	if err := Of(&back).Load(Layers{File: file(t, b.String())}); err != nil {
		t.Fatal(err)
	}
	c.Kafka.Password = "***"
	if diff := cmp.Diff(c, back, cmp.AllowUnexported(sample{})); diff != "" {
		t.Fatalf("want -, got +:\n%s\n%s", diff, b.String())
	}
}

func TestAMapIsOneSettingThatALaterLayerReplaces(t *testing.T) {
	f := func(l Layers, want map[string]string, fault string) {
		t.Helper()
		var c sample
		l.EnvPrefix = "HOPTRACE_"
		switch err := Of(&c).Load(l); {
		case fault == "" && err != nil:
			t.Fatal(err)
		case fault != "" && (err == nil || !strings.Contains(err.Error(), fault)):
			t.Fatalf("Load = %v; want %q", err, fault)
		case fault == "":
			if diff := cmp.Diff(want, c.Kafka.Topics); diff != "" {
				t.Fatalf("want -, got +:\n%s", diff)
			}
		}
	}
	path := file(t, "kafka:\n  topics: {a: x, b: y}\n")
	f(Layers{File: path}, map[string]string{"a": "x", "b": "y"}, "")
	f(Layers{File: path, Environ: []string{"HOPTRACE_KAFKA_TOPICS=c = z"}}, map[string]string{"c": "z"}, "")
	f(Layers{File: path, Args: []string{"--kafka.topics", "d=1,e=2"}}, map[string]string{"d": "1", "e": "2"}, "")
	f(Layers{File: path, Args: []string{"--kafka.topics="}}, map[string]string{}, "")
	f(Layers{Args: []string{"--kafka.topics=d"}}, nil, `flag --kafka.topics: "d" is no pair`)
	f(Layers{Args: []string{"--kafka.topics=d=1,d=2"}}, nil, "d is set twice")
	f(Layers{File: file(t, "kafka:\n  topics: {a: [x]}\n")}, nil, ":2: kafka.topics: want plain values")
	f(Layers{File: file(t, "kafka:\n  password: {a: x}\n")}, nil, ":2: kafka.password: want one value")
}

func TestSizesReadAndWrite(t *testing.T) {
	f := func(text string, want Bytes, again string) {
		t.Helper()
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Fatalf("UnmarshalText(%q) = %d, %v; want %d", text, b, err, want)
		}
		if got, _ := b.MarshalText(); string(got) != again {
			t.Fatalf("MarshalText(%d) = %q; want %q", b, got, again)
		}
	}
	f("4096", 4096, "4KiB")
	f("64 MiB", 64<<20, "64MiB")
	f("1GB", 1e9, "1000000000")
	f("0", 0, "0")
	for _, bad := range []string{"", "-1", "1.5GiB", "9999999999TiB", "many"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(bad)); err == nil {
			t.Fatalf("UnmarshalText(%q) = %d; want an error", bad, b)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("web: {listen: a}")
	f.Add("a: &x [1]\nb: *x")
	f.Fuzz(func(t *testing.T, text string) {
		var c sample
		path := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = Of(&c).Load(Layers{File: path})
	})
}
