package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestLagIsPrintedAndEndsWithOneUnlessAllIsOK(t *testing.T) {
	const line = `{"cluster":"bus","group":"payments","topic":"orders","state":"stall","reason":"nothing was committed","lag":3120,"behindNs":10260000000000,"read":2.2,"written":18.44,
		"drained":{"when":"never"},"deleted":{"when":"in","ns":14940000000000},"spare":{"when":"in","ns":14940000000000}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.URL.Path == "/api/v1/lag" && q.Get("topic") == "fine":
			_, _ = w.Write([]byte(`{"clusters":[{"name":"bus"}],"lines":[{"group":"g","topic":"fine","state":"ok","drained":{"when":"in"},"deleted":{"when":"never"},"behindNs":0,"read":402,"written":402}],"total":1,
				"states":[{"state":"stall","count":0},{"state":"ok","count":1}],"finding":{"title":[{"kind":"text","text":"The one group keeps up"}]}}`))
		case r.URL.Path == "/api/v1/lag" && q.Get("topic") == "none":
			_, _ = w.Write([]byte(`{"finding":{"title":[{"kind":"text","text":"No Kafka cluster is watched"}]}}`))
		case r.URL.Path == "/api/v1/lag" && q.Get("topic") == "away":
			_, _ = w.Write([]byte(`{"clusters":[{"name":"eu","error":"connection refused"}],"finding":{}}`))
		case r.URL.Path == "/api/v1/lag":
			_, _ = w.Write([]byte(`{"clusters":[{"name":"bus"}],"lines":[` + line + `],"total":3,"states":[{"state":"stall","count":1}],
				"finding":{"title":[{"kind":"text","text":"Group payments will lose records in "},{"kind":"duration","value":14940000000000}],"text":[{"kind":"text","text":"It reads 2.2 records/s."}]}}`))
		case r.URL.EscapedPath() == "/api/v1/lag/pay%2Fments":
			_, _ = w.Write([]byte(`{"cluster":{"name":"bus"},"lines":[{"state":"warn"}],"total":700,"partitions":[{"topic":"orders","partition":1,"state":"warn","owner":"worker-1","committed":5,"logStart":1,"logEnd":90,"lag":85,
				"behindNs":null,"drained":{"when":"unknown"},"deleted":{"when":"never"}}],"finding":{"title":[{"kind":"count","value":85}]}}`))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"code":"no_group","detail":"there is no group","wayOut":"list them"}`))
		}
	}))
	defer server.Close()
	f := func(code int, want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		if got := runLag(append(args, "--server", server.URL), &out, &out); got != code || !strings.Contains(out.String(), want) {
			t.Errorf("%v ends with %d; want %d and %q:\n%s", args, got, code, want, out.String())
		}
	}
	f(1, "payments  orders  stall  3120     2h51m0s  2.2     18.4       never      4h9m0s      bus")
	f(1, "Group payments will lose records in 4h9m0s. It reads 2.2 records/s.")
	f(1, "and 2 more")
	f(1, `"group":"payments"`, "--json", "--not-ok")
	f(0, "The one group keeps up", "--topic", "fine")
	f(0, "402     402        now        never", "--topic=fine")
	f(1, "no Kafka cluster is watched", "--topic", "none")
	f(1, "cluster eu does not answer in whole: connection refused", "--topic", "away")
	f(1, "orders/1   warn   85       unknown  5          1…90  unknown  unknown    unknown    never       worker-1", "--group", "pay/ments")
	f(1, "and 699 more; choose with --topic", "--group", "pay/ments")
	f(1, "there is no group (list them)", "--group", "gone")
	f(2, "use one of them", "--group", "g", "--not-ok")
	f(2, `no flag or word "orders"`, "orders")
}
