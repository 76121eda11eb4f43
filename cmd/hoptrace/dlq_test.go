package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/web/api"
)

// letterServer answers as the API does for n open letters of ingest-spans-dlq, the
// first of which cannot be retried. told are the letters that were acted on.
func letterServer(t *testing.T, n int, told *[]api.DeadLetterAction) string {
	t.Helper()
	mux := http.NewServeMux()
	send := func(w http.ResponseWriter, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	letter := func(i int) api.DeadLetter {
		return api.DeadLetter{
			Topic: "ingest-spans-dlq", Partition: 1, Offset: int64(i), State: "open", Stage: "persist-spans", OriginalTopic: "ingest-spans", OriginalOffset: int64(i) + 100,
			Reason: "no span\nat all", Bytes: 12, PutAside: "1700000000000000000",
		}
	}
	mux.HandleFunc("GET /api/v1/dead-letters", func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		from, _ := strconv.Atoi(r.FormValue("before"))
		if topic := r.FormValue("topic"); topic != "" && topic != "ingest-spans-dlq" {
			http.Error(w, `{"title":"no such topic","status":404,"code":"topic_not_found","detail":"there is no topic `+topic+`"}`, http.StatusNotFound)
			return
		}
		out := api.DeadLetterList{Topics: []api.DeadLetterTopic{{Topic: "ingest-spans-dlq", Open: int64(n)}}, Letters: []api.DeadLetter{}}
		for i := from; i < n && len(out.Letters) < limit; i++ {
			out.Letters = append(out.Letters, letter(i))
		}
		if at := from + len(out.Letters); at < n {
			next := strconv.Itoa(at)
			out.Next = &next
		}
		send(w, out)
	})
	mux.HandleFunc("GET /api/v1/dead-letters/{topic}/{partition}/{offset}", func(w http.ResponseWriter, r *http.Request) {
		i, _ := strconv.Atoi(r.PathValue("offset"))
		send(w, api.DeadLetterDetail{Letter: letter(i), WholeBytes: 12, Headers: []api.DeadLetterHeader{{Key: "reason", Value: "no span"}}, Preview: "not a span"})
	})
	act := func(done string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var a api.DeadLetterAction
			if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
				t.Error(err)
			}
			*told = append(*told, a)
			var out api.DeadLetterOutcomes
			for _, l := range a.Letters {
				o := api.DeadLetterOutcome{Letter: l, Outcome: done, Detail: "as asked"}
				if l.Offset == 0 && done == "retried" {
					o.Outcome, o.Detail = "refused", "its topic is gone"
				}
				out.Outcomes = append(out.Outcomes, o)
			}
			send(w, out)
		}
	}
	mux.HandleFunc("POST /api/v1/dead-letters/retry", act("retried"))
	mux.HandleFunc("POST /api/v1/dead-letters/discard", act("discarded"))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestDeadLettersAreListedShownAndSeenTo(t *testing.T) {
	var told []api.DeadLetterAction
	server := letterServer(t, 230, &told)
	run := func(code int, args ...string) (string, string) {
		t.Helper()
		got, stdout, stderr := command(nil, slices.Concat([]string{"dlq"}, args, []string{"--server", server})...)
		if got != code {
			t.Errorf("dlq %v ended with %d, want %d: %s", args, got, code, stderr)
		}
		return stdout, stderr
	}
	has := func(s string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(s, w) {
				t.Errorf("no %q in\n%.800s", w, s)
			}
		}
	}

	out, _ := run(0, "list", "--limit", "150")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 152 {
		t.Errorf("150 letters of two pages are %d lines; want a header, them and a sum", len(lines))
	}
	has(out, "LETTER", "ingest-spans-dlq/1@149", "ingest-spans/0@249", "no span at all", "2023-11-14T22:13:20Z", "150 shown, 230 open in all")
	out, _ = run(0, "list", "--limit=3", "--json")
	var list api.DeadLetterList
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Letters) != 3 {
		t.Errorf("%d letters as JSON, error %v; want 3", len(list.Letters), err)
	}
	_, errs := run(1, "list", "--topic", "nothing")
	has(errs, "there is no topic nothing")

	out, _ = run(0, "show", "ingest-spans-dlq/1@7")
	has(out, "ingest-spans-dlq/1@7", "persist-spans", "ingest-spans/0@107", "header reason", "not a span")

	// Nothing is done unless it is said to be done.
	out, errs = run(1, "retry", "ingest-spans-dlq/1@7")
	has(out, "ingest-spans-dlq/1@7")
	has(errs, "nothing was done", "--yes")
	if len(told) != 0 {
		t.Fatalf("without --yes the server was told %+v", told)
	}
	out, _ = run(0, "retry", "ingest-spans-dlq/1@7", "ingest-spans-dlq/1@8", "--yes", "--by", "ada")
	has(out, "ingest-spans-dlq/1@7: retried", "ingest-spans-dlq/1@8: retried")
	if len(told) != 1 || told[0].By != "ada" || !slices.Equal(told[0].Letters, []api.DeadLetterName{{Topic: "ingest-spans-dlq", Partition: 1, Offset: 7}, {Topic: "ingest-spans-dlq", Partition: 1, Offset: 8}}) {
		t.Errorf("the server was told %+v", told)
	}
	// One that is left makes the command end with 1, and the others are done.
	told = nil
	out, errs = run(1, "retry", "--all", "--yes")
	has(out, "ingest-spans-dlq/1@0: refused: its topic is gone", "ingest-spans-dlq/1@229: retried")
	has(errs, "left as they were: 1")
	n := 0
	for _, a := range told {
		if len(a.Letters) > 100 {
			t.Errorf("%d letters were named at once, at most 100", len(a.Letters))
		}
		n += len(a.Letters)
	}
	if n != 230 {
		t.Errorf("--all named %d letters, want 230", n)
	}
	out, _ = run(0, "discard", "--all", "--yes")
	has(out, "ingest-spans-dlq/1@0: discarded")
}

func TestDeadLetterCommandsSayWhatIsWrong(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		code, _, stderr := command(nil, append([]string{"dlq"}, args...)...)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("dlq %v ended with %d: %.200s; want 2 with %q", args, code, stderr, want)
		}
	}
	f("say which")
	f("list takes no letters", "--server", "http://127.0.0.1:1", "list", "a/0@1")
	f("no command", "mend", "a/0@1")
	f("names no letter", "show", "a")
	f("names no letter", "show", "a/0@-1")
	f("names no letter", "show", "a/x@1")
	f("names no letter", "show", "/0@1")
	f("one letter", "show")
	f("one letter", "show", "a/0@1", "a/0@2")
	f("takes no letters", "list", "a/0@1")
	f("needs letters, or --all", "retry")
	f("needs letters, or --all", "discard", "a/0@1", "--all")
	f("want a whole number", "list", "--limit=0")
	f("no flag", "list", "--what")
	f("--yes takes no value", "discard", "--yes=no", "a/0@1")
	f("needs a value", "list", "--topic")
}

func TestALettersNameMayHoldSlashesAndDots(t *testing.T) {
	for _, l := range []api.DeadLetterName{{Topic: "a.b_c-dlq", Partition: 3, Offset: 1 << 40}, {Topic: "a/b", Offset: 0}} {
		got, err := parseLetter(letterName(l.Topic, l.Partition, l.Offset))
		if err != nil || got != l {
			t.Errorf("%s is read as %+v, error %v", fmt.Sprint(l), got, err)
		}
	}
}
