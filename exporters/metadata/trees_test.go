package metadata

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

func TestComponentTreesArePackedAndGivenBack(t *testing.T) {
	var large bytes.Buffer
	large.WriteString(`{"values":[`)
	for i := range 80 {
		fmt.Fprintf(&large, `{"id":"frame","contributes":true,"values":[{"id":"function","contributes":true,"value":"step_%d"}]},`, i)
	}
	large.WriteString(`{}]}`)
	for _, tree := range []string{``, `{"id":"app"}`, large.String()} {
		column := packTree([]byte(tree))
		if len(tree) > 1000 && len(column) > len(tree)/5 {
			t.Errorf("a tree of %d bytes takes %d", len(tree), len(column))
		}
		if got, err := unpackTree(column); err != nil || string(got) != tree {
			t.Errorf("%.60q came back as %.60q, %v", tree, got, err)
		}
	}
	if column := packTree(make([]byte, maxGrouping+1)); column != "" {
		t.Errorf("a tree beyond the bound takes %d bytes, want none", len(column))
	}
	// As an older version wrote it.
	if got, err := unpackTree(large.String()); err != nil || string(got) != large.String() {
		t.Errorf("plain JSON came back as %.60q, %v", got, err)
	}
	for _, damaged := range []string{packed + "!", packed + "AAAA", packTree(large.Bytes())[:40]} {
		if got, err := unpackTree(damaged); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q came back as %q, %v; want an error that says it is damaged", damaged, got, err)
		}
	}
}

func TestAllHashesOfASightingHaveItsTree(t *testing.T) {
	s, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	tree := func(i int) []byte {
		return fmt.Appendf(nil, `{"id":"app","value":"%d %s"}`, i, strings.Repeat("x", 500))
	}
	var sightings []exporters.Sighting
	for i := range 3 {
		sightings = append(sightings, exporters.Sighting{Project: 1, Hashes: []schemas.Fingerprint{{1, byte(i)}, {2, byte(i)}}, Tree: tree(i), Category: "error", Title: "x", FirstSeen: 1, LastSeen: 1})
	}
	if _, err := s.SeeIssues(t.Context(), sightings); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		for _, h := range sightings[i].Hashes {
			if got, err := s.HashTree(t.Context(), 1, h); err != nil || !bytes.Equal(got, tree(i)) {
				t.Errorf("the tree of hash %v is %.60s, %v; want %.60s", h, got, err, tree(i))
			}
		}
	}
}
