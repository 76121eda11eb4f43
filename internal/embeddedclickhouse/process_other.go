//go:build !linux

package embeddedclickhouse

import "syscall"

// childAttributes gives the child a process group of its own, so that Ctrl-C
// on the terminal reaches only the parent, which stops it in order. The child
// sees the parent's death by the end of its standard input.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
