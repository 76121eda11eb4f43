package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/deadletter"
)

// Letters reads dead letters and puts them back.
type Letters interface {
	Ends(ctx context.Context, topics ...string) (map[deadletter.Place]deadletter.Ends, error)
	List(ctx context.Context, topics []string, before map[deadletter.Place]int64, limit int) (deadletter.Page, error)
	Get(ctx context.Context, place deadletter.Place, offset int64) (deadletter.Letter, error)
	PutBack(ctx context.Context, l *deadletter.Letter) error
	WasPutBack(ctx context.Context, l *deadletter.Letter, since time.Time) (bool, error)
}

// DeadLetterList is a page of dead letters, the last put aside first.
type DeadLetterList struct {
	Topics  []DeadLetterTopic `json:"topics"`
	Letters []DeadLetter      `json:"letters"`
	Next    *string           `json:"next"` // of the next page; null when there is no more
}

// DeadLetterTopic counts one topic's.
type DeadLetterTopic struct {
	Topic    string `json:"topic"`
	Original string `json:"original"`
	Kept     int64  `json:"kept"` // letters that retention has left
	Open     int64  `json:"open"` // of them, those that nobody retried or discarded
}

// DeadLetter is one record that a stage could never take.
type DeadLetter struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	State     string `json:"state"`
	By        string `json:"by"`      // who changed the state
	Changed   *Nanos `json:"changed"` // when; null for an open letter
	Stage     string `json:"stage"`
	Reason    string `json:"reason"`
	// Where the record was; -1 when that is not told.
	OriginalTopic     string `json:"originalTopic"`
	OriginalPartition int32  `json:"originalPartition"`
	OriginalOffset    int64  `json:"originalOffset"`
	PutAside          Nanos  `json:"putAside"`
	Time              Nanos  `json:"time"` // the record's own
	Bytes             int    `json:"bytes"`
	KeyBytes          int    `json:"keyBytes"`
	Whole             bool   `json:"whole"`   // it can be put back
	RetryOf           string `json:"retryOf"` // the letter that it was before; empty when none
}

// DeadLetterDetail is one letter and what may be shown of its record.
type DeadLetterDetail struct {
	Letter         DeadLetter         `json:"letter"`
	Headers        []DeadLetterHeader `json:"headers"`
	MoreHeaders    int                `json:"moreHeaders"`    // that are not shown
	HeadersDropped int                `json:"headersDropped"` // that did not fit the letter
	WholeBytes     int                `json:"wholeBytes"`     // of the value before it was cut
	Preview        string             `json:"preview"`        // what looks like a secret is scrubbed
	Binary         bool               `json:"binary"`         // the preview is the runs of text in it
	Cut            bool               `json:"cut"`            // the preview is not all
}

// DeadLetterHeader is one header of a record.
type DeadLetterHeader struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// DeadLetterAction names letters to retry or to discard.
type DeadLetterAction struct {
	Letters []DeadLetterName `json:"letters"` // at most 100
	By      string           `json:"by,omitempty"`
}

// DeadLetterName names one letter.
type DeadLetterName struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// DeadLetterOutcomes is what became of each letter that an action named, in its order.
type DeadLetterOutcomes struct {
	Outcomes []DeadLetterOutcome `json:"outcomes"`
}

// DeadLetterOutcome is what became of one.
type DeadLetterOutcome struct {
	Letter  DeadLetterName `json:"letter"`
	Outcome string         `json:"outcome"` // retried, discarded, already, busy, gone, not_whole, uncertain or failed
	Detail  string         `json:"detail"`
}

const (
	maxLetterAction  = deadletter.MaxLetters
	maxLetterHeaders = 50
	// letterClaim is how long somebody who began to put a letter back is waited for.
	letterClaim = time.Minute
	// maxLetterPages bounds how many pages are read for one of letters in one state.
	maxLetterPages = 5
)

func (h *Handler) deadLetterRoutes() {
	h.handle("/api/v1/dead-letters", []string{"topic", "state", "before", "limit"}, h.deadLetters)
	h.handle("/api/v1/dead-letters/{topic}/{partition}/{offset}", nil, h.deadLetter)
	h.act(http.MethodPost, "/api/v1/dead-letters/retry", h.retryLetters)
	h.act(http.MethodPost, "/api/v1/dead-letters/discard", h.discardLetters)
}

func (h *Handler) noLetters() error {
	if h.deps.Letters == nil || h.deps.LetterEnds == nil {
		return errorf(http.StatusNotImplemented, "no_broker", "set kafka.brokers of the role web", "this process knows no broker, so it cannot read dead letters")
	}
	return nil
}

// letterTopics counts letters by topic.
func (h *Handler) letterTopics(ctx context.Context, ends map[deadletter.Place]deadletter.Ends) ([]DeadLetterTopic, error) {
	if ends == nil {
		var err error
		if ends, err = h.deps.Letters.Ends(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", exporters.ErrUnavailable, err)
		}
	}
	by := map[string]*DeadLetterTopic{}
	for place, e := range ends {
		t := by[place.Topic]
		if t == nil {
			t = &DeadLetterTopic{Topic: place.Topic}
			t.Original, _ = deadletter.Original(place.Topic)
			by[place.Topic] = t
		}
		kept := max(e.End-e.Start, 0)
		t.Kept += kept
		if kept == 0 {
			continue
		}
		ended, err := h.deps.LetterEnds.CountDeadLetterEnds(ctx, exporters.DeadLetterRef{Topic: place.Topic, TopicID: e.TopicID, Partition: place.Partition, Offset: e.Start})
		if err != nil {
			return nil, err
		}
		t.Open += max(kept-ended, 0)
	}
	out := make([]DeadLetterTopic, 0, len(by))
	for _, t := range by {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b DeadLetterTopic) int {
		return cmp.Or(cmp.Compare(b.Open, a.Open), cmp.Compare(b.Kept, a.Kept), strings.Compare(a.Topic, b.Topic))
	})
	return out, nil
}

// deadLetters answers /dead-letters.
func (h *Handler) deadLetters(ctx context.Context, q *query) (any, error) {
	topic, state, limit := q.text("topic"), q.oneOf("state", string(exporters.DeadLetterOpen), "any", string(exporters.DeadLetterRetrying), string(exporters.DeadLetterRetried), string(exporters.DeadLetterDiscarded)), q.limitTo(50, deadletter.MaxLetters)
	before, err := parseLetterPage(q.text("before"))
	if err != nil {
		q.refuse("before", q.text("before"), "what the last page gave as next")
	}
	var topics []string
	if topic != "" {
		if _, ok := deadletter.Original(topic); !ok {
			q.refuse("topic", topic, strings.Join(deadletter.Topics(), ", "))
		}
		topics = []string{topic}
	}
	if q.fault != nil {
		return nil, q.fault
	}
	if err := h.noLetters(); err != nil {
		return nil, err
	}
	out := DeadLetterList{Letters: []DeadLetter{}}
	for pages := 0; len(out.Letters) < limit && pages < maxLetterPages; pages++ {
		page, err := h.deps.Letters.List(ctx, topics, before, limit)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", exporters.ErrUnavailable, err)
		}
		if pages == 0 {
			all := page.Ends
			if topic != "" {
				all = nil // counts are of all topics, whichever is chosen
			}
			if out.Topics, err = h.letterTopics(ctx, all); err != nil {
				return nil, err
			}
		}
		refs := make([]exporters.DeadLetterRef, len(page.Letters))
		for i := range page.Letters {
			refs[i] = refOf(&page.Letters[i])
		}
		ends, err := h.deps.LetterEnds.DeadLetterEnds(ctx, refs)
		if err != nil {
			return nil, err
		}
		before = page.Next
		for i := range page.Letters {
			l := &page.Letters[i]
			one := letterJSON(l, ends[refs[i]])
			if state != "any" && one.State != state {
				continue
			}
			if len(out.Letters) == limit { // the rest of this page comes on the next
				before = page.Next
				if before == nil {
					before = map[deadletter.Place]int64{}
					for place, e := range page.Ends {
						before[place] = e.Start
					}
				}
				for _, left := range page.Letters[i:] {
					before[left.Place] = max(before[left.Place], left.Offset+1)
				}
				break
			}
			out.Letters = append(out.Letters, one)
		}
		if before == nil {
			break
		}
	}
	if before != nil {
		next := letterPage(before)
		out.Next = &next
	}
	return out, nil
}

// letterPage writes where a page begins; parseLetterPage reads it.
func letterPage(before map[deadletter.Place]int64) string {
	flat := make(map[string]int64, len(before))
	for place, offset := range before {
		flat[place.Topic+"/"+strconv.Itoa(int(place.Partition))] = offset
	}
	text, _ := json.Marshal(flat) // a map of numbers
	return base64.RawURLEncoding.EncodeToString(text)
}

const maxLetterPage = 16 << 10

func parseLetterPage(s string) (map[deadletter.Place]int64, error) {
	if s == "" {
		return nil, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(s) > maxLetterPage {
		return nil, errors.New("not a page")
	}
	var flat map[string]int64
	if err := json.Unmarshal(text, &flat); err != nil {
		return nil, err
	}
	out := make(map[deadletter.Place]int64, len(flat))
	for name, offset := range flat {
		topic, part, _ := strings.Cut(name, "/")
		n, err := strconv.ParseInt(part, 10, 32)
		if _, ok := deadletter.Original(topic); err != nil || !ok || n < 0 || offset < 0 {
			return nil, errors.New("not a page")
		}
		out[deadletter.Place{Topic: topic, Partition: int32(n)}] = offset
	}
	return out, nil
}

func refOf(l *deadletter.Letter) exporters.DeadLetterRef {
	return exporters.DeadLetterRef{Topic: l.Topic, TopicID: l.TopicID, Partition: l.Partition, Offset: l.Offset}
}

func letterJSON(l *deadletter.Letter, end exporters.DeadLetterEnd) DeadLetter {
	out := DeadLetter{
		Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, State: string(cmp.Or(end.State, exporters.DeadLetterOpen)), By: end.By, Stage: l.Stage,
		Reason: deadletter.Scrub(strings.ToValidUTF8(l.Reason, "\uFFFD")), OriginalTopic: l.OriginalTopic, OriginalPartition: l.OriginalPartition, OriginalOffset: l.OriginalOffset,
		PutAside: nanos(l.PutAside.UnixNano()), Time: nanos(l.Time.UnixNano()), Bytes: len(l.Value), KeyBytes: len(l.Key), Whole: l.Whole(), RetryOf: clip(strings.ToValidUTF8(l.RetryOf, "\uFFFD"), 300),
	}
	if end.State != "" {
		out.Changed = known(end.At.UnixNano())
	}
	return out
}

// readLetter reads one with what became of it.
func (h *Handler) readLetter(ctx context.Context, name DeadLetterName) (deadletter.Letter, exporters.DeadLetterEnd, error) {
	place := deadletter.Place{Topic: name.Topic, Partition: name.Partition}
	l, err := h.deps.Letters.Get(ctx, place, name.Offset)
	if err != nil {
		if !errors.Is(err, deadletter.ErrGone) {
			err = fmt.Errorf("%w: %w", exporters.ErrUnavailable, err)
		}
		return l, exporters.DeadLetterEnd{}, err
	}
	ends, err := h.deps.LetterEnds.DeadLetterEnds(ctx, []exporters.DeadLetterRef{refOf(&l)})
	return l, ends[refOf(&l)], err
}

// deadLetter answers /dead-letters/{topic}/{partition}/{offset}.
func (h *Handler) deadLetter(ctx context.Context, q *query) (any, error) {
	topic := q.path("topic")
	if _, ok := deadletter.Original(topic); !ok {
		return nil, badParameter("topic", topic, strings.Join(deadletter.Topics(), ", "))
	}
	partition, err := strconv.ParseInt(q.path("partition"), 10, 32)
	if err != nil || partition < 0 {
		return nil, badParameter("partition", q.path("partition"), "a whole number from 0 on")
	}
	offset, err := strconv.ParseInt(q.path("offset"), 10, 64)
	if err != nil || offset < 0 {
		return nil, badParameter("offset", q.path("offset"), "a whole number from 0 on")
	}
	if err := h.noLetters(); err != nil {
		return nil, err
	}
	l, end, err := h.readLetter(ctx, DeadLetterName{topic, int32(partition), offset})
	if errors.Is(err, deadletter.ErrGone) {
		return nil, errorf(http.StatusNotFound, "letter_not_found", "/dead-letters lists those there are; retention deletes them after a week unless the topic says otherwise", "there is no dead letter %s", deadletter.Name(topic, int32(partition), offset))
	}
	if err != nil {
		return nil, err
	}
	out := DeadLetterDetail{Letter: letterJSON(&l, end), Headers: []DeadLetterHeader{}, HeadersDropped: l.HeadersDropped, WholeBytes: l.WholeBytes}
	for i, hd := range l.Headers {
		if i == maxLetterHeaders {
			out.MoreHeaders = len(l.Headers) - i
			break
		}
		out.Headers = append(out.Headers, DeadLetterHeader{clip(strings.ToValidUTF8(hd.Key, "\uFFFD"), 200), deadletter.HeaderText(hd)})
	}
	out.Preview, out.Binary, out.Cut = deadletter.Preview(l.Value)
	return out, nil
}

// letterAction reads the body of an action.
func (h *Handler) letterAction(q *query) (DeadLetterAction, error) {
	var a DeadLetterAction
	if err := q.decode(&a); err != nil {
		return a, err
	}
	if len(a.Letters) == 0 || len(a.Letters) > maxLetterAction {
		return a, errorf(http.StatusBadRequest, "bad_body", "name from 1 to "+strconv.Itoa(maxLetterAction)+" letters", "the body names %d letters", len(a.Letters)).of("letters")
	}
	if len(a.By) > 200 || !utf8.ValidString(a.By) {
		return a, errorf(http.StatusBadRequest, "bad_body", "give a name of at most 200 bytes", "the name of who acts cannot be kept").of("by")
	}
	for _, l := range a.Letters {
		if _, ok := deadletter.Original(l.Topic); !ok || l.Partition < 0 || l.Offset < 0 {
			return a, errorf(http.StatusBadRequest, "bad_body", "name letters as /dead-letters does", "%s is the name of no dead letter", clip(deadletter.Name(l.Topic, l.Partition, l.Offset), 100)).of("letters")
		}
	}
	return a, h.noLetters()
}

// retryLetters answers POST /dead-letters/retry.
func (h *Handler) retryLetters(ctx context.Context, q *query) (any, error) {
	a, err := h.letterAction(q)
	if err != nil {
		return nil, err
	}
	return h.eachLetter(ctx, a, func(name DeadLetterName) (string, string) { return h.retryLetter(ctx, name, q.actor(a.By), q.now) }), nil
}

// discardLetters answers POST /dead-letters/discard.
func (h *Handler) discardLetters(ctx context.Context, q *query) (any, error) {
	a, err := h.letterAction(q)
	if err != nil {
		return nil, err
	}
	return h.eachLetter(ctx, a, func(name DeadLetterName) (string, string) { return h.discardLetter(ctx, name, q.actor(a.By), q.now) }), nil
}

func (h *Handler) eachLetter(ctx context.Context, a DeadLetterAction, do func(DeadLetterName) (outcome, detail string)) DeadLetterOutcomes {
	out := DeadLetterOutcomes{Outcomes: make([]DeadLetterOutcome, 0, len(a.Letters))}
	for _, name := range a.Letters {
		one := DeadLetterOutcome{Letter: name, Outcome: "failed", Detail: "time was up before it was its turn; nothing was done"}
		if ctx.Err() == nil {
			one.Outcome, one.Detail = do(name)
		}
		out.Outcomes = append(out.Outcomes, one)
	}
	return out
}

// letterFault words an error of one letter.
func letterFault(err error) (outcome, detail string) {
	switch {
	case errors.Is(err, deadletter.ErrGone):
		return "gone", "retention deleted it, or it never was"
	case errors.Is(err, deadletter.ErrNotWhole):
		return "not_whole", "it was cut when it was put aside"
	case errors.Is(err, deadletter.ErrUncertain):
		return "uncertain", clip(err.Error(), 300)
	}
	return "failed", clip(err.Error(), 300)
}

// retryLetter puts one letter back. It is noted before that somebody begins to, and
// after that it is done; of what was begun and not ended, the topic is asked whether
// the record is there. So a letter is put back once, whoever asks how often.
func (h *Handler) retryLetter(ctx context.Context, name DeadLetterName, by string, now time.Time) (outcome, detail string) {
	l, end, err := h.readLetter(ctx, name)
	if err != nil {
		return letterFault(err)
	}
	if !l.Whole() {
		return letterFault(deadletter.ErrNotWhole)
	}
	ref, from := refOf(&l), cmp.Or(end.State, exporters.DeadLetterOpen)
	var resumed bool
	switch from {
	case exporters.DeadLetterRetried:
		return "already", saysWho("retried", end)
	case exporters.DeadLetterRetrying:
		if now.Sub(end.At) < letterClaim {
			return "busy", saysWho("being retried", end)
		}
		resumed = true
	}
	claimed, ok, err := h.deps.LetterEnds.SetDeadLetterEnd(ctx, ref, from, exporters.DeadLetterEnd{State: exporters.DeadLetterRetrying, By: by, At: now})
	if err != nil {
		return letterFault(err)
	}
	if !ok {
		return "busy", saysWho(string(claimed.State), claimed)
	}
	there := false
	if resumed {
		if there, err = h.deps.Letters.WasPutBack(ctx, &l, end.At); err != nil {
			return letterFault(err)
		}
	}
	if !there {
		if err := h.deps.Letters.PutBack(ctx, &l); err != nil {
			// It may be there all the same: the next try looks.
			return letterFault(err)
		}
	}
	// Done: that is noted also when whoever asked has left.
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, _, err := h.deps.LetterEnds.SetDeadLetterEnd(noting, ref, exporters.DeadLetterRetrying, exporters.DeadLetterEnd{State: exporters.DeadLetterRetried, By: by, At: now}); err != nil {
		h.log.Warn("web: a dead letter was put back and that could not be noted; the next try finds the record", "letter", l.Name(), "err", err)
	}
	h.log.Info("web: dead letter put back", "letter", l.Name(), "topic", l.OriginalTopic, "by", by)
	return "retried", "it is on topic " + l.OriginalTopic + " again"
}

func (h *Handler) discardLetter(ctx context.Context, name DeadLetterName, by string, now time.Time) (outcome, detail string) {
	l, end, err := h.readLetter(ctx, name)
	if err != nil {
		return letterFault(err)
	}
	switch end.State {
	case exporters.DeadLetterDiscarded, exporters.DeadLetterRetried:
		return "already", saysWho(string(end.State), end)
	case exporters.DeadLetterRetrying:
		return "busy", saysWho("being retried", end)
	}
	ended, ok, err := h.deps.LetterEnds.SetDeadLetterEnd(ctx, refOf(&l), exporters.DeadLetterOpen, exporters.DeadLetterEnd{State: exporters.DeadLetterDiscarded, By: by, At: now})
	if err != nil {
		return letterFault(err)
	}
	if !ok {
		return "busy", saysWho(string(ended.State), ended)
	}
	h.forgetLetters(ctx, &l)
	h.log.Info("web: dead letter discarded", "letter", l.Name(), "by", by)
	return "discarded", "it stays on " + l.Topic + " until retention deletes it, and can be retried until then"
}

// forgetLetters forgets what became of letters that retention deleted, so that the
// table is no larger than the topics.
func (h *Handler) forgetLetters(ctx context.Context, l *deadletter.Letter) {
	ends, err := h.deps.Letters.Ends(ctx, l.Topic)
	if err == nil {
		err = h.deps.LetterEnds.ForgetDeadLetterEnds(ctx, exporters.DeadLetterRef{Topic: l.Topic, TopicID: l.TopicID, Partition: l.Partition, Offset: ends[l.Place].Start})
	}
	if err != nil {
		h.log.Debug("web: cannot forget the dead letters that are gone", "topic", l.Topic, "err", err)
	}
}

func saysWho(what string, end exporters.DeadLetterEnd) string {
	if end.By != "" {
		what += " by " + end.By
	}
	return what + " at " + end.At.UTC().Format(time.RFC3339)
}
