package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/web/api"
)

const groupingUsage = `hoptrace grouping tries rules on stored events, and says why an event is in its issue.

  hoptrace grouping preview [--enhancements FILE] [--fingerprint FILE] [--last N]
                                          what these rules would do to the newest N events (1000);
                                          nothing is saved, what is not named is the project's
  hoptrace grouping explain EVENT_ID      what counts in an event, and why the rest does not

Both ask a running server: --server http://127.0.0.1:8090, --project 1, with --token or HOPTRACE_TOKEN where one must sign in.
`

// groupingTimeout is longer than the server's own for one question.
const groupingTimeout = time.Minute

// groupingFlags are those of both commands.
type groupingFlags struct {
	server, token, project, enhancements, fingerprint string
	last                                              int
	rest                                              []string
}

func parseGrouping(args []string) (f groupingFlags, err error) {
	f = groupingFlags{server: "http://127.0.0.1:8090", project: "1", last: 1000}
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "--") {
			f.rest = append(f.rest, args[i])
			continue
		}
		if !hasValue {
			if i++; i == len(args) {
				return f, fmt.Errorf("%s needs a value", name)
			}
			value = args[i]
		}
		switch name {
		case "--server":
			f.server = strings.TrimRight(value, "/")
		case "--token":
			f.token = value
		case "--project":
			f.project = value
		case "--enhancements":
			f.enhancements = value
		case "--fingerprint":
			f.fingerprint = value
		case "--last":
			if f.last, err = strconv.Atoi(value); err != nil || f.last < 1 || f.last > 10_000 {
				return f, fmt.Errorf("--last is %q, want 1 to 10000", value)
			}
		default:
			return f, fmt.Errorf("no flag %s", name)
		}
	}
	if _, err := strconv.ParseUint(f.project, 10, 64); err != nil {
		return f, fmt.Errorf("--project is %q, want its decimal id", f.project)
	}
	return f, nil
}

// runGrouping is `hoptrace grouping`; it returns the exit code as run does.
func runGrouping(args []string, stdout, stderr io.Writer) int {
	wrong := func(format string, a ...any) int {
		fmt.Fprintf(stderr, "hoptrace grouping: "+format+"\n\n%s", append(a, groupingUsage)...)
		return 2
	}
	if len(args) == 0 {
		return wrong("say which: preview or explain")
	}
	command := args[0]
	f, err := parseGrouping(args[1:])
	if err != nil {
		return wrong("%v", err)
	}
	switch command {
	case "preview":
		if len(f.rest) > 0 {
			return wrong("preview takes flags only, not %q", f.rest[0])
		}
		err = previewGrouping(f, stdout)
	case "explain":
		if len(f.rest) != 1 {
			return wrong("explain takes one event id")
		}
		err = explainGrouping(f, stdout)
	default:
		return wrong("no command %q", command)
	}
	if err != nil {
		fmt.Fprintln(stderr, "hoptrace grouping:", err)
		return 1
	}
	return 0
}

// ask sends one question to the server's API and decodes the answer.
func (f *groupingFlags) ask(method, path string, body, answer any) error {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequest(method, f.server+"/api/v1/projects/"+f.project+path, bytes.NewReader(b)) //nolint:noctx // the client has a timeout
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	showToken(r, f.token)
	client := http.Client{Timeout: groupingTimeout}
	res, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("cannot ask the server (is it running? --server names it): %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err = io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("cannot read the answer of %s: %w", f.server, err)
	}
	if res.StatusCode != http.StatusOK {
		return refusal(f.server, res, b)
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("cannot read the answer of %s: %w", f.server, err)
	}
	return nil
}

func previewGrouping(f groupingFlags, stdout io.Writer) error {
	try := api.GroupingTry{Events: f.last}
	for _, file := range []struct {
		name string
		to   **string
	}{{f.enhancements, &try.Enhancements}, {f.fingerprint, &try.Fingerprinting}} {
		if file.name == "" {
			continue
		}
		b, err := os.ReadFile(file.name)
		if err != nil {
			return err
		}
		text := string(b)
		*file.to = &text
	}
	var p api.GroupingPreview
	if err := f.ask(http.MethodPost, "/grouping/preview", try, &p); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d events, %d of them would move; %d issues become %d", p.Events, p.Moved, p.IssuesBefore, p.IssuesAfter)
	if p.Unreadable > 0 {
		fmt.Fprintf(stdout, "; %d payloads are gone or broken", p.Unreadable)
	}
	fmt.Fprintln(stdout)
	if p.Renamed > 0 {
		fmt.Fprintf(stdout, "%d issues keep their events, but would be made anew\n", p.Renamed)
	}
	list := func(title, verb string, all int, changes []api.GroupingChange) {
		if all == 0 {
			return
		}
		fmt.Fprintf(stdout, "\n%s (%d):\n", title, all)
		for _, c := range changes {
			fmt.Fprintf(stdout, "  %s  %s, %d events, %s %d:\n", c.Issue.Hash, c.Issue.Title, c.Issue.Events, verb, c.PartsAll)
			for _, part := range c.Parts {
				fmt.Fprintf(stdout, "    %s  %s, %d events, as %s\n", part.Hash, part.Title, part.Events, part.Example)
			}
		}
	}
	list("Splits", "into", p.SplitsAll, p.Splits)
	list("Merges", "of", p.MergesAll, p.Merges)
	for i, m := range p.Moves {
		if i == 0 {
			fmt.Fprintln(stdout, "\nExamples:")
		}
		fmt.Fprintf(stdout, "  %s  %s\n", m.Event, m.Title)
		for _, l := range m.Was {
			fmt.Fprintln(stdout, "    -", l)
		}
		for _, l := range m.Is {
			fmt.Fprintln(stdout, "    +", l)
		}
	}
	return nil
}

func explainGrouping(f groupingFlags, stdout io.Writer) error {
	var e api.GroupingOfEvent
	if err := f.ask(http.MethodGet, "/events/"+strings.ReplaceAll(f.rest[0], "-", "")+"/grouping", nil, &e); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\n%s by %s, strategy %s\n", e.Title, e.Hash, e.Tree.Version, e.Tree.Strategy)
	if e.Stored != e.Hash {
		fmt.Fprintf(stdout, "stored as %s: the rules have changed since\n", e.Stored)
	}
	if e.Tree.Rule != "" {
		fmt.Fprintf(stdout, "fingerprint rule: %s\n", e.Tree.Rule)
	}
	for _, v := range e.Tree.Variants {
		fmt.Fprintf(stdout, "\nvariant %s", v.Name)
		if v.Hint != "" {
			fmt.Fprintf(stdout, ": %s", v.Hint)
		}
		fmt.Fprintln(stdout)
		printComponent(stdout, &v.Component, 1)
	}
	return nil
}

// printComponent marks with + what counts.
func printComponent(w io.Writer, c *api.GroupingComponent, depth int) {
	mark := "-"
	if c.Contributes {
		mark = "+"
	}
	fmt.Fprintf(w, "%s%s %s", strings.Repeat("  ", depth), mark, c.ID)
	if c.Value != "" {
		fmt.Fprintf(w, " %s", strings.ReplaceAll(c.Value, "\n", " "))
	}
	if c.Hint != "" {
		fmt.Fprintf(w, "  (%s)", c.Hint)
	}
	fmt.Fprintln(w)
	for i := range c.Values {
		printComponent(w, &c.Values[i], depth+1)
	}
}
