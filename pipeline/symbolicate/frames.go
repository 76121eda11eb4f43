// Package symbolicate finds the source of frames that a build has changed: of
// JavaScript that was bundled, by source maps. It changes no event (see package
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
	Frames   []Frame
}

// Frame is a place in a file that was run. Line and Column begin at 1.
type Frame struct {
	AbsPath      string
	Line, Column int
}

// Result is where a frame comes from.
type Result struct {
	Found        bool
	Source       string // the file
	Function     string // empty when the map does not tell
	Line, Column int
	ContextLine  string
	Pre, Post    []string
	Reason       string // for people, why it was not found
}
