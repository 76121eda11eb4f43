package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/pipeline/group"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// golden is an event of testdata/golden, captured from a real SDK by the test of
// integration/golden.
type golden struct {
	File  string `json:"file"`
	Issue string `json:"issue"` // events with the same one must be one issue, others must not
	SDK   string `json:"sdk"`

	payload []byte
}

func goldenEvents(t testing.TB) []golden {
	t.Helper()
	folder := filepath.Join("testdata", "golden")
	b, err := os.ReadFile(filepath.Join(folder, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].payload, err = os.ReadFile(filepath.Join(folder, filepath.FromSlash(all[i].File))); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 200 {
		t.Fatalf("there are %d golden events; want at least 200", len(all))
	}
	return all
}

// goldenDay is a little after all golden events happened.
var goldenDay = time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)

func normalised(t testing.TB, g *golden) *normalize.Event {
	t.Helper()
	e, err := normalize.NewNormalizer(normalize.DefaultConfig()).Event(normalize.Input{Payload: g.payload, Received: goldenDay.UnixNano()})
	if err != nil {
		t.Fatalf("%s: %v", g.File, err)
	}
	return e
}

func TestEveryGoldenEventIsUnderstood(t *testing.T) {
	platforms := map[string]string{"go": "go", "node": "node", "python": "python", "java": "java", "browser": "javascript"}
	ids := map[schemas.EventID]string{}
	for _, g := range goldenEvents(t) {
		e := normalised(t, &g)
		language, _, _ := strings.Cut(g.File, "/")
		if e.Platform != platforms[language] {
			t.Errorf("%s: platform is %q, want %q", g.File, e.Platform, platforms[language])
		}
		if twin := ids[e.ID]; e.ID == (schemas.EventID{}) || twin != "" {
			t.Errorf("%s: its id %s is also that of %q", g.File, e.ID, twin)
		}
		ids[e.ID] = g.File
		if at := time.Unix(0, e.Time); at.After(goldenDay) || goldenDay.Sub(at) > 2*time.Hour {
			t.Errorf("%s: happened at %s, want within two hours before %s", g.File, at.UTC(), goldenDay)
		}
		if e.TraceID.IsZero() || e.Release == "" || e.Environment != "golden" || e.SDK != g.SDK {
			t.Errorf("%s: trace %s, release %q, environment %q, SDK %q (want %q)", g.File, e.TraceID, e.Release, e.Environment, e.SDK, g.SDK)
		}
		if e.Title == "event without a message" || e.Type == "" && e.Value == "" {
			t.Errorf("%s: nothing tells what it is: title %q, type %q, value %q", g.File, e.Title, e.Type, e.Value)
		}
		if i := slices.IndexFunc(e.Tags, func(a schemas.Attribute) bool { return a.Key == "case" }); i < 0 {
			t.Errorf("%s: the tag of its case is lost: %v", g.File, e.Tags)
		}
		if strings.Contains(g.Issue, "/consumer") && (e.Topic != "orders" || e.Partition < 0 || e.Offset < 0 || e.Group != "shipping") {
			t.Errorf("%s: its record is %s/%d/%d of %q", g.File, e.Topic, e.Partition, e.Offset, e.Group)
		}
	}
}

// TestGoldenEventsFallIntoTheIssuesThatPeopleExpect compares all pairs of golden
// events of one SDK. Where grouping does not do what the label says, the pair of
// issues stands in testdata/golden-misses.txt with the reason; a line there that
// is no longer true fails too.
func TestGoldenEventsFallIntoTheIssuesThatPeopleExpect(t *testing.T) {
	misses := goldenMisses(t)
	grouper, err := group.New(group.Config{})
	if err != nil {
		t.Fatal(err)
	}
	type inOneProject struct {
		language string
		hash     schemas.Fingerprint
	}
	byHash := map[inOneProject][]string{} // the labels, each once
	byIssue := map[string][]schemas.Fingerprint{}
	for _, g := range goldenEvents(t) {
		hash := grouper.Of(normalised(t, &g)).Hashes[0]
		language, _, _ := strings.Cut(g.File, "/")
		if key := (inOneProject{language, hash}); !slices.Contains(byHash[key], g.Issue) {
			byHash[key] = append(byHash[key], g.Issue)
		}
		if !slices.Contains(byIssue[g.Issue], hash) {
			byIssue[g.Issue] = append(byIssue[g.Issue], hash)
		}
	}
	found := map[string]bool{}
	miss := func(line, what string) {
		found[line] = true
		if !misses[line] {
			t.Errorf("%s: %s", line, what)
		}
	}
	for issue, hashes := range byIssue {
		if len(hashes) > 1 {
			miss("split "+issue, "its events are several issues")
		}
	}
	for _, issues := range byHash {
		slices.Sort(issues)
		for _, issue := range issues[1:] {
			miss("merged "+issues[0]+" "+issue, "they are one issue")
		}
	}
	for line := range misses {
		if !found[line] {
			t.Errorf("%s: it is as it should be now, so testdata/golden-misses.txt must not name it", line)
		}
	}
	t.Logf("%d issues, %d of them known to be grouped otherwise", len(byIssue), len(misses))
}

// goldenMisses reads lines of "split ISSUE" and "merged ISSUE ISSUE"; what
// stands behind # is the reason.
func goldenMisses(t testing.TB) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "golden-misses.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			out[line] = true
		}
	}
	return out
}
