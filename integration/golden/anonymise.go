package golden

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Anonymiser takes the machine out of what an SDK sent, and nothing else: the
// same bytes in the same order give the same bytes.
//
//   - Paths, hosts and addresses of this machine become those of a made-up one.
//   - Ids that the SDK drew at random become digests of the name of the file in
//     which they appear first, and of the order there; the same id becomes the
//     same everywhere.
//   - Times keep their form and their distances, and move to [Day].
//   - Sizes and addresses of memory, kernel, processor and browser version become
//     constants.
type Anonymiser struct {
	replacements []string          // old, new, old, new …
	ids          map[string]string // what each became, without dashes
}

// Day is when all was sent.
var Day = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// NewAnonymiser replaces the keys of a map by its values, the longest first.
// Empty keys count for nothing.
func NewAnonymiser(replacements map[string]string) *Anonymiser {
	var keys []string
	for k := range replacements {
		if k != "" {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	a := &Anonymiser{ids: map[string]string{}}
	for _, k := range keys {
		a.replacements = append(a.replacements, k, replacements[k])
	}
	return a
}

var (
	idField   = regexp.MustCompile(`"[a-z_]*(?:id|did|sid)"\s*:\s*"([0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"`)
	seconds   = regexp.MustCompile(`\b1[789][0-9]{8}(\.[0-9]{1,9})?\b`)
	dateTime  = regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}`)
	constants = []struct {
		pattern *regexp.Regexp
		with    string
	}{
		// As fields of contexts and as attributes of spans and logs.
		{regexp.MustCompile(`("(?:device\.)?cpu_description"\s*:\s*(?:\{\s*"value"\s*:\s*)?)"[^"]*"`), `${1}"a processor"`},
		{regexp.MustCompile(`("(?:os\.)?kernel_version"\s*:\s*(?:\{\s*"value"\s*:\s*)?)"[^"]*"`), `${1}"6.1.0"`},
		{regexp.MustCompile(`("name"\s*:\s*"Linux"\s*,\s*"version"\s*:\s*)"[^"]*"`), `${1}"6.1.0"`},
		{regexp.MustCompile(`("(?:app\.|device\.)?(?:app_memory|memory|free_memory|memory_size|free_storage|storage_size|processor_frequency)"\s*:\s*(?:\{\s*"value"\s*:\s*)?)[0-9]+`), `${1}4096000000`},
		{regexp.MustCompile(`\b0x[0-9a-f]{8,16}\b`), "0x7f0000000000"},
		{regexp.MustCompile(`(HeadlessChrome|Chrome)/[0-9.]+`), `${1}/150.0.0.0`},
	}
)

// near is how far a time may lie from the time of reception to count as one.
const near = 60 * 24 * time.Hour

// Parts is Bytes for parts that belong together: an id is the same in all.
func (a *Anonymiser) Parts(parts [][]byte, name string, received time.Time, nth int) ([][]byte, error) {
	const between = "\x00between parts\x00"
	out := bytes.Split(a.Bytes(bytes.Join(parts, []byte(between)), name, received, nth), []byte(between))
	if len(out) != len(parts) {
		return nil, fmt.Errorf("%s: %d parts became %d", name, len(parts), len(out))
	}
	return out, nil
}

// Bytes anonymises what arrived at a time as the nth of its kind. Name is that of
// the file that it goes to.
func (a *Anonymiser) Bytes(b []byte, name string, received time.Time, nth int) []byte {
	s := string(b)
	// Ids come first: what they are replaced by has nothing of the machine.
	for _, m := range idField.FindAllStringSubmatch(s, -1) {
		id := strings.ReplaceAll(m[1], "-", "")
		if a.ids[id] == "" {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", name, len(a.ids)))
			a.ids[id] = hex.EncodeToString(sum[:])[:len(id)]
		}
	}
	for id, made := range a.ids {
		s = strings.ReplaceAll(s, id, made)
		if len(id) == 32 { // some SDKs write an id with dashes here and without there
			s = strings.ReplaceAll(s, dashed(id), dashed(made))
		}
	}
	move := Day.Add(time.Duration(nth) * time.Second).Sub(received.Truncate(time.Second))
	close := func(t time.Time) bool { return t.Sub(received).Abs() < near }
	s = seconds.ReplaceAllStringFunc(s, func(was string) string {
		whole, fraction, _ := strings.Cut(was, ".")
		n, err := strconv.ParseInt(whole, 10, 64)
		if err != nil || !close(time.Unix(n, 0)) {
			return was
		}
		moved := strconv.FormatInt(n+int64(move/time.Second), 10)
		if fraction != "" {
			moved += "." + fraction
		}
		return moved
	})
	s = dateTime.ReplaceAllStringFunc(s, func(was string) string {
		t, err := time.Parse("2006-01-02T15:04:05", was)
		if err != nil || !close(t) {
			return was
		}
		return t.Add(move).Format("2006-01-02T15:04:05")
	})
	for _, c := range constants {
		s = c.pattern.ReplaceAllString(s, c.with)
	}
	return []byte(strings.NewReplacer(a.replacements...).Replace(s))
}

func dashed(id string) string {
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}
