// Package finding writes the sentence that a page begins with. It computes it
// from the page's own data by plain rules: tables of a condition and a text, in
// order. It asks no store and guesses nothing; when there is nothing to say the
// sentence says that.
package finding

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Tone says how a finding is to be taken.
type Tone string

// Tones. Empty is a page without data.
const (
	ToneOK    Tone = "ok"
	ToneWarn  Tone = "warn"
	ToneBad   Tone = "bad"
	ToneEmpty Tone = "empty"
)

// Finding is a title and the sentences below it.
type Finding struct {
	Rule  string  `json:"rule"` // the rule that gave the title, for tests and for links
	Tone  Tone    `json:"tone"`
	Title []Piece `json:"title"`
	Text  []Piece `json:"text"`
}

// Kind tells what a piece holds.
type Kind string

// Kinds. A reader formats all but text itself, so that every number on a page
// is written in one way.
const (
	KindText     Kind = "text"     // Text
	KindDuration Kind = "duration" // Value in ns
	KindCount    Kind = "count"    // Value
	KindShare    Kind = "share"    // Value in [0, 1]
)

// Piece is a run of text or one number. Href is a path of the UI that shows the
// evidence, empty when there is none.
type Piece struct {
	Kind   Kind    `json:"kind"`
	Text   string  `json:"text,omitempty"`
	Value  float64 `json:"value,omitempty"`
	Href   string  `json:"href,omitempty"`
	Strong bool    `json:"strong,omitempty"`
}

// String is the finding as plain text, for logs and tests.
func (f Finding) String() string {
	s := plain(f.Title)
	if len(f.Text) > 0 {
		s += " | " + plain(f.Text)
	}
	return s
}

func plain(pieces []Piece) string {
	var b strings.Builder
	for _, p := range pieces {
		switch p.Kind {
		case KindDuration:
			b.WriteString(time.Duration(p.Value).String())
		case KindCount:
			b.WriteString(strconv.FormatInt(int64(p.Value), 10))
		case KindShare:
			b.WriteString(strconv.FormatFloat(p.Value*100, 'f', 2, 64) + "%")
		default:
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

func text(s string) Piece             { return Piece{Kind: KindText, Text: s} }
func strong(s string) Piece           { return Piece{Kind: KindText, Text: s, Strong: true} }
func link(s, href string) Piece       { return Piece{Kind: KindText, Text: s, Href: href} }
func duration(d time.Duration) Piece  { return Piece{Kind: KindDuration, Value: float64(d)} }
func count[N int | uint64](n N) Piece { return Piece{Kind: KindCount, Value: float64(n)} }
func share(part, whole float64) Piece { return Piece{Kind: KindShare, Value: part / whole} }
func (p Piece) at(href string) Piece  { p.Href = href; return p }
func (p Piece) bold() Piece           { p.Strong = true; return p }
func say(pieces ...Piece) []Piece     { return pieces }
func join(a []Piece, b ...Piece) []Piece {
	if len(a) > 0 && len(b) > 0 {
		a = append(a, text(" "))
	}
	return append(a, b...)
}

// many is "one record" or "12 records".
func many[N int | uint64](n N, one, more string) []Piece {
	if n == 1 {
		return say(text("one " + one))
	}
	return say(count(n), text(" "+more))
}

// manyAt is many, whose number leads to href.
func manyAt[N int | uint64](n N, one, more, href string) []Piece {
	p := many(n, one, more)
	p[0] = p[0].at(href)
	return p
}

// opening gives a sentence its capital; a name (strong) keeps its own.
func opening(pieces []Piece) []Piece {
	if len(pieces) > 0 && pieces[0].Kind == KindText && !pieces[0].Strong && pieces[0].Text != "" {
		r, size := utf8.DecodeRuneInString(pieces[0].Text)
		pieces[0].Text = string(unicode.ToUpper(r)) + pieces[0].Text[size:]
	}
	return pieces
}

// rule is one line of a table: where When holds, Say gives the text.
type rule[F any] struct {
	Name string
	When func(F) bool
	Tone Tone // of a title
	Say  func(F) []Piece
}

// first gives the first rule that holds. The last rule of a table of titles
// always holds.
func first[F any](rules []rule[F], facts F) Finding {
	for _, r := range rules {
		if r.When(facts) {
			return Finding{Rule: r.Name, Tone: r.Tone, Title: opening(r.Say(facts)), Text: []Piece{}}
		}
	}
	return Finding{Rule: "none", Tone: ToneEmpty, Title: []Piece{}, Text: []Piece{}}
}

// all joins the sentences of every rule that holds.
func all[F any](rules []rule[F], facts F) []Piece {
	out := []Piece{}
	for _, r := range rules {
		if r.When(facts) {
			out = join(out, opening(r.Say(facts))...)
		}
	}
	return out
}

func always[F any](F) bool { return true }

// groupDoes begins a sentence about a group, or about all readers that are in none.
func groupDoes(name, one, many string) []Piece {
	if name == "" {
		return say(text("readers without a group" + many))
	}
	if one == "" {
		return say(text("group "), strong(name))
	}
	return say(text("group "), strong(name), text(one))
}

// itReads goes on with it.
func itReads(name string) string {
	if name == "" {
		return "they read"
	}
	return "it reads"
}

// here is the first page of the same list, of which one thing is asked otherwise.
func here(name, value string) string { return query("", name, value) + "&before=" }

func query(path string, pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}
