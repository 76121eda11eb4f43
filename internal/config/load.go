package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration file.
const maxFileBytes = 1 << 20

// Layers are where values come from besides the defaults.
type Layers struct {
	// File is the path of a YAML file; empty means none.
	File string
	// Environ is os.Environ(); EnvPrefix starts the names that are ours.
	Environ   []string
	EnvPrefix string
	// EnvIgnore holds names that start with the prefix and are no setting.
	EnvIgnore []string
	// Args are the flags: --key value, --key=value, --bool.
	Args []string
}

// Load applies the layers and returns every fault at once, joined. What is
// valid is set even then.
func (s *Set) Load(l Layers) error {
	return errors.Join(s.loadFile(l.File), s.loadEnv(l), s.loadArgs(l.Args))
}

func (s *Set) loadFile(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot read the configuration file: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return fmt.Errorf("cannot read the configuration file %s: %w", path, err)
	}
	if len(data) > maxFileBytes {
		return fmt.Errorf("the configuration file %s is larger than 1 MiB", path)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil // empty
	}
	return s.fromNode(path, "", doc.Content[0])
}

func (s *Set) fromNode(path, prefix string, n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: %s: want settings as `key: value`", path, n.Line, strings.TrimSuffix("settings."+prefix, "."))
	}
	var faults []error
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		key := prefix + k.Value
		fault := func(err error) { faults = append(faults, fmt.Errorf("%s:%d: %s: %w", path, k.Line, key, err)) }
		f, ok := s.byKey[key]
		switch {
		case !ok && s.groups[key]:
			if v.Kind == yaml.ScalarNode && v.Tag == "!!null" {
				continue
			}
			if err := s.fromNode(path, key+".", v); err != nil {
				faults = append(faults, err)
			}
		case !ok:
			fault(s.unknown(key))
		default:
			text, err := f.text(v)
			if err == nil {
				err = f.Set(text, FromFile)
			}
			if err != nil {
				fault(err)
			}
		}
	}
	return errors.Join(faults...)
}

// text is the text of a value of f.
func (f *Field) text(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if f.value.Kind() != reflect.Map || n.Kind != yaml.MappingNode {
		return scalar(n)
	}
	var pairs []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || v.Kind != yaml.ScalarNode || strings.ContainsAny(k.Value, ",=") || strings.ContainsAny(v.Value, ",") {
			return "", errors.New("want plain values as `key: value`, without commas")
		}
		pairs = append(pairs, k.Value+"="+v.Value)
	}
	return strings.Join(pairs, ","), nil
}

// scalar is the text of a value: lists are joined by commas.
func scalar(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", nil
		}
		return n.Value, nil
	case yaml.SequenceNode:
		var items []string
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				return "", errors.New("want a list of plain values")
			}
			items = append(items, c.Value)
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("want one value or a list of values")
}

func (s *Set) loadEnv(l Layers) error {
	if l.EnvPrefix == "" {
		return nil
	}
	names := map[string]*Field{}
	for _, f := range s.Fields {
		names[f.Env(l.EnvPrefix)] = f
	}
	for _, n := range l.EnvIgnore {
		names[n] = nil
	}
	var faults []error
	for _, kv := range l.Environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, l.EnvPrefix) {
			continue
		}
		f, known := names[name]
		if !known {
			key := strings.ToLower(strings.TrimPrefix(name, l.EnvPrefix))
			best, least := "", len(key)/3+2
			for _, f := range s.Fields {
				if d := distance(key, strings.ReplaceAll(f.Key, ".", "_")); d < least {
					best, least = f.Env(l.EnvPrefix), d
				}
			}
			if best != "" {
				faults = append(faults, fmt.Errorf("environment variable %s: no such setting; did you mean %s?", name, best))
			} else {
				faults = append(faults, fmt.Errorf("environment variable %s: no such setting; `hoptrace config` lists them", name))
			}
			continue
		}
		if f == nil {
			continue
		}
		if err := f.Set(value, FromEnv); err != nil {
			faults = append(faults, fmt.Errorf("environment variable %s: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

func (s *Set) loadArgs(args []string) error {
	var faults []error
	for i := 0; i < len(args); i++ {
		arg := args[i]
		key, isFlag := strings.CutPrefix(arg, "--")
		if !isFlag {
			faults = append(faults, fmt.Errorf("argument %q: want flags like --web.listen=127.0.0.1:8090", arg))
			continue
		}
		key, value, hasValue := strings.Cut(key, "=")
		f, ok := s.byKey[key]
		if !ok {
			faults = append(faults, fmt.Errorf("flag --%s: %w", key, s.unknown(key)))
			if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
				i++ // its value
			}
			continue
		}
		if !hasValue {
			switch {
			case f.IsBool():
				value = "true"
			case i+1 < len(args):
				i++
				value = args[i]
			default:
				faults = append(faults, fmt.Errorf("flag --%s: the value is missing", key))
				continue
			}
		}
		if err := f.Set(value, FromFlag); err != nil {
			faults = append(faults, fmt.Errorf("flag --%s: %w", key, err))
		}
	}
	return errors.Join(faults...)
}

// Print writes the settings as a YAML file that Load reads back, each with
// where it came from when that is not the default. Secrets that are set print
// as "***".
func (s *Set) Print(w io.Writer) error {
	var b strings.Builder
	var open []string // path of the group that is being written
	for _, f := range s.Fields {
		path := strings.Split(f.Key, ".")
		group := path[:len(path)-1]
		for i, g := range group {
			if i < len(open) && open[i] == g {
				continue
			}
			open = append(open[:min(i, len(open))], g)
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), g)
		}
		open = open[:len(group)]
		indent := strings.Repeat("  ", len(group))
		if f.Help != "" {
			fmt.Fprintf(&b, "%s# %s\n", indent, f.Help)
		}
		text := f.String()
		if f.Secret && text != "" {
			text = "***"
		}
		value, err := yaml.Marshal(text)
		if k := f.value.Kind(); text == fmt.Sprint(f.value.Interface()) && k != reflect.String && k != reflect.Slice {
			value = []byte(text) // a number or a truth needs no quotes
		}
		if err != nil {
			return fmt.Errorf("cannot print %s: %w", f.Key, err)
		}
		from := ""
		if f.Origin != FromDefault {
			from = "  # from " + string(f.Origin)
		}
		fmt.Fprintf(&b, "%s%s: %s%s\n", indent, path[len(path)-1], strings.TrimSpace(string(value)), from)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
