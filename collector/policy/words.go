package policy

import (
	"bytes"
	"strings"
)

// sensitiveFields are names whose values are secrets. A name fits a key that
// has it as whole words: see appendWords.
var sensitiveFields = []string{
	"password", "passwd", "passphrase", "passcode", "pwd", "mysql_pwd",
	"pass_word", "pass_wd", "pass_phrase", "pass_code", // as passWord is split
	"db_pass", "user_pass", "admin_pass", "smtp_pass", "mail_pass", "mysql_pass", "pg_pass", "redis_pass", "pin_code", "pincode", "card_pin", "user_pin",
	"sig", "x_amz_signature", "x_goog_signature", // of links that let anybody in
	"secret", "secrets", "secret_key", "secretkey", "client_secret", "clientsecret",
	"api_key", "apikey", "access_key", "accesskey", "private_key", "privatekey", "encryption_key", "signing_key",
	"auth", "authorization", "authentication", "authtoken", "credential", "credentials",
	"token", "accesstoken", "refreshtoken", "idtoken", "bearer", "jwt", "otp",
	"session", "sessionid", "sessid", "phpsessid", "jsessionid", "csrf", "csrftoken", "xsrf", "xsrftoken",
	"cookie", "connect_sid",
	"credit_card", "creditcard", "card_number", "cardnumber", "cvv", "cvc", "ssn",
}

// sensitiveEnds are ends of words that are secrets as the whole word is:
// userpassword, pgpassword, stripeapikey.
var sensitiveEnds = []string{"password", "passwd", "passphrase", "apikey", "secretkey", "privatekey", "accesskey", "token"}

// verdict is what a key says about its value.
type verdict uint8

const (
	isSensitive verdict = 1 << iota
	isSafe              // leave it as it is, with all that is in it
	isSource            // source code and names in it: no key=value in there
	isID                // an id: digits are no card number
	isVersion           // a version: no IP address
	isNames             // the keys in it are no names of fields
	isFieldRule         // a rule of type field may fit; ask for it
)

// structure are keys that SDKs write, whose meaning is known.
var structure = map[string]verdict{
	"context_line": isSource, "pre_context": isSource, "post_context": isSource, "function": isSource, "raw_function": isSource,
	"filename": isSource, "abs_path": isSource, "module": isSource | isVersion, "package": isSource, "symbol": isSource,
	"event_id": isID, "trace_id": isID, "span_id": isID, "parent_span_id": isID, "segment_id": isID, "replay_id": isID, "profile_id": isID, "profiler_id": isID,
	"check_in_id": isID, "debug_id": isID, "debug_file": isID, "code_id": isID, "image_addr": isID, "instruction_addr": isID, "symbol_addr": isID,
	"thread_id": isID, "image_size": isID, "code_file": isSource, "timestamp": isID, "start_timestamp": isID, "end_timestamp": isID,
	"version": isVersion, "release": isVersion, "dist": isVersion, "build": isVersion, "kernel_version": isVersion, "browser_version": isVersion, "os_version": isVersion,
	"app_version": isVersion, "sdk_version": isVersion, "raw_description": isVersion,
	"modules": isNames | isVersion, "packages": isNames | isVersion, "_dsc": isNames | isVersion,
}

// common are more keys that stand in nearly every event and say nothing; they
// are here so that they are looked up and not split into words.
var common = []string{
	"values", "type", "value", "stacktrace", "frames", "lineno", "colno", "in_app", "vars", "exception", "mechanism", "handled", "description", "data", "meta",
	"contexts", "trace", "op", "status", "origin", "parent", "tags", "user", "id", "ip_address", "username", "email", "request", "url", "method", "headers",
	"cookies", "query_string", "env", "extra", "breadcrumbs", "category", "message", "level", "logger", "platform", "environment", "server_name", "transaction",
	"transaction_info", "source", "fingerprint", "sdk", "name", "integrations", "threads", "crashed", "current", "main", "runtime", "os", "device", "app", "browser",
	"arch", "model", "family", "brand", "num_cpu", "go_maxprocs", "go_numcgocalls", "go_numroutines", "spans", "attributes", "items", "key", "unit", "string", "integer",
	"start", "end", "duration", "formatted", "params", "logentry", "images", "code", "flags", "measurements", "links", "body", "severity_number", "is_segment",
	"locale", "timezone", "culture", "display_name", "app_name", "app_start_time", "app_memory", "boot_time", "memory_size", "free_memory", "processor_count",
}

// knownSlots is the size of the table of known keys, a power of two.
const knownSlots = 1024

// known is one key whose verdict was made when the settings were read.
type known struct {
	key string
	verdict
}

func slotOf(key []byte) int {
	n := len(key)
	h := uint32(n) * 0x9e3779b1 //nolint:gosec // a hash
	if n > 0 {
		h ^= uint32(key[0]) * 0x85ebca6b
		h ^= uint32(key[n-1]) * 0xc2b2ae35
		h ^= uint32(key[n/2]) * 0x27d4eb2f
	}
	h ^= h >> 15
	return int(h & (knownSlots - 1))
}

// words finds names among the words of a key. The zero value finds none.
type words struct {
	byFirst map[string][]string // first word → names, each "_word_word_"
	ends    []string            // of words
}

func newWords(names ...[]string) words {
	w := words{byFirst: map[string][]string{}}
	for _, list := range names {
		for _, name := range list {
			split := string(appendWords(nil, []byte(name)))
			if first, _, _ := strings.Cut(strings.TrimPrefix(split, "_"), "_"); first != "" {
				w.byFirst[first] = append(w.byFirst[first], split)
			}
		}
	}
	return w
}

// find tells whether one of the names is in a key, as appendWords gives it.
func (w *words) find(split []byte) bool {
	if len(w.byFirst) == 0 {
		return false
	}
	for i := 0; i+1 < len(split); {
		n := bytes.IndexByte(split[i+1:], '_')
		if n < 0 {
			return false
		}
		word := split[i+1 : i+1+n]
		for _, name := range w.byFirst[string(word)] {
			if len(name) <= len(split)-i && string(split[i:i+len(name)]) == name {
				return true
			}
		}
		for _, end := range w.ends {
			if n > len(end) && string(word[n-len(end):]) == end {
				return true
			}
		}
		i += 1 + n
	}
	return false
}

// appendWords appends the words of a key in lower case, each between
// underscores: apiKey2, X-Api-Key and APIKey are _api_key_2_, _x_api_key_ and
// _api_key_. Letters beyond ASCII belong to the word they stand in.
func appendWords(dst, key []byte) []byte {
	const (
		none = iota
		lower
		upper
		digit
	)
	dst = append(dst, '_')
	last := none
	for i, c := range key {
		kind := none
		switch {
		case c >= 'a' && c <= 'z' || c >= 0x80:
			kind = lower
		case c >= 'A' && c <= 'Z':
			kind = upper
			c += 'a' - 'A'
		case c >= '0' && c <= '9':
			kind = digit
		}
		if kind == none {
			if last != none {
				dst = append(dst, '_')
			}
			last = none
			continue
		}
		border := false
		switch {
		case last == none, last == upper && kind == lower:
		case last != kind:
			border = true
		case kind == upper: // APIKey: the last capital of a run begins the next word
			border = i+1 < len(key) && key[i+1] >= 'a' && key[i+1] <= 'z'
		}
		if border {
			dst = append(dst, '_')
		}
		dst = append(dst, c)
		last = kind
	}
	if last != none {
		dst = append(dst, '_')
	}
	return dst
}

// remember puts a key's verdict into the table, unless its slot is taken.
func (s *scrubber) remember(key string, v verdict) {
	at := slotOf([]byte(key))
	if s.known[at].key == "" {
		s.known[at] = known{key, v | s.judge([]byte(key), new([]byte))}
	}
}

// judge makes the verdict by the words of a key.
func (s *scrubber) judge(key []byte, scratch *[]byte) verdict {
	v := verdict(0)
	if bytes.IndexByte(key, '\\') >= 0 {
		key = appendUnescaped(nil, key)
	}
	*scratch = appendWords((*scratch)[:0], key)
	if s.sensitive.find(*scratch) {
		v |= isSensitive
	}
	if s.safe.find(*scratch) {
		v |= isSafe
	}
	if len(s.fields) > 0 {
		v |= isFieldRule
	}
	return v
}

func (s *scrubber) verdict(key []byte, scratch *[]byte) verdict {
	k := &s.known[slotOf(key)]
	if k.key == string(key) && len(key) > 0 {
		return k.verdict
	}
	v := s.judge(key, scratch)
	if extra, ok := structure[string(key)]; ok { // its slot was taken
		v |= extra
	}
	return v
}

// lastKeys remembers what was judged: the keys of one program's events come again
// in each of them.
type lastKeys struct {
	of    *scrubber
	slots [lastSlots]lastKey
}

const lastSlots = 256 // a power of two

// lastKey is one key; longer ones are judged anew.
type lastKey struct {
	key  [47]byte
	size uint8
	verdict
}

// verdict is the scrubber's, remembered.
func (p *pass) verdict(key []byte) verdict {
	if len(key) == 0 || len(key) > len(lastKey{}.key) {
		return p.s.verdict(key, &p.scratch)
	}
	if k := &p.s.known[slotOf(key)]; k.key == string(key) {
		return k.verdict
	}
	if p.keys.of != p.s {
		p.keys = lastKeys{of: p.s}
	}
	last := &p.keys.slots[slotOf(key)%lastSlots]
	if string(last.key[:last.size]) != string(key) {
		last.verdict = p.s.verdict(key, &p.scratch)
		last.size = uint8(copy(last.key[:], key)) //nolint:gosec // at most 47
	}
	return last.verdict
}
