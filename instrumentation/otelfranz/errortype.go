package otelfranz

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// protocolNames holds the error codes to which franz-go gives another name than
// the Kafka protocol does.
var protocolNames = map[int16]string{
	6: "NOT_LEADER_OR_FOLLOWER",
}

// errorType is the value of error.type for err: the protocol's name of a Kafka
// error code, else "timeout" or "canceled", else the Go type of the innermost
// error, whose number of values is small.
func errorType(err error) (kind string) {
	defer func() { // a nil pointer in an interface panics when it is asked
		if recover() != nil {
			kind = "_OTHER"
		}
	}()
	var code *kerr.Error
	var timeout net.Error
	switch {
	case errors.As(err, &code):
		if name := protocolNames[code.Code]; name != "" {
			return name
		}
		return code.Message
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrAborting):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrRecordTimeout),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	switch name := fmt.Sprintf("%T", err); name {
	case "*errors.errorString", "*fmt.wrapError":
		return "_OTHER"
	default:
		return name
	}
}
