package embeddedclickhouse

import "syscall"

// childAttributes gives the child a process group of its own, so that Ctrl-C
// on the terminal reaches only the parent, which stops it in order; and has
// the kernel end it with the parent, however that ends.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
