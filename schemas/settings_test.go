package schemas

import (
	"reflect"
	"strings"
	"testing"
)

func TestEveryFaultOfSettingsIsNamedAtOnce(t *testing.T) {
	_, err := ParseProjectSettings([]byte(`{
		"version": 2, "retentionDays": -1, "colour": "red",
		"allowedOrigins": ["https://ok.example", "a b", "x*.example"],
		"filters": {"localhost": "yes", "errorMessages": ["", 5], "clientIPs": ["10.0.0.0/8", "10.0.0.0/33", "nowhere"]},
		"scrubbing": {"rules": [
			{"id": "a", "type": "pattern", "match": "(", "method": "remove"},
			{"id": "a", "type": "builtin", "match": "iban", "method": "burn"},
			{"id": "!", "type": "pattern", "match": "a*", "method": "mask"},
			{"id": "b", "type": "pattern", "match": "[a-z]{1,999}.{1,999}x", "method": "mask"}
		]},
		"sampling": [{"id": "s", "type": "span", "rate": 1.5}, 7],
		"quotas": [{"id": "q", "scope": "planet", "scopeId": "x", "colour": 1, "categories": ["error", "errors"], "limit": -1, "window": 0, "reasonCode": "a b"}]
	}`))
	if err == nil {
		t.Fatal("no fault was found")
	}
	for _, want := range []string{
		"settings.version is 2", "settings.retentionDays", "settings.colour is unknown",
		`settings.allowedOrigins[1] "a b"`, `settings.allowedOrigins[2] "x*.example"`,
		"settings.filters.localhost is a text, want true or false", "settings.filters.errorMessages[0] is empty", "settings.filters.errorMessages[1] is the number 5",
		`settings.filters.clientIPs[1] "10.0.0.0/33"`, `settings.filters.clientIPs[2] "nowhere"`,
		"settings.scrubbing.rules[0].match is no regular expression", `settings.scrubbing.rules[1].id "a" stands twice`,
		`settings.scrubbing.rules[1].match is "iban"`, `settings.scrubbing.rules[1].method is "burn"`,
		`settings.scrubbing.rules[2].id is "!"`, "settings.scrubbing.rules[2].match matches the empty text", "settings.scrubbing.rules[3].match",
		`settings.sampling[0].type is "span"`, "settings.sampling[0].rate is 1.5", "settings.sampling[1] is the number 7, want an object",
		"settings.quotas[0].colour is unknown", `settings.quotas[0].scope is "planet"`, `settings.quotas[0].categories has "errors"`, "settings.quotas[0].limit is -1", "settings.quotas[0].reasonCode",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not named: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	if strings.Contains(err.Error(), "allowedOrigins[0]") || strings.Contains(err.Error(), "clientIPs[0]") {
		t.Errorf("something right is named:\n%v", err)
	}
}

func TestSettingsComeBackFromTheirDocument(t *testing.T) {
	limit := int64(5)
	want := DefaultProjectSettings()
	want.AllowedOrigins = []string{"*.example"}
	want.Filters.Localhost = true
	want.Scrubbing.Rules = []ScrubRule{{ID: "r", Type: ScrubPattern, Match: `\d{4}`, Method: ScrubHash, Paths: []string{"extra.**"}}}
	want.Sampling = []SamplingRule{{ID: "s", Type: SampleTrace, Rate: 0.25, Releases: []string{"1.*"}, Environments: []string{}, Transactions: []string{}, Levels: []string{}, Platforms: []string{}}}
	want.Quotas = []Quota{{ID: "q", Categories: []Category{CategoryError}, Scope: "key", Limit: &limit, Window: 60}}
	got, err := ParseProjectSettings(want.Document())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if doc := string(DefaultProjectSettings().Document()); strings.Contains(doc, "null") {
		t.Errorf("the document has a null: %s", doc)
	}
}

func TestWhatADocumentDoesNotNameIsTheDefault(t *testing.T) {
	for _, doc := range []string{`{}`, `{"version":1}`, `{"scrubbing":{"emails":false},"filters":null}`} {
		got, err := ParseProjectSettings([]byte(doc))
		if err != nil || !reflect.DeepEqual(got, DefaultProjectSettings()) {
			t.Errorf("%s = %+v, %v; want the defaults", doc, got, err)
		}
	}
	for _, doc := range []string{``, `[`, `[]`, `7`, `"x"`} {
		if _, err := ParseProjectSettings([]byte(doc)); err == nil {
			t.Errorf("%q was taken for settings", doc)
		}
	}
}

func FuzzParseProjectSettings(f *testing.F) {
	f.Add(DefaultProjectSettings().Document())
	f.Add([]byte(`{"sampling":[{"id":"s","type":"error","rate":1}],"quotas":[{"limit":null}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := ParseProjectSettings(doc)
		if err != nil {
			return
		}
		again, err := ParseProjectSettings(s.Document())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%s does not come back: %v", doc, err)
		}
	})
}
