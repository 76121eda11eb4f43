package exportertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Blobs is the suite of exporters.Blobs. open gives an empty store that takes
// payloads of 8 MiB.
func Blobs(t *testing.T, open func(t *testing.T) exporters.Blobs) {
	run := func(name string, f func(t *testing.T, s exporters.Blobs)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("PayloadComesBackAsItWasPut", blobRoundTrip)
	run("PutAgainReplaces", blobReplaced)
	run("MissingIsNotFoundAndItsDeletionNoError", blobMissing)
	run("KeysThatLeaveTheStoreAreRefused", blobKeys)
	run("ManyMayPutOneKeyAtOnce", blobByMany)
	run("CancelledCallsFail", blobCancelled)
}

func blobRoundTrip(t *testing.T, s exporters.Blobs) {
	ctx := testContext(t)
	random := make([]byte, 8<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(random)
	event := schemas.EventBlobKey(1, schemas.EventID{0xab, 0xcd})
	for key, want := range map[string][]byte{
		"empty":                  {},
		"one":                    {0},
		event:                    []byte(`{"event_id":"abcd"}`),
		"a/b.c/d-e_f/0":          bytes.Repeat([]byte("x"), 8<<20),
		strings.Repeat("k", 200): random,
	} {
		noError(t, "Put", s.Put(ctx, key, want))
		got, err := s.Get(ctx, key)
		noError(t, "Get", err)
		if !bytes.Equal(got, want) {
			t.Errorf("Get(%q) gave %d bytes, want the %d that were put", key, len(got), len(want))
		}
		if len(got) > 0 {
			got[0]++ // the caller owns it
			if again, err := s.Get(ctx, key); err != nil || !bytes.Equal(again, want) {
				t.Errorf("Get(%q) changed with what an earlier call had given", key)
			}
		}
		noError(t, "Delete", s.Delete(ctx, key))
		_, err = s.Get(ctx, key)
		isError(t, "Get after Delete", err, exporters.ErrNotFound)
	}
}

func blobReplaced(t *testing.T, s exporters.Blobs) {
	ctx := testContext(t)
	for _, want := range []string{"first", "second, which is longer", "third"} {
		noError(t, "Put", s.Put(ctx, "k", []byte(want)))
		got, err := s.Get(ctx, "k")
		noError(t, "Get", err)
		equal(t, "payload", string(got), want)
	}
}

func blobMissing(t *testing.T, s exporters.Blobs) {
	ctx := testContext(t)
	_, err := s.Get(ctx, "a/b")
	isError(t, "Get", err, exporters.ErrNotFound)
	noError(t, "Delete", s.Delete(ctx, "a/b"))
	noError(t, "Put", s.Put(ctx, "a/b", nil))
	_, err = s.Get(ctx, "a")
	isError(t, "Get of a prefix", err, exporters.ErrNotFound)
}

func blobKeys(t *testing.T, s exporters.Blobs) {
	ctx := testContext(t)
	for _, key := range []string{
		"", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "a/.hidden", "A", "a b", "a\x00b", `a\b`, "ä", "a:b",
		strings.Repeat("k", 201), strings.Repeat("a/", 100) + "a",
	} {
		if err := s.Put(ctx, key, []byte("x")); err == nil {
			t.Errorf("Put(%q) succeeded", key)
		}
		if _, err := s.Get(ctx, key); err == nil || errors.Is(err, exporters.ErrNotFound) {
			t.Errorf("Get(%q): got error %v, want one that names the key's fault", key, err)
		}
		if err := s.Delete(ctx, key); err == nil {
			t.Errorf("Delete(%q) succeeded", key)
		}
	}
}

func blobByMany(t *testing.T, s exporters.Blobs) {
	ctx := testContext(t)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = s.Put(ctx, "a/b/c", bytes.Repeat([]byte{byte('0' + i)}, 100_000))
		})
	}
	wg.Wait()
	for _, err := range errs {
		noError(t, "Put", err)
	}
	got, err := s.Get(ctx, "a/b/c")
	noError(t, "Get", err)
	if len(got) != 100_000 || !bytes.Equal(got, bytes.Repeat(got[:1], len(got))) {
		t.Error("Get gave a mixture of what was put")
	}
}

func blobCancelled(t *testing.T, s exporters.Blobs) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "k")
	for i, err := range []error{s.Put(ctx, "k", nil), err, s.Delete(ctx, "k")} {
		isError(t, fmt.Sprintf("call %d with a cancelled context", i), err, context.Canceled)
	}
}
