package record

import (
	"fmt"
	"reflect"
	"runtime"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// Names of the exception event in OpenTelemetry's semantic conventions.
const (
	exceptionEvent      = "exception"
	exceptionType       = "exception.type"
	exceptionMessage    = "exception.message"
	exceptionStacktrace = "exception.stacktrace"
)

// stackBytes is how much of a stack is kept, as in the SDK.
const stackBytes = 2048

// exception is the event of an error or of what a program panicked with.
func exception(v any, message string, stack bool) Event {
	e := Event{Name: exceptionEvent, Time: time.Now().UnixNano(), Attributes: []attribute.KeyValue{
		attribute.String(exceptionType, typeName(v)),
		attribute.String(exceptionMessage, message),
	}}
	if stack {
		b := make([]byte, stackBytes)
		e.Attributes = append(e.Attributes, attribute.String(exceptionStacktrace, string(b[:runtime.Stack(b, false)])))
	}
	return e
}

// typeName names the type of v with its package's path.
func typeName(v any) string {
	t := reflect.TypeOf(v)
	if t.PkgPath() == "" && t.Name() == "" {
		return t.String()
	}
	return fmt.Sprintf("%s.%s", t.PkgPath(), t.Name())
}
