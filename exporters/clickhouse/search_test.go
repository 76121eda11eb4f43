package clickhouse

import (
	"testing"

	"github.com/hoptrace/hoptrace/exporters/exportertest"
)

func TestSearchPassesTheContract(t *testing.T) {
	p := engine(t)
	exportertest.SearchStore(t, func(t *testing.T) exportertest.Search { return open(t, testConfig(p)) })
}
