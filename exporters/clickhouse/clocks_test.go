package clickhouse

import (
	"testing"

	"github.com/hoptrace/hoptrace/exporters/exportertest"
)

func TestClocksPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.ClockStore(t, func(t *testing.T) exportertest.Clocks { return open(t, testConfig(p)) })
}
