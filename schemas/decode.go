package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// decodeFields decodes an object into the struct that into points to, and goes
// on after a fault: each unknown field and each value of another type is named
// by its path. What is absent or null stays as it is.
func decodeFields(document []byte, into any, faults *[]error) {
	decodeValue("", document, reflect.ValueOf(into).Elem(), faults)
}

func decodeValue(path string, raw json.RawMessage, v reflect.Value, faults *[]error) {
	if string(raw) == "null" {
		return
	}
	fault := func(format string, args ...any) {
		*faults = append(*faults, &SettingsError{Path: path, Text: fmt.Sprintf(format, args...)})
	}
	switch v.Kind() {
	case reflect.Struct:
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			fault("is %s, want an object", kindOf(raw))
			return
		}
		fields := map[string]reflect.Value{}
		for i := range v.NumField() {
			if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
				fields[name] = v.Field(i)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			field, ok := fields[name]
			if !ok {
				*faults = append(*faults, &SettingsError{Path: below(path, clipText(name, 64)), Text: "is unknown; known are " + strings.Join(slices.Sorted(maps.Keys(fields)), ", ")})
				continue
			}
			decodeValue(below(path, name), members[name], field, faults)
		}
	case reflect.Slice:
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) != nil {
			fault("is %s, want an array", kindOf(raw))
			return
		}
		if len(elements) > maxListed {
			fault("has %d entries, want at most %d", len(elements), maxListed)
			return
		}
		list := reflect.MakeSlice(v.Type(), len(elements), len(elements))
		for i, e := range elements {
			decodeValue(fmt.Sprintf("%s[%d]", path, i), e, list.Index(i), faults)
		}
		v.Set(list)
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		decodeValue(path, raw, p.Elem(), faults)
		v.Set(p)
	default:
		if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
			var wrong *json.UnmarshalTypeError
			if errors.As(err, &wrong) {
				fault("is %s, want %s", kindOf(raw), wanted(v.Kind()))
				return
			}
			fault("cannot be read: %v", err)
		}
	}
}

// below is the path of a member of an object.
func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a text"
	case 't', 'f':
		return "a boolean"
	}
	return "the number " + clipText(string(raw), 32)
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

func clipText(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
