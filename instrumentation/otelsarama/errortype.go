package otelsarama

import (
	"errors"
	"strings"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// errorType is the value of error.type for err.
func errorType(err error) string { return messaging.ErrorType(err, clientError) }

// clientError names what sarama and its brokers say.
func clientError(err error) string {
	var code sarama.KError
	var config sarama.ConfigurationError
	switch {
	case errors.As(err, &code):
		return messaging.ProtocolError(int(code))
	case errors.As(err, &config) && strings.Contains(string(config), "larger than configured Producer.MaxMessageBytes"):
		return messaging.ProtocolError(int(sarama.ErrMessageSizeTooLarge)) // what a broker says of it
	case errors.Is(err, sarama.ErrShuttingDown):
		return "canceled"
	}
	return ""
}
