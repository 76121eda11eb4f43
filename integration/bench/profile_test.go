package bench

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

// profileTo names a file for a CPU profile of hoptrace, taken while the load is as
// high as it goes.
const profileTo = "BENCHPROFILE"

// profiling lets hoptrace serve profiles, if one is wanted.
func profiling(settings map[string]string) map[string]string {
	if os.Getenv(profileTo) != "" {
		settings["telemetry.pprof"] = "true"
	}
	return settings
}

// profile begins a profile of so many seconds, if it is wanted, and gives what waits
// for its end.
func (l *line) profile(seconds int) (wait func()) {
	file := os.Getenv(profileTo)
	if file == "" {
		return func() {}
	}
	done := make(chan error, 1)
	go func() { done <- l.keepProfile(seconds, file) }()
	return func() {
		if err := <-done; err != nil {
			l.b.Errorf("no profile: %v", err)
		}
	}
}

func (l *line) keepProfile(seconds int, file string) error {
	req, err := http.NewRequestWithContext(l.b.Context(), http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", l.h.Own, seconds), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.200s", resp.Status, body)
	}
	return os.WriteFile(file, body, 0o600)
}
