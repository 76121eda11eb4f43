package main

import (
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/web/api"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

const lagUsage = `hoptrace lag tells how far consumer groups are behind.

  hoptrace lag [--cluster NAME] [--topic NAME] [--not-ok] [--json]
  hoptrace lag --group NAME [--cluster NAME] [--topic NAME] [--json]     its partitions

It asks a running server: --server http://127.0.0.1:8090, with --token or HOPTRACE_TOKEN where one must sign in. It ends with 1 when a
group is not OK, or a cluster does not answer.
`

type lagFlags struct {
	server, token, cluster, group, topic string
	notOK, json                          bool
}

func parseLag(args []string) (f lagFlags, err error) {
	f.server = "http://127.0.0.1:8090"
	if err := (flags{
		values: map[string]*string{"--server": &f.server, "--token": &f.token, "--cluster": &f.cluster, "--group": &f.group, "--topic": &f.topic},
		facts:  map[string]*bool{"--json": &f.json, "--not-ok": &f.notOK},
	}).read(args); err != nil {
		return f, err
	}
	f.server = strings.TrimRight(f.server, "/")
	if f.notOK && f.group != "" {
		return f, fmt.Errorf("--not-ok chooses among groups, and --group names one; use one of them")
	}
	return f, nil
}

// runLag is `hoptrace lag`; it returns the exit code as run does.
func runLag(args []string, stdout, stderr io.Writer) int {
	f, err := parseLag(args)
	if err != nil {
		fmt.Fprintf(stderr, "hoptrace lag: %v\n\n%s", err, lagUsage)
		return 2
	}
	ask := askLagList
	if f.group != "" {
		ask = askLagGroup
	}
	ok, err := ask(f, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "hoptrace lag:", err)
		return 1
	}
	if !ok {
		return 1
	}
	return 0
}

func (f lagFlags) query(more url.Values) string {
	for name, value := range map[string]string{"cluster": f.cluster, "topic": f.topic} {
		if value != "" {
			more.Set(name, value)
		}
	}
	if len(more) == 0 {
		return ""
	}
	return "?" + more.Encode()
}

func askLagList(f lagFlags, stdout, stderr io.Writer) (ok bool, err error) {
	more := url.Values{"limit": {"500"}}
	if f.notOK {
		more.Set("state", "not-ok")
	}
	var l api.LagList
	raw, err := askServer(f.server, f.token, "/api/v1/lag"+f.query(more), &l)
	if err != nil {
		return false, err
	}
	ok = len(l.Clusters) > 0
	for _, c := range l.Clusters {
		if c.Error != "" && (f.cluster == "" || f.cluster == c.Name) {
			ok = false
			fmt.Fprintf(stderr, "hoptrace lag: cluster %s does not answer in whole: %s\n", c.Name, c.Error)
		}
	}
	for _, s := range l.States {
		ok = ok && (s.State == "ok" || s.Count == 0)
	}
	if f.json {
		_, err = stdout.Write(append(raw, '\n'))
		return ok, err
	}
	if len(l.Clusters) == 0 {
		fmt.Fprintln(stderr, "hoptrace lag: no Kafka cluster is watched; set kafka.brokers or lagwatch.clusters of the server")
	}
	if len(l.Lines) > 0 {
		t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "GROUP\tTOPIC\tSTATE\tRECORDS\tBEHIND\tREAD/S\tWRITTEN/S\tCAUGHT UP\tDELETED IN\tCLUSTER")
		for _, x := range l.Lines {
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Group, x.Topic, x.State, x.Lag, durationText(x.BehindNs), rateText(x.Read), rateText(x.Written), drainedText(x.Drained), deletedText(x.Deleted), x.Cluster)
		}
		_ = t.Flush()
		if more := l.Total - len(l.Lines); more > 0 {
			fmt.Fprintf(stdout, "and %d more; choose with --cluster, --topic or --not-ok\n", more)
		}
	}
	fmt.Fprintln(stdout, findingText(l.Finding))
	return ok, nil
}

func askLagGroup(f lagFlags, stdout, _ io.Writer) (ok bool, err error) {
	var d api.LagDetail
	raw, err := askServer(f.server, f.token, "/api/v1/lag/"+url.PathEscape(f.group)+f.query(url.Values{"limit": {"500"}}), &d)
	if err != nil {
		return false, err
	}
	ok = d.Cluster.Error == ""
	for _, l := range d.Lines { // each as its worst partition is
		ok = ok && l.State == "ok"
	}
	if f.json {
		_, err = stdout.Write(append(raw, '\n'))
		return ok, err
	}
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PARTITION\tSTATE\tRECORDS\tBEHIND\tCOMMITTED\tLOG\tREAD/S\tWRITTEN/S\tCAUGHT UP\tDELETED IN\tOWNER")
	for _, p := range d.Partitions {
		fmt.Fprintf(t, "%s/%d\t%s\t%d\t%s\t%d\t%d…%d\t%s\t%s\t%s\t%s\t%s\n", p.Topic, p.Partition, p.State, p.Lag, durationText(p.BehindNs), p.Committed, p.LogStart, p.LogEnd, rateText(p.Read), rateText(p.Written),
			drainedText(p.Drained), deletedText(p.Deleted), p.Owner)
	}
	_ = t.Flush()
	if more := d.Total - len(d.Partitions); more > 0 {
		fmt.Fprintf(stdout, "and %d more; choose with --topic\n", more)
	}
	fmt.Fprintln(stdout, findingText(d.Finding))
	return ok, nil
}

func durationText(ns *int64) string {
	if ns == nil {
		return "unknown"
	}
	return roundTime(time.Duration(*ns)).String()
}

// roundTime leaves about three digits.
func roundTime(d time.Duration) time.Duration {
	switch {
	case d >= time.Hour:
		return d.Round(time.Minute)
	case d >= 10*time.Second:
		return d.Round(time.Second)
	}
	return d.Round(10 * time.Millisecond)
}

func rateText(v *float64) string {
	switch {
	case v == nil:
		return "unknown"
	case *v >= 100:
		return strconv.FormatFloat(math.Round(*v), 'f', -1, 64)
	}
	return strconv.FormatFloat(*v, 'g', 3, 64)
}

func drainedText(f api.LagForecast) string {
	switch {
	case f.When == "in" && f.Ns == 0:
		return "now"
	case f.When == "in":
		return "in " + roundTime(time.Duration(f.Ns)).String()
	}
	return f.When
}

func deletedText(f api.LagForecast) string {
	if f.When == "in" {
		return roundTime(time.Duration(f.Ns)).String()
	}
	return f.When
}

// findingText is a finding as people read it.
func findingText(f finding.Finding) string {
	var b strings.Builder
	for i, pieces := range [][]finding.Piece{f.Title, f.Text} {
		if i > 0 && len(pieces) > 0 {
			b.WriteString(". ")
		}
		for _, p := range pieces {
			switch p.Kind {
			case finding.KindDuration:
				b.WriteString(roundTime(time.Duration(p.Value)).String())
			case finding.KindCount:
				b.WriteString(strconv.FormatFloat(p.Value, 'f', -1, 64))
			case finding.KindShare:
				b.WriteString(strconv.FormatFloat(p.Value*100, 'f', 1, 64) + " %")
			default:
				b.WriteString(p.Text)
			}
		}
	}
	return b.String()
}
