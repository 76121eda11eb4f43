package exportertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Nodes is the suite of exporters.Nodes. open gives a store that takes payloads
// of 2 MiB; called again in one test it gives another one over the same data, as
// a second process has it.
func Nodes(t *testing.T, open func(t *testing.T) func() exporters.Nodes) {
	run := func(name string, f func(t *testing.T, again func() exporters.Nodes)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("PayloadsComeBackByTheirReferences", nodeRoundTrip)
	run("ReferencesOutliveTheStoreThatGaveThem", nodeReopened)
	run("ManyMayAppendAtOnce", nodesByMany)
	run("WhatIsNoReferenceIsNotFound", nodeMissing)
	run("APayloadThatIsTooLargeKeepsNone", nodeTooLarge)
	run("CancelledCallsFail", nodeCancelled)
}

// payloads are n of different sizes.
func payloads(n int, seed uint64) [][]byte {
	r := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // no secret
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, `{"event":%d,"seed":%d,"text":%q}`, i, seed, bytes.Repeat([]byte{byte('a' + i%26)}, r.IntN(4000)))
	}
	return out
}

func readNodes(t *testing.T, s exporters.Nodes, refs []schemas.NodeRef, want [][]byte) {
	t.Helper()
	if len(refs) != len(want) {
		t.Fatalf("%d references of %d payloads", len(refs), len(want))
	}
	for i, ref := range refs {
		got, err := s.Read(testContext(t), ref)
		noError(t, "Read", err)
		if !bytes.Equal(got, want[i]) {
			t.Fatalf("payload %d, %s, has %d bytes, want the %d that were appended", i, ref, len(got), len(want[i]))
		}
		if len(got) > 0 {
			got[0]++ // the caller owns it
			if again, err := s.Read(testContext(t), ref); err != nil || !bytes.Equal(again, want[i]) {
				t.Fatalf("payload %s changed with what an earlier call had given", ref)
			}
		}
	}
}

func nodeRoundTrip(t *testing.T, again func() exporters.Nodes) {
	s := again()
	random := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random)
	for _, want := range [][][]byte{{{}}, {{0}}, payloads(1, 1), payloads(1000, 2), {{}, random, {}, bytes.Repeat([]byte("x"), 2<<20), {}}} {
		refs, err := s.Append(testContext(t), want)
		noError(t, "Append", err)
		readNodes(t, s, refs, want)
		for _, ref := range refs {
			if len(ref) == 0 || len(ref) > 100 {
				t.Fatalf("reference %q has %d bytes, want 1 to 100", ref, len(ref))
			}
		}
	}
	refs, err := s.Append(testContext(t), nil)
	noError(t, "Append of nothing", err)
	if len(refs) != 0 {
		t.Errorf("nothing has the references %v", refs)
	}
}

func nodeReopened(t *testing.T, again func() exporters.Nodes) {
	first, second := again(), again()
	a, b := payloads(100, 1), payloads(100, 2)
	refsA, err := first.Append(testContext(t), a)
	noError(t, "Append", err)
	refsB, err := second.Append(testContext(t), b)
	noError(t, "Append by another", err)
	for _, s := range []exporters.Nodes{first, second, again()} {
		readNodes(t, s, refsA, a)
		readNodes(t, s, refsB, b)
	}
}

func nodesByMany(t *testing.T, again func() exporters.Nodes) {
	s := again()
	var wg sync.WaitGroup
	refs, errs, want := make([][]schemas.NodeRef, 8), make([]error, 8), make([][][]byte, 8)
	for i := range refs {
		want[i] = payloads(50, uint64(i)) //nolint:gosec // small
		wg.Go(func() { refs[i], errs[i] = s.Append(context.WithoutCancel(t.Context()), want[i]) })
	}
	wg.Wait()
	seen := map[schemas.NodeRef]bool{}
	for i := range refs {
		noError(t, "Append", errs[i])
		readNodes(t, s, refs[i], want[i])
		for _, ref := range refs[i] {
			if seen[ref] {
				t.Fatalf("two payloads have the reference %s", ref)
			}
			seen[ref] = true
		}
	}
}

func nodeMissing(t *testing.T, again func() exporters.Nodes) {
	s := again()
	refs, err := s.Append(testContext(t), payloads(1, 1))
	noError(t, "Append", err)
	for _, ref := range []schemas.NodeRef{"", ".", "...", "../../etc/passwd", "a.b.c.d", "a.b.0.0", "..0.0", "\x00", "1.2.3.4.5", refs[0] + "z", schemas.NodeRef(bytes.Repeat([]byte("1"), 1000))} {
		_, err := s.Read(testContext(t), ref)
		isError(t, fmt.Sprintf("Read(%.40q)", ref), err, exporters.ErrNotFound)
	}
}

func nodeTooLarge(t *testing.T, again func() exporters.Nodes) {
	s := again()
	refs, err := s.Append(testContext(t), [][]byte{{1}, make([]byte, 64<<20)})
	isError(t, "Append", err, exporters.ErrTooLarge)
	if refs != nil {
		t.Errorf("an error and the references %v", refs)
	}
}

func nodeCancelled(t *testing.T, again func() exporters.Nodes) {
	s := again()
	refs, err := s.Append(testContext(t), payloads(1, 1))
	noError(t, "Append", err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ctx, payloads(1, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Append with a cancelled context: got error %v", err)
	}
	if _, err := s.Read(ctx, refs[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with a cancelled context: got error %v", err)
	}
}
