package wire

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// CheckRecord tells whether a record, as a stage produced it, is what the
// contract of its topic says: the headers that it must have, and a value that
// is decoded by the version that they name. topic is the logical name, header
// gives the last header of a name and "" for none. Of a dead letter only the
// headers are checked, since its value may be anything.
func CheckRecord(topic string, header func(name string) string, value []byte) error {
	t, err := topics.Get(topic)
	if err != nil {
		return err
	}
	fault := func(name, want string) error {
		return fmt.Errorf("%s: header %s is %q; it must be %s", topic, name, cutText(header(name)), want)
	}
	if t.IsDLQ() {
		for _, name := range []string{"dlq-reason", "dlq-stage", "dlq-topic", "dlq-partition", "dlq-offset"} {
			if header(name) == "" {
				return fault(name, "there")
			}
		}
		return nil
	}
	if header(schemas.HeaderSchema) == "" {
		return fault(schemas.HeaderSchema, "there")
	}
	if slices.Contains(t.Producers, "collector") && topic != topics.Outcomes {
		if id, err := strconv.ParseUint(header(schemas.HeaderProject), 10, 64); err != nil || id == 0 {
			return fault(schemas.HeaderProject, "a project's id")
		}
		if ns, err := strconv.ParseInt(header(schemas.HeaderReceived), 10, 64); err != nil || ns <= 0 {
			return fault(schemas.HeaderReceived, "a time in Unix ns")
		}
		if n := header(schemas.HeaderCount); n != "" {
			if _, err := strconv.ParseUint(n, 10, 32); err != nil {
				return fault(schemas.HeaderCount, "a number")
			}
		}
		if id := header(schemas.HeaderEventID); id != "" && !isHex32(id) {
			return fault(schemas.HeaderEventID, "32 hex digits in lower case")
		}
		if c := header(schemas.HeaderCategory); c != "" {
			if _, ok := schemas.Category(c).ID(); !ok {
				return fault(schemas.HeaderCategory, "a category")
			}
		}
	}
	if _, err := DecodeRecord(topic, header(schemas.HeaderSchema), value); err != nil {
		if !strings.HasPrefix(err.Error(), topic) {
			err = fmt.Errorf("%s: %w", topic, err)
		}
		return err
	}
	return nil
}
