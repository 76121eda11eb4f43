package clickhouse

// linkIndex finds the spans that link to a span. As with contexts, a bloom
// filter in the rows' own parts serves: a table beside them would need its own
// replay (docs/adr/0003). A part from before it is read whole.
const linkIndex = `
ALTER TABLE spans
	ADD INDEX IF NOT EXISTS link_bloom link_spans TYPE bloom_filter(0.01) GRANULARITY 1`
