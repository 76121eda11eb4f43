package search

import "strings"

// Place is what is being written at one place of a query over rows.
type Place struct {
	Value    bool   // a value of Key; otherwise a key, or a text
	Has      bool   // the key that has: asks for
	Key      string // without quotes; of a value
	Sign     string // between key and value: ":", ">", …
	Text     string // what stands before the place, without quotes
	From, To int    // bytes of the query that a completion replaces
}

// At finds what is being written at a place, in bytes. It takes any text, also one
// that ParseRows refuses, and any place.
func At(s string, at int) Place {
	at = min(max(at, 0), len(s))
	from := wordStart(s, at)
	p := Place{From: from, To: wordEnd(s, at)}
	key, sign, value, ok := cutKey(s[from:at])
	if !ok {
		p.Text = strings.TrimPrefix(s[from:at], `"`)
		return p
	}
	p.Sign = sign
	p.From = at - len(value)
	p.Value, p.Key = true, strings.Trim(key, `"`)
	if strings.EqualFold(key, "has") && sign == ":" {
		p.Value, p.Has, p.Key = false, true, ""
	}
	if strings.HasPrefix(value, "[") {
		// The item of the list.
		item, quoted := 1, false
		for i := 1; i < len(value); i++ {
			switch {
			case value[i] == '\\' && quoted:
				i++
			case value[i] == '"':
				quoted = !quoted
			case value[i] == ',' && !quoted:
				item = i + 1
			}
		}
		for item < len(value) && space(value[item]) {
			item++
		}
		p.From += item
		value = value[item:]
		if i := strings.IndexAny(s[at:p.To], ",]"); i >= 0 {
			p.To = at + i
		}
	}
	p.Text = strings.TrimPrefix(value, `"`)
	return p
}

// wordStart is where the word at a place begins, behind negation and parentheses.
func wordStart(s string, at int) int {
	from, quoted, list := 0, false, false
	for i := 0; i < at; i++ {
		c := s[i]
		switch {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' && i > 0 && strings.ContainsRune(":=", rune(s[i-1])):
			list = true
		case c == ']':
			list = false
		case space(c) && !list, c == '(' && i == from, (c == '-' || c == '!') && i == from:
			from = i + 1
		}
	}
	return min(from, at)
}

// wordEnd is where the word at a place ends.
func wordEnd(s string, at int) int {
	quoted := strings.Count(s[wordStart(s, at):at], `"`)%2 == 1
	for i := at; i < len(s); i++ {
		switch {
		case s[i] == '"':
			if quoted {
				return i + 1
			}
			quoted = true
		case !quoted && (space(s[i]) || s[i] == ')'):
			return i
		}
	}
	return len(s)
}

// cutKey cuts a word at its sign.
func cutKey(word string) (key, sign, value string, ok bool) {
	end := 0
	if strings.HasPrefix(word, `"`) {
		i := strings.IndexByte(word[1:], '"')
		if i < 0 {
			return "", "", "", false
		}
		end = i + 2
	} else {
		for end < len(word) && keyByte(word[end], end > 0) {
			end++
		}
	}
	rest := word[end:]
	if end == 0 || rest == "" {
		return "", "", "", false
	}
	for _, sign := range []string{":>=", ":<=", ":>", ":<", ">=", "<=", "!=", ":", ">", "<", "="} {
		if strings.HasPrefix(rest, sign) {
			return word[:end], sign, rest[len(sign):], true
		}
	}
	return "", "", "", false
}
