// Package symbolicate finds the source of frames that a build has changed: of
// JavaScript that was bundled or minified, by the source maps that were uploaded
// for its release or debug id. It also tells which Go packages are the program's
// own. It fetches nothing from the network and changes no event (see package
// normalize, which applies what it finds).
package symbolicate

import "context"

// Frames resolves frames.
type Frames interface {
	// Resolve gives one result a frame, in order. It fails when time may heal it;
	// what no map is there for is a result that says so.
	Resolve(ctx context.Context, r Request) ([]Result, error)
}

// Request is what one event asks for.
type Request struct {
	Project uint64
	Release string
	Dist    string
	// DebugIDs names the maps that the event told, by the file that was run.
	DebugIDs map[string]string
	// Frames are those of one stack, the caller before the called, as in Sentry's
	// events: a caller tells by what name it called. Another stack is another request.
	Frames []Frame
}

// Frame is a place in a file that was run. Line and Column begin at 1.
type Frame struct {
	AbsPath      string
	Line, Column int
	// Function is what the engine calls it ("t", "new e", "e.submit"); empty when
	// it has no name.
	Function string
}

// Result is where a frame comes from.
type Result struct {
	Found        bool
	Source       string // the file, as the map names it, below its root
	Function     string // empty when nothing tells: the frame's own is the best there is
	Line, Column int
	// ContextLine is the line, Pre and Post up to 5 before and after it, each cut
	// to 512 bytes. They are empty when the map does not hold the source.
	ContextLine string
	Pre, Post   []string
	// Reason says for people why it was not found. It is empty for frames that
	// have no file, as those of the engine.
	Reason string
	// InApp is false for what the map or the path tells to be somebody else's
	// code, and nil when neither tells.
	InApp *bool
}
