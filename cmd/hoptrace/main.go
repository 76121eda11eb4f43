// Command hoptrace is the whole product in one binary: `hoptrace all` runs
// every role in one process, the other commands run one role apart.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/hoptrace/hoptrace/internal/config"
	"github.com/hoptrace/hoptrace/internal/embeddedclickhouse"
	"github.com/hoptrace/hoptrace/internal/selftelemetry"
)

const usage = `hoptrace shows where every Kafka message spends its time, and what broke because of it.

  hoptrace all          everything in one process, on one data directory
  hoptrace collector    receive OTLP and Sentry envelopes, write them to Kafka
  hoptrace pipeline     read them from Kafka, store them
  hoptrace web          the UI and its API
  hoptrace clickhouse   the embedded engine, for roles in other processes of this machine
  hoptrace grouping     preview: what other rules would do to stored events; explain: why an event is in its issue
  hoptrace topics       list, plan, apply: the topics of the line; decode: a record as JSON
  hoptrace members      create, list, role, password, remove: who may sign in at the UI
  hoptrace tokens       create, list, revoke: what programs show, sentry-cli among them
  hoptrace projects     list, create, show, set: projects; keys, key-create, key-disable …: their DSNs
  hoptrace ledger       where every item went that senders handed over
  hoptrace lag          how far consumer groups are behind, when they have caught up, when records are lost
  hoptrace query        spans, hops, issues, logs … by a query; anything that the UI shows, as a table, CSV or JSON
  hoptrace record       TOPIC/PARTITION@OFFSET: a record's way, its trace and what failed on it
  hoptrace find         a message by its record, trace, id, conversation or key
  hoptrace dlq          list, show, retry, discard: the records that no stage could take
  hoptrace config       print every setting, its value and where it came from
  hoptrace version

Settings: --config FILE (YAML), environment HOPTRACE_…, flags --key value; each over the one before.
For example: hoptrace all --data /var/lib/hoptrace --web.listen 127.0.0.1:8080
`

func main() {
	if embeddedclickhouse.IsChild(os.Args) {
		os.Exit(embeddedclickhouse.RunChild())
	}
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code. 2 means that the
// command or the configuration is wrong, 1 that running failed.
func run(args, environ []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		_, _ = io.WriteString(stdout, usage)
		return 0
	}
	command, args := args[0], args[1:]
	for _, a := range args {
		if a == "--help" || a == "-h" {
			switch command {
			case "topics":
				_, _ = io.WriteString(stdout, topicsUsage)
				return 0
			case "projects":
				_, _ = io.WriteString(stdout, projectsUsage)
				return 0
			case "ledger":
				_, _ = io.WriteString(stdout, ledgerUsage)
				return 0
			case "lag":
				_, _ = io.WriteString(stdout, lagUsage)
				return 0
			case "dlq":
				_, _ = io.WriteString(stdout, dlqUsage)
				return 0
			case "record":
				_, _ = io.WriteString(stdout, recordUsage)
				return 0
			case "find":
				_, _ = io.WriteString(stdout, findUsage)
				return 0
			case "query":
				_, _ = io.WriteString(stdout, queryUsage)
				return 0
			case "tokens":
				_, _ = io.WriteString(stdout, tokensUsage)
				return 0
			case "members":
				_, _ = io.WriteString(stdout, membersUsage)
				return 0
			}
			_, _ = io.WriteString(stdout, usage)
			return 0
		}
	}
	switch command {
	case "version":
		fmt.Fprintln(stdout, "hoptrace", selftelemetry.Version())
		return 0
	case "ledger":
		return runLedger(args, stdout, stderr)
	case "lag":
		return runLag(args, stdout, stderr)
	case "dlq":
		return runDLQ(args, stdout, stderr)
	case "record":
		return runRecord(args, stdout, stderr)
	case "find":
		return runFind(args, stdout, stderr)
	case "query":
		return runQuery(args, stdout, stderr)
	case "grouping":
		return runGrouping(args, stdout, stderr)
	case "topics":
		return runTopics(args, environ, os.Stdin, stdout, stderr)
	case "tokens":
		return runTokens(args, environ, stdout, stderr)
	case "members":
		return runMembers(args, environ, os.Stdin, stdout, stderr)
	case "projects":
		return runProjects(args, environ, os.Stdin, stdout, stderr)
	case "config":
		s, set, err := load(roleConfig, args, environ)
		if s != nil {
			if printErr := set.Print(stdout); printErr != nil {
				err = errors.Join(err, printErr)
			}
		}
		return report(stderr, err)
	}
	r, ok := roles[command]
	if !ok {
		fmt.Fprintf(stderr, "hoptrace: no command %q\n\n%s", command, usage)
		return 2
	}
	s, _, err := load(r, args, environ)
	if err != nil {
		return report(stderr, err)
	}
	log, err := selftelemetry.NewLogger(stderr, s.Log.Level, s.Log.Format)
	if err != nil {
		return report(stderr, err)
	}
	log = log.With("role", command)
	debug.SetMemoryLimit(int64(s.MemoryLimit))

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, r, s, log); err != nil {
		log.Error("hoptrace ended", "err", err)
		return 1
	}
	return 0
}

// load makes the settings of a role from all layers.
func load(r role, args, environ []string) (*settings, *config.Set, error) {
	file := ""
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, "HOPTRACE_CONFIG="); ok {
			file = v
		}
	}
	var rest []string
	var missing error
	for i := 0; i < len(args); i++ {
		switch v, isEqual := strings.CutPrefix(args[i], "--config="); {
		case isEqual:
			file = v
		case args[i] == "--config" && i+1 < len(args):
			i++
			file = args[i]
		case args[i] == "--config":
			missing = errors.New("flag --config: the path of a file is missing")
		default:
			rest = append(rest, args[i])
		}
	}
	s := defaultSettings()
	set := config.Of(&s)
	err := set.Load(config.Layers{File: file, Environ: environ, EnvPrefix: envPrefix, EnvIgnore: envIgnore, Args: rest})
	return &s, set, errors.Join(missing, err, s.validate(r))
}

func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "hoptrace: the configuration has faults:")
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(stderr, "  "+line)
	}
	return 2
}
