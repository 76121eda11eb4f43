package rules

import (
	"strings"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
)

// Family is a set of platforms, as bits.
type Family uint32

// The families that rules can name.
const (
	JavaScript Family = 1 << iota // browsers and Node.js
	Native
	Go
	Java
	Python
	Ruby
	PHP
	DotNet
	Rust
	Elixir
	OtherFamily
	AllFamilies Family = 1<<iota - 1
)

var families = map[string]Family{
	"javascript": JavaScript, "node": JavaScript, "native": Native, "go": Go, "java": Java, "jvm": Java, "python": Python, "ruby": Ruby,
	"php": PHP, "csharp": DotNet, "dotnet": DotNet, "rust": Rust, "elixir": Elixir, "other": OtherFamily, "all": AllFamilies,
}

// FamilyOf is that of an event's platform.
func FamilyOf(platform string) Family {
	switch platform {
	case "javascript", "node":
		return JavaScript
	case "native", "c", "cocoa", "objc", "swift", "dart":
		return Native
	case "java", "kotlin", "scala", "clojure", "groovy", "android":
		return Java
	}
	if f, ok := families[platform]; ok && f != AllFamilies {
		return f
	}
	return OtherFamily
}

// key is what a matcher looks at.
type key uint8

const (
	stackModule key = iota
	stackPath
	stackPackage
	stackFunction
	frameFamily
	frameApp      // from here on it is not of the frame alone
	frameCategory // changes while rules are applied
	errorType
	errorValue
	errorMechanism
	// Of fingerprint rules only.
	eventMessage
	eventLogger
	eventLevel
	eventTag
	eventSDK
	eventRelease
	eventTransaction
	eventEnvironment
	threadID
	threadName
	threadState
	threadCrashed
	threadCurrent
)

var enhancementKeys = map[string]key{
	"stack.module": stackModule, "module": stackModule, "stack.abs_path": stackPath, "path": stackPath,
	"stack.package": stackPackage, "package": stackPackage, "stack.function": stackFunction, "function": stackFunction,
	"family": frameFamily, "app": frameApp, "category": frameCategory,
	"error.type": errorType, "type": errorType, "error.value": errorValue, "value": errorValue,
	"error.mechanism": errorMechanism, "mechanism": errorMechanism,
}

const enhancementKeyNames = "stack.module, stack.abs_path, stack.package, stack.function, family, app, category, error.type, error.value or error.mechanism"

// matcher is one condition.
type matcher struct {
	key    key
	negate bool
	glob   glob
	family Family
	yes    bool   // of app and flags: what is wanted
	tag    string // of eventTag
	inside bool   // of paths: the pattern begins with **/, so a relative path is as good as one below /
}

// frameText is what static matchers see of a frame.
type frameText struct {
	module, function string
	path, file, pack string // normalised
	family           Family
}

func textOf(f *normalize.Frame, family Family) frameText {
	return frameText{module: f.Module, function: f.Function, path: normalPath(f.AbsPath), file: normalPath(f.Filename), pack: normalPath(f.Package), family: family}
}

// path matches a path; **/vendor/** finds vendor/x too.
func (m *matcher) path(s string) bool {
	return s != "" && (m.glob.match(s) || m.inside && s[0] != '/' && m.glob.match("/"+s))
}

// holds tells whether a static matcher holds for a frame.
func (m *matcher) holds(t *frameText) bool {
	var is bool
	switch m.key {
	case stackModule:
		is = t.module != "" && m.glob.match(t.module)
	case stackFunction:
		is = t.function != "" && m.glob.match(t.function)
	case stackPath:
		is = m.path(t.path) || m.path(t.file)
	case stackPackage:
		is = m.path(t.pack)
	case frameFamily:
		is = m.family&t.family != 0
	}
	return is != m.negate
}

func (m *matcher) isStatic() bool { return m.key <= frameFamily }

// compile fills what the key needs of the value.
func (m *matcher) compile(l *lexer, at int, value string) *Error {
	switch m.key {
	case frameFamily:
		for name := range strings.SplitSeq(value, ",") {
			f, ok := families[strings.TrimSpace(strings.ToLower(name))]
			if !ok {
				return l.errorf(at, "there is no family %q; want javascript, native, go, java, python, ruby, php, csharp, rust, elixir, other or all", clip(name))
			}
			m.family |= f
		}
	case frameApp, threadCrashed, threadCurrent:
		switch strings.ToLower(value) {
		case "yes", "true", "1":
			m.yes = true
		case "no", "false", "0":
		default:
			return l.errorf(at, "%q is no answer; want yes or no", clip(value))
		}
	case stackPath, stackPackage:
		m.glob, m.inside = newGlob(value, true), strings.HasPrefix(value, "**/")
	default:
		m.glob = newGlob(value, false)
	}
	return nil
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
