package embeddedclickhouse

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ebitengine/purego"
)

// LibraryVersion is the release of libchdb that hoptrace is built for and
// that `make libchdb` installs. Older releases lack the streamed insert with
// parameters; newer ones are accepted.
const LibraryVersion = "26.7.3"

// size_t is passed as uintptr and every object of the library is an opaque
// pointer read through accessor functions, so the only sizes that must agree
// are these two. A 32-bit build fails to compile here.
var (
	_ [8 - unsafe.Sizeof(uintptr(0))]struct{}
	_ [unsafe.Sizeof(unsafe.Pointer(nil)) - 8]struct{}
)

// startFunc starts a statement: connection, query, format, parameter names,
// parameter values, number of parameters. A size follows each text.
type startFunc func(conn unsafe.Pointer, query *byte, queryLen uintptr, format *byte, formatLen uintptr,
	names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, count uintptr) unsafe.Pointer

// engine is libchdb, loaded once into the process. Its C functions keep what
// they were given only for the time of the call.
type engine struct {
	version func() string
	signals func(enabled int32)
	connect func(argc int32, argv **byte) unsafe.Pointer // *chdb_connection
	close   func(connHandle unsafe.Pointer)

	query   startFunc
	stream  startFunc
	fetch   func(conn, stream unsafe.Pointer) unsafe.Pointer
	cancel  func(conn, stream unsafe.Pointer)
	destroy func(result unsafe.Pointer)

	resultError  func(result unsafe.Pointer) string
	resultBuffer func(result unsafe.Pointer) unsafe.Pointer
	resultLength func(result unsafe.Pointer) uintptr
	rowsRead     func(result unsafe.Pointer) uint64
	bytesRead    func(result unsafe.Pointer) uint64

	insert        startFunc
	insertError   func(stream unsafe.Pointer) string
	insertAppend  func(stream unsafe.Pointer, data *byte, n uintptr) int32
	insertDone    func(stream unsafe.Pointer) unsafe.Pointer
	insertCancel  func(stream unsafe.Pointer)
	insertDestroy func(stream unsafe.Pointer)
}

// loadEngine opens the shared library at path. The library cannot be
// unloaded, and must be loaded once a process.
func loadEngine(path string) (*engine, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("cannot load libchdb %q: %w", path, err)
	}
	e := new(engine)
	var missing []string
	for _, s := range []struct {
		name string
		fn   any
	}{
		{"chdb_version", &e.version},
		{"chdb_set_signal_handlers_enabled", &e.signals},
		{"chdb_connect", &e.connect},
		{"chdb_close_conn", &e.close},
		{"chdb_query_with_params_n", &e.query},
		{"chdb_stream_query_with_params_n", &e.stream},
		{"chdb_stream_fetch_result", &e.fetch},
		{"chdb_stream_cancel_query", &e.cancel},
		{"chdb_destroy_query_result", &e.destroy},
		{"chdb_result_error", &e.resultError},
		{"chdb_result_buffer", &e.resultBuffer},
		{"chdb_result_length", &e.resultLength},
		{"chdb_result_storage_rows_read", &e.rowsRead},
		{"chdb_result_storage_bytes_read", &e.bytesRead},
		{"chdb_stream_insert_with_params_n", &e.insert},
		{"chdb_stream_insert_error", &e.insertError},
		{"chdb_stream_append", &e.insertAppend},
		{"chdb_stream_done", &e.insertDone},
		{"chdb_stream_cancel_insert", &e.insertCancel},
		{"chdb_destroy_insert_stream", &e.insertDestroy},
	} {
		if _, err := purego.Dlsym(handle, s.name); err != nil {
			missing = append(missing, s.name)
			continue
		}
		purego.RegisterLibFunc(s.fn, handle, s.name)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("libchdb %q is too old: it lacks %s; hoptrace needs version %s or newer, which `make libchdb` installs",
			path, strings.Join(missing, ", "), LibraryVersion)
	}
	if err := checkLibraryVersion(e.version()); err != nil {
		return nil, fmt.Errorf("libchdb %q: %w", path, err)
	}
	// Before the first connect: the engine's handlers would take SIGSEGV and
	// the like away from the Go runtime.
	e.signals(0)
	return e, nil
}

// checkLibraryVersion accepts LibraryVersion and newer, as in "26.7.3" or
// "26.7.3.1-stable".
func checkLibraryVersion(got string) error {
	have, want := versionParts(got), versionParts(LibraryVersion)
	for i := range want {
		if have[i] != want[i] {
			if have[i] < want[i] {
				return fmt.Errorf("version %q is too old: hoptrace needs %s or newer, which `make libchdb` installs", got, LibraryVersion)
			}
			break
		}
	}
	return nil
}

// versionParts reads the first three numbers of a version; what is not a
// number counts as zero.
func versionParts(v string) (parts [3]int) {
	for i, s := range strings.SplitN(strings.TrimPrefix(v, "v"), ".", 4) {
		if i == len(parts) {
			break
		}
		if j := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); j >= 0 {
			s = s[:j]
		}
		parts[i], _ = strconv.Atoi(s)
	}
	return parts
}

// session is one connection inside the engine: settings, temporary tables
// and current database of its own. It runs one statement at a time; mu is
// held while one runs.
type session struct {
	e      *engine
	mu     sync.Mutex
	handle unsafe.Pointer // *chdb_connection; nil when closed
}

// open makes a session. The first one of a process starts the engine with
// args, which are those of clickhouse-local; later ones must pass the same.
func (e *engine) open(args []string) (*session, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]*byte, len(args)+1) // ends with NULL
	for i, a := range args {
		b := append([]byte(a), 0)
		argv[i] = &b[0]
		pin.Pin(argv[i])
	}
	handle := e.connect(int32(len(args)), &argv[0]) //nolint:gosec // a dozen arguments
	if handle == nil {
		return nil, errors.New("the engine refused to open a session; its reason is on the standard error of the process")
	}
	return &session{e: e, handle: handle}, nil
}

// close ends the session; it waits for the statement that runs.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle != nil {
		s.e.close(s.handle)
		s.handle = nil
	}
}

// conn is the chdb_connection of the handle.
func (s *session) conn() unsafe.Pointer { return *(*unsafe.Pointer)(s.handle) }

// param is one bound parameter: {k:Type} in the query's text.
type param struct{ key, value string }

var errSessionClosed = errors.New("the session is closed")

// start calls one of the three functions that start a statement.
func (s *session) start(f startFunc, query, format string, params []param) (unsafe.Pointer, error) {
	if s.handle == nil {
		return nil, errSessionClosed
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	n := len(params) + 1 // never empty, so that &x[0] exists
	names, values := make([]*byte, n), make([]*byte, n)
	nameLens, valueLens := make([]uintptr, n), make([]uintptr, n)
	for i, p := range params {
		k, v := append([]byte(p.key), 0), append([]byte(p.value), 0)
		names[i], values[i] = &k[0], &v[0]
		nameLens[i], valueLens[i] = uintptr(len(p.key)), uintptr(len(p.value))
		pin.Pin(names[i])
		pin.Pin(values[i])
	}
	text, layout := append([]byte(query), 0), append([]byte(format), 0)
	r := f(s.conn(), &text[0], uintptr(len(query)), &layout[0], uintptr(len(format)),
		&names[0], &nameLens[0], &values[0], &valueLens[0], uintptr(len(params)))
	if r == nil {
		return nil, newException(proto.ErrUnknownException, "the engine gave no result")
	}
	return r, nil
}

// query runs a statement to its end. The bytes are the caller's.
func (s *session) query(query, format string, params []param) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.start(s.e.query, query, format, params)
	if err != nil {
		return nil, err
	}
	defer s.e.destroy(r)
	if err := parseException(s.e.resultError(r)); err != nil {
		return nil, err
	}
	n := s.e.resultLength(r)
	if n == 0 {
		return nil, nil
	}
	if n > maxResultBytes {
		return nil, newException(proto.ErrTooLargeArraySize, fmt.Sprintf("the result has %d bytes, more than %d that fit one piece", n, maxResultBytes))
	}
	return append([]byte(nil), unsafe.Slice((*byte)(s.e.resultBuffer(r)), n)...), nil
}

// exec runs a statement that gives no rows.
func (s *session) exec(query string) error {
	_, err := s.query(query, "Null", nil)
	return err
}

// chunk is a piece of a streamed result: one or more blocks.
type chunk struct {
	data                []byte // the engine's memory, valid during the call only
	rowsRead, bytesRead uint64 // from storage, since the piece before
}

// stream runs a statement that gives rows and hands every piece to f. An
// error of f stops the statement and is returned.
func (s *session) stream(query, format string, params []param, f func(chunk) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.start(s.e.stream, query, format, params)
	if err != nil {
		return err
	}
	defer s.e.destroy(st)
	if err := parseException(s.e.resultError(st)); err != nil {
		return err
	}
	for {
		more, err := s.fetch(st, f)
		if err != nil {
			// Not while a fetch runs: the engine allows no two calls at once.
			s.e.cancel(s.conn(), st)
			return err
		}
		if !more {
			return nil
		}
	}
}

// fetch hands the next piece of a stream to f; more is false at its end.
func (s *session) fetch(st unsafe.Pointer, f func(chunk) error) (more bool, err error) {
	r := s.e.fetch(s.conn(), st)
	if r == nil {
		return false, nil
	}
	defer s.e.destroy(r) // a piece is engine memory until destroyed
	if err := parseException(s.e.resultError(r)); err != nil {
		return false, err
	}
	n := s.e.resultLength(r)
	if n == 0 {
		return false, nil
	}
	if n > maxResultBytes {
		return false, newException(proto.ErrTooLargeArraySize, fmt.Sprintf("a piece of the result has %d bytes, more than %d", n, maxResultBytes))
	}
	return true, f(chunk{
		data:      unsafe.Slice((*byte)(s.e.resultBuffer(r)), n),
		rowsRead:  s.e.rowsRead(r),
		bytesRead: s.e.bytesRead(r),
	})
}

// insertStream takes Native blocks at revision 0. Nothing is stored before
// done; the session is busy until done or abort.
type insertStream struct {
	e      *engine
	handle unsafe.Pointer
}

// beginInsert starts a streamed insert. The caller holds s.mu until the
// stream has ended.
func (s *session) beginInsert(query string, params []param) (*insertStream, error) {
	st, err := s.start(s.e.insert, query, "Native", params)
	if err != nil {
		return nil, err
	}
	if err := parseException(s.e.insertError(st)); err != nil {
		s.e.insertDestroy(st)
		return nil, err
	}
	return &insertStream{e: s.e, handle: st}, nil
}

// append gives the engine one block. A refusal's reason is told by done.
func (st *insertStream) append(block []byte) {
	if len(block) > 0 {
		st.e.insertAppend(st.handle, &block[0], uintptr(len(block)))
	}
}

// done commits what was appended.
func (st *insertStream) done() error {
	r := st.e.insertDone(st.handle)
	var err error
	if r == nil {
		err = newException(proto.ErrUnknownException, "the engine gave no answer to the insert")
	} else {
		err = parseException(st.e.resultError(r))
		st.e.destroy(r)
	}
	st.e.insertDestroy(st.handle)
	st.handle = nil
	return err
}

// abort drops what was appended. It does nothing after done.
func (st *insertStream) abort() {
	if st.handle == nil {
		return
	}
	st.e.insertCancel(st.handle)
	st.e.insertDestroy(st.handle)
	st.handle = nil
}

// exception is an error as the protocol carries it.
type exception struct {
	code proto.Error
	name string // as DB::Exception
	text string
}

func (e *exception) Error() string { return fmt.Sprintf("code %d: %s: %s", e.code, e.name, e.text) }

func newException(code proto.Error, text string) *exception {
	return &exception{code: code, name: "DB::Exception", text: text}
}

// exceptionHead matches the heads an error text begins with, outermost first,
// as in "Code: 73. DB::Exception: Code: 73. DB::Exception: Unknown format".
var exceptionHead = regexp.MustCompile(`(?s)^.{0,1000}?((?:Code: \d+\. DB::[A-Za-z:]*Exception: )+)(.*)$`)

// innermostHead takes the last of those heads apart.
var innermostHead = regexp.MustCompile(`Code: (\d+)\. (DB::[A-Za-z:]*Exception): $`)

// parseException makes an exception from the engine's error text; "" is none.
func parseException(text string) error {
	if text == "" {
		return nil
	}
	m := exceptionHead.FindStringSubmatch(text)
	if m == nil {
		return newException(proto.ErrUnknownException, text)
	}
	head := innermostHead.FindStringSubmatch(m[1])
	code, err := strconv.ParseInt(head[1], 10, 32)
	if err != nil {
		return newException(proto.ErrUnknownException, text)
	}
	return &exception{code: proto.Error(code), name: head[2], text: m[2]}
}
