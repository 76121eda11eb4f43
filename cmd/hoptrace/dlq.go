package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/web/api"
)

const dlqUsage = `hoptrace dlq shows the records that no stage could take, and sees to them.

  hoptrace dlq list [--topic TOPIC] [--state open|retried|discarded|any] [--limit N] [--json]
  hoptrace dlq show LETTER [--json]          why it is there, its headers, a preview without secrets
  hoptrace dlq retry LETTER… [--yes]         put it back on the topic that it came from, once
  hoptrace dlq discard LETTER… [--yes]       note that it needs nobody
  hoptrace dlq retry|discard --all [--topic TOPIC] [--yes]      all that are open

A LETTER is TOPIC/PARTITION@OFFSET, as list prints it. retry and discard print what they
would do, and do it with --yes. --by NAME says who acts. It asks a running server:
--server http://127.0.0.1:8090, with --token or HOPTRACE_TOKEN where one must sign in. It ends with 1 when something was not done.
`

type dlqFlags struct {
	command                         string // list, show, retry or discard
	server, token, topic, state, by string
	limit                           int
	json, yes, all                  bool
	letters                         []api.DeadLetterName
}

func parseDLQ(args []string) (f dlqFlags, err error) {
	f.server, f.limit, f.by = "http://127.0.0.1:8090", 50, os.Getenv("USER")
	limit := ""
	if err := (flags{
		values: map[string]*string{"--server": &f.server, "--token": &f.token, "--topic": &f.topic, "--state": &f.state, "--by": &f.by, "--limit": &limit},
		facts:  map[string]*bool{"--json": &f.json, "--yes": &f.yes, "--all": &f.all},
		word: func(w string) error {
			if f.command == "" {
				f.command = w
				return nil
			}
			l, err := parseLetter(w)
			f.letters = append(f.letters, l)
			return err
		},
	}).read(args); err != nil {
		return f, err
	}
	if limit != "" {
		if f.limit, err = strconv.Atoi(limit); err != nil || f.limit < 1 {
			return f, fmt.Errorf("--limit is %q, want a whole number from 1 on", limit)
		}
	}
	f.server = strings.TrimRight(f.server, "/")
	return f, nil
}

// parseLetter reads TOPIC/PARTITION@OFFSET.
func parseLetter(s string) (l api.DeadLetterName, err error) {
	bad := fmt.Errorf("%q names no letter; want TOPIC/PARTITION@OFFSET, as `hoptrace dlq list` prints it", s)
	at, slash := strings.LastIndexByte(s, '@'), strings.LastIndexByte(s, '/')
	if slash <= 0 || at < slash {
		return l, bad
	}
	partition, err := strconv.ParseInt(s[slash+1:at], 10, 32)
	if err != nil || partition < 0 {
		return l, bad
	}
	if l.Offset, err = strconv.ParseInt(s[at+1:], 10, 64); err != nil || l.Offset < 0 {
		return l, bad
	}
	l.Topic, l.Partition = s[:slash], int32(partition)
	return l, nil
}

func letterName(topic string, partition int32, offset int64) string {
	return topic + "/" + strconv.Itoa(int(partition)) + "@" + strconv.FormatInt(offset, 10)
}

// runDLQ is `hoptrace dlq`; it returns the exit code as run does.
func runDLQ(args []string, stdout, stderr io.Writer) int {
	wrong := func(format string, a ...any) int {
		fmt.Fprintf(stderr, "hoptrace dlq: "+format+"\n\n%s", append(a, dlqUsage)...)
		return 2
	}
	f, err := parseDLQ(args)
	if err != nil {
		return wrong("%v", err)
	}
	switch command := f.command; command {
	case "":
		return wrong("say which: list, show, retry or discard")
	case "list":
		if len(f.letters) > 0 || f.all {
			return wrong("list takes no letters; --topic and --state choose")
		}
		err = listLetters(f, stdout)
	case "show":
		if len(f.letters) != 1 {
			return wrong("show needs one letter: TOPIC/PARTITION@OFFSET")
		}
		err = showLetter(f, stdout)
	case "retry", "discard":
		if f.all == (len(f.letters) > 0) {
			return wrong("%s needs letters, or --all", command)
		}
		err = actOnLetters(command, f, stdout)
	default:
		return wrong("no command %q", command)
	}
	if err != nil {
		fmt.Fprintln(stderr, "hoptrace dlq:", err)
		return 1
	}
	return 0
}

// pageOfLetters asks for one page of letters in a state, newest first.
func pageOfLetters(f dlqFlags, state, before string, limit int) (list api.DeadLetterList, raw []byte, err error) {
	q := url.Values{"limit": {strconv.Itoa(min(limit, 100))}}
	for name, value := range map[string]string{"topic": f.topic, "state": state, "before": before} {
		if value != "" {
			q.Set(name, value)
		}
	}
	raw, err = askServer(f.server, f.token, "/api/v1/dead-letters?"+q.Encode(), &list)
	return list, raw, err
}

func listLetters(f dlqFlags, stdout io.Writer) error {
	before, shown := "", 0
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for {
		list, raw, err := pageOfLetters(f, f.state, before, f.limit-shown)
		if err != nil {
			return err
		}
		if f.json {
			if _, err := stdout.Write(append(raw, '\n')); err != nil {
				return err
			}
		} else {
			for i, l := range list.Letters {
				if shown+i == 0 {
					fmt.Fprintln(t, "LETTER\tPUT ASIDE\tSTATE\tSTAGE\tFROM\tBYTES\tREASON")
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", letterName(l.Topic, l.Partition, l.Offset), momentText(l.PutAside), l.State, l.Stage, letterName(l.OriginalTopic, l.OriginalPartition, l.OriginalOffset), l.Bytes, oneLine(l.Reason))
			}
		}
		shown += len(list.Letters)
		if list.Next == nil || shown >= f.limit {
			if err := t.Flush(); err != nil || f.json {
				return err
			}
			open := int64(0)
			for _, topic := range list.Topics {
				open += topic.Open
			}
			_, err := fmt.Fprintf(stdout, "%d shown, %d open in all\n", shown, open)
			return err
		}
		before = *list.Next
	}
}

func momentText(n api.Nanos) string {
	ns, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return "unknown"
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339)
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100]) + "…"
	}
	return s
}

func showLetter(f dlqFlags, stdout io.Writer) error {
	l := f.letters[0]
	var d api.DeadLetterDetail
	raw, err := askServer(f.server, f.token, fmt.Sprintf("/api/v1/dead-letters/%s/%d/%d", url.PathEscape(l.Topic), l.Partition, l.Offset), &d)
	if err != nil {
		return err
	}
	if f.json {
		_, err = stdout.Write(append(raw, '\n'))
		return err
	}
	x := d.Letter
	state := x.State
	if x.By != "" {
		state += " by " + x.By
	}
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"letter", letterName(x.Topic, x.Partition, x.Offset)},
		{"state", state},
		{"reason", x.Reason},
		{"stage", x.Stage},
		{"from", letterName(x.OriginalTopic, x.OriginalPartition, x.OriginalOffset)},
		{"put aside", momentText(x.PutAside)},
		{"record's time", momentText(x.Time)},
		{"value", fmt.Sprintf("%d of %d bytes", x.Bytes, d.WholeBytes)},
		{"retry of", x.RetryOf},
	} {
		if line[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
		}
	}
	for _, h := range d.Headers {
		fmt.Fprintf(t, "header %s\t%s\n", h.Key, oneLine(h.Value))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if d.Preview != "" {
		what := "text"
		if d.Binary {
			what = "runs of text in it"
		}
		if d.Cut {
			what += ", cut"
		}
		fmt.Fprintf(stdout, "\n%s:\n%s\n", what, d.Preview)
	}
	return nil
}

// actOnLetters prints what it would do, and does it when it may.
func actOnLetters(command string, f dlqFlags, stdout io.Writer) error {
	letters := f.letters
	if f.all {
		for before := ""; ; {
			list, _, err := pageOfLetters(f, "open", before, 100)
			if err != nil {
				return err
			}
			for _, l := range list.Letters {
				letters = append(letters, api.DeadLetterName{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset})
			}
			if list.Next == nil {
				break
			}
			before = *list.Next
		}
	}
	if len(letters) == 0 {
		_, err := fmt.Fprintln(stdout, "no letter is open")
		return err
	}
	if !f.yes {
		for _, l := range letters {
			fmt.Fprintln(stdout, letterName(l.Topic, l.Partition, l.Offset))
		}
		what := "is put back once on the topic that it came from; what fails again becomes a new letter"
		if command == "discard" {
			what = "is noted as discarded; it stays until retention deletes it, and can be retried until then"
		}
		return fmt.Errorf("nothing was done; with --yes each of these %s", what)
	}
	failed := 0
	for len(letters) > 0 {
		n := min(len(letters), 100)
		var out api.DeadLetterOutcomes
		if err := tellServer(f.server, f.token, "/api/v1/dead-letters/"+command, api.DeadLetterAction{Letters: letters[:n], By: f.by}, &out); err != nil {
			return err
		}
		for _, o := range out.Outcomes {
			fmt.Fprintf(stdout, "%s: %s: %s\n", letterName(o.Letter.Topic, o.Letter.Partition, o.Letter.Offset), o.Outcome, o.Detail)
			if o.Outcome != "retried" && o.Outcome != "discarded" && o.Outcome != "already" {
				failed++
			}
		}
		letters = letters[n:]
	}
	if failed > 0 {
		return fmt.Errorf("left as they were: %d", failed)
	}
	return nil
}

// tellServer posts a body to a running server's API and reads its answer into out.
func tellServer(server, token, path string, body, out any) error {
	sent, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodPost, server+path, bytes.NewReader(sent)) //nolint:noctx // the client has a timeout
	if err != nil {
		return fmt.Errorf("cannot ask %s: %w (--server is an address as http://127.0.0.1:8090)", server, err)
	}
	r.Header.Set("Content-Type", "application/json")
	showToken(r, token)
	client := &http.Client{Timeout: askTimeout}
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("cannot ask %s: %w (is `hoptrace all` or `hoptrace web` running there? --server names another)", server, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("cannot read the answer of %s: %w", server, err)
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(server, resp, raw)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("cannot read the answer of %s as this command knows it: %w (is the server of another version?)", server, err)
	}
	return nil
}
