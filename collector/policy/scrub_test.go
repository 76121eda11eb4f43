package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/schemas"
)

func scrubberOf(t testing.TB, change func(*schemas.ProjectSettings)) *scrubber {
	t.Helper()
	settings := schemas.DefaultProjectSettings()
	settings.HashKey = "0123456789abcdef0123456789abcdef"
	if change != nil {
		change(&settings)
	}
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	return newScrubber(&settings)
}

// canonical sorts the keys of JSON.
func canonical(t testing.TB, b []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// scrubs asserts what becomes of an event, and that a second time changes
// nothing. An empty want means that it stays as it is, to the byte.
func scrubs(t *testing.T, s *scrubber, event, want string) {
	t.Helper()
	in := []byte(event)
	out, ok := s.scrub(in, false, 1<<20)
	if !ok {
		t.Errorf("%s is told to be broken", event)
		return
	}
	if string(in) != event {
		t.Errorf("the payload was written to: %s", in)
	}
	if want == "" {
		if string(out) != event {
			t.Errorf("%s\nbecame %s", event, out)
		}
		return
	}
	if diff := cmp.Diff(canonical(t, []byte(want)), canonical(t, out)); diff != "" {
		t.Errorf("%s\n(-want +got):\n%s", event, diff)
		return
	}
	again, ok := s.scrub(out, false, 1<<20)
	if !ok || !bytes.Equal(again, out) {
		t.Errorf("a second time %s\nbecame %s", out, again)
	}
}

func TestSecretsGoAndMetaTellsIt(t *testing.T) {
	s := scrubberOf(t, nil)
	f := func(event, want string) {
		t.Helper()
		scrubs(t, s, event, want)
	}
	// Names of fields, by their words.
	f(`{"extra":{"password":"hunter2"}}`,
		`{"extra":{"password":"[Filtered]"},"_meta":{"extra":{"password":{"":{"rem":[["@password:filter","s",0,10]],"len":7}}}}}`)
	f(`{"request":{"headers":{"X-Api-Key":"k","Accept":"*/*"},"method":"GET"}}`,
		`{"request":{"headers":{"X-Api-Key":"[Filtered]","Accept":"*/*"},"method":"GET"},"_meta":{"request":{"headers":{"X-Api-Key":{"":{"rem":[["@password:filter","s",0,10]],"len":1}}}}}}`)
	f(`{"request":{"headers":[["Authorization","Basic x"],["Accept","a"]]}}`,
		`{"request":{"headers":[["Authorization","[Filtered]"],["Accept","a"]]},"_meta":{"request":{"headers":{"0":{"1":{"":{"rem":[["@password:filter","s",0,10]],"len":7}}}}}}}`)
	f(`{"exception":{"values":[{"stacktrace":{"frames":[{"vars":{"dbPassword":"p","n":"1"}}]}}]}}`,
		`{"exception":{"values":[{"stacktrace":{"frames":[{"vars":{"dbPassword":"[Filtered]","n":"1"}}]}}]},
		  "_meta":{"exception":{"values":{"0":{"stacktrace":{"frames":{"0":{"vars":{"dbPassword":{"":{"rem":[["@password:filter","s",0,10]],"len":1}}}}}}}}}}}`)
	f(`{"extra":{"token":{"a":"x","b":[1,true,null,"y"],"type":"jwt"}}}`,
		`{"extra":{"token":{"a":"[Filtered]","b":[null,true,null,"[Filtered]"],"type":"jwt"}},
		  "_meta":{"extra":{"token":{"a":{"":{"rem":[["@password:filter","s",0,10]],"len":1}},"b":{"0":{"":{"rem":[["@password:filter","x"]],"len":1}},"3":{"":{"rem":[["@password:filter","s",0,10]],"len":1}}}}}}}`)
	f(`{"extra":{"pass\u0077ord":"x\ny"}}`,
		`{"extra":{"pass\u0077ord":"[Filtered]"},"_meta":{"extra":{"pass\u0077ord":{"":{"rem":[["@password:filter","s",0,10]],"len":3}}}}}`)
	f(`{"extra":{"PASSWORD":"ünï ☃"}}`,
		`{"extra":{"PASSWORD":"[Filtered]"},"_meta":{"extra":{"PASSWORD":{"":{"rem":[["@password:filter","s",0,10]],"len":5}}}}}`)
	for _, key := range []string{"passwords", "author", "tokens", "max_tokens", "authored_by", "secretary", "sessions", "cookies", "bypass", "keyboard", "pass_rate", "tests_pass", "pin", "sigma", "signal"} {
		f(`{"extra":{"`+key+`":"value"}}`, "")
	}
	for _, key := range []string{"password", "passwd", "secret", "api_key", "apikey", "auth", "credentials", "mysql_pwd", "privatekey", "private_key", "token", "bearer", "session", "csrf", "accessToken", "X-CSRF-Token", "user.password.old", "SECRET_KEY", "password2", "clientSecret", "passWord2", "PassPhrase", "userpassword", "PGPASSWORD", "stripeapikey", "stripetoken", "DB_PASS", "smtpPass", "pinCode", "X-Amz-Signature", "sig"} {
		f(`{"extra":{"`+key+`":"value"}}`, `{"extra":{"`+key+`":"[Filtered]"},"_meta":{"extra":{"`+key+`":{"":{"rem":[["@password:filter","s",0,10]],"len":5}}}}}`)
	}
	f(`{"modules":{"github.com/some/auth":"v1.2.3","flask-session":"0.4"},"extra":{"password":""},"tags":{"password":true}}`, "")

	// Card numbers.
	f(`{"message":"card 4111 1111 1111 1111, thanks"}`,
		`{"message":"card [Filtered], thanks","_meta":{"message":{"":{"rem":[["@creditcard:filter","s",5,15]],"len":32}}}}`)
	f(`{"message":"☃ 5555-5555-5555-4444 and 378282246310005"}`,
		`{"message":"☃ [Filtered] and [Filtered]","_meta":{"message":{"":{"rem":[["@creditcard:filter","s",2,12],["@creditcard:filter","s",17,27]],"len":41}}}}`)
	f(`{"extra":{"pan":4111111111111111}}`, `{"extra":{"pan":null},"_meta":{"extra":{"pan":{"":{"rem":[["@creditcard:filter","x"]],"len":16}}}}}`)
	f(`{"message":"4111111111\u003111111"}`, `{"message":"[Filtered]","_meta":{"message":{"":{"rem":[["@creditcard:filter","s",0,10]],"len":16}}}}`)
	for _, text := range []string{
		"4111111111111112", "a4111111111111111", "4111111111111111a", "0.4111111111111111", "4111111111111111.5", "41111111111111111111",
		"550e8400-4111-1111-1111-111111111111", "0000000000000000", "1700000000000", "4111 1111 1111", "4111-1111 1111-1111",
	} {
		f(`{"message":"`+text+`"}`, "")
	}
	f(`{"contexts":{"trace":{"span_id":"4111111111111111"}},"timestamp":4111111111111111}`, "")

	// Private keys.
	f(`{"extra":{"pem":"a\n-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\nb"}}`,
		`{"extra":{"pem":"a\n[Filtered]\nb"},"_meta":{"extra":{"pem":{"":{"rem":[["@pemkey:filter","s",2,12]],"len":70}}}}}`)
	f(`{"extra":{"pem":"-----BEGIN PRIVATE KEY-----\nMIIB"}}`, `{"extra":{"pem":"[Filtered]"},"_meta":{"extra":{"pem":{"":{"rem":[["@pemkey:filter","s",0,10]],"len":32}}}}}`)
	f(`{"extra":{"pem":"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"}}`, "")

	// Bearer tokens and the like.
	f(`{"message":"sent Bearer abc.def-12345 to x"}`, `{"message":"sent Bearer [Filtered] to x","_meta":{"message":{"":{"rem":[["@bearer:filter","s",12,22]],"len":30}}}}`)
	f(`{"message":"Authorization: Basic dXNlcjpwYXNz"}`, `{"message":"Authorization: Basic [Filtered]","_meta":{"message":{"":{"rem":[["@bearer:filter","s",21,31]],"len":33}}}}`)
	f(`{"message":"got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl!"}`, `{"message":"got [Filtered]!","_meta":{"message":{"":{"rem":[["@bearer:filter","s",4,14]],"len":54}}}}`)
	f(`{"message":"a bearer token is missing; basic authentication failed"}`, "")

	// Keys of services, anywhere in a text. They are put together here, so that no scanner of code takes them for real ones.
	for _, key := range []string{
		"AKIA" + "IOSFODNN7EXAMPLE", "ASIA" + "IOSFODNN7EXAMPLE", "AIza" + strings.Repeat("Sy1", 11) + "AB", "ghp" + "_" + strings.Repeat("a1B2", 9),
		"github" + "_pat_" + strings.Repeat("a1_B2", 12), "glpat" + "-" + strings.Repeat("x1Y2z", 4), "sk" + "_live_" + strings.Repeat("4eC3", 6), "rk" + "_test_" + strings.Repeat("4eC3", 6),
		"xoxb" + "-123456789012-" + strings.Repeat("aB3", 8), "npm" + "_" + strings.Repeat("a1B2", 9), "pypi" + "-" + strings.Repeat("a1B2", 20), "SG" + "." + strings.Repeat("a1", 11) + "." + strings.Repeat("b2", 21) + "c",
		"sk" + "-" + strings.Repeat("a1B2", 12), "hf" + "_" + strings.Repeat("a1B2", 9), "HRKU" + "-" + strings.Repeat("a1B2", 10),
	} {
		for before, shown := range map[string]string{"": "", "key=": "key=", "refused by upstream: ": "refused by upstream: ", "a\\n": "a\\n"} {
			n, at := len(before)+len(key)+len(", sorry"), len(before)
			if before == "a\\n" {
				n, at = n-1, at-1
			}
			f(`{"message":"`+before+key+`, sorry"}`, fmt.Sprintf(`{"message":"%s[Filtered], sorry","_meta":{"message":{"":{"rem":[["@apikey:filter","s",%d,%d]],"len":%d}}}}`, shown, at, at+10, n))
		}
	}
	for _, text := range []string{"AKIAIOSFODNN7", "my_ghp_function", "task-" + strings.Repeat("a1B2", 12), "sk-learn-pipeline-of-many-words-and-more", "SG.a", "npm_lifecycle_event", "sk_test_case", "xoxb-"} {
		f(`{"message":"`+text+`"}`, "")
	}

	// Webhooks: who knows the URL may post.
	secret := "T0" + "0000000/B00000000/" + strings.Repeat("aB3", 8)
	for text, want := range map[string]string{
		`Post \"https://hooks.slack.com/services/` + secret + `\": EOF`: `Post \"https://hooks.slack.com/services/***\": EOF`,
		`https://hooks.slack.com/services/` + secret + `: timeout`:      `https://hooks.slack.com/services/***: timeout`,
		`https:\/\/hooks.slack.com\/services\/` + strings.ReplaceAll(secret, "/", `\/`) + ` and https://discord.com/api/webhooks/123456789012345678/` + strings.Repeat("x-Y_", 17): `https:\/\/hooks.slack.com\/services\/*** and https://discord.com/api/webhooks/***`,
		`https://api.telegram.org/bot123456789:` + strings.Repeat("aB3-_", 7) + `/sendMessage`:                                                                                     `https://api.telegram.org/bot***`,
		`see https://hooks.slack.com/services/ and https://discord.com/api/webhooks`:                                                                                               ``,
		`https://`:                            ``,
		`https://hooks.slack.com/services/T0`: ``,
	} {
		if want == "" {
			f(`{"message":"`+text+`"}`, "")
			continue
		}
		if got := textOf(t, scrubbed(t, `{"message":"`+text+`"}`)); got != textOf(t, `{"message":"`+want+`"}`) {
			t.Errorf("%s\n gives %s\n  want %s", text, got, want)
		}
	}

	// Names and values in texts: escaped as often as it may be, and as Python and Ruby print them.
	for text, want := range map[string]string{
		`{'api_key': 'hunter2', 'n': 1}`:                     `{'api_key': '[Filtered]', 'n': 1}`,
		`{'a': {'password':'it\\'s'}, 'b': 'c'}`:             `{'a': {'password':'[Filtered]'}, 'b': 'c'}`,
		`{'token': None, 'secret': 5, 'names': ['x']}`:       `{'token': None, 'secret': [Filtered], 'names': ['x']}`,
		`{\"password\":\"x\"}`:                               `{\"password\":\"[Filtered]\"}`,
		`{\\\"password\\\": \\\"a\\\\\\\"b\\\",\\\"c\\\":1}`: `{\\\"password\\\": \\\"[Filtered]\\\",\\\"c\\\":1}`,
		`{\"outer\":\"{\\\"secret\\\":\\\"x\\\"}\",\"d\":1}`: `{\"outer\":\"{\\\"secret\\\":\\\"[Filtered]\\\"}\",\"d\":1}`,
		`{:password => \"hunter2\", :n => 1}`:                `{:password => \"[Filtered]\", :n => 1}`,
		`array('api_key' => 'hunter2', 'x' => 2)`:            `array('api_key' => '[Filtered]', 'x' => 2)`,
		`if a >= b and secret => none`:                       `if a >= b and secret => [Filtered]`,
		`don't: it's 'password' that 'x: y' lacks`:           ``,
		`'password': `:  ``,
		`'password': '`: ``,
		`GET https://x.blob.core.windows.net/c?sv=2024&sig=aBc%2F9`: `GET https://x.blob.core.windows.net/c?sv=2024&sig=[Filtered]`,
		`it said 'auth': true and 'token' : null`:                   ``,
	} {
		if want == "" {
			f(`{"message":"`+text+`"}`, "")
			continue
		}
		if got := textOf(t, scrubbed(t, `{"message":"`+text+`"}`)); got != textOf(t, `{"message":"`+want+`"}`) {
			t.Errorf("%s\n gives %s\n  want %s", text, got, want)
		}
	}

	// User info in URLs, and values of names in texts.
	f(`{"request":{"url":"https://joe:pw@shop.example/a?x=1"}}`, `{"request":{"url":"https://***@shop.example/a?x=1"},"_meta":{"request":{"url":{"":{"rem":[["@urlauth:filter","s",8,11]],"len":33}}}}}`)
	f(`{"message":"git clone ssh://git@github.com/a/b and https://medium.example/@joe"}`, "")
	f(`{"request":{"query_string":"q=1&access_token=abc&z=2","data":"user=joe&user[password]=x"}}`,
		`{"request":{"query_string":"q=1&access_token=[Filtered]&z=2","data":"user=joe&user[password]=[Filtered]"},
		  "_meta":{"request":{"query_string":{"":{"rem":[["@password:filter","s",17,27]],"len":24}},"data":{"":{"rem":[["@password:filter","s",24,34]],"len":25}}}}}`)
	f(`{"request":{"data":"{\"user\":\"joe\",\"password\":\"a\\\"b\",\"pin\": 5, \"otp\": 123456}"}}`,
		`{"request":{"data":"{\"user\":\"joe\",\"password\":\"[Filtered]\",\"pin\": 5, \"otp\": [Filtered]}"},
		  "_meta":{"request":{"data":{"":{"rem":[["@password:filter","s",26,36],["@password:filter","s",55,65]],"len":56}}}}}`)
	f(`{"exception":{"values":[{"stacktrace":{"frames":[{"context_line":"connect(password=secret_of(user))"}]}}]}}`, "")

	// Not on by default.
	f(`{"user":{"email":"joe@shop.example","ip_address":"10.1.2.3"}}`, "")
}

func TestMetaIsMergedWithWhatAnSDKTold(t *testing.T) {
	s := scrubberOf(t, nil)
	f := func(event, want string) {
		t.Helper()
		scrubs(t, s, event, want)
	}
	f(`{"_meta":{"message":{"":{"len":5000,"rem":[["!limit","s",3,6]]}},"user":{"":{"x":1}}},"message":"4111111111111111...","extra":{"token":"t"}}`,
		`{"_meta":{"message":{"":{"len":5000,"rem":[["!limit","s",3,6],["@creditcard:filter","s",0,10]]}},"user":{"":{"x":1}},"extra":{"token":{"":{"rem":[["@password:filter","s",0,10]],"len":1}}}},"message":"[Filtered]...","extra":{"token":"[Filtered]"}}`)
	f(`{"_meta":null,"extra":{"token":"t"},"x":[]}`, `{"_meta":{"extra":{"token":{"":{"rem":[["@password:filter","s",0,10]],"len":1}}}},"extra":{"token":"[Filtered]"},"x":[]}`)
	f(`{"extra":{"token":"t"},"_meta":{}}`, `{"_meta":{"extra":{"token":{"":{"rem":[["@password:filter","s",0,10]],"len":1}}}},"extra":{"token":"[Filtered]"}}`)
	// A secret that an SDK put in there goes, without a note about the note.
	f(`{"_meta":{"message":{"":{"val":"4111111111111111"}}}}`, `{"_meta":{"message":{"":{"val":"[Filtered]"}}}}`)
	f(`{"extra":{"_meta":{"token":"t"}}}`, `{"extra":{"_meta":{"token":"[Filtered]"}},"_meta":{"extra":{"_meta":{"token":{"":{"rem":[["@password:filter","s",0,10]],"len":1}}}}}}`)
	f(`{ "password" : "t" }`, `{"password":"[Filtered]","_meta":{"password":{"":{"rem":[["@password:filter","s",0,10]],"len":1}}}}`)
}

func TestAProjectsOwnSettings(t *testing.T) {
	rule := func(id, kind, match, method, with string, paths ...string) schemas.ScrubRule {
		return schemas.ScrubRule{ID: id, Type: kind, Match: match, Method: method, Replacement: with, Paths: paths}
	}
	with := func(change func(*schemas.Scrubbing), event, want string) {
		t.Helper()
		scrubs(t, scrubberOf(t, func(s *schemas.ProjectSettings) { change(&s.Scrubbing) }), event, want)
	}
	meta := func(path, rem string, length int) string {
		out := fmt.Sprintf(`{"":{"rem":[%s],"len":%d}}`, rem, length)
		parts := strings.Split(path, ".")
		for i := len(parts) - 1; i >= 0; i-- {
			out = `{"` + parts[i] + `":` + out + `}`
		}
		return `"_meta":` + out
	}
	with(func(s *schemas.Scrubbing) { s.Emails = true }, `{"message":"mail joe.doe+x@shop.example."}`,
		`{"message":"mail [Filtered].",`+meta("message", `["@email:filter","s",5,15]`, 28)+`}`)
	with(func(s *schemas.Scrubbing) { s.IPAddresses = true }, `{"user":{"ip_address":"2001:db8::1"},"release":"1.2.3.4","contexts":{"os":{"version":"10.0.0.1"}},"message":"Chrome/120.0.0.0 at 12:34:56, std::dead::beef"}`,
		`{"user":{"ip_address":"[Filtered]"},"release":"1.2.3.4","contexts":{"os":{"version":"10.0.0.1"}},"message":"Chrome/120.0.0.0 at 12:34:56, std::dead::beef",`+meta("user.ip_address", `["@ip:filter","s",0,10]`, 11)+`}`)
	with(func(s *schemas.Scrubbing) { s.IPAddresses = true }, `{"message":"from 10.1.2.3:80 to http://192.168.0.1/x."}`,
		`{"message":"from [Filtered]:80 to http://[Filtered]/x.",`+meta("message", `["@ip:filter","s",5,15],["@ip:filter","s",29,39]`, 41)+`}`)
	with(func(s *schemas.Scrubbing) { s.SensitiveFields = []string{"iban no"} }, `{"extra":{"ibanNo":"DE1","iban":"DE2"}}`,
		`{"extra":{"ibanNo":"[Filtered]","iban":"DE2"},`+meta("extra.ibanNo", `["@password:filter","s",0,10]`, 3)+`}`)
	with(func(s *schemas.Scrubbing) { s.SafeFields = []string{"csrf_token"} }, `{"extra":{"csrfToken":{"a":["4111111111111111"]}},"message":"csrf_token=x"}`, "")
	with(func(s *schemas.Scrubbing) { s.Defaults, s.SensitiveFields = false, []string{"pin"} }, `{"extra":{"password":"4111111111111111"}}`, "")

	rules := func(r ...schemas.ScrubRule) func(*schemas.Scrubbing) {
		return func(s *schemas.Scrubbing) { s.Rules = r }
	}
	with(rules(rule("nr", "pattern", `AB-\d{4}`, "replace", "AB-?")), `{"message":"see AB-1234, AB-5678"}`,
		`{"message":"see AB-?, AB-?",`+meta("message", `["nr","s",4,8],["nr","s",10,14]`, 20)+`}`)
	with(rules(rule("nr", "pattern", `\d{4}`, "mask", "", "extra.**")), `{"message":"1234","extra":{"a":{"b":"x1234"}}}`,
		`{"message":"1234","extra":{"a":{"b":"x****"}},`+meta("extra.a.b", `["nr","m",1,5]`, 5)+`}`)
	with(rules(rule("nr", "pattern", `\d{4}`, "remove", "")), `{"message":"a1234b"}`, `{"message":"ab",`+meta("message", `["nr","x",1,1]`, 6)+`}`)
	with(rules(rule("f", "field", "customer*", "remove", "")), `{"extra":{"CustomerName":"joe","customer_id":5,"name":"x"}}`,
		`{"extra":{"CustomerName":null,"customer_id":null,"name":"x"},"_meta":{"extra":{"CustomerName":{"":{"rem":[["f","x"]],"len":3}},"customer_id":{"":{"rem":[["f","x"]],"len":1}}}}}`)
	with(rules(rule("f", "field", "name", "mask", "", "user.*")), `{"user":{"name":"jöe"},"extra":{"name":"x"}}`,
		`{"user":{"name":"***"},"extra":{"name":"x"},`+meta("user.name", `["f","m",0,3]`, 3)+`}`)
	with(rules(rule("all", "builtin", "anything", "replace", "gone", "request.data")), `{"request":{"data":{"a":["x",{"b":"y"}]},"method":"GET"}}`,
		`{"request":{"data":{"a":["gone",{"b":"gone"}]},"method":"GET"},"_meta":{"request":{"data":{"a":{"0":{"":{"rem":[["all","s",0,4]],"len":1}},"1":{"b":{"":{"rem":[["all","s",0,4]],"len":1}}}}}}}}`)
	with(rules(rule("mail", "builtin", "email", "hash", "")), `{"user":{"email":"a@b.example"}}`,
		`{"user":{"email":"[hash:`+hashOf(t, "a@b.example")+`]"},`+meta("user.email", `["mail","p",0,39]`, 11)+`}`)
	with(rules(rule("dotted", "field", "*", "replace", "", "attributes.user.card.*")), `{"attributes":{"user.card":{"type":"string","value":"v"}}}`,
		`{"attributes":{"user.card":{"type":"[Filtered]","value":"[Filtered]"}},"_meta":{"attributes":{"user.card":{"type":{"":{"rem":[["dotted","s",0,10]],"len":6}},"value":{"":{"rem":[["dotted","s",0,10]],"len":1}}}}}}`)

	for _, off := range []func(*schemas.Scrubbing){
		func(s *schemas.Scrubbing) { s.Enabled = false },
		func(s *schemas.Scrubbing) { s.Defaults = false },
	} {
		if scrubberOf(t, func(s *schemas.ProjectSettings) { off(&s.Scrubbing) }) != nil {
			t.Error("there is a scrubber with nothing to do")
		}
	}
}

func hashOf(t *testing.T, text string) string {
	t.Helper()
	p := &pass{s: scrubberOf(t, nil)}
	h := string(p.hash([]byte(text)))
	other := *p.s
	other.hashKey = []byte("another")
	if p.s = &other; string(p.hash([]byte(text))) == h {
		t.Error("the hash does not depend on the project's key")
	}
	return strings.TrimSuffix(strings.TrimPrefix(h, "[hash:"), "]")
}

func TestEachItemOfAContainerHasItsOwnMeta(t *testing.T) {
	s := scrubberOf(t, nil)
	in := `{"items":[
		{"body":"a","attributes":{"x":{"type":"string","value":"4111111111111111"}}},
		{"body":"plain"},
		{"attributes":{"auth.token":{"type":"string","value":"v"},"session.age":{"type":"integer","value":5,"unit":"s"}}}
	],"version":2}`
	out, ok := s.scrub([]byte(in), true, 1<<20)
	if !ok {
		t.Fatal("told to be broken")
	}
	want := `{"items":[
		{"body":"a","attributes":{"x":{"type":"string","value":"[Filtered]"}},"_meta":{"attributes":{"x":{"value":{"":{"rem":[["@creditcard:filter","s",0,10]],"len":16}}}}}},
		{"body":"plain"},
		{"attributes":{"auth.token":{"type":"string","value":"[Filtered]"},"session.age":{"type":"integer","value":null,"unit":"s"}},
		 "_meta":{"attributes":{"auth.token":{"value":{"":{"rem":[["@password:filter","s",0,10]],"len":1}}},"session.age":{"value":{"":{"rem":[["@password:filter","x"]],"len":1}}}}}}
	],"version":2}`
	if diff := cmp.Diff(canonical(t, []byte(want)), canonical(t, out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBrokenJSONIsToldAndNeverReadBeyond(t *testing.T) {
	s := scrubberOf(t, nil)
	whole := `{"a":{"password":"x\"y","b":[["k","v"],1.5e3,true,null,{}]},"_meta":{"a":1},"c":"d"}`
	if _, ok := s.scrub([]byte(whole), false, 1<<20); !ok {
		t.Fatal("the whole is told to be broken")
	}
	for n := range len(whole) {
		if _, ok := s.scrub([]byte(whole[:n]), false, 1<<20); ok {
			t.Errorf("%s was taken", whole[:n])
		}
	}
	deep := strings.Repeat(`{"a":`, 300) + `1` + strings.Repeat(`}`, 300)
	if _, ok := s.scrub([]byte(deep), false, 1<<20); ok {
		t.Error("300 levels were taken")
	}
	for _, broken := range []string{``, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":[1 2]}`, `{a:1}`, `{"a":}`, `{} {}`} {
		if _, ok := s.scrub([]byte(broken), false, 1<<20); ok {
			t.Errorf("%s was taken", broken)
		}
	}
}

func TestWhatScrubbingAddsIsBounded(t *testing.T) {
	s := scrubberOf(t, func(s *schemas.ProjectSettings) {
		s.Scrubbing.Rules = []schemas.ScrubRule{
			{ID: "long", Type: "pattern", Match: "x", Method: "replace", Replacement: strings.Repeat("y", 128)},
			{ID: "h", Type: "field", Match: "h*", Method: "hash"},
		}
	})
	var event strings.Builder
	event.WriteString(`{"extra":{"text":"` + strings.Repeat("x", 50_000) + `"`)
	for i := range 20_000 {
		fmt.Fprintf(&event, `,"token%d":"t","h%d":5,"n%d":"xx"`, i, i, i)
	}
	event.WriteString(`}}`)
	for _, most := range []int{0, event.Len() + 100, 4 << 20} {
		out, ok := s.scrub([]byte(event.String()), false, most)
		if !ok || !json.Valid(out) {
			t.Fatalf("at most %d: told to be broken, or it is now", most)
		}
		if grown := len(out) - event.Len(); grown > min(maxGrowth, max(0, most-event.Len())) {
			t.Errorf("at most %d: %d bytes became %d", most, event.Len(), len(out))
		}
		if bytes.Contains(out, []byte(`:"t"`)) || bytes.Contains(out, []byte("x\"")) {
			t.Errorf("at most %d: something was left", most)
		}
	}
}

func TestWhatExpressionsMayReadIsBounded(t *testing.T) {
	s := scrubberOf(t, func(s *schemas.ProjectSettings) {
		for i := range 50 {
			s.Scrubbing.Rules = append(s.Scrubbing.Rules, schemas.ScrubRule{ID: fmt.Sprint("r", i), Type: "pattern", Match: "[0-9]{6}never", Method: "remove"})
		}
	})
	event := `{"message":"` + strings.Repeat("a", 500_000) + `","extra":{"a":"short"}}`
	out, ok := s.scrub([]byte(event), false, 1<<20)
	if !ok || bytes.Contains(out, []byte("aaaa")) {
		t.Error("a text that could not be searched was kept")
	}
}

func TestHugeStringsAreScrubbedWhole(t *testing.T) {
	s := scrubberOf(t, func(s *schemas.ProjectSettings) { s.Scrubbing.Emails = true })
	pad := strings.Repeat("lorem \\\"ipsum\\\" 12 = ☃ ", 30_000)
	event := `{"message":"` + pad + `4111111111111111 ` + pad + `joe@shop.example"}`
	out, ok := s.scrub([]byte(event), false, 2<<20)
	if !ok || bytes.Contains(out, []byte("4111111111111111")) || bytes.Contains(out, []byte("joe@")) || !json.Valid(out) {
		t.Error("a secret in a text of a megabyte was kept")
	}
}

// FuzzScrub: whatever is valid JSON stays so, and no secret of a known kind is
// left at a known place.
func FuzzScrub(f *testing.F) {
	for _, seed := range []string{
		`{"extra":{"password":"hunter2"},"message":"4111 1111 1111 1111"}`, `{"_meta":{"a":{"":{"rem":[]}}},"a":[["token","x"]]}`,
		`{"items":[{"attributes":{"session.id":{"type":"string","value":"x"}}}]}`, `[1,"a=b",{"\u0061uth":-1.5e+3}]`, `{"":{"":""},"a":"\ud83d\ude00\ud83d token=1"}`,
		`{"m":"https://a:b@c/?password=d&e","n":"{\"secret\":\"x\\\"\"}","o":"Bearer abcdefgh1 a@b.cd 1.2.3.4 ::1"}`,
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	s := scrubberOf(f, func(s *schemas.ProjectSettings) {
		s.Scrubbing.Emails, s.Scrubbing.IPAddresses, s.Scrubbing.SafeFields = true, true, []string{"safe"}
		s.Scrubbing.Rules = []schemas.ScrubRule{
			{ID: "p", Type: "pattern", Match: `zz+`, Method: "mask"},
			{ID: "h", Type: "field", Match: "h*", Method: "hash", Paths: []string{"**.x"}},
			{ID: "r", Type: "builtin", Match: "anything", Method: "remove", Paths: []string{"a.*.b"}},
		}
	})
	f.Fuzz(func(t *testing.T, in []byte, isContainer bool) {
		valid := json.Valid(in)
		before := bytes.Clone(in)
		out, ok := s.scrub(in, isContainer, 1<<20)
		if !bytes.Equal(before, in) {
			t.Fatal("the payload was written to")
		}
		if !valid {
			return
		}
		if !ok {
			if bytes.Count(in, []byte("["))+bytes.Count(in, []byte("{")) < maxDepth {
				t.Fatalf("%s is told to be broken", in)
			}
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%s\nbecame broken: %s", in, out)
		}
		again, ok := s.scrub(out, isContainer, 1<<20)
		if !ok || !json.Valid(again) {
			t.Fatalf("%s\nbroke the second time: %s", out, again)
		}
		var top map[string]any
		if !isContainer && json.Unmarshal(out, &top) == nil {
			if v, ok := top["password"].(string); ok && v != "" && v != filtered {
				t.Fatalf("the password %q was left in %s", v, out)
			}
		}
	})
}

// scrubbed gives what the default settings leave of a payload.
func scrubbed(t *testing.T, payload string) string {
	t.Helper()
	out, ok := scrubberOf(t, nil).scrub([]byte(payload), false, 1<<20)
	if !ok {
		t.Fatalf("%s is said to be broken", payload)
	}
	return string(out)
}

// textOf gives the message of an event.
func textOf(t *testing.T, payload string) string {
	t.Helper()
	var e struct{ Message string }
	if err := json.Unmarshal([]byte(payload), &e); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	return e.Message
}
