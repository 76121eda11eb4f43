package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hoptrace/hoptrace/web/api/finding"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

type contract struct {
	Paths      map[string]map[string]operation `yaml:"paths"`
	Components struct {
		Parameters map[string]struct {
			Name string `yaml:"name"`
			In   string `yaml:"in"`
		} `yaml:"parameters"`
		Schemas map[string]struct {
			Required   []string       `yaml:"required"`
			Properties map[string]any `yaml:"properties"`
		} `yaml:"schemas"`
	} `yaml:"components"`
}

// operation is what one method of a path takes.
type operation struct {
	Role       string `yaml:"x-role"`
	Parameters []struct {
		Ref  string `yaml:"$ref"`
		Name string `yaml:"name"`
		In   string `yaml:"in"`
	} `yaml:"parameters"`
}

func readContract(t *testing.T) contract {
	t.Helper()
	var c contract
	if err := yaml.Unmarshal(OpenAPI(), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryRouteStandsInTheContract(t *testing.T) {
	c := readContract(t)
	h := newHandler(t, &fakestore.Store{})
	for _, route := range h.routes {
		method, path, _ := strings.Cut(route, " ")
		if _, ok := c.Paths[path][strings.ToLower(method)]; !ok {
			t.Errorf("route %s is not in openapi.yaml", route)
		}
	}
	for path, item := range c.Paths {
		for method, op := range item {
			route := strings.ToUpper(method) + " " + path
			if !slices.Contains(h.routes, route) {
				t.Errorf("openapi.yaml has %s, which is not served", route)
			}
			for _, p := range op.Parameters {
				name, in := p.Name, p.In
				if p.Ref != "" {
					shared := c.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
					name, in = shared.Name, shared.In
				}
				if in == "query" && !slices.Contains(h.params[route], name) {
					t.Errorf("openapi.yaml gives %s the parameter %s, which is refused", route, name)
				}
			}
		}
	}
}

func TestEveryTypeIsAsTheContractSays(t *testing.T) {
	c := readContract(t)
	seen := map[reflect.Type]bool{}
	var check func(reflect.Type)
	check = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Array {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		schema, ok := c.Components.Schemas[typ.Name()]
		if !ok {
			t.Errorf("openapi.yaml has no schema %s", typ.Name())
			return
		}
		fields := 0
		for i := range typ.NumField() {
			tag := typ.Field(i).Tag.Get("json")
			if tag == "" || tag == "-" {
				continue
			}
			fields++
			name, option, _ := strings.Cut(tag, ",")
			if _, ok := schema.Properties[name]; !ok {
				t.Errorf("%s.%s is not in openapi.yaml", typ.Name(), name)
			}
			if required := slices.Contains(schema.Required, name); required == (option == "omitempty") {
				t.Errorf("%s.%s: required %v, tag %q", typ.Name(), name, required, tag)
			}
			check(typ.Field(i).Type)
		}
		if fields != len(schema.Properties) {
			t.Errorf("%s has %d fields, openapi.yaml %d", typ.Name(), fields, len(schema.Properties))
		}
	}
	for _, v := range []any{
		Problem{},
		Status{},
		Names{},
		TraceList{},
		Journey{},
		TopicList{},
		TopicDetail{},
		Heatmap{},
		Topology{},
		TopologySteps{},
		HopList{},
		LagList{},
		LagDetail{},
		LineHealth{},
		DeadLetterList{},
		DeadLetterDetail{},
		DeadLetterAction{},
		DeadLetterOutcomes{},
		LogList{},
		Ledger{},
		FileList{},
		FeedbackList{},
		FeedbackChange{},
		FeedbackChanged{},
		ReleaseList{},
		ReleaseSeries{},
		MonitorList{},
		MonitorCreate{},
		MonitorUpdate{},
		CheckInList{},
		MetricList{},
		MetricDetail{},
		AdviceList{},
		ClockList{},
		IssueList{},
		IssueDetail{},
		IssueAction{},
		UnmergeAction{},
		IssuesChanged{},
		Unmerged{},
		DiscardedList{},
		RestoreAction{},
		SearchFields{},
		SpanSearch{},
		HopSearch{},
		SearchHistogram{},
		Completion{},
		SavedQueryList{},
		SavedQueryWrite{},
		EventDetail{},
		IssueMessages{},
		RecordDetail{},
		Found{},
		BatchDetail{},
		LinkList{},
		GroupingTry{},
		GroupingPreview{},
		GroupingOfEvent{},
		finding.Finding{},
		ProjectList{},
		ProjectDetail{},
		ProjectCreate{},
		ProjectUpdate{},
		KeyCreate{},
		KeyUpdate{},
		Me{},
		SignIn{},
		SignOut{},
		LinkLook{},
		LinkFor{},
		LinkUse{},
		MeUpdate{},
		PasswordChange{},
		SessionList{},
		TokenList{},
		TokenCreate{},
		TokenMade{},
		MemberList{},
		MemberCreate{},
		MemberUpdate{},
		MemberLink{},
		AuditList{},
		Done{},
	} {
		check(reflect.TypeOf(v))
	}
	for name := range c.Components.Schemas {
		if name != "Nanos" && !slices.ContainsFunc(keys(seen), func(typ reflect.Type) bool { return typ.Name() == name }) {
			t.Errorf("openapi.yaml has the schema %s, which no answer uses", name)
		}
	}
}

func keys(m map[reflect.Type]bool) []reflect.Type {
	out := []reflect.Type{}
	for k := range m {
		out = append(out, k)
	}
	return out
}
