package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/metadata"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/access"
)

const membersUsage = `hoptrace members looks after who may sign in at the UI. As soon as there is a member, one must sign in.

  hoptrace members create --email ADDRESS [--role ROLE] [--name NAME]   the password is asked for, or read from stdin
  hoptrace members list
  hoptrace members role --email ADDRESS --role ROLE
  hoptrace members password --email ADDRESS      set a new one; ends the member's sessions
  hoptrace members remove --email ADDRESS        with sessions and tokens

Roles: viewer (reads), member (acts on issues), admin (also projects, keys, members, tokens), owner (also owners).
It takes settings as every role does: --data, or --metadata.dsn of a store that roles share.
`

// membersFlags are what stands before the settings.
type membersFlags struct{ email, role, name string }

func (f *membersFlags) cut(args []string) (rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(args[i], "=")
		to, ok := map[string]*string{"--email": &f.email, "--role": &f.role, "--name": &f.name}[name]
		if !ok {
			rest = append(rest, args[i])
			continue
		}
		if !hasValue {
			if value, err = nextValue(args, &i); err != nil {
				return nil, err
			}
		}
		*to = value
	}
	return rest, nil
}

// runMembers is `hoptrace members`; it returns the exit code as run does.
func runMembers(args, environ []string, stdin *os.File, stdout, stderr io.Writer) int {
	wrong := func(format string, a ...any) int {
		fmt.Fprintf(stderr, "hoptrace members: "+format+"\n\n%s", append(a, membersUsage)...)
		return 2
	}
	if len(args) == 0 {
		return wrong("say which: create, list, role, password or remove")
	}
	command := args[0]
	var f membersFlags
	rest, err := f.cut(args[1:])
	if err != nil {
		return wrong("%v", err)
	}
	var act func(m *memberCommand, ctx context.Context) error
	switch command {
	case "create":
		act = (*memberCommand).create
	case "list":
		act = (*memberCommand).list
	case "role":
		act = (*memberCommand).setRole
	case "password":
		act = (*memberCommand).setPassword
	case "remove":
		act = (*memberCommand).remove
	default:
		return wrong("no command %q", command)
	}
	if command != "list" && f.email == "" {
		return wrong("%s: say whom by --email", command)
	}
	if f.role == "" && command == "create" {
		f.role = string(schemas.RoleViewer)
	}
	if (command == "create" || command == "role") && !schemas.Role(f.role).Valid() {
		return wrong("%s: --role is %q; there are viewer, member, admin and owner", command, f.role)
	}
	s, _, err := load(roleTokens, rest, environ)
	if err != nil {
		return report(stderr, err)
	}
	m := &memberCommand{membersFlags: f, stdin: stdin, stdout: stdout, stderr: stderr}
	if command == "create" || command == "password" {
		// Before the store is opened: who types takes longer than it waits.
		if m.password, err = readPassword(stdin, stderr, f.email); err != nil {
			fmt.Fprintln(stderr, "hoptrace members:", err)
			return 1
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), tokensTimeout)
	defer cancel()
	if err := withMetadata(ctx, s, func(ctx context.Context, store *metadata.Store) error {
		m.store = store
		if m.access, err = access.New(access.DefaultConfig(), access.Place{}, access.Deps{Accounts: store, Tokens: store}, slog.New(slog.DiscardHandler)); err != nil {
			return err
		}
		return act(m, ctx)
	}); err != nil {
		fmt.Fprintln(stderr, "hoptrace members:", err)
		return 1
	}
	return 0
}

// readPassword asks twice on a terminal; else the first line is it. It is no
// argument: other users of the machine see those.
func readPassword(stdin *os.File, stderr io.Writer, email string) (string, error) {
	if !term.IsTerminal(int(stdin.Fd())) { //nolint:gosec // a file descriptor is small
		line, err := bufio.NewReader(io.LimitReader(stdin, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("cannot read the password from stdin: %w", err)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return "", errors.New("there is no password on stdin; give one line, or use a terminal")
		}
		return line, access.CheckPassword(line, email)
	}
	ask := func(what string) (string, error) {
		fmt.Fprint(stderr, what)
		defer fmt.Fprintln(stderr)
		b, err := term.ReadPassword(int(stdin.Fd())) //nolint:gosec // a file descriptor is small
		return string(b), err
	}
	first, err := ask("Password for " + email + " (at least 12 characters): ")
	if err == nil {
		err = access.CheckPassword(first, email)
	}
	if err != nil {
		return "", err
	}
	second, err := ask("Again: ")
	if err == nil && second != first {
		err = errors.New("the two differ; nothing was changed")
	}
	return first, err
}

// memberCommand is one command on an open store.
type memberCommand struct {
	membersFlags
	password       string
	store          *metadata.Store
	access         *access.Service
	stdin          *os.File
	stdout, stderr io.Writer
}

// note writes the audit.
func (m *memberCommand) note(ctx context.Context, action, target, detail string) error {
	return m.store.Note(ctx, exporters.AuditEntry{At: time.Now().UnixNano(), Actor: "hoptrace members", Action: action, Target: target, Detail: detail})
}

func (m *memberCommand) create(ctx context.Context) error {
	made, err := access.NewMember(m.email, m.name, schemas.Role(m.role), time.Now())
	if err != nil {
		return err
	}
	n, err := m.store.CountMembers(ctx)
	if err != nil {
		return err
	}
	if n == 0 && made.Role != schemas.RoleOwner {
		return errors.New("the first member must be an owner: from then on one must sign in (--role owner)")
	}
	if made.Password, err = m.access.HashPassword(ctx, m.password, made.Email); err != nil {
		return err
	}
	if made, err = m.store.AddMember(ctx, made, n == 0); err != nil {
		if errors.Is(err, exporters.ErrExists) {
			return fmt.Errorf("member %s is there already; hoptrace members role and password change it", made.Email)
		}
		return err
	}
	if err := m.note(ctx, "member.create", made.Email, "role "+string(made.Role)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.stdout, "%s is %s\n", made.Email, made.Role)
	return err
}

func (m *memberCommand) list(ctx context.Context) error {
	all, err := m.store.Members(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(m.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "E-MAIL\tNAME\tROLE\tSIGNS IN BY\tCREATED\tSEEN")
	for i := range all {
		x := &all[i]
		var by []string
		if x.Password != "" {
			by = append(by, "password")
		}
		if x.Subject != "" {
			by = append(by, "provider")
		}
		if len(by) == 0 {
			by = []string{"nothing yet"}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", x.Email, x.Name, x.Role, strings.Join(by, ", "), minuteText(x.Created), minuteText(x.Seen))
	}
	return w.Flush()
}

// minuteText is a time in Unix ns, or never.
func minuteText(ns int64) string {
	if ns == 0 {
		return "never"
	}
	return time.Unix(0, ns).UTC().Format("2006-01-02 15:04")
}

func (m *memberCommand) find(ctx context.Context) (exporters.Member, error) {
	found, err := m.store.MemberByEmail(ctx, strings.TrimSpace(m.email))
	if errors.Is(err, exporters.ErrNotFound) {
		err = fmt.Errorf("there is no member %s; hoptrace members list shows them", m.email)
	}
	return found, err
}

func (m *memberCommand) setRole(ctx context.Context) error {
	found, err := m.find(ctx)
	if err != nil {
		return err
	}
	after, err := m.store.UpdateMember(ctx, found.ID, func(x *exporters.Member) error { x.Role, x.Mapped = schemas.Role(m.role), false; return nil })
	if err != nil {
		return err
	}
	if err := m.note(ctx, "member.change", after.Email, "role "+string(found.Role)+" → "+string(after.Role)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.stdout, "%s is %s\n", after.Email, after.Role)
	return err
}

func (m *memberCommand) setPassword(ctx context.Context) error {
	found, err := m.find(ctx)
	if err != nil {
		return err
	}
	hash, err := m.access.HashPassword(ctx, m.password, found.Email)
	if err != nil {
		return err
	}
	if _, err := m.store.UpdateMember(ctx, found.ID, func(x *exporters.Member) error { x.Password = hash; return nil }); err != nil {
		return err
	}
	ended, err := m.store.EndSessions(ctx, found.ID, 0)
	if err != nil {
		return err
	}
	if err := m.note(ctx, "member.password", found.Email, "by the command"); err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.stdout, "%s has a new password; %d sessions ended\n", found.Email, ended)
	return err
}

func (m *memberCommand) remove(ctx context.Context) error {
	found, err := m.find(ctx)
	if err != nil {
		return err
	}
	if _, err := m.store.RemoveMember(ctx, found.ID, func(exporters.Member) error { return nil }); err != nil {
		return err
	}
	if err := m.note(ctx, "member.remove", found.Email, "had role "+string(found.Role)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.stdout, "%s is removed\n", found.Email)
	return err
}
