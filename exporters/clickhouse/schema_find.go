package clickhouse

// What people have in hand when they look for a record: its key's hash, the name
// that a client gave it, the conversation that it belongs to. A row from before
// these columns tells no name; its span does, as an attribute.
const messageNamesColumns = `
ALTER TABLE messages
	ADD COLUMN IF NOT EXISTS message_id String CODEC(ZSTD(1)) AFTER release,
	ADD COLUMN IF NOT EXISTS conversation String CODEC(ZSTD(1)) AFTER message_id,
	ADD INDEX IF NOT EXISTS message_id_bloom message_id TYPE bloom_filter(0.001) GRANULARITY 1,
	ADD INDEX IF NOT EXISTS conversation_bloom conversation TYPE bloom_filter(0.001) GRANULARITY 1,
	ADD INDEX IF NOT EXISTS key_hash_bloom key_hash TYPE bloom_filter(0.001) GRANULARITY 1`
