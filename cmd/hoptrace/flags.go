package main

import (
	"fmt"
	"strings"
)

// flags are what stands behind a command's name.
type flags struct {
	values map[string]*string      // --name value, or --name=value
	facts  map[string]*bool        // --name
	word   func(word string) error // takes what is no flag; nil takes nothing
}

// read reads args; of a flag that stands twice the last value counts.
func (f flags) read(args []string) error {
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(args[i], "=")
		switch to := f.values[name]; {
		case to != nil:
			if !hasValue {
				var err error
				if value, err = nextValue(args, &i); err != nil {
					return err
				}
			}
			*to = value
		case f.facts[name] != nil:
			if hasValue {
				return fmt.Errorf("%s takes no value", name)
			}
			*f.facts[name] = true
		case f.word == nil:
			return fmt.Errorf("no flag or word %q", args[i])
		case strings.HasPrefix(name, "--"):
			return fmt.Errorf("no flag %q", args[i])
		default:
			if err := f.word(args[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
