// Package schemas holds the contracts of the line: what a record on a topic
// carries and what the stores keep of it. It has types, codecs and arithmetic;
// it opens nothing and imports nothing of ours.
package schemas
