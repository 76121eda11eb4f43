package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Usage is what a process and all its descendants hold and have used.
type Usage struct {
	Processes int
	RSS       int64 // bytes resident, pages shared between them counted in each
	Anonymous int64 // bytes of them that are no file's: what it costs the machine
	CPU       time.Duration
}

// Usage reads what it and its descendants hold now.
func (p *Process) Usage(t testing.TB) Usage {
	t.Helper()
	u, err := usageOf(p.PID())
	if err != nil {
		t.Fatalf("cannot read the usage of %s: %v", p.Name, err)
	}
	return u
}

// EngineCPU is what its descendants have used: the embedded engine.
func (p *Process) EngineCPU(t testing.TB) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, pid := range p.Descendants(t) {
		if st, err := readStat(pid); err == nil {
			sum += st.cpu
		}
	}
	return sum
}

// Descendants are the process ids below it, itself not among them.
func (p *Process) Descendants(t testing.TB) []int {
	t.Helper()
	pids, err := tree(p.PID())
	if err != nil {
		t.Fatalf("cannot list the children of %s: %v", p.Name, err)
	}
	return pids[1:]
}

// Alive tells that a process exists and has not merely not been waited for.
func Alive(pid int) bool {
	st, err := readStat(pid)
	return err == nil && st.state != 'Z' && st.state != 'X'
}

func usageOf(root int) (Usage, error) {
	pids, err := tree(root)
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	for _, pid := range pids {
		st, err := readStat(pid)
		if errors.Is(err, fs.ErrNotExist) && pid != root {
			continue // ended between the listing and now
		}
		if err != nil {
			return Usage{}, err
		}
		rss, anon, err := memory(pid)
		if err != nil && pid != root {
			continue
		}
		if err != nil {
			return Usage{}, err
		}
		u.Processes++
		u.RSS += rss
		u.Anonymous += anon
		u.CPU += st.cpu
	}
	return u, nil
}

// tree lists a process and its descendants, itself first.
func tree(root int) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, errors.New("there is no /proc here: these tests need Linux")
	}
	children := map[int][]int{}
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil {
			children[st.parent] = append(children[st.parent], pid)
		}
	}
	out := []int{root}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out, nil
}

type stat struct {
	state  byte
	parent int
	cpu    time.Duration // own, and of the children that ended and were waited for
}

// ticksPerSecond is USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name in brackets may hold blanks and brackets: read behind the last.
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 15 {
		return stat{}, fmt.Errorf("cannot understand /proc/%d/stat", pid)
	}
	out := stat{state: f[0][0]}
	if out.parent, err = strconv.Atoi(f[1]); err != nil {
		return stat{}, err
	}
	var ticks int64
	for _, s := range f[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return stat{}, err
		}
		ticks += n
	}
	out.cpu = time.Duration(ticks) * (time.Second / ticksPerSecond)
	return out, nil
}

func memory(pid int) (rss, anonymous int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		switch f[0] {
		case "Rss:":
			rss = n << 10
		case "Anonymous:":
			anonymous = n << 10
		}
	}
	return rss, anonymous, s.Err()
}

// DiskUsage is how many bytes a folder's files take on disk, by blocks.
func DiskUsage(t testing.TB, dir string) int64 {
	t.Helper()
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a merge removed it meanwhile
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		sum += blocks(info)
		return nil
	})
	if err != nil {
		t.Fatalf("cannot measure %s: %v", dir, err)
	}
	return sum
}
