package embeddedclickhouse

import (
	"bufio"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// conn is one client's connection. Only its goroutine uses it, but for busy,
// nc and the read-ahead of peek.
type conn struct {
	s    *server
	nc   net.Conn
	br   *bufio.Reader
	zr   *compress.Reader // on top of br
	zw   *compress.Writer
	busy atomic.Bool // inside a packet or statement

	revision int
	zip      bool // this query's blocks are compressed, both ways
	session  *session
	tag      string            // begins log_comment; see server.kill
	settings map[string]string // that the last query put on the session

	// skipData says that the last query was an insert that failed: blocks
	// that its client had under way are dropped. ch-go sends them even after
	// it has read the exception.
	skipData bool

	sending sync.Mutex // guards nc for writing; held for whole packets

	out  proto.Buffer // whole packets to be sent
	body proto.Buffer // one block
	in   []byte       // bytes of the last block read

	peek chan error // a read-ahead under way; it owns br until it answers
}

// connError means that the connection is of no more use.
type connError struct{ error }

func (e connError) Unwrap() error { return e.error }

func newConn(s *server, nc net.Conn) *conn {
	br := bufio.NewReaderSize(nc, 64<<10)
	return &conn{
		s: s, nc: nc, br: br,
		zr: compress.NewReader(br), zw: compress.NewWriter(0, compress.LZ4),
		tag: fmt.Sprintf("hoptrace:%d", s.sequence.Add(1)), settings: map[string]string{},
	}
}

// serve runs the connection to its end; full says that it is one too many.
func (c *conn) serve(full bool) error {
	c.busy.Store(true)
	defer func() {
		if c.peek != nil {
			_ = c.nc.Close()
			<-c.peek //nolint:errcheck // it says that the socket is closed
		}
		if c.session != nil {
			c.session.close()
		}
	}()
	if err := c.handshake(full); err != nil {
		return err
	}
	for {
		c.trim()
		code, err := c.nextPacket()
		if err != nil {
			return err
		}
		if err := c.packet(code); err != nil {
			return err
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
}

// nextPacket waits for the next packet's code, as long as it takes.
func (c *conn) nextPacket() (uint64, error) {
	// In this order: shutdown sets draining before it looks at busy, and then
	// a deadline, which must not be cleared any more.
	c.busy.Store(false)
	if c.peek == nil {
		if err := c.nc.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
	}
	if c.s.draining.Load() {
		return 0, io.EOF
	}
	if c.peek != nil {
		<-c.peek //nolint:errcheck // its error comes again at the next read
		c.peek = nil
	}
	_, err := c.br.Peek(1)
	c.busy.Store(true)
	if err != nil {
		return 0, err
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(packetTimeout)); err != nil {
		return 0, err
	}
	return binary.ReadUvarint(c.br)
}

// packet does what one packet asks for.
func (c *conn) packet(code uint64) error {
	switch {
	case code == uint64(proto.ClientCodePing):
		proto.ServerCodePong.Encode(&c.out)
		return nil
	case code == uint64(proto.ClientCodeCancel): // too late
		return nil
	case code == 0: // a Cancel of ch-go, which closes the connection after it
		return connError{io.EOF}
	case code == uint64(proto.ClientCodeData) && c.skipData:
		_, _, err := c.readBlock()
		return err
	case code == uint64(proto.ClientTablesStatusRequest):
		return c.tablesStatus()
	case code == uint64(proto.ClientCodeQuery):
		q, err := c.readQuery()
		if err != nil {
			return c.refuse(err)
		}
		c.s.active.Add(1)
		err = c.query(q)
		c.s.last.Store(time.Now().UnixNano())
		c.s.active.Add(-1)
		if err == nil {
			proto.ServerCodeEndOfStream.Encode(&c.out)
			return nil
		}
		if _, ok := errors.AsType[connError](err); ok {
			return err
		}
		return c.exception(err)
	}
	return c.refuse(newException(proto.ErrUnknownPacketFromClient, fmt.Sprintf("Unknown packet %d from client", code)))
}

// refuse tells the client and gives the error that ends the connection.
func (c *conn) refuse(err error) error {
	if _, ok := errors.AsType[connError](err); ok {
		return err
	}
	if sendErr := c.exception(err); sendErr != nil {
		return sendErr
	}
	return connError{err}
}

// handshake reads Hello and answers it.
func (c *conn) handshake(full bool) error {
	if err := c.nc.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	p := packetReader{br: c.br, left: 5 * maxNameBytes}
	if code := p.varint(); p.err == nil && code != uint64(proto.ClientCodeHello) {
		return fmt.Errorf("a connection began with packet %d, not with Hello", code)
	}
	p.string(maxNameBytes) // the client's name
	p.varint()
	p.varint()
	revision := p.varint()
	database, user, password := p.string(maxNameBytes), p.string(maxNameBytes), p.string(maxNameBytes)
	if p.err != nil {
		return fmt.Errorf("cannot read Hello: %w", p.err)
	}
	c.revision = int(min(revision, protocolRevision)) //nolint:gosec // bounded
	if full {
		return c.refuse(newException(proto.ErrTooManySimultaneousQueries, fmt.Sprintf("More than %d connections", c.s.most)))
	}
	if subtle.ConstantTimeCompare([]byte(user), []byte(c.s.user))&subtle.ConstantTimeCompare([]byte(password), []byte(c.s.password)) != 1 {
		return c.refuse(newException(proto.ErrAuthenticationFailed,
			short(user)+": Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)"))
	}
	if c.revision < proto.FeatureParameters.Version() {
		return c.refuse(newException(proto.ErrNotImplemented,
			fmt.Sprintf("The client's protocol revision %d is older than %d. (NOT_IMPLEMENTED)", revision, proto.FeatureParameters.Version())))
	}
	var err error
	if c.session, err = c.s.engine.open(c.s.args); err != nil {
		return c.refuse(err)
	}
	if err := c.session.exec("SET log_comment = " + quote(c.tag+" ")); err != nil {
		return c.refuse(err)
	}
	if database != "" {
		if err := c.session.exec("USE " + ident(database)); err != nil {
			return c.refuse(err)
		}
	}
	c.s.hello.EncodeAware(&c.out, c.revision)
	if err := c.flush(); err != nil {
		return err
	}
	p = packetReader{br: c.br, left: 2 * maxNameBytes}
	p.string(maxNameBytes) // the addendum: a quota key
	if p.err != nil {
		return p.err
	}
	return c.nc.SetDeadline(time.Time{})
}

// tablesStatus answers what ClickHouse itself asks before a distributed
// query: nothing is replicated here.
func (c *conn) tablesStatus() error {
	p := packetReader{br: c.br, left: maxPacketBytes}
	n := p.varint()
	if p.err == nil && n > maxTableStatuses {
		return c.refuse(newException(proto.ErrTooLargeArraySize, fmt.Sprintf("The status of %d tables was asked", n)))
	}
	proto.ServerCodeTablesStatus.Encode(&c.out)
	c.out.PutUVarInt(n)
	for ; n > 0 && p.err == nil; n-- {
		c.out.PutString(p.string(maxNameBytes))
		c.out.PutString(p.string(maxNameBytes))
		c.out.PutBool(false)
	}
	if p.err != nil {
		return p.err
	}
	return nil
}

// readData reads one Data packet; the block's bytes stay in c.in until the
// next call.
func (c *conn) readData() (table string, b block, err error) {
	if err := c.nc.SetReadDeadline(time.Now().Add(packetTimeout)); err != nil {
		return "", block{}, connError{err}
	}
	for {
		p := packetReader{br: c.br}
		code := p.varint()
		if p.err != nil {
			return "", block{}, p.err
		}
		// 7 is scalars, from ClickHouse as a client; of no use here.
		const scalars = 7
		if code != scalars && code != uint64(proto.ClientCodeData) {
			if code == uint64(proto.ClientCodeCancel) || code == 0 { // a stray 0 precedes ch-go's Cancel
				return "", block{}, connError{fmt.Errorf("the client cancelled its insert: %w", io.EOF)}
			}
			return "", block{}, c.refuse(newException(proto.ErrUnexpectedPacketFromClient, fmt.Sprintf("Packet %d where data was expected", code)))
		}
		if table, b, err = c.readBlock(); err != nil || code != scalars {
			return table, b, err
		}
	}
}

// readBlock reads what follows the code of a Data packet. A block that cannot
// be delimited costs the connection, because nothing says where the next
// packet begins.
func (c *conn) readBlock() (table string, b block, err error) {
	p := packetReader{br: c.br, left: maxNameBytes}
	table = p.string(maxNameBytes)
	if p.err != nil {
		return "", block{}, c.refuse(p.err)
	}
	s := &source{raw: c.br, buf: c.in[:0], limit: maxBlockBytes}
	if c.zip {
		s.raw, s.zip = nil, c.zr
	}
	s.skip(1 + 1 + 1 + 4 + 1) // block info: 1, overflows, 2, bucket, 0
	b, err = walkBlock(s, true)
	c.in = s.buf
	if err != nil {
		return "", block{}, c.refuse(err)
	}
	if !c.zip {
		s.finish()
	} else if s.pos != len(s.buf) {
		return "", block{}, c.refuse(newException(proto.ErrIncorrectData, "Bytes follow a block in its compressed frame"))
	}
	return table, b, nil
}

// sendBlock sends one Data packet.
func (c *conn) sendBlock(b block, data []byte) error {
	proto.ServerCodeData.Encode(&c.out)
	c.out.PutString("")
	if !c.zip {
		b.encode(&c.out, data, c.revision)
		return c.flush()
	}
	c.body.Reset()
	b.encode(&c.body, data, c.revision)
	for p := c.body.Buf; len(p) > 0; { // frames of 1 MiB, as a server makes them
		n := min(len(p), 1<<20)
		if err := c.zw.Compress(p[:n]); err != nil {
			return connError{err}
		}
		c.out.Buf, p = append(c.out.Buf, c.zw.Data...), p[n:]
	}
	return c.flush()
}

// exception sends an error as the protocol tells it.
func (c *conn) exception(err error) error {
	e, ok := errors.AsType[*exception](err)
	if !ok {
		code := proto.ErrUnknownException
		if _, ok := errors.AsType[unwalkableError](err); ok {
			code = proto.ErrNotImplemented
		}
		e = newException(code, err.Error())
	}
	wire := proto.Exception{Code: e.code, Name: e.name, Message: e.name + ": " + e.text}
	proto.ServerCodeException.Encode(&c.out)
	wire.EncodeAware(&c.out, c.revision)
	return c.flush()
}

// flush sends c.out.
func (c *conn) flush() error {
	if len(c.out.Buf) == 0 {
		return nil
	}
	err := c.write(c.out.Buf)
	c.out.Reset()
	if err != nil {
		return connError{err}
	}
	return nil
}

// write sends whole packets.
func (c *conn) write(packets []byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := c.nc.SetWriteDeadline(time.Now().Add(packetTimeout)); err != nil {
		return err
	}
	_, err := c.nc.Write(packets)
	return err
}

// heartbeat sends empty progress while a statement runs, as a server does:
// ch-go gives up when it hears nothing for three seconds. stop returns when
// no more will be sent.
func (c *conn) heartbeat() (stop func()) {
	var beat proto.Buffer
	proto.ServerCodeProgress.Encode(&beat)
	proto.Progress{}.EncodeAware(&beat, c.revision)
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(heartbeatEvery)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				if c.write(beat.Buf) != nil { // the statement will see it too
					return
				}
			}
		}
	})
	return func() {
		close(over)
		wg.Wait()
	}
}

// trim drops large buffers of a connection that goes idle.
func (c *conn) trim() {
	if cap(c.out.Buf) > keepBytes {
		c.out.Buf = nil
	}
	if cap(c.body.Buf) > keepBytes {
		c.body.Buf = nil
	}
	if cap(c.in) > keepBytes {
		c.in = nil
	}
}

// packetReader reads the parts of one packet within bounds. Its first error
// sticks.
type packetReader struct {
	br   *bufio.Reader
	left int // bytes the texts of the packet may still have
	err  error
}

func (p *packetReader) varint() uint64 {
	if p.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(p.br)
	if err != nil {
		p.err = connError{err}
	}
	return v
}

func (p *packetReader) byte() byte {
	if p.err != nil {
		return 0
	}
	b, err := p.br.ReadByte()
	if err != nil {
		p.err = connError{err}
	}
	return b
}

func (p *packetReader) skip(n int) {
	if p.err != nil {
		return
	}
	if _, err := p.br.Discard(n); err != nil {
		p.err = connError{err}
	}
}

func (p *packetReader) string(limit int) string {
	n := p.varint()
	if p.err != nil {
		return ""
	}
	if n > uint64(limit) || n > uint64(p.left) { //nolint:gosec // both are positive
		p.err = newException(proto.ErrTooLargeStringSize, fmt.Sprintf("A text of %d bytes is longer than %d. (TOO_LARGE_STRING_SIZE)", n, min(limit, p.left)))
		return ""
	}
	p.left -= int(n) //nolint:gosec // bounded above
	b := make([]byte, n)
	if _, err := io.ReadFull(p.br, b); err != nil {
		p.err = connError{err}
		return ""
	}
	return string(b)
}
