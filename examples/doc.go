// Package examples is a folder of programs to copy; each has a folder of its own.
package examples
