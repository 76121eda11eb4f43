package golden

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Request is one that an SDK sent.
type Request struct {
	*http.Request        // its Body is read
	Head          []byte // the request line and the header, with the empty line
	Chunked       bool
	Content       []byte // the body without framing and compression
}

// limitedCase is the tag of events that the server answers with 429.
const limitedCase = "limited-by-quota"

// Server takes requests and answers 200, or 429 to an event of [limitedCase].
type Server struct {
	Address string

	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex // guards the following
	requests []*Request
	errs     []error
	conns    map[net.Conn]struct{}
}

// StartServer listens until the test's end.
func StartServer(t testing.TB) *Server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("cannot listen: %v", err)
	}
	s := &Server{Address: l.Addr().String(), listener: l, conns: map[net.Conn]struct{}{}}
	s.running.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.running.Wait()
	})
	return s
}

// DSN is what the programs are given; key and project are made up.
func (s *Server) DSN() string { return "http://" + captureKey + "@" + s.Address + "/" + captureProject }

const (
	captureKey     = "c0ffee00c0ffee00c0ffee00c0ffee00"
	captureProject = "4242"
)

// Taken empties the server and gives what it got, in order of arrival.
func (s *Server) Taken(t testing.TB) []*Request {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.errs...); err != nil {
		t.Fatalf("the capture server met requests that it does not understand: %v", err)
	}
	out := s.requests
	s.requests = nil
	return out
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.running.Go(func() {
			defer func() {
				_ = conn.Close()
				s.mu.Lock()
				delete(s.conns, conn)
				s.mu.Unlock()
			}()
			s.serve(conn)
		})
	}
}

// recorder keeps what was read through it.
type recorder struct {
	io.Reader
	seen bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.seen.Write(p[:n])
	return n, err
}

func (s *Server) serve(conn net.Conn) {
	rec := &recorder{Reader: conn}
	buffered := bufio.NewReader(rec)
	for {
		req, err := s.read(rec, buffered)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) {
				s.mu.Lock()
				s.errs = append(s.errs, err)
				s.mu.Unlock()
			}
			return
		}
		s.answer(conn, req)
		if req.Close {
			return
		}
	}
}

func (s *Server) read(rec *recorder, buffered *bufio.Reader) (*Request, error) {
	req, err := ParseRequest(buffered)
	if err != nil {
		return nil, err
	}
	// What lies in the buffer belongs to the next request.
	raw := bytes.Clone(rec.seen.Next(rec.seen.Len() - buffered.Buffered()))
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	req.Head = slices.Concat(head, []byte("\r\n\r\n"))
	if req.Method != http.MethodOptions {
		s.mu.Lock()
		s.requests = append(s.requests, req)
		s.mu.Unlock()
	}
	return req, nil
}

// ParseRequest reads one request and its body. Its Head is not set.
func ParseRequest(from *bufio.Reader) (*Request, error) {
	req, err := http.ReadRequest(from)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBody))
	if err != nil {
		return nil, err
	}
	out := &Request{Request: req, Chunked: len(req.TransferEncoding) > 0}
	if out.Content, err = decompress(req.Header.Get("Content-Encoding"), body); err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Server) answer(conn net.Conn, req *Request) {
	status, extra := "200 OK", ""
	if bytes.Contains(req.Content, []byte(limitedCase)) {
		status = "429 Too Many Requests"
		extra = "X-Sentry-Rate-Limits: 60:error:project:quota\r\nRetry-After: 60\r\n"
	}
	body := "{}"
	if origin := req.Header.Get("Origin"); origin != "" {
		extra += "Access-Control-Allow-Origin: " + origin + "\r\nAccess-Control-Allow-Methods: POST\r\n" +
			"Access-Control-Allow-Headers: content-type, sentry-trace, baggage, x-sentry-auth\r\nAccess-Control-Expose-Headers: x-sentry-rate-limits, retry-after\r\n"
	}
	if req.Close {
		extra += "Connection: close\r\n"
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Type: application/json\r\n"+extra+"Content-Length: 2\r\n\r\n"+body)
}

// isEnvelope tells requests to the envelope route.
func (r *Request) isEnvelope() bool {
	return r.Method == http.MethodPost && strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/envelope")
}
