package api

import "regexp"

// deadLetterName is how topics of dead letters are called: Spring's -dlt, Connect's
// and most others' dlq, and the words.
var deadLetterName = regexp.MustCompile(`(?i)(^|[._-])(dlq|dlt|dead[._-]?letters?|dead)([._-]|$)`)

// isDeadLetter tells by its name that a topic holds what nobody tries again.
func isDeadLetter(topic string) bool { return deadLetterName.MatchString(topic) }
