package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxAnswer is the longest answer of a server that a command reads, in bytes.
const maxAnswer = 64 << 20

// askTimeout is longer than the server's own for one question.
const askTimeout = time.Minute

// askServer gets a path of a running server's API into out, and returns its JSON too.
func askServer(server, path string, out any) (raw []byte, err error) {
	client := &http.Client{Timeout: askTimeout}
	resp, err := client.Get(server + path) //nolint:noctx // the client has a timeout
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s: %w (is `hoptrace all` or `hoptrace web` running there? --server names another)", server, err)
	}
	defer resp.Body.Close()
	if raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return nil, fmt.Errorf("cannot read the answer of %s: %w", server, err)
	}
	if resp.StatusCode != http.StatusOK {
		var e struct {
			Error struct{ Message, Hint string } `json:"error"`
		}
		if json.Unmarshal(raw, &e) == nil && e.Error.Message != "" {
			return nil, fmt.Errorf("%s says: %s (%s)", server, e.Error.Message, e.Error.Hint)
		}
		return nil, fmt.Errorf("%s answers %s", server, resp.Status)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("cannot read the answer of %s as this command knows it: %w (is the server of another version?)", server, err)
	}
	return raw, nil
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
