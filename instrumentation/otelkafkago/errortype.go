package otelkafkago

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/segmentio/kafka-go"
)

// protocolNames holds the error codes to which kafka-go gives another name than
// the Kafka protocol does.
var protocolNames = map[kafka.Error]string{
	-1: "UNKNOWN_SERVER_ERROR",
	2:  "CORRUPT_MESSAGE",
	4:  "INVALID_FETCH_SIZE",
	6:  "NOT_LEADER_OR_FOLLOWER",
	10: "MESSAGE_TOO_LARGE",
	13: "NETWORK_EXCEPTION",
	14: "COORDINATOR_LOAD_IN_PROGRESS",
	15: "COORDINATOR_NOT_AVAILABLE",
	16: "NOT_COORDINATOR",
	17: "INVALID_TOPIC_EXCEPTION",
	37: "INVALID_PARTITIONS",
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
	var many kafka.WriteErrors
	if errors.As(err, &many) {
		for _, e := range many {
			if e != nil {
				err = e
				break
			}
		}
	}
	var code kafka.Error
	if errors.As(err, &code) {
		if name := protocolNames[code]; name != "" {
			return name
		}
		if title := code.Title(); title != "" {
			return strings.ToUpper(strings.ReplaceAll(title, " ", "_"))
		}
		return "_OTHER"
	}
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
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
