package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/metadata"
	"github.com/hoptrace/hoptrace/web/sentryapi"
)

const tokensUsage = `hoptrace tokens looks after the tokens that programs show at /api/0/, as sentry-cli does.

  hoptrace tokens create NAME [--scopes SCOPE,…]   print a new token; it is shown only now
  hoptrace tokens list                             who has one, and when it was last used
  hoptrace tokens revoke ID                        end one at once

Scopes: project:releases (releases and uploads; what is meant without --scopes), project:read, org:read.
It takes settings as every role does: --data, or --metadata.dsn of a store that roles share.
`

// tokensTimeout bounds a command.
const tokensTimeout = 30 * time.Second

// runTokens is `hoptrace tokens`; it returns the exit code as run does.
func runTokens(args, environ []string, stdout, stderr io.Writer) int {
	wrong := func(format string, a ...any) int {
		fmt.Fprintf(stderr, "hoptrace tokens: "+format+"\n\n%s", append(a, tokensUsage)...)
		return 2
	}
	if len(args) == 0 {
		return wrong("say which: create, list or revoke")
	}
	command, args := args[0], args[1:]
	operand := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		operand, args = args[0], args[1:]
	}
	scopes, args, err := cutScopes(args)
	if err != nil {
		return wrong("%v", err)
	}
	var act func(ctx context.Context, s exporters.Tokens) error
	switch command {
	case "create":
		if operand == "" || len(operand) > 100 {
			return wrong("create: name the token with 1 to 100 bytes, after who is to have it")
		}
		act = func(ctx context.Context, s exporters.Tokens) error {
			return createToken(ctx, s, operand, scopes, stdout)
		}
	case "list":
		act = func(ctx context.Context, s exporters.Tokens) error { return listTokens(ctx, s, stdout) }
	case "revoke":
		id, err := strconv.ParseInt(operand, 10, 64)
		if err != nil {
			return wrong("revoke: %q is no id; hoptrace tokens list shows them", operand)
		}
		act = func(ctx context.Context, s exporters.Tokens) error { return s.RevokeToken(ctx, id) }
	default:
		return wrong("no command %q", command)
	}
	if command != "create" && operand != "" && command != "revoke" {
		return wrong("%s takes no %q", command, operand)
	}
	s, _, err := load(roleTokens, args, environ)
	if err != nil {
		return report(stderr, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), tokensTimeout)
	defer cancel()
	if err := withTokens(ctx, s, act); err != nil {
		fmt.Fprintln(stderr, "hoptrace tokens:", err)
		return 1
	}
	return 0
}

func withTokens(ctx context.Context, s *settings, act func(ctx context.Context, s exporters.Tokens) error) error {
	dsn := s.metadataDSN()
	// A wrong --data must not make a new, empty store.
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("there is no metadata store: %w; name the data directory that hoptrace runs on (--data), or the store (--metadata.dsn)", err)
		}
	}
	store, err := metadata.Open(ctx, dsn)
	if err != nil {
		return err
	}
	return errors.Join(act(ctx, store), store.Close())
}

// cutScopes takes --scopes out of the arguments.
func cutScopes(args []string) (scopes, rest []string, err error) {
	scopes = []string{exporters.ScopeProjectReleases}
	for i := 0; i < len(args); i++ {
		value, ok := strings.CutPrefix(args[i], "--scopes=")
		if args[i] == "--scopes" {
			if i++; i == len(args) {
				return nil, nil, errors.New("flag --scopes: the scopes are missing")
			}
			value, ok = args[i], true
		}
		if !ok {
			rest = append(rest, args[i])
			continue
		}
		scopes = strings.Split(value, ",")
		for _, scope := range scopes {
			if !slices.Contains(exporters.TokenScopes, scope) {
				return nil, nil, fmt.Errorf("no scope %q; there are %s", scope, strings.Join(exporters.TokenScopes, ", "))
			}
		}
	}
	return scopes, rest, nil
}

func createToken(ctx context.Context, s exporters.Tokens, name string, scopes []string, stdout io.Writer) error {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	token := sentryapi.TokenPrefix + hex.EncodeToString(secret[:])
	if _, err := s.AddToken(ctx, sentryapi.HashToken(token), exporters.Token{Name: name, Scopes: scopes, Created: time.Now().UnixNano()}); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stdout, token)
	return err
}

func listTokens(ctx context.Context, s exporters.Tokens, stdout io.Writer) error {
	all, err := s.Tokens(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSCOPES\tCREATED\tLAST USED")
	at := func(ns int64) string {
		if ns == 0 {
			return "never"
		}
		return time.Unix(0, ns).UTC().Format("2006-01-02 15:04")
	}
	for _, t := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", t.ID, t.Name, strings.Join(t.Scopes, ","), at(t.Created), at(t.LastUsed))
	}
	return w.Flush()
}
