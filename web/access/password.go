package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Bounds of a password. There is no rule of composition: length is what counts
// (NIST SP 800-63B).
const (
	MinPassword = 12 // characters
	MaxPassword = 1024
)

// CheckPassword says what is wrong with a new password.
func CheckPassword(password, email string) error {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return errors.New("the password is not UTF-8")
	case n < MinPassword:
		return fmt.Errorf("the password has %d characters; at least %d, and several words are best", n, MinPassword)
	case len(password) > MaxPassword:
		return fmt.Errorf("the password has %d bytes; at most %d", len(password), MaxPassword)
	case strings.EqualFold(password, email):
		return errors.New("the password is the e-mail address; choose another")
	case strings.Trim(password, password[:1]) == "":
		return errors.New("the password is one character again and again; choose another")
	}
	return nil
}

// cost of a hash: what OWASP recommends of Argon2id for the least memory that is
// not weaker (Password Storage Cheat Sheet, 2025).
type cost struct {
	memory uint32 // KiB
	time   uint32
	lanes  uint8
}

var currentCost = cost{memory: 19 << 10, time: 2, lanes: 1}

const (
	saltBytes = 16
	hashBytes = 32
)

// hasher makes and compares hashes, few at a time: each takes 19 MiB.
type hasher struct {
	slots chan struct{}
	cost  cost
	// nobody is compared with when there is no such member, so that it takes as
	// long to be told no.
	nobody string
}

func newHasher(atOnce int) *hasher {
	h := &hasher{slots: make(chan struct{}, atOnce), cost: currentCost}
	h.nobody = h.encode([]byte(rand.Text()))
	return h
}

func (h *hasher) take(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hash is what is kept of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.take(ctx); err != nil {
		return "", err
	}
	defer func() { <-h.slots }()
	return h.encode([]byte(password)), nil
}

func (h *hasher) encode(password []byte) string {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	sum := argon2.IDKey(password, salt, h.cost.time, h.cost.memory, h.cost.lanes, hashBytes)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.memory, h.cost.time, h.cost.lanes, b64(salt), b64(sum))
}

// compare tells that the password is the kept one, and whether it is to be hashed
// anew because the cost has changed since. With nothing kept it takes as long and
// says no.
func (h *hasher) compare(ctx context.Context, kept, password string) (same, stale bool, err error) {
	if err := h.take(ctx); err != nil {
		return false, false, err
	}
	defer func() { <-h.slots }()
	if kept == "" {
		kept = h.nobody
		defer func() { same = false }()
	}
	var version int
	var c cost
	parts := strings.Split(kept, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, false, errors.New("the kept hash is of no kind that is known")
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &c.memory, &c.time, &c.lanes); err != nil || version != argon2.Version || c.memory > 1<<20 || c.time < 1 || c.time > 100 || c.lanes < 1 {
		return false, false, errors.New("the kept hash has parameters that cannot be read")
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, false, errors.New("the kept hash has a salt that cannot be read")
	}
	sum, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(sum) == 0 {
		return false, false, errors.New("the kept hash cannot be read")
	}
	got := argon2.IDKey([]byte(password), salt, c.time, c.memory, c.lanes, uint32(len(sum))) //nolint:gosec // a hash is short
	return subtle.ConstantTimeCompare(got, sum) == 1, c != h.cost, nil
}
