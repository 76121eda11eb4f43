package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/web/api"
)

const ledgerUsage = `hoptrace ledger tells where every item went that senders handed over.

  hoptrace ledger [--since 24h] [--project ID] [--reasons] [--json]

It asks a running server: --server http://127.0.0.1:8090, with --token or HOPTRACE_TOKEN where one must sign in. It ends with 1 when the
ledger does not balance. It is about all projects unless one is named.
`

type ledgerFlags struct {
	server, token, project string
	since                  time.Duration
	reasons, json          bool
}

func parseLedger(args []string) (f ledgerFlags, err error) {
	f = ledgerFlags{server: "http://127.0.0.1:8090", since: 24 * time.Hour}
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(args[i], "=")
		switch name {
		case "--reasons":
			f.reasons = true
			continue
		case "--json":
			f.json = true
			continue
		case "--server", "--token", "--project", "--since":
		default:
			return f, fmt.Errorf("no flag or word %q", args[i])
		}
		if !hasValue {
			if value, err = nextValue(args, &i); err != nil {
				return f, err
			}
		}
		switch name {
		case "--server":
			f.server = strings.TrimRight(value, "/")
		case "--token":
			f.token = value
		case "--project":
			if f.project, err = projectID(value); err != nil {
				return f, err
			}
		case "--since":
			if f.since, err = time.ParseDuration(value); err != nil || f.since <= 0 {
				return f, fmt.Errorf("--since is %q, want a positive duration like 24h", value)
			}
		}
	}
	return f, nil
}

// runLedger is `hoptrace ledger`; it returns the exit code as run does.
func runLedger(args []string, stdout, stderr io.Writer) int {
	f, err := parseLedger(args)
	if err != nil {
		fmt.Fprintf(stderr, "hoptrace ledger: %v\n\n%s", err, ledgerUsage)
		return 2
	}
	l, raw, err := askLedger(f)
	if err != nil {
		fmt.Fprintln(stderr, "hoptrace ledger:", err)
		return 1
	}
	if f.json {
		_, _ = stdout.Write(append(raw, '\n'))
	} else {
		printLedger(stdout, l, f.reasons)
	}
	if !l.Balanced {
		return 1
	}
	return 0
}

func askLedger(f ledgerFlags) (l api.Ledger, raw []byte, err error) {
	q := url.Values{"from": {strconv.FormatInt(time.Now().Add(-f.since).UnixNano(), 10)}}
	if f.project == "" {
		q.Set("all", "true")
	} else {
		q.Set("project", f.project)
	}
	raw, err = askServer(f.server, f.token, "/api/v1/ledger?"+q.Encode(), &l)
	return l, raw, err
}

func printLedger(w io.Writer, l api.Ledger, reasons bool) {
	if len(l.Lines) == 0 {
		fmt.Fprintln(w, "nothing was received")
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "category\treceived\tstored\tfiltered\tlimited\tinvalid\tclient discard\tparked\tin flight\t")
		for _, x := range l.Lines {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", x.Category, x.Received, x.Stored, x.Filtered, x.Limited, x.Invalid, x.ClientDiscard, x.Parked, x.InFlight)
		}
		_ = t.Flush()
	}
	if reasons {
		for _, x := range l.Lines {
			for _, r := range x.Reasons {
				fmt.Fprintf(w, "%s %s %s: %d\n", x.Category, r.Outcome, r.Reason, r.Quantity)
			}
		}
	}
	fmt.Fprintln(w, l.Verdict)
}
