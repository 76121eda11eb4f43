package harness

import (
	"testing"
)

func TestMetricsAreSummedByNameAndLabels(t *testing.T) {
	before, err := parseMetrics("# HELP a x\na_total{reason=\"x\",code=\"1\"} 2\na_total{reason=\"y\",code=\"1\"} 3\na_total_more 9\n\nb 1.5e3\n")
	if err != nil {
		t.Fatal(err)
	}
	f := func(want float64, name string, labels ...string) {
		t.Helper()
		if got := before.Sum(name, labels...); got != want {
			t.Errorf("Sum(%q, %q) = %v, want %v", name, labels, got, want)
		}
	}
	f(5, "a_total")
	f(3, "a_total", `reason="y"`)
	f(2, "a_total", `reason="x"`, `code="1"`)
	f(0, "a_total", `reason="z"`)
	f(1500, "b")
	f(0, "c")

	after, err := parseMetrics("a_total{reason=\"x\",code=\"1\"} 4\nb 1500\nnew 1\n")
	if err != nil {
		t.Fatal(err)
	}
	grown := after.Grown(before)
	if len(grown) != 2 || grown[`a_total{reason="x",code="1"}`] != 2 || grown["new"] != 1 {
		t.Errorf("Grown = %v, want the one with reason x by 2 and the new one by 1", grown)
	}
	if _, err := parseMetrics("no value here x\n"); err == nil {
		t.Error("a line without a number is no error")
	}
}
