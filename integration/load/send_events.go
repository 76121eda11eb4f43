package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// EventSender sends ready requests over one connection of HTTP/1.1, one after the
// other. It is for one goroutine.
type EventSender struct {
	conn net.Conn
	in   *bufio.Reader
}

// NewEventSender connects to host:port.
func NewEventSender(ctx context.Context, address string) (*EventSender, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot connect the load to %s: %w", address, err)
	}
	return &EventSender{conn, bufio.NewReaderSize(conn, 4<<10)}, nil
}

// sendTimeout bounds one request.
const sendTimeout = 30 * time.Second

// Send returns nil when the receiver has acknowledged the event, and how long to
// wait when it asks to come again.
func (s *EventSender) Send(request []byte) (wait time.Duration, err error) {
	if err := s.conn.SetDeadline(time.Now().Add(sendTimeout)); err != nil {
		return 0, err
	}
	if _, err := s.conn.Write(request); err != nil {
		return 0, fmt.Errorf("cannot send an event: %w", err)
	}
	resp, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return 0, fmt.Errorf("cannot read the answer to an event: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return 0, fmt.Errorf("cannot read the answer to an event: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return 0, nil
	case http.StatusTooManyRequests:
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			return 0, fmt.Errorf("an event was refused for now without a time to wait: Retry-After is %q", resp.Header.Get("Retry-After"))
		}
		return time.Duration(seconds) * time.Second, nil
	}
	return 0, fmt.Errorf("an event was refused: %s: %s", resp.Status, body)
}

// Close ends the connection.
func (s *EventSender) Close() error { return s.conn.Close() }
