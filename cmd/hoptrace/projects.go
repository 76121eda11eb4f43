package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/metadata"
	"github.com/hoptrace/hoptrace/schemas"
)

const projectsUsage = `hoptrace projects makes and changes projects and their keys, while the server runs.
It sees a change within 5 s.

  hoptrace projects list
  hoptrace projects create SLUG [--name NAME] [--settings FILE]
  hoptrace projects show PROJECT
  hoptrace projects set PROJECT [--name NAME] [--enable | --disable] [--settings FILE] [KEY=VALUE …]
  hoptrace projects keys PROJECT
  hoptrace projects key-create PROJECT [--label TEXT] [--limit COUNT/SECONDS]
  hoptrace projects key-set PROJECT KEY [--label TEXT] [--limit COUNT/SECONDS | --limit none]
  hoptrace projects key-disable | key-enable | key-rotate | key-delete PROJECT KEY

PROJECT is a slug or an id, KEY a public key or a DSN. --settings reads all settings, JSON, from a file (- is standard
input); KEY=VALUE sets one, for example filters.localhost=true or filters.releases='["0.*"]'.
--json prints JSON. The metadata store is that of the settings: --data DIR or --metadata.dsn, --config FILE.
`

// projectsTimeout bounds one command.
const projectsTimeout = 30 * time.Second

// roleProjects needs the metadata store only, which has a default.
var roleProjects = role{name: "projects", printConfig: true}

// projectArgs are the command's own; the others are settings.
type projectArgs struct {
	command    string
	positional []string
	settings   []string
	json       bool
	enable     bool
	disable    bool
	texts      map[string]string // name, label, limit, settings, as far as given
}

// ownFlags are the flags that a command takes besides --json.
var ownFlags = map[string]struct {
	positional, most int // arguments, at least and at most
	flags            []string
}{
	"list":        {0, 0, nil},
	"create":      {1, 1, []string{"name", "settings"}},
	"show":        {1, 1, nil},
	"set":         {1, 100, []string{"name", "settings", "enable", "disable"}},
	"keys":        {1, 1, nil},
	"key-create":  {1, 1, []string{"label", "limit"}},
	"key-set":     {2, 2, []string{"label", "limit"}},
	"key-enable":  {2, 2, nil},
	"key-disable": {2, 2, nil},
	"key-rotate":  {2, 2, nil},
	"key-delete":  {2, 2, nil},
}

func parseProjectArgs(args []string) (*projectArgs, error) {
	if len(args) == 0 {
		return nil, errors.New("say what to do")
	}
	a := &projectArgs{command: args[0], texts: map[string]string{}}
	takes, ok := ownFlags[a.command]
	if !ok {
		return nil, fmt.Errorf("no command %q", a.command)
	}
	for i := 1; i < len(args); i++ {
		flag, isFlag := strings.CutPrefix(args[i], "--")
		if !isFlag {
			a.positional = append(a.positional, args[i])
			continue
		}
		name, value, hasValue := strings.Cut(flag, "=")
		own := slices.Contains([]string{"json", "enable", "disable", "name", "label", "limit", "settings"}, name)
		if own && name != "json" && !slices.Contains(takes.flags, name) {
			return nil, fmt.Errorf("%s takes no --%s", a.command, name)
		}
		switch name {
		case "json":
			a.json = true
			continue
		case "enable":
			a.enable = true
			continue
		case "disable":
			a.disable = true
			continue
		}
		if !hasValue {
			if i++; i >= len(args) {
				return nil, fmt.Errorf("--%s: the value is missing", name)
			}
			value = args[i]
		}
		if own {
			a.texts[name] = value
		} else {
			a.settings = append(a.settings, "--"+name+"="+value)
		}
	}
	switch n := len(a.positional); {
	case n < takes.positional:
		return nil, fmt.Errorf("%s needs %s", a.command, []string{"", "a project", "a project and a key"}[takes.positional])
	case n > takes.most:
		return nil, fmt.Errorf("%s does not take %q", a.command, strings.Join(a.positional[takes.most:], " "))
	case a.enable && a.disable:
		return nil, errors.New("--enable and --disable together say nothing")
	}
	return a, nil
}

// runProjects is `hoptrace projects`; it returns the exit code as run does.
func runProjects(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a, err := parseProjectArgs(args)
	if err != nil {
		fmt.Fprintf(stderr, "hoptrace projects: %v\n\n%s", err, projectsUsage)
		return 2
	}
	s, _, err := load(roleProjects, a.settings, environ)
	if err != nil {
		return report(stderr, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, projectsTimeout)
	defer cancel()
	if err := doProjects(ctx, a, s, stdin, stdout); err != nil {
		for i, line := range strings.Split(err.Error(), "\n") {
			prefix := "hoptrace projects: "
			if i > 0 {
				prefix = "  "
			}
			fmt.Fprintln(stderr, prefix+line)
		}
		return 1
	}
	return 0
}

func doProjects(ctx context.Context, a *projectArgs, s *settings, stdin io.Reader, stdout io.Writer) (err error) {
	dsn := s.metadataDSN()
	if path, isFile := strings.CutPrefix(dsn, "sqlite:"); isFile {
		// Opening it would make it, somewhere that no server looks.
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("there is no metadata store %s: name the data directory of the server (--data), or its store (--metadata.dsn); a new server makes its own when it starts", path)
		}
	}
	store, err := metadata.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	c := &projectCommands{ctx: ctx, a: a, store: store, server: s.Collector.HTTP, stdin: stdin, out: stdout}
	switch a.command {
	case "list":
		return c.list()
	case "create":
		return c.create()
	}
	p, err := c.find(a.positional[0])
	if err != nil {
		return err
	}
	switch a.command {
	case "show":
		return c.show(&p)
	case "set":
		return c.set(p)
	case "keys":
		return c.keys(&p)
	case "key-create":
		return c.createKey(&p)
	}
	return c.changeKey(&p)
}

// projectCommands is one command under way.
type projectCommands struct {
	ctx    context.Context
	a      *projectArgs
	store  exporters.Projects
	server string // host:port of the Sentry endpoints
	stdin  io.Reader
	out    io.Writer
}

// find takes a slug or an id.
func (c *projectCommands) find(name string) (schemas.Project, error) {
	all, err := c.store.Projects(c.ctx)
	if err != nil {
		return schemas.Project{}, err
	}
	id, _ := strconv.ParseUint(name, 10, 64)
	var slugs []string
	for i := range all {
		if all[i].Slug == name {
			return c.store.Project(c.ctx, all[i].ID)
		}
		slugs = append(slugs, all[i].Slug)
	}
	for i := range all { // a slug may be a number, too: it comes first
		if id != 0 && all[i].ID == id {
			return c.store.Project(c.ctx, id)
		}
	}
	return schemas.Project{}, fmt.Errorf("there is no project %q; there are %s", name, strings.Join(slugs, ", "))
}

// projectJSON is how --json prints a project.
type projectJSON struct {
	ID       uint64                   `json:"id"`
	Slug     string                   `json:"slug"`
	Name     string                   `json:"name"`
	Disabled bool                     `json:"disabled"`
	Revision int64                    `json:"revision"`
	DSNs     []string                 `json:"dsns"`
	Settings *schemas.ProjectSettings `json:"settings,omitempty"`
}

// keyJSON is how --json prints a key.
type keyJSON struct {
	ID      uint64            `json:"id"`
	Public  string            `json:"public"`
	Label   string            `json:"label"`
	Active  bool              `json:"active"`
	Created time.Time         `json:"created"`
	DSN     string            `json:"dsn"`
	Limit   *schemas.KeyLimit `json:"limit"`
}

func (c *projectCommands) dsn(project uint64, key string) string {
	return "http://" + key + "@" + c.server + "/" + strconv.FormatUint(project, 10)
}

func (c *projectCommands) projectJSON(p *schemas.Project) projectJSON {
	out := projectJSON{ID: p.ID, Slug: p.Slug, Name: p.Name, Disabled: p.Disabled, Revision: p.Revision, DSNs: []string{}, Settings: p.Settings}
	for _, k := range p.Keys {
		out.DSNs = append(out.DSNs, c.dsn(p.ID, k))
	}
	return out
}

func (c *projectCommands) keyJSON(k *schemas.Key) keyJSON {
	return keyJSON{k.ID, k.Public, k.Label, k.Active, time.Unix(0, k.Created).UTC(), c.dsn(k.Project, k.Public), k.Limit}
}

func (c *projectCommands) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func state(isOff bool) string {
	if isOff {
		return "disabled"
	}
	return "active"
}

func (c *projectCommands) list() error {
	all, err := c.store.Projects(c.ctx)
	if err != nil {
		return err
	}
	if c.a.json {
		out := make([]projectJSON, 0, len(all))
		for i := range all {
			out = append(out, c.projectJSON(&all[i]))
		}
		return c.printJSON(out)
	}
	tab := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "ID\tSLUG\tNAME\tSTATE\tDSN")
	for i := range all {
		p := c.projectJSON(&all[i])
		fmt.Fprintf(tab, "%d\t%s\t%s\t%s\t%s\n", p.ID, p.Slug, p.Name, state(p.Disabled), strings.Join(p.DSNs, " "))
	}
	return tab.Flush()
}

func (c *projectCommands) show(p *schemas.Project) error {
	if c.a.json {
		return c.printJSON(c.projectJSON(p))
	}
	j := c.projectJSON(p)
	fmt.Fprintf(c.out, "%s (project %d, %s)\nname:     %s\nrevision: %d\n", p.Slug, p.ID, state(p.Disabled), p.Name, p.Revision)
	for _, dsn := range j.DSNs {
		fmt.Fprintln(c.out, "dsn:     ", dsn)
	}
	fmt.Fprint(c.out, "settings: ")
	return c.printJSON(p.Settings)
}

// readSettings reads the file of --settings; nil when it is not given.
func (c *projectCommands) readSettings() (*schemas.ProjectSettings, error) {
	path, ok := c.a.texts["settings"]
	if !ok {
		return nil, nil //nolint:nilnil // not given
	}
	const most = 2 << 20
	from := c.stdin
	if path != "-" {
		f, err := os.Open(path) //nolint:gosec // a person named it
		if err != nil {
			return nil, fmt.Errorf("--settings: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	document, err := io.ReadAll(io.LimitReader(from, most))
	if err != nil {
		return nil, fmt.Errorf("--settings %s: %w", path, err)
	}
	s, err := schemas.ParseProjectSettings(document)
	if err != nil {
		return nil, fmt.Errorf("--settings %s has faults:\n%w", path, err)
	}
	return &s, nil
}

func (c *projectCommands) create() error {
	settings, err := c.readSettings()
	if err != nil {
		return err
	}
	if err := checkRules(settings); err != nil {
		return fmt.Errorf("the grouping rules have faults: %w", err)
	}
	p, err := c.store.CreateProject(c.ctx, schemas.Project{Slug: c.a.positional[0], Name: c.a.texts["name"], Settings: settings})
	if err != nil {
		return err
	}
	if c.a.json {
		return c.printJSON(c.projectJSON(&p))
	}
	fmt.Fprintf(c.out, "made project %d, %s\n%s\n", p.ID, p.Slug, c.dsn(p.ID, p.Keys[0]))
	return nil
}

func (c *projectCommands) set(p schemas.Project) error {
	settings, err := c.readSettings()
	if err != nil {
		return err
	}
	changes := c.a.positional[1:]
	name, renamed := c.a.texts["name"]
	if settings == nil && len(changes) == 0 && !renamed && !c.a.enable && !c.a.disable {
		return errors.New("nothing to set: give --name, --enable, --disable, --settings FILE or KEY=VALUE")
	}
	if settings != nil {
		p.Settings = settings
	}
	if len(changes) > 0 {
		changed, err := setValues(p.Settings, changes)
		if err != nil {
			return err
		}
		p.Settings = changed
	}
	if err := checkRules(p.Settings); err != nil {
		return fmt.Errorf("the grouping rules have faults: %w", err)
	}
	if renamed {
		p.Name = name
	}
	p.Disabled = (p.Disabled || c.a.disable) && !c.a.enable
	if p, err = c.store.UpdateProject(c.ctx, p); err != nil {
		if errors.Is(err, exporters.ErrConflict) {
			return fmt.Errorf("%w; run the command again", err)
		}
		return err
	}
	return c.show(&p)
}

// setValues sets KEY=VALUE in a document of settings. A value is JSON, or else a
// text.
func setValues(s *schemas.ProjectSettings, changes []string) (*schemas.ProjectSettings, error) {
	var document map[string]any
	if err := json.Unmarshal(s.Document(), &document); err != nil {
		return nil, err
	}
	for _, change := range changes {
		path, text, ok := strings.Cut(change, "=")
		if !ok || path == "" {
			return nil, fmt.Errorf("%q is no KEY=VALUE, as filters.localhost=true", change)
		}
		var value any
		if json.Unmarshal([]byte(text), &value) != nil {
			value = text
		}
		at := document
		steps := strings.Split(path, ".")
		for _, step := range steps[:len(steps)-1] {
			next, ok := at[step].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%q: settings have no group %q; `hoptrace projects show` prints them", change, step)
			}
			at = next
		}
		at[steps[len(steps)-1]] = value
	}
	changed, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	out, err := schemas.ParseProjectSettings(changed)
	if err != nil {
		return nil, fmt.Errorf("the change has faults:\n%w", err)
	}
	return &out, nil
}

func (c *projectCommands) keys(p *schemas.Project) error {
	all, err := c.store.ListKeys(c.ctx, p.ID)
	if err != nil {
		return err
	}
	if c.a.json {
		out := make([]keyJSON, 0, len(all))
		for i := range all {
			out = append(out, c.keyJSON(&all[i]))
		}
		return c.printJSON(out)
	}
	tab := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "ID\tLABEL\tSTATE\tLIMIT\tCREATED\tDSN")
	for i := range all {
		k := &all[i]
		limit := "none"
		if k.Limit != nil {
			limit = fmt.Sprintf("%d/%ds", k.Limit.Count, k.Limit.Window)
		}
		fmt.Fprintf(tab, "%d\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Label, state(!k.Active), limit, time.Unix(0, k.Created).UTC().Format(time.RFC3339), c.dsn(k.Project, k.Public))
	}
	return tab.Flush()
}

// limit reads COUNT/SECONDS.
func (c *projectCommands) limit(old *schemas.KeyLimit) (*schemas.KeyLimit, error) {
	text, ok := c.a.texts["limit"]
	switch {
	case !ok:
		return old, nil
	case text == "none":
		return nil, nil //nolint:nilnil // no limit
	}
	count, window, ok := strings.Cut(text, "/")
	n, err := strconv.ParseInt(count, 10, 64)
	seconds, windowErr := strconv.ParseInt(strings.TrimSuffix(window, "s"), 10, 64)
	if !ok || err != nil || windowErr != nil {
		return nil, fmt.Errorf("--limit is %q; write it like 1000/60, events in seconds, or none", text)
	}
	return &schemas.KeyLimit{Count: n, Window: seconds}, nil
}

func (c *projectCommands) createKey(p *schemas.Project) error {
	limit, err := c.limit(nil)
	if err != nil {
		return err
	}
	k, err := c.store.CreateKey(c.ctx, schemas.Key{Project: p.ID, Label: c.a.texts["label"], Limit: limit})
	if err != nil {
		return err
	}
	return c.printKey("made", &k)
}

func (c *projectCommands) printKey(done string, k *schemas.Key) error {
	if c.a.json {
		return c.printJSON(c.keyJSON(k))
	}
	fmt.Fprintf(c.out, "%s key %d (%s, %s)\n%s\n", done, k.ID, k.Label, state(!k.Active), c.dsn(k.Project, k.Public))
	return nil
}

// publicOf takes a key or a DSN.
func publicOf(text string) string {
	if _, rest, ok := strings.Cut(text, "://"); ok {
		text, _, _ = strings.Cut(rest, "@")
		text, _, _ = strings.Cut(text, ":")
	}
	return strings.ToLower(text)
}

func (c *projectCommands) changeKey(p *schemas.Project) error {
	public := publicOf(c.a.positional[1])
	all, err := c.store.ListKeys(c.ctx, p.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(k schemas.Key) bool { return k.Public == public })
	if i < 0 {
		return fmt.Errorf("project %s has no key %q; `hoptrace projects keys %s` lists them", p.Slug, public, p.Slug)
	}
	k := all[i]
	switch c.a.command {
	case "key-delete":
		if err := c.store.DeleteKey(c.ctx, p.ID, public); err != nil {
			return err
		}
		k.Active = false
		return c.printKey("deleted", &k)
	case "key-rotate":
		next, err := c.store.RotateKey(c.ctx, p.ID, public)
		if err != nil {
			return err
		}
		return c.printKey("disabled the old one and made", &next)
	case "key-enable":
		k.Active = true
	case "key-disable":
		k.Active = false
	case "key-set":
		if k.Limit, err = c.limit(k.Limit); err != nil {
			return err
		}
		if label, ok := c.a.texts["label"]; ok {
			k.Label = label
		}
	}
	if k, err = c.store.UpdateKey(c.ctx, k); err != nil {
		return err
	}
	return c.printKey("changed", &k)
}
