package overload

import "github.com/hoptrace/hoptrace/schemas"

// YieldConfig of the order in which categories wait.
type YieldConfig struct {
	Bulk float64 `yaml:"bulk" help:"pressure, from 0 to 1, from which attachments, replays and profiles are told to wait"`
	Data float64 `yaml:"data" help:"pressure, from 0 to 1, from which spans, logs and metrics are told to wait; what is left is for errors, sessions, check-ins and feedback"`
}

// from is the pressure from which a category waits, above 1 when it never does before
// all must.
func (c YieldConfig) from(category schemas.Category) float64 {
	switch category {
	case schemas.CategoryAttachment, schemas.CategoryAttachmentItem, schemas.CategoryReplay, schemas.CategoryProfile, schemas.CategoryProfileChunk:
		return c.Bulk
	case schemas.CategorySpan, schemas.CategoryTransaction, schemas.CategoryLogItem, schemas.CategoryLogByte,
		schemas.CategoryTraceMetric, schemas.CategoryTraceMetricByte, schemas.CategoryMetricBucket:
		return c.Data
	}
	return 2
}
