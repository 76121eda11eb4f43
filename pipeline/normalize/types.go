package normalize

import (
	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/schemas"
)

// Event is a normalised event: its row, and what grouping, symbolication and
// rules need of it beyond that.
type Event struct {
	schemas.Event
	Title string // "type: value", at most 256 bytes; never empty
	// Message is the text of an event without exceptions, Template what it was
	// made from (empty when the SDK sent none).
	Message, Template string
	// Exceptions is the chain, the oldest cause first.
	Exceptions []Exception
	// Frames is the stack of an event without exceptions: of the one thread that
	// tells about it.
	Frames            []Frame
	Thread            Thread   // of Frames; not Told when they came without one
	ClientFingerprint []string // empty when it sent none
	Security          Security // of a browser's report; zero otherwise

	// RepeatOf is the event that a repeat stands beside; zero otherwise.
	RepeatOf schemas.EventID

	debug *document.Node // debug_meta
}

// Exception is one of a chain.
type Exception struct {
	Type, Value, Module string
	Synthetic           bool // the SDK made the type up
	Mechanism           Mechanism
	Frames              []Frame
}

// Mechanism tells how an exception was caught, and where it stands in a group.
type Mechanism struct {
	Type             string
	Handled, Told    bool // Handled means something only when Told
	ExceptionID      int  // Unknown (-1) when not told
	ParentID         int  // Unknown when not told: a root
	IsExceptionGroup bool
}

// Frame is one call; lists have the outermost first.
type Frame struct {
	Module, Function, Filename, AbsPath, Package string
	ContextLine                                  string
	Line, Column                                 int // zero when not told
	InApp                                        bool
	OrigInApp                                    int8 // what the SDK said: 1 true, 0 false, -1 nothing
	Category                                     string
	Mapped                                       bool // by a source map: Function and place are the source's
}

// Thread is the one that tells about an event without exceptions.
type Thread struct {
	Told             bool
	ID, Name, State  string
	Crashed, Current bool
}

// Security is a browser's report (CSP and its kin).
type Security struct {
	Kind                string // csp, hpkp, expect-ct, expect-staple, nel; empty for others
	Directive, Blocked  string // of CSP: the effective directive, the blocked URI's host or word
	DocumentHost        string
	LocalScriptViolated bool
}
