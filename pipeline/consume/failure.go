package consume

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// FailureKind is what a loop was at when it failed.
type FailureKind string

// What a loop can fail at.
const (
	FailedHandling FailureKind = "handling" // a batch, or a dead letter; it is tried again
	FailedFetch    FailureKind = "fetching"
	FailedCommit   FailureKind = "committing"
	FailedPanic    FailureKind = "panic" // of the stage; it was caught
)

// Failure is the last one of its kind.
type Failure struct {
	Stage, Topic string // the topic as Kafka calls it
	Kind         FailureKind
	At           time.Time
	Says         string // the error, at most 300 bytes of it
}

// maxSays bounds what is kept of an error, in bytes.
const maxSays = 300

type failureKey struct {
	stage, topic string
	kind         FailureKind
}

// failures hold what each loop of a process last failed by. They are as many as there
// are loops and kinds.
type failures struct {
	mu   sync.Mutex // guards the following
	last map[failureKey]Failure
}

func (f *failures) note(cfg Config, kind FailureKind, err error) {
	says := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(says) > maxSays {
		says = says[:maxSays]
		for !utf8.ValidString(says) {
			says = says[:len(says)-1]
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		f.last = map[failureKey]Failure{}
	}
	f.last[failureKey{cfg.Stage, cfg.Topic, kind}] = Failure{Stage: cfg.Stage, Topic: cfg.Topic, Kind: kind, At: time.Now(), Says: says}
}

// Failures gives what the loops last failed by, newest first.
func (m *Metrics) Failures() []Failure {
	m.failed.mu.Lock()
	defer m.failed.mu.Unlock()
	out := make([]Failure, 0, len(m.failed.last))
	for _, f := range m.failed.last {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Failure) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(a.Stage, b.Stage), strings.Compare(a.Topic, b.Topic), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return out
}
