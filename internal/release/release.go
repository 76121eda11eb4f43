// Package release puts releases in order: by version where both have one, else
// by the time at which they came up. It knows no store.
package release

import (
	"cmp"
	"strconv"
	"strings"
)

// Version is what a release says of itself: "package@1.2.3-rc.1+build". The
// package and what follows the numbers may be missing.
type Version struct {
	Package string
	numbers [4]uint64
	pre     string
	build   string
}

// Parse reads a release. It is a version when it has two to four numbers with
// dots between them, after an optional v; ok is false for others: hashes of
// commits, names, dates with dashes.
func Parse(s string) (v Version, ok bool) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		v.Package, s = s[:i], s[i+1:]
	}
	s = strings.TrimPrefix(s, "v")
	s, v.build, _ = strings.Cut(s, "+")
	s, v.pre, _ = strings.Cut(s, "-")
	n := 0
	for more := true; more; n++ {
		var part string
		part, s, more = strings.Cut(s, ".")
		if n == len(v.numbers) || len(part) == 0 || len(part) > 18 {
			return Version{}, false
		}
		for _, c := range []byte(part) {
			if c < '0' || c > '9' {
				return Version{}, false
			}
			v.numbers[n] = v.numbers[n]*10 + uint64(c-'0')
		}
	}
	return v, n >= 2
}

// Compare orders two versions as semver does; of equal ones the builds decide,
// as numbers when both are.
func Compare(a, b Version) int {
	for i := range a.numbers {
		if c := cmp.Compare(a.numbers[i], b.numbers[i]); c != 0 {
			return c
		}
	}
	switch {
	case a.pre == b.pre:
	case a.pre == "":
		return 1
	case b.pre == "":
		return -1
	default:
		if c := comparePre(a.pre, b.pre); c != 0 {
			return c
		}
	}
	return compareWords(a.build, b.build)
}

func comparePre(a, b string) int {
	for {
		x, restA, moreA := strings.Cut(a, ".")
		y, restB, moreB := strings.Cut(b, ".")
		if c := compareWords(x, y); c != 0 {
			return c
		}
		if !moreA || !moreB {
			switch {
			case moreB:
				return -1
			case moreA:
				return 1
			}
			return 0
		}
		a, b = restA, restB
	}
}

// compareWords orders numbers by value and before words.
func compareWords(a, b string) int {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	switch {
	case errA == nil && errB == nil:
		return cmp.Compare(x, y)
	case errA == nil && b != "":
		return -1
	case errB == nil && a != "":
		return 1
	}
	return strings.Compare(a, b)
}

// Release is one with the time at which it came up.
type Release struct {
	Name    string
	Created int64 // Unix ns; zero means unknown
}

// Order tells whether a comes before (-1), with (0) or after (1) b: by version
// when both have one and are of one package, else by the time of creation. Known
// is false when neither tells.
func Order(a, b Release) (c int, known bool) {
	if a.Name == b.Name {
		return 0, true
	}
	x, okA := Parse(a.Name)
	y, okB := Parse(b.Name)
	if okA && okB && x.Package == y.Package {
		return Compare(x, y), true
	}
	if a.Created == 0 || b.Created == 0 {
		return 0, false
	}
	return cmp.Compare(a.Created, b.Created), true
}

// Latest gives the newest of the releases, of those of the package of like when
// there are any. It is the zero Release when there are none.
func Latest(all []Release, like string) Release {
	var latest, same Release
	pkg, has := cutPackage(like)
	for _, r := range all {
		if latest.Name == "" || after(r, latest) {
			latest = r
		}
		if p, ok := cutPackage(r.Name); like != "" && ok == has && p == pkg && (same.Name == "" || after(r, same)) {
			same = r
		}
	}
	if same.Name != "" {
		return same
	}
	return latest
}

func after(a, b Release) bool {
	c, known := Order(a, b)
	return known && c > 0
}

func cutPackage(s string) (pkg string, has bool) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return "", false
	}
	return s[:i], true
}
