package embeddedclickhouse

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// readQuery reads a Query packet. It is proto.Query.DecodeAware with bounds,
// and without the refusal of initiators that are not TCP clients.
func (c *conn) readQuery() (proto.Query, error) {
	var q proto.Query
	p := packetReader{br: c.br, left: maxPacketBytes}
	texts := func(n int) {
		for ; n > 0; n-- {
			p.string(maxNameBytes)
		}
	}
	numbers := func(n int) {
		for ; n > 0; n-- {
			p.varint()
		}
	}
	q.ID = p.string(maxNameBytes)
	p.byte()  // kind
	texts(3)  // initial user, query id, address
	p.skip(8) // start time
	switch p.byte() {
	case 1: // TCP: OS user, host, client; version; quota key; depth, patch
		texts(3)
		numbers(3)
		texts(1)
		numbers(2)
	case 2: // HTTP
		p.byte()
		texts(4)
		numbers(1)
	default:
		texts(1)
		numbers(1)
	}
	if p.byte() != 0 { // trace context
		p.skip(24)
		texts(1)
		p.byte()
	}
	numbers(3) // parallel replicas
	for {
		key := p.string(maxNameBytes)
		if key == "" || p.err != nil {
			break
		}
		flags := p.varint()
		q.Settings = append(q.Settings, proto.Setting{Key: key, Important: flags&1 != 0, Value: p.string(maxValueBytes)})
		if len(q.Settings) > maxPairs {
			return q, newException(proto.ErrTooLargeArraySize, fmt.Sprintf("A query has more than %d settings", maxPairs))
		}
	}
	texts(1) // interserver secret
	q.Stage, q.Compression = proto.Stage(p.varint()), proto.Compression(p.varint())
	q.Body = p.string(maxTextBytes)
	for {
		key := p.string(maxNameBytes)
		if key == "" || p.err != nil {
			break
		}
		p.varint() // flags
		q.Parameters = append(q.Parameters, proto.Parameter{Key: key, Value: p.string(maxValueBytes)})
		if len(q.Parameters) > maxPairs {
			return q, newException(proto.ErrTooLargeArraySize, fmt.Sprintf("A query has more than %d parameters", maxPairs))
		}
	}
	return q, p.err
}

// query runs one query and sends its answer, but for the last packet. A
// connError ends the connection; any other error is the query's exception.
func (c *conn) query(q proto.Query) (err error) {
	c.zip = q.Compression == proto.CompressionEnabled
	defer c.heartbeat()()
	into := insertStatement.FindStringSubmatch(q.Body)
	defer func() { c.skipData = into != nil && err != nil }()
	// What is wrong is told only after the client's external tables were
	// read: it sends them whatever we say.
	late := c.applySettings(q.Settings)
	var temporary []string
	defer func() {
		for _, name := range temporary {
			if dropErr := c.session.exec("DROP TEMPORARY TABLE IF EXISTS " + ident(name)); dropErr != nil && err == nil {
				err = dropErr
			}
		}
	}()
	for n := 0; ; n++ {
		name, b, err := c.readData()
		if err != nil {
			return err
		}
		if len(b.columns) == 0 {
			break
		}
		if n == maxExternals {
			return c.refuse(newException(proto.ErrTooLargeArraySize, fmt.Sprintf("A query has more than %d blocks of external tables", maxExternals)))
		}
		if late != nil {
			continue
		}
		if !slices.Contains(temporary, name) {
			if late = c.createExternal(name, b); late != nil {
				continue
			}
			temporary = append(temporary, name)
		}
		late = c.insertExternal(name, b)
	}
	if late != nil {
		return late
	}
	if q.Stage != proto.StageComplete {
		return newException(proto.ErrNotImplemented, "The embedded engine answers complete queries only, not stage "+q.Stage.String()+". (NOT_IMPLEMENTED)")
	}
	params := make([]param, 0, len(q.Parameters))
	for _, p := range q.Parameters {
		params = append(params, param{p.Key, unquote(p.Value)})
	}
	if into != nil {
		return c.insert(insertTarget{table: into[1], columns: into[2], settings: into[3]}, params)
	}
	return c.execute(q.Body, params)
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,127}$`)

// applySettings makes the session's settings those of this query; unchanged
// ones cost nothing.
func (c *conn) applySettings(settings []proto.Setting) error {
	want := make(map[string]string, len(settings))
	important := map[string]bool{}
	for _, s := range settings {
		if !settingName.MatchString(s.Key) {
			return newException(proto.ErrUnknownSetting, fmt.Sprintf("Unknown setting %q. (UNKNOWN_SETTING)", short(s.Key)))
		}
		if s.Key == "log_comment" {
			s.Value = c.tag + " " + s.Value // see server.kill
		}
		want[s.Key] = s.Value
		important[s.Key] = s.Important
	}
	var changes []string
	for k, v := range want {
		if have, ok := c.settings[k]; !ok || have != v {
			changes = append(changes, k+" = "+quote(v))
		}
	}
	for k := range c.settings {
		if _, ok := want[k]; ok {
			continue
		}
		if k == "log_comment" {
			changes = append(changes, "log_comment = "+quote(c.tag+" "))
			continue
		}
		changes = append(changes, k+" = DEFAULT")
	}
	if len(changes) == 0 {
		return nil
	}
	slices.Sort(changes)
	err := c.session.exec("SET " + strings.Join(changes, ", "))
	if e, ok := errors.AsType[*exception](err); ok && e.code == proto.ErrUnknownSetting {
		// A server ignores an unknown setting that is not marked important.
		for _, change := range changes {
			key, _, _ := strings.Cut(change, " ")
			err := c.session.exec("SET " + change)
			e, ok := errors.AsType[*exception](err)
			if ok && e.code == proto.ErrUnknownSetting && !important[key] {
				delete(want, key)
				continue
			}
			if err != nil {
				return err
			}
		}
		err = nil
	}
	if err != nil {
		return err
	}
	c.settings = want
	return nil
}

// execute runs a statement and sends its rows.
func (c *conn) execute(body string, params []param) error {
	text := strings.TrimRight(body, "; \t\r\n")
	r := &result{c: c}
	stop, err := c.watch(&r.cancelled)
	if err != nil {
		return err
	}
	defer stop()

	err = c.session.stream(text, "Native", params, r.native)
	if _, ok := errors.AsType[unwalkableError](err); ok && !r.begun {
		err = c.executeByBuffers(text, params, r)
	}
	if err != nil && strings.Contains(err.Error(), "Streaming query is not supported") { // DDL, SET, INSERT SELECT, …
		raw, err := c.session.query(body, "Native", params)
		if err != nil || len(raw) == 0 {
			return err
		}
		if err := r.native(chunk{data: raw}); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if !r.begun { // no rows, so no block: the client still wants names and types
		h, err := c.describe(text, params)
		if err != nil {
			return err
		}
		if err := c.sendBlock(h, nil); err != nil {
			return err
		}
	}
	r.profile.EncodeAware(&c.out, c.revision)
	return nil
}

// executeByBuffers fetches a result with a column whose length only the
// engine knows: Buffers is Native with a length before every column, without
// names and types, which DESCRIBE gives.
func (c *conn) executeByBuffers(text string, params []param, r *result) error {
	h, err := c.describe(text, params)
	if err != nil {
		return err
	}
	return c.session.stream(text, "Buffers", params, func(ch chunk) error {
		for s := (&source{buf: ch.data}); s.pos < len(ch.data); {
			if n := s.count(); s.err == nil && n != len(h.columns) {
				return fmt.Errorf("a block has %d columns, its description %d", n, len(h.columns))
			}
			b := h.header()
			b.rows = s.count()
			for i := range b.columns {
				n := s.count()
				b.columns[i].start = s.pos
				s.skip(n)
				b.columns[i].end = s.pos
			}
			if s.err != nil {
				return s.err
			}
			if err := r.send(b, ch); err != nil {
				return err
			}
		}
		return nil
	})
}

// watch looks at the socket while the engine works: a Cancel, or a client
// that has gone, stops the statement. stop ends the watch; the read-ahead it
// leaves is waited for by nextPacket.
func (c *conn) watch(cancelled *atomic.Bool) (stop func(), err error) {
	if err := c.nc.SetReadDeadline(time.Time{}); err != nil {
		return nil, connError{err}
	}
	peek, over := make(chan error, 1), make(chan struct{})
	c.peek = peek
	go func() {
		p, err := c.br.Peek(1)
		defer func() { peek <- err }()
		// ch-go puts a stray 0 before its Cancel.
		if err == nil && p[0] != byte(proto.ClientCodeCancel) && p[0] != 0 {
			return
		}
		select {
		case <-over:
			return
		default:
		}
		cancelled.Store(true)
		// Again until it is over: the engine may not have begun it yet.
		for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			c.s.kill(c.tag)
			select {
			case <-over:
				return
			case <-time.After(wait):
			}
		}
	}()
	return func() { close(over) }, nil
}

// result sends the rows of one statement.
type result struct {
	c         *conn
	cancelled atomic.Bool
	begun     bool // names and types were sent
	profile   proto.Profile
}

// native sends the blocks of a piece in Native format.
func (r *result) native(ch chunk) error {
	for s := (&source{buf: ch.data}); s.pos < len(ch.data); {
		start := s.pos
		b, err := walkBlock(s, false)
		if err != nil {
			return err
		}
		if s.pos == start {
			return errors.New("the engine gave an empty block")
		}
		if err := r.send(b, ch); err != nil {
			return err
		}
	}
	return nil
}

func (r *result) send(b block, ch chunk) error {
	if r.cancelled.Load() {
		return newException(proto.ErrQueryWasCancelled, "Query was cancelled. (QUERY_WAS_CANCELLED)")
	}
	if !r.begun {
		r.begun = true
		if err := r.c.sendBlock(b.header(), nil); err != nil {
			return err
		}
	}
	if b.rows == 0 {
		return nil
	}
	r.profile.Rows += uint64(b.rows) //nolint:gosec // not negative
	r.profile.Blocks++
	r.profile.Bytes += uint64(len(ch.data))
	proto.ServerCodeProgress.Encode(&r.c.out)
	proto.Progress{Rows: ch.rowsRead, Bytes: ch.bytesRead}.EncodeAware(&r.c.out, r.c.revision)
	return r.c.sendBlock(b, ch.data)
}

// describe gives the columns of a statement that returns rows.
func (c *conn) describe(text string, params []param) (block, error) {
	var h block
	raw, err := c.session.query("DESCRIBE TABLE ("+text+"\n)", "RowBinary", params)
	if err == nil {
		s := &source{buf: raw}
		for s.pos < len(raw) && s.err == nil {
			h.columns = append(h.columns, blockColumn{name: s.string(maxResultBytes), typ: s.string(maxResultBytes)})
			for range 5 { // default kind and expression, comment, codec, TTL
				s.string(maxResultBytes)
			}
		}
		return h, s.err
	}
	// SHOW, EXPLAIN, …: once more, in a format with a header.
	raw, err = c.session.query(text, "RowBinaryWithNamesAndTypes", params)
	if err != nil {
		return h, err
	}
	s := &source{buf: raw}
	h.columns = make([]blockColumn, s.varint(maxBlockColumns))
	for i := range h.columns {
		h.columns[i].name = s.string(maxResultBytes)
	}
	for i := range h.columns {
		h.columns[i].typ = s.string(maxResultBytes)
	}
	return h, s.err
}
