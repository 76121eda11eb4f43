package policy

import (
	"bytes"
	"encoding/base64"
	"net/netip"
)

// hit is a stretch of a text that is to go.
type hit struct {
	from, to int
	by       *scrubRule
}

// What bytes of a text may be part of.
const (
	hasDigit      uint16 = 1 << iota
	hasAt                // e-mail, user info
	hasEquals            // key=value
	hasColon             // IPv6, "key":"value"
	hasDot               // IPv4, e-mail
	hasDash              // two in a row: -----BEGIN
	hasToken             // the end of "Bearer " or "Basic ", the beginning of a JWT
	hasUnicode           // a character written as \u and four digits
	hasKey               // the beginning of a service's API key
	hasApostrophe        // 'key': 'value'
	// From here on a byte is looked at more closely.
	perhapsDash
	perhapsToken
	perhapsKey
	hasEscape  // of JSON
	endsString // a quote
)

// classOf tells them of each byte.
var classOf = func() (t [256]uint16) {
	for c := '0'; c <= '9'; c++ {
		t[c] = hasDigit
	}
	t['@'], t['='], t[':'], t['-'], t['.'], t['\\'], t['"'] = hasAt, hasEquals, hasColon, perhapsDash, hasDot, hasEscape, endsString
	t['\''] = hasApostrophe
	t[' '], t['J'] = perhapsToken, perhapsToken
	t['_'], t['I'], t['G'] = perhapsKey, perhapsKey, perhapsKey
	return t
}()

// classesOf gives the classes of a text that is no JSON.
func classesOf(t []byte) (classes uint16) {
	for i, c := range t {
		class := classOf[c]
		if class >= perhapsDash {
			class = closer(t, i, class)
		}
		classes |= class
	}
	return classes
}

// closer looks at a byte that may begin or end something, by the one before it.
func closer(b []byte, i int, class uint16) uint16 {
	if class == endsString {
		return hasApostrophe // the other kind of quote, in what is no JSON
	}
	if i < 3 {
		if i > 0 && class == perhapsToken && b[i-1] == 'y' || i > 0 && class == perhapsDash && b[i-1] == '-' {
			return hasToken | hasDash
		}
		if i > 0 && class != perhapsToken {
			return hasKey
		}
		return 0
	}
	switch before := b[i-1]; {
	case class == perhapsDash:
		switch {
		case before == '-':
			return hasDash
		case before == 'k' && b[i-2] == 's', before == 't' && b[i-2] == 'a' && b[i-3] == 'p', b[i-2] == 'x' && b[i-3] == 'o', before == 'p' && b[i-2] == 'p', before == 'i' && b[i-2] == 'p', before == 'U' && b[i-2] == 'K':
			return hasKey // sk-, glpat-, xoxb-, xapp-, pypi-, HRKU-
		}
	case class == perhapsKey:
		switch b[i] {
		case 'I': // AKIA, ASIA, AIza
			if before == 'K' || before == 'S' || before == 'A' {
				return hasKey
			}
		case 'G': // SG.
			if before == 'S' {
				return hasKey
			}
		default:
			switch string(b[i-3 : i]) {
			case "ghp", "gho", "ghu", "ghs", "ghr", "pat", "npm", "ive", "est", "sec", "dop", "doo":
				return hasKey
			}
			if before == 'f' && b[i-2] == 'h' {
				return hasKey
			}
		}
	case class == perhapsToken && b[i] == ' ':
		if before |= 0x20; before == 'r' && b[i-2]|0x20 == 'e' && b[i-3]|0x20 == 'r' || before == 'c' && b[i-2]|0x20 == 'i' && b[i-3]|0x20 == 's' {
			return hasToken
		}
	case class == perhapsToken:
		if before == 'y' {
			return hasToken
		}
	}
	return 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isWord tells that c cannot stand beside a number that stands alone.
func isWord(c byte) bool { return isDigit(c) || isLetter(c) || c == '_' || c >= 0x80 }

// cardGroups are the ways in which people write card numbers.
var cardGroups = [][]int{{4, 4, 4, 4, 3}, {4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}}

// findCards finds card numbers: 13 to 19 digits of an issuer whose check digit
// is right, in one piece or in the usual groups.
func findCards(t []byte, by *scrubRule, hits []hit) []hit {
	for i := 0; i < len(t); {
		if !isDigit(t[i]) {
			i++
			continue
		}
		run := 1
		for i+run < len(t) && isDigit(t[i+run]) {
			run++
		}
		end := 0
		if startsAlone(t, i) {
			switch {
			case run >= 13 && run <= 19:
				if endsAlone(t, i+run) && isCard(t[i:i+run], run) {
					end = i + run
				}
			case run == 4:
				end = grouped(t, i)
			}
		}
		if end > 0 {
			hits = append(hits, hit{i, end, by})
			i = end
			continue
		}
		i += run
	}
	return hits
}

func startsAlone(t []byte, i int) bool {
	if i == 0 {
		return true
	}
	c := t[i-1]
	return !isWord(c) && (c != '.' || i < 2 || !isDigit(t[i-2]))
}

func endsAlone(t []byte, i int) bool {
	if i == len(t) {
		return true
	}
	return !isWord(t[i]) && (t[i] != '.' || i+1 == len(t) || !isDigit(t[i+1]))
}

// grouped gives the end of a grouped card number that begins at i, or zero.
func grouped(t []byte, i int) int {
	if i+4 >= len(t) || t[i+4] != ' ' && t[i+4] != '-' {
		return 0
	}
	separator := t[i+4]
	if separator == '-' && i > 0 && t[i-1] == '-' { // of a UUID
		return 0
	}
next:
	for _, groups := range cardGroups {
		var digits [19]byte
		n, at := 0, i
		for g, size := range groups {
			if g > 0 {
				if at >= len(t) || t[at] != separator {
					continue next
				}
				at++
			}
			if at+size > len(t) {
				continue next
			}
			for _, c := range t[at : at+size] {
				if !isDigit(c) {
					continue next
				}
				digits[n] = c
				n++
			}
			at += size
		}
		if !endsAlone(t, at) || separator == '-' && at < len(t) && t[at] == '-' {
			continue
		}
		if isCard(digits[:n], n) {
			return at
		}
	}
	return 0
}

// isCard tells whether n digits are a card number.
func isCard(digits []byte, n int) bool {
	prefix := 0
	for _, c := range digits[:4] {
		prefix = prefix*10 + int(c-'0')
	}
	issued := false
	switch two := prefix / 100; {
	case prefix/1000 == 4:
		issued = n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, prefix >= 2221 && prefix <= 2720:
		issued = n == 16
	case two == 34, two == 37:
		issued = n == 15
	case two == 36, two == 38, two == 39, prefix >= 3000 && prefix <= 3059, prefix == 3095:
		issued = n == 14 || n == 16
	case prefix >= 3528 && prefix <= 3589, prefix == 6011, prefix >= 6440 && prefix <= 6499, two == 65, two == 62:
		issued = n >= 16
	case two == 50, two >= 56 && two <= 58, two == 60, two == 61, two == 63, two == 67:
		issued = n >= 16
	}
	if !issued {
		return false
	}
	sum, double := 0, false
	same := true
	for i := n - 1; i >= 0; i-- {
		d := int(digits[i] - '0')
		same = same && digits[i] == digits[0]
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		double = !double
	}
	return sum%10 == 0 && !same
}

// findKeys finds private keys in PEM. One whose end is missing reaches to the
// end of the text.
func findKeys(t []byte, by *scrubRule, hits []hit) []hit {
	const begin, end = "-----BEGIN ", "-----END "
	for at := 0; ; {
		i := bytes.Index(t[at:], []byte(begin))
		if i < 0 {
			return hits
		}
		from := at + i
		label, _, ok := bytes.Cut(t[from+len(begin):min(len(t), from+len(begin)+64)], []byte("-----"))
		if !ok || !bytes.HasSuffix(label, []byte("PRIVATE KEY")) && !bytes.HasSuffix(label, []byte("PRIVATE KEY BLOCK")) {
			at = from + len(begin)
			continue
		}
		to := len(t)
		if i := bytes.Index(t[from:], []byte(end)); i >= 0 {
			to = from + i + len(end)
			if i := bytes.Index(t[to:], []byte("-----")); i >= 0 && i <= 64 {
				to += i + len("-----")
			}
		}
		hits = append(hits, hit{from, to, by})
		at = to
	}
}

// findBearers finds what follows "Bearer", "Basic" with a name and a password,
// and JSON web tokens.
func findBearers(t []byte, by *scrubRule, hits []hit) []hit {
	for at := 0; at < len(t); {
		// All three have an e or an s that is rarer than what is around it; look
		// for their ends.
		i := indexFold(t[at:], "bearer ")
		if i < 0 {
			break
		}
		from := at + i + len("bearer ")
		for from < len(t) && t[from] == ' ' {
			from++
		}
		to := tokenEnd(t, from)
		if token := t[from:to]; len(token) >= 8 && (len(token) >= 20 || bytes.ContainsAny(token, "0123456789")) && (at+i == 0 || !isWord(t[at+i-1])) {
			hits = append(hits, hit{from, to, by})
		}
		at = max(to, from)
	}
	for at := 0; at < len(t); {
		i := indexFold(t[at:], "basic ")
		if i < 0 {
			break
		}
		from := at + i + len("basic ")
		to := tokenEnd(t, from)
		if isBasic(t[from:to]) && (at+i == 0 || !isWord(t[at+i-1])) {
			hits = append(hits, hit{from, to, by})
		}
		at = max(to, from)
	}
	for at := 0; at < len(t); {
		i := bytes.Index(t[at:], []byte("eyJ"))
		if i < 0 {
			break
		}
		from := at + i
		to := tokenEnd(t, from)
		dots := bytes.Count(t[from:to], []byte("."))
		if to-from >= 30 && dots >= 2 && dots <= 4 && (from == 0 || !isWord(t[from-1])) {
			hits = append(hits, hit{from, to, by})
		}
		at = max(to, from+3)
	}
	return hits
}

// apiKeys are beginnings that services give their secret keys so that they are
// found, with the least and the most characters that follow. Public keys of
// browsers are not among them.
var apiKeys = []struct {
	prefix      string
	least, most int
}{
	{"AKIA", 16, 16},
	{"ASIA", 16, 16}, // AWS
	{"AIza", 35, 35}, // Google
	{"ghp_", 36, 255},
	{"gho_", 36, 255},
	{"ghu_", 36, 255},
	{"ghs_", 36, 255},
	{"ghr_", 36, 255},
	{"github_pat_", 50, 255},
	{"glpat-", 20, 64}, // GitLab
	{"sk_live_", 16, 255},
	{"sk_test_", 16, 255},
	{"rk_live_", 16, 255},
	{"rk_test_", 16, 255},
	{"whsec_", 24, 255}, // Stripe
	{"xoxb-", 20, 255},
	{"xoxp-", 20, 255},
	{"xoxa-", 20, 255},
	{"xoxr-", 20, 255},
	{"xoxs-", 20, 255},
	{"xapp-", 20, 255}, // Slack
	{"npm_", 36, 36},
	{"pypi-", 60, 255},
	{"shpat_", 32, 32}, // Shopify
	{"SG.", 40, 80},    // SendGrid
	{"dop_v1_", 64, 64},
	{"doo_v1_", 64, 64}, // DigitalOcean
	{"sk-", 32, 255},    // OpenAI, Anthropic
	{"hf_", 30, 64},     // Hugging Face
	{"HRKU-", 36, 255},  // Heroku
}

// findAPIKeys finds secret keys of services in free text, by how they begin.
func findAPIKeys(t []byte, by *scrubRule, hits []hit) []hit {
	for _, key := range apiKeys {
		for at := 0; ; {
			i := bytes.Index(t[at:], []byte(key.prefix))
			if i < 0 {
				break
			}
			from := at + i
			body := from + len(key.prefix)
			to := body
			digits := false
			for to < len(t) && (isDigit(t[to]) || isLetter(t[to]) || t[to] == '-' || t[to] == '_' || t[to] == '.' && key.prefix == "SG.") {
				digits = digits || isDigit(t[to])
				to++
			}
			// A name in code is made of letters; a key has digits among them.
			if n := to - body; n >= key.least && n <= key.most && digits && (from == 0 || !isWord(t[from-1]) && t[from-1] != '-') {
				hits = append(hits, hit{from, to, by})
			}
			at = max(to, body)
		}
	}
	return hits
}

// indexFold finds a lower-case ASCII word, without regard to the case of it as
// a whole: word, Word or WORD.
func indexFold(t []byte, word string) int {
	for at := 0; ; {
		i := bytes.IndexByte(t[at:], ' ')
		if i < 0 {
			return -1
		}
		end := at + i + 1
		if from := end - len(word); from >= 0 && bytes.EqualFold(t[from:end], []byte(word)) {
			return from
		}
		at = end
	}
}

// tokenEnd is where the characters of a token end.
func tokenEnd(t []byte, i int) int {
	for i < len(t) && (isDigit(t[i]) || isLetter(t[i]) || t[i] == '-' || t[i] == '_' || t[i] == '.' || t[i] == '~' || t[i] == '+' || t[i] == '/' || t[i] == '=') {
		i++
	}
	return i
}

func isBasic(token []byte) bool {
	if len(token) < 4 || len(token) > 4<<10 {
		return false
	}
	text := make([]byte, base64.StdEncoding.DecodedLen(len(token)))
	n, err := base64.StdEncoding.Decode(text, token)
	return err == nil && bytes.IndexByte(text[:n], ':') >= 0
}

// findUserInfo finds what stands before the host of a URL.
func findUserInfo(t []byte, by *scrubRule, hits []hit) []hit {
	for at := 0; ; {
		i := bytes.Index(t[at:], []byte("://"))
		if i < 0 {
			return hits
		}
		from := at + i + 3
		last, to := -1, from
	authority:
		for ; to < len(t); to++ {
			switch t[to] {
			case '@':
				last = to
			case '/', '?', '#', '"', '\'', '<', '>', ' ', '\n', '\r', '\t', '`':
				break authority
			}
		}
		if last > from && string(t[from:last]) != "git" {
			hits = append(hits, hit{from, last, by})
		}
		at = to
	}
}

// findURLAuth finds what lets somebody in by a URL.
func findURLAuth(t []byte, by *scrubRule, hits []hit) []hit {
	return findWebhooks(t, by, findUserInfo(t, by, hits))
}

// webhooks are URLs, after their scheme, that let anybody in who knows what follows.
// Errors of HTTP clients name the URL.
var webhooks = [...]string{
	"hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/",
	"discord.com/api/webhooks/", "discordapp.com/api/webhooks/", "api.telegram.org/bot",
}

// findWebhooks finds the secret part of webhooks' URLs, also where JSON has \/ for /.
func findWebhooks(t []byte, by *scrubRule, hits []hit) []hit {
	for at := 0; ; {
		i := bytes.IndexByte(t[at:], ':')
		if i < 0 {
			return hits
		}
		at += i + 1
		if from := skip(t, at, "//"); from > 0 {
			for _, hook := range webhooks {
				from := skip(t, from, hook)
				if from < 0 {
					continue
				}
				to := from
				for to < len(t) && (isWord(t[to]) || t[to] == '/' || t[to] == '-' || t[to] == ':' || t[to] == '\\' && to+1 < len(t) && t[to+1] == '/') {
					to++
				}
				if t[to-1] == ':' {
					to-- // of what follows the URL
				}
				if to-from >= 20 {
					hits = append(hits, hit{from, to, by})
				}
				at = to
			}
		}
	}
}

// skip gives where a text ends that begins at i, or -1; a slash may be escaped.
func skip(t []byte, i int, text string) int {
	for _, c := range []byte(text) {
		if c == '/' && i < len(t) && t[i] == '\\' {
			i++
		}
		if i >= len(t) || t[i] != c {
			return -1
		}
		i++
	}
	return i
}

// findEmails finds e-mail addresses.
func findEmails(t []byte, by *scrubRule, hits []hit) []hit {
	const local = ".!#$%&'*+/=?^_`{|}~-"
	for at := 0; ; {
		i := bytes.IndexByte(t[at:], '@')
		if i < 0 {
			return hits
		}
		sign := at + i
		from := sign
		for from > at && (isDigit(t[from-1]) || isLetter(t[from-1]) || t[from-1] >= 0x80 || bytes.IndexByte([]byte(local), t[from-1]) >= 0) {
			from--
		}
		for from < sign && t[from] < 0x80 && !isDigit(t[from]) && !isLetter(t[from]) && t[from] != '_' {
			from++
		}
		to, dot := sign+1, -1
		for to < len(t) && (isDigit(t[to]) || isLetter(t[to]) || t[to] >= 0x80 || t[to] == '-' || t[to] == '.' && to > sign+1 && t[to-1] != '.') {
			if t[to] == '.' {
				dot = to
			}
			to++
		}
		for to > sign && (t[to-1] == '.' || t[to-1] == '-') {
			to--
			dot = bytes.LastIndexByte(t[sign:to], '.')
			if dot >= 0 {
				dot += sign
			}
		}
		if from < sign && dot > sign && to-dot > 2 {
			hits = append(hits, hit{from, to, by})
		}
		at = max(to, sign+1)
	}
}

// findAddresses finds IP addresses.
func findAddresses(t []byte, by *scrubRule, hits []hit) []hit {
	for i := 0; i < len(t); {
		c := t[i]
		if !isDigit(c) && c != ':' && (c|0x20 < 'a' || c|0x20 > 'f') {
			i++
			continue
		}
		// A run of what addresses are made of.
		from, dots, colons, other := i, 0, 0, false
		for i < len(t) {
			switch c := t[i]; {
			case isDigit(c):
			case c == '.':
				dots++
			case c == ':':
				colons++
			case c|0x20 >= 'a' && c|0x20 <= 'f':
				other = true
			default:
				goto end
			}
			i++
		}
	end:
		to := i
		if i < len(t) && isWord(t[i]) || from > 0 && (isWord(t[from-1]) || t[from-1] == '/' && from > 1 && isLetter(t[from-2])) {
			for i < len(t) && isWord(t[i]) { // no part of a word is an address
				i++
			}
			continue
		}
		switch {
		case dots == 3 && !other && colons <= 1: // perhaps with a port
			text := t[from:to]
			if n := bytes.IndexByte(text, ':'); n >= 0 {
				text = text[:n]
			}
			if _, err := netip.ParseAddr(string(text)); err == nil {
				hits = append(hits, hit{from, from + len(text), by})
			}
		case dots == 4 && !other && t[to-1] == '.': // the end of a sentence
			if _, err := netip.ParseAddr(string(t[from : to-1])); err == nil {
				hits = append(hits, hit{from, to - 1, by})
			}
		case colons >= 2 && to-from <= 45:
			text := t[from:to]
			if bytes.ContainsAny(text, "0123456789") {
				if _, err := netip.ParseAddr(string(text)); err == nil {
					hits = append(hits, hit{from, to, by})
				}
			}
		}
	}
	return hits
}
