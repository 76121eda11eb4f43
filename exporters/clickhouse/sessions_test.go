package clickhouse

import (
	"testing"

	"github.com/hoptrace/hoptrace/exporters/exportertest"
)

func TestSessionsPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.SessionStore(t, func(t *testing.T) exportertest.Sessions { return open(t, testConfig(p)) })
}
