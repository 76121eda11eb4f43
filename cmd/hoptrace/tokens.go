package main

import (
	"context"
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
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/access"
)

const tokensUsage = `hoptrace tokens looks after the tokens that programs show: sentry-cli at /api/0/, others at /api/v1/.

  hoptrace tokens create NAME [--scopes SCOPE,…] [--role ROLE] [--days N]   print a new token; it is shown only now
  hoptrace tokens list                             who has one, and when it was last used
  hoptrace tokens revoke ID                        end one at once

Scopes, for sentry-cli: project:releases (releases and uploads; what is meant without --scopes and --role), project:read, org:read.
Roles, for /api/v1/ and the commands that ask a server (--token, or HOPTRACE_TOKEN): viewer, member, admin, owner.
Without --days it does not expire. Members make tokens of their own in the UI.
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
	want, args, err := cutToken(args)
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
			want.Name = operand
			return createToken(ctx, s, want, stdout)
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
	return withMetadata(ctx, s, func(ctx context.Context, store *metadata.Store) error { return act(ctx, store) })
}

// withMetadata acts on the metadata store of a server that runs or not.
func withMetadata(ctx context.Context, s *settings, act func(ctx context.Context, s *metadata.Store) error) error {
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

// cutToken takes what a token may do out of the arguments.
func cutToken(args []string) (t exporters.Token, rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(args[i], "=")
		if name != "--scopes" && name != "--role" && name != "--days" {
			rest = append(rest, args[i])
			continue
		}
		if !hasValue {
			if value, err = nextValue(args, &i); err != nil {
				return t, nil, err
			}
		}
		switch name {
		case "--scopes":
			t.Scopes = strings.Split(value, ",")
			for _, scope := range t.Scopes {
				if !slices.Contains(exporters.TokenScopes, scope) {
					return t, nil, fmt.Errorf("no scope %q; there are %s", scope, strings.Join(exporters.TokenScopes, ", "))
				}
			}
		case "--role":
			if t.Role = schemas.Role(value); !t.Role.Valid() {
				return t, nil, fmt.Errorf("no role %q; there are viewer, member, admin and owner", value)
			}
		case "--days":
			days, err := strconv.Atoi(value)
			if err != nil || days < 1 || days > 3660 {
				return t, nil, fmt.Errorf("--days is %q, want 1 to 3660", value)
			}
			t.Expires = time.Now().Add(time.Duration(days) * 24 * time.Hour).UnixNano()
		}
	}
	if len(t.Scopes) == 0 && t.Role == "" {
		t.Scopes = []string{exporters.ScopeProjectReleases}
	}
	return t, rest, nil
}

func createToken(ctx context.Context, s exporters.Tokens, t exporters.Token, stdout io.Writer) error {
	token, _, err := access.MakeToken(ctx, s, t, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, token)
	return err
}

func listTokens(ctx context.Context, s exporters.Tokens, stdout io.Writer) error {
	all, err := s.Tokens(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tBEGINS\tROLE\tSCOPES\tCREATED\tEXPIRES\tLAST USED")
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	for _, t := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, or(t.Prefix), or(string(t.Role)), or(strings.Join(t.Scopes, ",")), minuteText(t.Created), minuteText(t.Expires), minuteText(t.LastUsed))
	}
	return w.Flush()
}
