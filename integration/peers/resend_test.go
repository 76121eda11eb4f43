package peers

import (
	"context"
	"testing"
)

// TestMessagesOfOursThatWereRetriedAreSentAgainAnew is about our wrappers only;
// there is no row for it in the table.
func TestMessagesOfOursThatWereRetriedAreSentAgainAnew(t *testing.T) {
	again := Case{Name: "retried, sent again", Says: "Messages that the broker refused and then took leave with a new context when they are sent again.", Way: func(ctx context.Context, r *Run) error {
		r.FailOnce(19) // NOT_ENOUGH_REPLICAS
		return sentTwice(ctx, r)
	}}
	for _, s := range subjects() {
		if !s.Ours {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			text, err := Examine(t.Context(), s, again)
			if err != nil {
				t.Fatal(err)
			}
			if text != "" {
				t.Errorf("%s Here: %s", again.Says, text)
			}
		})
	}
}
