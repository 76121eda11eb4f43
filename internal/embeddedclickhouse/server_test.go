package embeddedclickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

func TestWrongPasswordIsRefused(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	f := func(user, password string) {
		t.Helper()
		opt := clientOptions(p)
		opt.User, opt.Password = user, password
		_, err := ch.Dial(testContext(t), opt)
		if !ch.IsErr(err, proto.ErrAuthenticationFailed) {
			t.Fatalf("dial as %q: %v; want AUTHENTICATION_FAILED", user, err)
		}
		if strings.Contains(err.Error(), p.Password()) {
			t.Fatalf("the error tells the password: %v", err)
		}
	}
	f(User, "wrong")
	f(User, "")
	f("default", "")
	f("other", p.Password())
}

func TestConfiguredPasswordIsTheOneThatCounts(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Password = "given"
	p := startProcess(t, cfg)
	opt := clientOptions(p)
	opt.Password = "given"
	if err := dialWith(t, opt).Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
	opt.Password = ""
	if _, err := ch.Dial(testContext(t), opt); !ch.IsErr(err, proto.ErrAuthenticationFailed) {
		t.Fatalf("dial without password: %v; want AUTHENTICATION_FAILED", err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxConnections = 2
	p := startProcess(t, cfg)
	first, second := dial(t, p), dial(t, p)
	if _, err := ch.Dial(testContext(t), clientOptions(p)); !ch.IsErr(err, proto.ErrTooManySimultaneousQueries) {
		t.Fatalf("the third connection: %v; want TOO_MANY_SIMULTANEOUS_QUERIES", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool {
		c, err := ch.Dial(testContext(t), clientOptions(p))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	if err := first.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// rawConn is a connection after the handshake, for bytes no client sends.
func rawConn(t *testing.T, p *Process) (net.Conn, *proto.Reader) {
	t.Helper()
	nc, err := p.Dial(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var b proto.Buffer
	proto.ClientHello{Name: "test", ProtocolVersion: protocolRevision, Database: Database, User: User, Password: p.Password()}.Encode(&b)
	b.PutString("") // addendum
	if _, err := nc.Write(b.Buf); err != nil {
		t.Fatal(err)
	}
	r := proto.NewReader(nc)
	if code, err := r.UVarInt(); err != nil || proto.ServerCode(code) != proto.ServerCodeHello {
		t.Fatalf("the answer to Hello is %d, %v", code, err)
	}
	var hello proto.ServerHello
	if err := hello.DecodeAware(r, protocolRevision); err != nil {
		t.Fatal(err)
	}
	return nc, r
}

// queryPacket is a Query packet and the end of its external tables.
func queryPacket(body string) *proto.Buffer {
	var b proto.Buffer
	proto.Query{
		Body: body, Stage: proto.StageComplete, Compression: proto.CompressionDisabled,
		Info: proto.ClientInfo{ProtocolVersion: protocolRevision, Interface: proto.InterfaceTCP, Query: proto.ClientQueryInitial},
	}.EncodeAware(&b, protocolRevision)
	emptyBlock(&b)
	return &b
}

func emptyBlock(b *proto.Buffer) {
	proto.ClientCodeData.Encode(b)
	b.PutString("")
	block{}.encode(b, nil, protocolRevision)
}

// readException reads until an exception; false when the connection ended
// without one.
func readException(t *testing.T, r *proto.Reader) (proto.Exception, bool) {
	t.Helper()
	for {
		code, err := r.UVarInt()
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return proto.Exception{}, false
			}
			if _, ok := errors.AsType[*net.OpError](err); ok && !errors.Is(err, context.DeadlineExceeded) {
				return proto.Exception{}, false
			}
			t.Fatalf("no answer: %v", err)
		}
		switch proto.ServerCode(code) {
		case proto.ServerCodeException:
			var e proto.Exception
			if err := e.DecodeAware(r, protocolRevision); err != nil {
				t.Fatal(err)
			}
			return e, true
		case proto.ServerCodeProgress:
			var p proto.Progress
			if err := p.DecodeAware(r, protocolRevision); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("packet %d; want an exception", code)
		}
	}
}

func TestOversizedPacketsCostOnlyTheirConnection(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	witness := dial(t, p)
	f := func(name string, code proto.Error, write func(b *proto.Buffer)) {
		t.Run(name, func(t *testing.T) {
			nc, r := rawConn(t, p)
			var b proto.Buffer
			write(&b)
			_, _ = nc.Write(b.Buf) // it may be refused before it is all sent
			e, told := readException(t, r)
			if !told || e.Code != code {
				t.Fatalf("exception %v, %v; want code %d", e, told, code)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				if _, ok := errors.AsType[*net.OpError](err); !ok {
					t.Fatalf("the connection goes on: %v", err)
				}
			}
			if got := number(t, witness, "SELECT toUInt64(7) AS n"); got != 7 {
				t.Fatalf("another connection: %d", got)
			}
		})
	}
	const unknown = proto.ErrUnknownException
	f("text", proto.ErrTooLargeStringSize, func(b *proto.Buffer) {
		q := queryPacket("SELECT '" + strings.Repeat("x", maxTextBytes) + "'")
		b.Buf = q.Buf
	})
	f("length that lies", proto.ErrTooLargeStringSize, func(b *proto.Buffer) {
		proto.ClientCodeQuery.Encode(b)
		b.PutUVarInt(1 << 62)
	})
	f("settings", proto.ErrTooLargeArraySize, func(b *proto.Buffer) {
		q := proto.Query{Body: "SELECT 1", Info: proto.ClientInfo{ProtocolVersion: protocolRevision, Interface: proto.InterfaceTCP, Query: proto.ClientQueryInitial}}
		for i := range maxPairs + 1 {
			q.Settings = append(q.Settings, proto.Setting{Key: fmt.Sprint("s", i), Value: "1"})
		}
		q.EncodeAware(b, protocolRevision)
	})
	f("columns", unknown, func(b *proto.Buffer) {
		b.Buf = queryPacket("SELECT 1").Buf
		b.Buf = b.Buf[:len(b.Buf)-2] // the block's columns and rows
		b.PutUVarInt(1 << 40)
		b.PutUVarInt(1)
	})
	f("rows", unknown, func(b *proto.Buffer) {
		b.Buf = queryPacket("SELECT 1").Buf
		b.Buf = b.Buf[:len(b.Buf)-2]
		b.PutUVarInt(1)
		b.PutUVarInt(1 << 40)
	})
	f("type", unknown, func(b *proto.Buffer) {
		b.Buf = queryPacket("SELECT 1").Buf
		b.Buf = b.Buf[:len(b.Buf)-2]
		b.PutUVarInt(1)
		b.PutUVarInt(1)
		b.PutString("x")
		b.PutString(strings.Repeat("Array(", 1000) + "UInt8" + strings.Repeat(")", 1000))
		b.PutBool(false)
	})
	f("packet", proto.ErrUnknownPacketFromClient, func(b *proto.Buffer) { b.PutUVarInt(99) })
	f("external tables", proto.ErrTooLargeArraySize, func(b *proto.Buffer) {
		b.Buf = queryPacket("SELECT 1").Buf
		end := append([]byte(nil), b.Buf...)
		emptyAt := len(end) - func() int { var e proto.Buffer; emptyBlock(&e); return len(e.Buf) }()
		b.Buf = b.Buf[:emptyAt]
		for i := range maxExternals + 1 {
			proto.ClientCodeData.Encode(b)
			b.PutString(fmt.Sprint("t", i))
			block{rows: 1, columns: []blockColumn{{name: "x", typ: "UInt8", start: 0, end: 1}}}.encode(b, []byte{1}, protocolRevision)
		}
	})
}

// ch-go may send its blocks after it has read the exception of an insert.
func TestBlocksOfAFailedInsertAreDropped(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	nc, r := rawConn(t, p)
	one := block{rows: 1, columns: []blockColumn{{name: "x", typ: "UInt8", start: 0, end: 1}}}
	for range 2 {
		b := queryPacket("INSERT INTO nope VALUES")
		proto.ClientCodeData.Encode(b)
		b.PutString("")
		one.encode(b, []byte{1}, protocolRevision)
		emptyBlock(b)
		if _, err := nc.Write(b.Buf); err != nil {
			t.Fatal(err)
		}
		if e, told := readException(t, r); !told || e.Code != proto.ErrUnknownTable {
			t.Fatalf("exception %v, %v; want UNKNOWN_TABLE", e, told)
		}
	}
	// After a query that is no insert, a block is a mistake.
	b := queryPacket("SELECT nope")
	emptyBlock(b)
	if _, err := nc.Write(b.Buf); err != nil {
		t.Fatal(err)
	}
	if e, told := readException(t, r); !told || e.Code != proto.ErrUnknownIdentifier {
		t.Fatalf("exception %v, %v; want UNKNOWN_IDENTIFIER", e, told)
	}
	if e, told := readException(t, r); !told || e.Code != proto.ErrUnknownPacketFromClient {
		t.Fatalf("exception %v, %v; want UNKNOWN_PACKET_FROM_CLIENT", e, told)
	}
}

func TestGarbageOnTheSocketDisturbsNobody(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	witness := dial(t, p)
	pid := p.PID()
	rng := rand.New(rand.NewPCG(1, 2))
	whole := queryPacket("SELECT number FROM numbers(10)").Buf
	for i := range 300 {
		var nc net.Conn
		if i%3 == 0 { // before the handshake
			var err error
			if nc, err = p.Dial(testContext(t)); err != nil {
				t.Fatal(err)
			}
		} else {
			nc, _ = rawConn(t, p)
		}
		b := append([]byte(nil), whole...)
		switch i % 2 {
		case 0:
			b = b[:rng.IntN(len(b))]
			for range rng.IntN(100) {
				b = append(b, byte(rng.Uint32()))
			}
		default:
			for range 1 + rng.IntN(8) {
				b[rng.IntN(len(b))] = byte(rng.Uint32())
			}
		}
		_, _ = nc.Write(b)
		_ = nc.Close()
	}
	if got := number(t, witness, "SELECT toUInt64(7) AS n"); got != 7 {
		t.Fatalf("SELECT 7 = %d", got)
	}
	waitUntil(t, func() bool { // every connection but the witness is over
		return number(t, witness, "SELECT count() AS n FROM system.processes") == 1
	})
	if p.PID() != pid || p.Restarts() != 0 {
		t.Fatalf("the engine was restarted %d times", p.Restarts())
	}
}

func TestGarbageStatementsLoseNoConnection(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	c := dial(t, p)
	run(t, c, "CREATE TABLE t (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
	rng := rand.New(rand.NewPCG(3, 4))
	words := []string{
		"SELECT", "INSERT INTO t", "VALUES", "FROM", "t", "(", ")", "'", "`", "\"", ",", "*", "id", "s", "1", "WHERE", "GROUP BY",
		"ORDER BY", "{x:String}", "SETTINGS", "FORMAT", "Native", "WITH", "AS", "--", "/*", ";", "\x00", "\xff", "ünï", "UNION ALL",
		"CREATE", "DROP", "TABLE u", "ALTER", "(SELECT", "IN", "sum(", "DESCRIBE", "EXPLAIN", "SHOW", "x",
	}
	refused := 0
	for range 1000 {
		var text []string
		for range 1 + rng.IntN(8) {
			text = append(text, words[rng.IntN(len(words))])
		}
		body := strings.Join(text, " ")
		if insertStatement.MatchString(body) {
			continue // a good one; it would wait for its blocks
		}
		err := c.Do(testContext(t), ch.Query{Body: body, Result: discard{}, OnResult: ignore})
		if err != nil && !ch.IsException(err) {
			t.Fatalf("%q: %v", body, err)
		}
		if err != nil {
			refused++
		}
		if c.IsClosed() {
			t.Fatalf("%q ended the connection: %v", body, err)
		}
	}
	if refused < 500 {
		t.Fatalf("only %d of 1000 statements were refused, so they were not garbage", refused)
	}
	if p.Restarts() != 0 {
		t.Fatalf("the engine was restarted %d times", p.Restarts())
	}
}

// discard takes results of the types that the tests ask for.
type discard struct{}

func ignore(context.Context, proto.Block) error { return nil }

func (discard) DecodeResult(r *proto.Reader, version int, b proto.Block) error {
	for range b.Columns {
		if _, err := r.Str(); err != nil {
			return err
		}
		typ, err := r.Str()
		if err != nil {
			return err
		}
		if proto.FeatureCustomSerialization.In(version) {
			if _, err := r.Bool(); err != nil {
				return err
			}
		}
		if b.Rows == 0 {
			continue
		}
		var col proto.Column = new(proto.ColAuto)
		if typ == "Map(LowCardinality(String), String)" { // ColAuto has not this one
			col = proto.NewMap(new(proto.ColStr).LowCardinality(), new(proto.ColStr))
		} else if err := col.(*proto.ColAuto).Infer(proto.ColumnType(typ)); err != nil {
			return err
		}
		state, ok := col.(proto.StateDecoder)
		if auto, is := col.(*proto.ColAuto); is {
			state, ok = auto.Data.(proto.StateDecoder)
		}
		if ok {
			if err := state.DecodeState(r); err != nil {
				return err
			}
		}
		if err := col.DecodeColumn(r, b.Rows); err != nil {
			return err
		}
	}
	return nil
}

// A damaged insert must be refused, by us or by the engine, without ending
// the engine's process.
func TestDamagedBlocksDoNotEndTheEngine(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	columns := everyType()
	var defs, names []string
	for _, col := range columns {
		defs, names = append(defs, "`"+col.name+"` "+col.typ), append(names, "`"+col.name+"`")
		for i := range 20 {
			col.fill(i)
		}
	}
	witness := dial(t, p)
	run(t, witness, "CREATE TABLE t ("+strings.Join(defs, ", ")+") ENGINE = MergeTree ORDER BY u64")
	var b proto.Buffer
	var in proto.Input
	for _, col := range columns {
		data := proto.ColInput(col.col)
		if strings.HasPrefix(col.typ, "Decimal") {
			data = proto.Alias(col.col, proto.ColumnType(col.typ))
		}
		if pr, ok := col.col.(proto.Preparable); ok {
			if err := pr.Prepare(); err != nil {
				t.Fatal(err)
			}
		}
		in = append(in, proto.InputColumn{Name: col.name, Data: data})
	}
	proto.ClientCodeData.Encode(&b)
	b.PutString("")
	proto.BlockInfo{BucketNum: -1}.Encode(&b)
	if err := (proto.Block{Rows: 20, Columns: len(in)}).EncodeRawBlock(&b, protocolRevision, in); err != nil {
		t.Fatal(err)
	}
	head := queryPacket("INSERT INTO t (" + strings.Join(names, ", ") + ") VALUES")
	send := func(data []byte) {
		nc, _ := rawConn(t, p)
		out := append(append([]byte(nil), head.Buf...), data...)
		var end proto.Buffer
		emptyBlock(&end)
		_, _ = nc.Write(append(out, end.Buf...))
		if u, ok := nc.(*net.UnixConn); ok {
			_ = u.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, nc)
		_ = nc.Close()
	}
	send(b.Buf)
	if got := number(t, witness, "SELECT count() AS n FROM t"); got != 20 {
		t.Fatalf("the undamaged block gave %d rows; want 20", got)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 250 {
		data := append([]byte(nil), b.Buf...)
		for range 1 + rng.IntN(3) {
			data[20+rng.IntN(len(data)-20)] = byte(rng.Uint32())
		}
		send(data)
		if p.Restarts() != 0 {
			t.Fatal("a damaged block ended the engine")
		}
	}
	if got := number(t, witness, "SELECT count() AS n FROM t"); got%20 != 0 {
		t.Fatalf("%d rows are stored; want whole blocks of 20", got)
	}
}
