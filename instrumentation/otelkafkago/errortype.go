package otelkafkago

import (
	"errors"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// errorType is the value of error.type for err.
func errorType(err error) string { return messaging.ErrorType(err, clientError) }

// clientError names what kafka-go and its brokers say; of several errors the first.
func clientError(err error) string {
	var many kafka.WriteErrors
	if errors.As(err, &many) {
		for _, e := range many {
			if e != nil {
				return errorType(e)
			}
		}
	}
	var code kafka.Error
	if errors.As(err, &code) {
		return messaging.ProtocolError(int(code))
	}
	return ""
}
