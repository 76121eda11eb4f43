package clickhouse

import (
	"testing"

	"github.com/hoptrace/hoptrace/exporters/exportertest"
)

func TestFilesPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.FileStore(t, func(t *testing.T) exportertest.Files { return open(t, testConfig(p)) })
}
