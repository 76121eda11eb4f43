package schemas

import "testing"

func TestTypesOfErrorsAreTheSameWithOrWithoutTheirPackage(t *testing.T) {
	f := func(a, b string, want bool) {
		t.Helper()
		if SameErrorType(a, b) != want || SameErrorType(b, a) != want {
			t.Errorf("%q and %q: want the same: %v", a, b, want)
		}
	}
	f("NoStock", "NoStock", true)
	f("*errors.errorString", "errorString", true)
	f("com.acme.shop.NoStock", "NoStock", true)
	f("Shop::NoStock", "shop.NoStock", true)
	f("", "NoStock", true) // not told
	f("shop.", "NoStock", true)
	f("NoStock", "NoMoney", false)
	f("NoStock", "nostock", false)
	f("OutOfNoStock", "NoStock", false)
}
