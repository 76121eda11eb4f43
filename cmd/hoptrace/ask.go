package main

import (
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

// maxAnswer is the longest answer of a server that a command reads, in bytes.
const maxAnswer = 64 << 20

// askTimeout is longer than the server's own for one question.
const askTimeout = time.Minute

// askServer gets a path of a running server's API into out, and returns its JSON
// too. token may be empty; see showToken.
func askServer(server, token, path string, out any) (raw []byte, err error) {
	r, err := http.NewRequest(http.MethodGet, server+path, http.NoBody) //nolint:noctx // the client has a timeout
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s: %w (--server is an address as http://127.0.0.1:8090)", server, err)
	}
	showToken(r, token)
	client := &http.Client{Timeout: askTimeout}
	resp, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s: %w (is `hoptrace all` or `hoptrace web` running there? --server names another)", server, err)
	}
	defer resp.Body.Close()
	if raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return nil, fmt.Errorf("cannot read the answer of %s: %w", server, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(server, resp, raw)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("cannot read the answer of %s as this command knows it: %w (is the server of another version?)", server, err)
	}
	return raw, nil
}

// showToken shows the server the token, or that of HOPTRACE_TOKEN, which other
// users of the machine do not see.
func showToken(r *http.Request, token string) {
	if token == "" {
		token = os.Getenv("HOPTRACE_TOKEN")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
}

// refusal is what a server said instead of an answer.
func refusal(server string, resp *http.Response, body []byte) error {
	var p api.Problem
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		return fmt.Errorf("%s answers %s, and not as hoptrace does (does --server name it?)", server, resp.Status)
	}
	again := ""
	if p.RetryAfter > 0 {
		again = fmt.Sprintf("; again in %s", time.Duration(p.RetryAfter)*time.Second)
	}
	if p.Code == "sign_in_required" {
		p.WayOut = "give a token by HOPTRACE_TOKEN or --token; hoptrace tokens create NAME --role viewer makes one"
	}
	// Faults of rules come in one line each.
	return fmt.Errorf("%s says: %s (%s%s)", server, strings.ReplaceAll(p.Detail, "; line ", "\n  line "), p.WayOut, again)
}

// nextValue moves on to the value of the flag at i, written as "--flag value".
func nextValue(args []string, i *int) (string, error) {
	name := args[*i]
	if *i++; *i == len(args) {
		return "", fmt.Errorf("%s needs a value", name)
	}
	return args[*i], nil
}

// projectID checks the value of --project.
func projectID(value string) (string, error) {
	if _, err := strconv.ParseUint(value, 10, 64); err != nil {
		return "", fmt.Errorf("--project is %q, want its decimal id", value)
	}
	return value, nil
}
