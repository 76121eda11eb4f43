package otelkafkago

import (
	"fmt"
	"net"
	"os"
	"testing"
)

func TestAnErrorThatPanicsHasAType(t *testing.T) {
	var op *net.OpError // as handlers return by mistake: not nil, and cannot be asked
	var path *os.PathError
	for _, err := range []error{op, path, fmt.Errorf("reading: %w", op)} {
		if got := errorType(err); got != "_OTHER" {
			t.Errorf("error.type %q; want _OTHER", got)
		}
	}
}
