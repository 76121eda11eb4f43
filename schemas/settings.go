package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// SettingsVersion is the version of the JSON document that this program writes
// and reads.
const SettingsVersion = 1

// Bounds of settings.
const (
	maxSettingsBytes = 1 << 20
	maxListed        = 500
	maxSettingText   = 1024
	maxRulesText     = 64 << 10
	maxRules         = 50
	maxPattern       = 512
	maxPatternSteps  = 2000 // of a compiled regular expression
	maxRetentionDays = 3650
)

// ProjectSettings say what becomes of what a project is sent. The zero value
// keeps everything as it came; [DefaultProjectSettings] are those of a new
// project.
type ProjectSettings struct {
	Version int `json:"version"` // of this document: [SettingsVersion]
	// AllowedOrigins are the web origins that browsers may send from, such as
	// https://shop.example, *.shop.example or shop.example:8080. Empty means all.
	AllowedOrigins []string `json:"allowedOrigins"`
	// RetentionDays is how long events are kept; zero means as long as the store keeps them.
	RetentionDays    int            `json:"retentionDays"`
	Filters          Filters        `json:"filters"`
	Scrubbing        Scrubbing      `json:"scrubbing"`
	Sampling         []SamplingRule `json:"sampling"` // the first that fits decides
	GroupingRules    string         `json:"groupingRules"`
	FingerprintRules string         `json:"fingerprintRules"`
	Quotas           []Quota        `json:"quotas"`

	// HashKey is the project's secret for the method "hash". The store makes it;
	// it is not part of the document.
	HashKey string `json:"-"`
}

// Filters are the inbound filters: what they name is not kept. Patterns are
// globs: * is any text, without regard to case.
type Filters struct {
	LegacyBrowsers    bool     `json:"legacyBrowsers"`
	Localhost         bool     `json:"localhost"`
	WebCrawlers       bool     `json:"webCrawlers"`
	BrowserExtensions bool     `json:"browserExtensions"`
	ErrorMessages     []string `json:"errorMessages"` // of the message, or of "type: value" of an exception
	Releases          []string `json:"releases"`
	ClientIPs         []string `json:"clientIPs"` // addresses and networks such as 10.0.0.0/8
}

// Scrubbing says what is taken out of payloads before they are kept.
type Scrubbing struct {
	Enabled bool `json:"enabled"`
	// Defaults: fields with telling names (password, token, …), card numbers,
	// private keys, bearer tokens, and user info in URLs.
	Defaults    bool `json:"defaults"`
	IPAddresses bool `json:"ipAddresses"`
	Emails      bool `json:"emails"`
	// OTLP: attributes of what comes by OTLP, too. It has to be decoded then.
	OTLP bool `json:"otlp"`
	// SensitiveFields are further names of fields, SafeFields those whose values
	// stay. A name fits a key that has it as whole words: "api_key" fits
	// "X-Api-Key" and "apiKey".
	SensitiveFields []string    `json:"sensitiveFields"`
	SafeFields      []string    `json:"safeFields"`
	Rules           []ScrubRule `json:"rules"`
}

// What a ScrubRule looks for, and what it does.
const (
	ScrubField   = "field"
	ScrubPattern = "pattern"
	ScrubBuiltin = "builtin"

	ScrubRemove  = "remove"  // leave nothing
	ScrubMask    = "mask"    // a * for each character
	ScrubHash    = "hash"    // the same for the same value, and for nothing else
	ScrubReplace = "replace" // a text
)

// ScrubBuiltins are the types that a rule can name.
var ScrubBuiltins = []string{"anything", "apikey", "bearer", "creditcard", "email", "ip", "pemkey", "urlauth"}

// ScrubRule is a rule of a project.
type ScrubRule struct {
	ID   string `json:"id"`
	Type string `json:"type"` // field, pattern or builtin
	// Match is a glob over names of fields (type field), a regular expression in
	// RE2's syntax (pattern), or one of [ScrubBuiltins] (builtin).
	Match  string `json:"match"`
	Method string `json:"method"`
	// Replacement is the text of method replace; empty means [Filtered].
	Replacement string `json:"replacement"`
	// Paths are where the rule holds, such as request.data.** or extra.*.card:
	// * is one step, ** any number. Empty means everywhere.
	Paths []string `json:"paths"`
}

// What a SamplingRule is about.
const (
	SampleTrace       = "trace" // transactions and spans
	SampleTransaction = "transaction"
	SampleError       = "error"
)

// SamplingRule keeps a share of what fits all of its conditions. Empty lists do
// not ask; the others are globs.
type SamplingRule struct {
	ID           string   `json:"id"`
	Type         string   `json:"type"` // trace, transaction or error
	Rate         float64  `json:"rate"` // 0 to 1
	Releases     []string `json:"releases"`
	Environments []string `json:"environments"`
	Transactions []string `json:"transactions"`
	Levels       []string `json:"levels"`
	Platforms    []string `json:"platforms"`
}

// Key is a public key of a project's DSNs.
type Key struct {
	ID      uint64 // of the key in quotas and outcomes; never given twice
	Project uint64
	Public  string // 32 hex digits
	Label   string
	Active  bool
	Created int64 // Unix ns
	// Limit is what may be sent with this key; nil means as much as the
	// project's quotas let through.
	Limit *KeyLimit
}

// KeyLimit is how many events may come in a window.
type KeyLimit struct {
	Count  int64 `json:"count"`
	Window int64 `json:"window"` // seconds
}

// maxWindow is the longest window of a key's limit, in seconds.
const maxWindow = int64(MaxQuotaWindow / time.Second)

// Validate names what is wrong with a limit.
func (l *KeyLimit) Validate() error {
	if l == nil {
		return nil
	}
	var errs []error
	if l.Count < 0 {
		errs = append(errs, fmt.Errorf("rate limit: count is %d, want 0 or more", l.Count))
	}
	if l.Window < 1 || l.Window > maxWindow {
		errs = append(errs, fmt.Errorf("rate limit: window is %d s, want 1 to %d", l.Window, maxWindow))
	}
	return errors.Join(errs...)
}

// DefaultProjectSettings are those of a new project: nothing is filtered, and
// what is plainly a secret is taken out.
func DefaultProjectSettings() ProjectSettings {
	return ProjectSettings{
		Version: SettingsVersion, AllowedOrigins: []string{},
		Filters:   Filters{ErrorMessages: []string{}, Releases: []string{}, ClientIPs: []string{}},
		Scrubbing: Scrubbing{Enabled: true, Defaults: true, SensitiveFields: []string{}, SafeFields: []string{}, Rules: []ScrubRule{}},
		Sampling:  []SamplingRule{}, Quotas: []Quota{},
	}
}

// ParseProjectSettings reads the JSON document of settings. What it does not
// name is as in [DefaultProjectSettings]. The error names every fault: fields
// that are unknown or of another type, and what Validate finds.
func ParseProjectSettings(document []byte) (ProjectSettings, error) {
	s := DefaultProjectSettings()
	if len(document) > maxSettingsBytes {
		return s, fmt.Errorf("settings: %d bytes, want at most %d", len(document), maxSettingsBytes)
	}
	if !json.Valid(document) {
		var v any
		return s, fmt.Errorf("settings: broken JSON: %w", json.Unmarshal(document, &v))
	}
	var faults []error
	decodeFields(document, &s, &faults)
	s.fill()
	return s, errors.Join(errors.Join(faults...), s.Validate())
}

// fill makes absent lists empty ones, so that the document has no null.
func (s *ProjectSettings) fill() {
	for _, list := range []*[]string{
		&s.AllowedOrigins, &s.Filters.ErrorMessages, &s.Filters.Releases, &s.Filters.ClientIPs,
		&s.Scrubbing.SensitiveFields, &s.Scrubbing.SafeFields,
	} {
		if *list == nil {
			*list = []string{}
		}
	}
	if s.Scrubbing.Rules == nil {
		s.Scrubbing.Rules = []ScrubRule{}
	}
	for i := range s.Scrubbing.Rules {
		if s.Scrubbing.Rules[i].Paths == nil {
			s.Scrubbing.Rules[i].Paths = []string{}
		}
	}
	if s.Sampling == nil {
		s.Sampling = []SamplingRule{}
	}
	for i := range s.Sampling {
		r := &s.Sampling[i]
		for _, list := range []*[]string{&r.Releases, &r.Environments, &r.Transactions, &r.Levels, &r.Platforms} {
			if *list == nil {
				*list = []string{}
			}
		}
	}
	if s.Quotas == nil {
		s.Quotas = []Quota{}
	}
}

// Document is the JSON document; ParseProjectSettings reads it back.
func (s ProjectSettings) Document() []byte {
	s.fill()
	s.Version = SettingsVersion
	out, _ := json.Marshal(&s) // finite numbers and strings always marshal; Validate refuses others
	return out
}

// ids names rules so that outcomes and remarks can.
var ids = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$`)

// Validate names every fault at once.
func (s *ProjectSettings) Validate() error {
	c := &checker{}
	if s.Version != SettingsVersion {
		c.fault("version", "is %d; this program knows %d", s.Version, SettingsVersion)
	}
	if s.RetentionDays < 0 || s.RetentionDays > maxRetentionDays {
		c.fault("retentionDays", "is %d, want 0 to %d", s.RetentionDays, maxRetentionDays)
	}
	c.texts("allowedOrigins", s.AllowedOrigins)
	for i, o := range s.AllowedOrigins {
		if strings.ContainsAny(o, " ,\t\n") || strings.Count(o, "*") > 1 || (strings.Contains(o, "*") && o != "*" && !strings.HasPrefix(hostOf(o), "*.")) {
			c.fault(fmt.Sprintf("allowedOrigins[%d]", i), "%q is no origin; write it like https://shop.example, *.shop.example or shop.example:8080", o)
		}
	}
	c.texts("filters.errorMessages", s.Filters.ErrorMessages)
	c.texts("filters.releases", s.Filters.Releases)
	c.texts("filters.clientIPs", s.Filters.ClientIPs)
	for i, ip := range s.Filters.ClientIPs {
		if _, err := ParseNetwork(ip); err != nil {
			c.fault(fmt.Sprintf("filters.clientIPs[%d]", i), "%q is neither an address nor a network like 10.0.0.0/8", ip)
		}
	}
	c.texts("scrubbing.sensitiveFields", s.Scrubbing.SensitiveFields)
	c.texts("scrubbing.safeFields", s.Scrubbing.SafeFields)
	c.scrubRules(s.Scrubbing.Rules)
	c.sampling(s.Sampling)
	c.text("groupingRules", s.GroupingRules, maxRulesText)
	c.text("fingerprintRules", s.FingerprintRules, maxRulesText)
	c.quotas(s.Quotas)
	return errors.Join(c.errs...)
}

func hostOf(origin string) string {
	if _, rest, ok := strings.Cut(origin, "://"); ok {
		return rest
	}
	return origin
}

// ParseNetwork reads an address or a network.
func ParseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, err
	}
	return p.Masked(), nil
}

// SettingsError is one fault of settings, beside which a form can say so.
type SettingsError struct {
	Path string // of the field, as filters.clientIPs[1]; empty: of the whole document
	Text string // what is wrong, without the path
}

// Error is path and text.
func (f *SettingsError) Error() string {
	if f.Path == "" {
		return "settings " + f.Text
	}
	return "settings." + f.Path + " " + f.Text
}

// SettingsFaults are the faults that err is made of, in the order they were found;
// none when it is made of something else.
func SettingsFaults(err error) []SettingsError {
	switch e := err.(type) { //nolint:errorlint // it is the walk
	case *SettingsError:
		return []SettingsError{*e}
	case interface{ Unwrap() []error }:
		var out []SettingsError
		for _, one := range e.Unwrap() {
			out = append(out, SettingsFaults(one)...)
		}
		return out
	case interface{ Unwrap() error }:
		return SettingsFaults(e.Unwrap())
	}
	return nil
}

type checker struct{ errs []error }

func (c *checker) fault(path, format string, args ...any) {
	c.errs = append(c.errs, &SettingsError{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) text(path, s string, most int) {
	switch {
	case len(s) > most:
		c.fault(path, "has %d bytes, want at most %d", len(s), most)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		c.fault(path, "is no text")
	}
}

func (c *checker) texts(path string, list []string) {
	if len(list) > maxListed {
		c.fault(path, "has %d entries, want at most %d", len(list), maxListed)
		return
	}
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if strings.TrimSpace(s) == "" {
			c.fault(at, "is empty; take it out")
		}
		c.text(at, s, maxSettingText)
	}
}

// many tells whether a list is too long to be looked at further.
func (c *checker) many(path string, n, most int) bool {
	if n > most {
		c.fault(path, "has %d entries, want at most %d", n, most)
	}
	return n > most
}

func (c *checker) id(at, id string, seen map[string]bool) {
	switch {
	case !ids.MatchString(id):
		c.fault(at+".id", "is %q, want 1 to 64 letters, digits and _ . : -", id)
	case seen[id]:
		c.fault(at+".id", "%q stands twice", id)
	}
	seen[id] = true
}

func (c *checker) oneOf(at, got string, want ...string) {
	if !slices.Contains(want, got) {
		c.fault(at, "is %q, want %s", got, strings.Join(want, ", "))
	}
}

func (c *checker) scrubRules(rules []ScrubRule) {
	const path = "scrubbing.rules"
	if c.many(path, len(rules), maxRules) {
		return
	}
	seen := map[string]bool{}
	for i, r := range rules {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.id(at, r.ID, seen)
		c.oneOf(at+".type", r.Type, ScrubField, ScrubPattern, ScrubBuiltin)
		c.oneOf(at+".method", r.Method, ScrubRemove, ScrubMask, ScrubHash, ScrubReplace)
		c.text(at+".replacement", r.Replacement, 128)
		c.texts(at+".paths", r.Paths)
		if r.Match == "" {
			c.fault(at+".match", "is empty")
			continue
		}
		switch r.Type {
		case ScrubField:
			c.text(at+".match", r.Match, maxPattern)
		case ScrubBuiltin:
			c.oneOf(at+".match", r.Match, ScrubBuiltins...)
		case ScrubPattern:
			if err := CheckPattern(r.Match); err != nil {
				c.fault(at+".match", "%v", err)
			}
		}
	}
}

// CheckPattern tells what is wrong with a regular expression of a rule: it must
// be RE2's syntax, short, small when compiled, and match no empty text.
func CheckPattern(pattern string) error {
	if len(pattern) > maxPattern {
		return fmt.Errorf("has %d bytes, want at most %d", len(pattern), maxPattern)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return fmt.Errorf("is no regular expression: %w", err)
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return fmt.Errorf("is no regular expression: %w", err)
	}
	if len(prog.Inst) > maxPatternSteps {
		return fmt.Errorf("is too large: %d steps when compiled, want at most %d; use smaller repetitions", len(prog.Inst), maxPatternSteps)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("is no regular expression: %w", err)
	}
	if re.MatchString("") {
		return errors.New("matches the empty text; write it so that it needs a character")
	}
	return nil
}

func (c *checker) sampling(rules []SamplingRule) {
	const path = "sampling"
	if c.many(path, len(rules), maxRules) {
		return
	}
	seen := map[string]bool{}
	for i, r := range rules {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.id(at, r.ID, seen)
		c.oneOf(at+".type", r.Type, SampleTrace, SampleTransaction, SampleError)
		if !(r.Rate >= 0 && r.Rate <= 1) { // NaN, too
			c.fault(at+".rate", "is %v, want 0 to 1", r.Rate)
		}
		for name, list := range map[string][]string{
			"releases": r.Releases, "environments": r.Environments, "transactions": r.Transactions, "levels": r.Levels, "platforms": r.Platforms,
		} {
			c.texts(at+"."+name, list)
		}
	}
}

func (c *checker) quotas(quotas []Quota) {
	const path = "quotas"
	if c.many(path, len(quotas), maxRules) {
		return
	}
	seen := map[string]bool{}
	for i := range quotas {
		q := &quotas[i]
		for _, f := range q.faults() {
			c.fault(fmt.Sprintf("%s[%d].%s", path, i, f.Path), "%s", f.Text)
		}
		if seen[q.ID] {
			c.fault(fmt.Sprintf("%s[%d].id", path, i), "%q stands twice", q.ID)
		}
		seen[q.ID] = true
	}
}
