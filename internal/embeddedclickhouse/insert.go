package embeddedclickhouse

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// insertStatement matches an INSERT whose rows follow as blocks: table,
// columns, settings. One with rows or a SELECT in its text is a plain
// statement.
var insertStatement = regexp.MustCompile("(?is)^(?:\\s|--[^\n]*\n|/\\*.*?\\*/)*INSERT\\s+INTO\\s+(?:TABLE\\s+)?" +
	"((?:(?:`[^`]+`|\"[^\"]+\"|[\\w$]+)\\.)?(?:`[^`]+`|\"[^\"]+\"|[\\w$]+))\\s*(?:\\(((?:[^()]|\\([^()]*\\))*)\\))?\\s*" +
	"(SETTINGS\\s+\\w+\\s*=\\s*(?:'[^']*'|[\\w.+-]+)(?:\\s*,\\s*\\w+\\s*=\\s*(?:'[^']*'|[\\w.+-]+))*)?\\s*(?:VALUES|FORMAT\\s+\\w+)?\\s*;?\\s*$")

// insertTarget is an INSERT taken apart.
type insertTarget struct {
	table    string // as written, quoted or not, with or without database
	columns  string // as written; "" is all
	settings string // with its keyword, or ""
}

// insert takes the client's blocks until the empty one. The engine has them
// on disk when it returns nil; of an insert that fails in between nothing is
// stored, but for whole blocks the engine had already written.
func (c *conn) insert(t insertTarget, params []param) error {
	columns, list := "*", ""
	if t.columns != "" {
		columns, list = t.columns, "("+t.columns+")"
	}
	h, err := c.describe("SELECT "+columns+" FROM "+t.table, params)
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(h.columns))
	defs := fmt.Sprintf("columns format version: 1\n%d columns:\n", len(h.columns))
	for _, col := range h.columns {
		known[col.name] = true
		defs += ident(col.name) + " " + col.typ + "\n"
	}

	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	st, err := c.session.beginInsert("INSERT INTO "+t.table+" "+list+" "+t.settings, params)
	if err != nil {
		return err
	}
	defer st.abort()
	proto.TableColumns{Second: defs}.EncodeAware(&c.out, c.revision)
	if err := c.sendBlock(h, nil); err != nil {
		return err
	}
	var wrote proto.Progress
	var refused error // told when the client has sent all, or it would not read it
	for {
		_, b, err := c.readData()
		if err != nil {
			return err
		}
		if len(b.columns) == 0 {
			break
		}
		if refused == nil {
			refused = checkColumns(b, h, known)
		}
		if refused != nil {
			continue
		}
		c.body.Reset()
		b.encode(&c.body, c.in, 0)
		st.append(c.body.Buf)             // a refusal's reason comes with done
		wrote.WroteRows += uint64(b.rows) //nolint:gosec // not negative
		wrote.WroteBytes += uint64(len(c.body.Buf))
	}
	if refused != nil {
		return refused
	}
	if err := st.done(); err != nil {
		return err
	}
	proto.ServerCodeProgress.Encode(&c.out)
	wrote.EncodeAware(&c.out, c.revision)
	return nil
}

// checkColumns compares a block's columns with the table's: the engine would
// drop unknown ones and fill missing ones with defaults, in silence.
func checkColumns(b, header block, known map[string]bool) error {
	seen := make(map[string]bool, len(b.columns))
	for _, col := range b.columns {
		if !known[col.name] || seen[col.name] {
			return newException(proto.ErrNoSuchColumnInTable,
				fmt.Sprintf("The block has column %q, which the insert has not or has once only. (NO_SUCH_COLUMN_IN_TABLE)", short(col.name)))
		}
		seen[col.name] = true
	}
	if len(b.columns) != len(header.columns) {
		return newException(proto.ErrNumberOfColumnsDoesntMatch,
			fmt.Sprintf("The block has %d columns, the insert %d. (NUMBER_OF_COLUMNS_DOESNT_MATCH)", len(b.columns), len(header.columns)))
	}
	return nil
}

// createExternal makes the temporary table of a query's external data.
func (c *conn) createExternal(table string, b block) error {
	defs := make([]string, 0, len(b.columns))
	for _, col := range b.columns {
		defs = append(defs, ident(col.name)+" "+col.typ)
	}
	return c.session.exec("CREATE TEMPORARY TABLE " + ident(table) + " (" + strings.Join(defs, ", ") + ")")
}

// insertExternal appends one block to it.
func (c *conn) insertExternal(table string, b block) error {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	st, err := c.session.beginInsert("INSERT INTO "+ident(table), nil)
	if err != nil {
		return err
	}
	defer st.abort()
	c.body.Reset()
	b.encode(&c.body, c.in, 0)
	st.append(c.body.Buf)
	return st.done()
}
