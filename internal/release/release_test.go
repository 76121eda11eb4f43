package release

import (
	"slices"
	"testing"
)

func TestVersionsAreOrderedAsSemverSays(t *testing.T) {
	ordered := []string{
		"0.9", "1.0.0-1", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
		"1.0.0", "1.0.0+9", "1.0.0+10", "1.0.0+build", "1.0.0.1", "v1.0.1", "1.2", "1.10.0", "2024.1.1", "999999999999999999.0",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			x, okX := Parse("shop@" + a)
			y, okY := Parse("shop@" + b)
			if !okX || !okY {
				t.Fatalf("Parse(%q), Parse(%q) = %v, %v; want versions", a, b, okX, okY)
			}
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := Compare(x, y); got != want {
				t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestWhatIsNoVersionIsNotRead(t *testing.T) {
	for _, s := range []string{"", "@", "shop@", "1", "20261130", "a.b", "1.", ".1", "1..2", "1.2.3.4.5", "4f2c9ab", "2026-11-30", "shop@backend", "1.x", "1.1234567890123456789"} {
		if v, ok := Parse(s); ok {
			t.Errorf("Parse(%q) = %+v; want no version", s, v)
		}
	}
}

func TestReleasesWithoutVersionsAreOrderedByCreation(t *testing.T) {
	f := func(a, b Release, want int, wantKnown bool) {
		t.Helper()
		if got, known := Order(a, b); got != want || known != wantKnown {
			t.Errorf("Order(%v, %v) = %d, %v; want %d, %v", a, b, got, known, want, wantKnown)
		}
	}
	f(Release{"abc", 1}, Release{"def", 2}, -1, true)
	f(Release{"abc", 0}, Release{"def", 2}, 0, false)
	f(Release{"abc", 0}, Release{"abc", 2}, 0, true)
	f(Release{"a@1.2.3", 9}, Release{"a@1.2.4", 2}, -1, true) // the version decides
	f(Release{"a@1.2.3", 9}, Release{"b@1.2.4", 2}, 1, true)  // of two packages
	f(Release{"a@1.2.3", 9}, Release{"1.2.4", 2}, 1, true)
	f(Release{"a@1.2.3+7", 1}, Release{"a@1.2.3+6", 2}, 1, true)
}

func TestLatestIsOfTheSamePackageWhenThereIsOne(t *testing.T) {
	all := []Release{{"b@9.0.0", 1}, {"a@1.2.0", 5}, {"a@1.10.0", 2}, {"a@1.9.0", 9}}
	if got := Latest(all, "a@1.0.0"); got.Name != "a@1.10.0" {
		t.Errorf("Latest like a = %v, want a@1.10.0", got)
	}
	if got := Latest(all, "b@1.0.0"); got.Name != "b@9.0.0" {
		t.Errorf("Latest like b = %v, want b@9.0.0", got)
	}
	if got := Latest(nil, "x"); got.Name != "" {
		t.Errorf("Latest of none = %v", got)
	}
	slices.Reverse(all)
	if got := Latest(all, "c@1.0.0"); got.Name != "a@1.9.0" && got.Name != "a@1.10.0" {
		t.Errorf("Latest like an unknown package = %v, want the newest of all", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("shop@1.2.3-rc.1+build", "1.2")
	f.Add("v1.0.0-", "@@1.0+")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, okX := Parse(a)
		y, okY := Parse(b)
		if okX && okY && Compare(x, y) != -Compare(y, x) {
			t.Errorf("Compare(%q, %q) = %d and the other way %d", a, b, Compare(x, y), Compare(y, x))
		}
	})
}
