package hoptrace

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestABodyIsNotReadOnceItIsTakenBack(t *testing.T) {
	memory := []byte("spans")
	l := &lent{body: memory}
	first, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(first, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	again, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(again); err != nil || !bytes.Equal(got, memory) {
		t.Fatalf("read %q, %v; want all of it again", got, err)
	}
	l.takeBack()
	clear(memory) // its owner's
	for _, b := range []io.ReadCloser{first, again} {
		if n, err := b.Read(make([]byte, 9)); n != 0 || !errors.Is(err, errTakenBack) {
			t.Errorf("read %d bytes, %v; want none", n, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.open(); !errors.Is(err, errTakenBack) {
		t.Errorf("opened again: %v", err)
	}
}
