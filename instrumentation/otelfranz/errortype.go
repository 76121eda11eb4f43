package otelfranz

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// errorType is the value of error.type for err.
func errorType(err error) string { return messaging.ErrorType(err, clientError) }

// clientError names what franz-go and its brokers say.
func clientError(err error) string {
	var code *kerr.Error
	switch {
	case errors.As(err, &code):
		if code.Code == kerr.NotLeaderForPartition.Code { // the one that franz-go spells in its own way
			return messaging.ProtocolError(int(code.Code))
		}
		return code.Message
	case errors.Is(err, kgo.ErrAborting):
		return "canceled"
	case errors.Is(err, kgo.ErrRecordTimeout):
		return "timeout"
	}
	return ""
}
