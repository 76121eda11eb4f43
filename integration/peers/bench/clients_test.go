package bench

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestAFilterThatMatchesNoClientIsRefused runs this binary as a benchmark is run.
func TestAFilterThatMatchesNoClientIsRefused(t *testing.T) {
	for filter, refused := range map[string]bool{
		"hoptrace-kafka-go,kotel": true, "^franz-go$": true, "nobody": true, // a list, a raw client
		"hoptrace-kafka-go|kotel": false, "": false,
	} {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^$", "-clients", filter)
		out, err := c.CombinedOutput()
		if (err != nil) != refused {
			t.Errorf("-clients %q: %v\n%s", filter, err, out)
		}
		if !refused {
			continue
		}
		for _, want := range []string{"-clients", filter, "kotel", "hoptrace-franz-go", "a regular expression such as '", "|"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("-clients %q: the error lacks %q: %s", filter, want, out)
			}
		}
		if strings.Contains(string(out), "PASS") {
			t.Errorf("-clients %q: %s", filter, out)
		}
	}
}

// TestEveryClientEndsARound runs each client once in each way, without measuring,
// and sees that what is sampled was exported.
func TestEveryClientEndsARound(t *testing.T) {
	target := &target{stub: true, sink: child(t, "sink")}
	const n = 1000
	for _, cl := range clients() {
		t.Run(cl.name, func(t *testing.T) {
			for _, benchmark := range []string{"Produce", "Consume"} {
				for _, call := range []int{1, 100} {
					for _, sampled := range []bool{true, false} {
						drive := cl.produce
						if benchmark == "Consume" {
							drive = cl.consume
						}
						if drive == nil || cl.skip != nil && cl.skip(benchmark, call) != "" {
							continue
						}
						before, err := countsOf(target.sink)
						if err != nil {
							t.Fatal(err)
						}
						c := &cell{target: target, client: cl, sampled: sampled, call: call, n: n, note: t.Logf}
						tel, err := cl.telemetry(c)
						if err != nil {
							t.Fatal(err)
						}
						run, err := drive(c, tel)
						if err != nil {
							t.Fatal(err)
						}
						if _, err := newVariant(cl, tel, run).once(t, n); err != nil {
							t.Errorf("%s, %d a call, sampled %v: %v", benchmark, call, sampled, err)
						}
						if tel.check != nil {
							if err := tel.check(); err != nil {
								t.Errorf("%s, %d a call, sampled %v: %v", benchmark, call, sampled, err)
							}
						}
						if tel.close != nil {
							tel.close()
						}
						after, err := countsOf(target.sink)
						if err != nil {
							t.Fatal(err)
						}
						// Even a batch of 100 in one span has a link a message.
						if got := after.Bytes - before.Bytes; sampled && tel.flush != nil && got < 30*n {
							t.Errorf("%s, %d a call: %d bytes were exported for %d sampled messages", benchmark, call, got, n)
						}
					}
				}
			}
		})
	}
}
