package search

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Logic joins conditions.
type Logic uint8

// Logics. The zero Tree, All of nothing, holds for every row.
const (
	All Logic = iota
	Any
	Not // of the one in Kids
	Is  // Term
)

// Tree is conditions and what joins them.
type Tree[T any] struct {
	Logic Logic
	Kids  []Tree[T]
	Term  T
}

// Holds tells whether a row fulfils e, by what it says of each term. What a row
// does not have fulfils no term, and so its negation.
func (e Tree[T]) Holds(term func(T) bool) bool {
	switch e.Logic {
	case Any:
		return slices.ContainsFunc(e.Kids, func(k Tree[T]) bool { return k.Holds(term) })
	case Not:
		return !e.Kids[0].Holds(term)
	case Is:
		return term(e.Term)
	default:
		return !slices.ContainsFunc(e.Kids, func(k Tree[T]) bool { return !k.Holds(term) })
	}
}

// Empty tells that e holds for every row.
func (e Tree[T]) Empty() bool { return e.Logic == All && len(e.Kids) == 0 }

// Terms are all terms of e, in order.
func (e Tree[T]) Terms() (out []T) {
	if e.Logic == Is {
		return []T{e.Term}
	}
	for _, k := range e.Kids {
		out = append(out, k.Terms()...)
	}
	return out
}

// treeParser reads conditions joined by AND, OR, NOT, - and parentheses.
type treeParser[T any] struct {
	*parser
	terms int
	term  func() (Tree[T], *Error)
}

// parseTree reads all of a query; term reads one condition of it. The error is an *Error.
func parseTree[T any](p *parser, term func() (Tree[T], *Error)) (Tree[T], error) {
	if len(p.s) > MaxBytes {
		return Tree[T]{}, p.errorf(MaxBytes, len(p.s), "shorten it", "the query has %d bytes, at most %d", len(p.s), MaxBytes)
	}
	if !utf8.ValidString(p.s) {
		return Tree[T]{}, p.errorf(0, len(p.s), "send it as UTF-8", "the query is no UTF-8")
	}
	t := &treeParser[T]{parser: p, term: term}
	e, err := t.any(0)
	if err != nil {
		return Tree[T]{}, err
	}
	if p.at < len(p.s) { // any ends at the end or at a parenthesis
		return Tree[T]{}, p.errorf(p.at, p.at+1, "take it away, or put a text in quotes", ") closes nothing")
	}
	return e, nil
}

func (p *parser) skip() {
	for p.at < len(p.s) && space(p.s[p.at]) {
		p.at++
	}
}

// keyword takes AND, OR or NOT where it stands as a word.
func (p *parser) keyword(w string) bool {
	rest := p.s[p.at:]
	if !strings.HasPrefix(rest, w) || len(rest) > len(w) && !space(rest[len(w)]) && rest[len(w)] != '(' && rest[len(w)] != ')' {
		return false
	}
	p.at += len(w)
	return true
}

// any reads alternatives up to the end or a closing parenthesis.
func (p *treeParser[T]) any(depth int) (Tree[T], *Error) {
	if depth > MaxDepth {
		return Tree[T]{}, p.errorf(p.at, p.at+1, "write it flatter", "more than %d levels within each other", MaxDepth)
	}
	var kids []Tree[T]
	for {
		e, err := p.all(depth, len(kids) > 0)
		if err != nil {
			return Tree[T]{}, err
		}
		kids = append(kids, e)
		if !p.keyword("OR") {
			break
		}
	}
	if len(kids) == 1 {
		return kids[0], nil
	}
	return Tree[T]{Logic: Any, Kids: kids}, nil
}

func (p *treeParser[T]) all(depth int, must bool) (Tree[T], *Error) {
	var kids []Tree[T]
	joined := must // something must follow
	for {
		p.skip()
		from := p.at
		end := p.at == len(p.s) || p.s[p.at] == ')'
		or := !end && p.keyword("OR")
		if or {
			p.at = from
		}
		if end || or {
			if joined || or && len(kids) == 0 {
				return Tree[T]{}, p.errorf(from, min(from+2, len(p.s)), `write a condition on both sides, or put the word in quotes`, "AND or OR joins nothing here")
			}
			break
		}
		if p.keyword("AND") {
			if len(kids) == 0 || joined {
				return Tree[T]{}, p.errorf(from, p.at, `write a condition on both sides, or put the word in quotes`, "AND or OR joins nothing here")
			}
			joined = true
			continue
		}
		e, err := p.one(depth)
		if err != nil {
			return Tree[T]{}, err
		}
		kids, joined = append(kids, e), false
	}
	if len(kids) == 1 {
		return kids[0], nil
	}
	return Tree[T]{Kids: kids}, nil
}

func (p *treeParser[T]) one(depth int) (Tree[T], *Error) {
	from := p.at
	if depth > MaxDepth {
		return Tree[T]{}, p.errorf(p.at, p.at+1, "write it flatter", "more than %d levels within each other", MaxDepth)
	}
	c := p.s[p.at]
	if c == '(' {
		p.at++
		e, err := p.any(depth + 1)
		if err != nil {
			return Tree[T]{}, err
		}
		if p.at == len(p.s) {
			return Tree[T]{}, p.errorf(from, from+1, "close it with )", "( is not closed")
		}
		p.at++
		if e.Empty() {
			return Tree[T]{}, p.errorf(from, p.at, "write a condition within, or put a text in quotes", "() holds nothing")
		}
		return e, nil
	}
	not := p.keyword("NOT")
	if !not && (c == '-' || c == '!') {
		p.at++
		not = true
	}
	if not {
		if c == 'N' {
			p.skip()
		}
		if p.at == len(p.s) || space(p.s[p.at]) || p.s[p.at] == ')' {
			return Tree[T]{}, p.errorf(from, p.at, "write NOT name:commit, -name:commit or -(a OR b)", "there is nothing to negate")
		}
		e, err := p.one(depth + 1)
		if err != nil {
			return Tree[T]{}, err
		}
		return Tree[T]{Logic: Not, Kids: []Tree[T]{e}}, nil
	}
	if p.terms++; p.terms > MaxTerms {
		return Tree[T]{}, p.errorf(p.at, len(p.s), "use lists, as key:[a,b]", "the query has more than %d terms", MaxTerms)
	}
	return p.term()
}
