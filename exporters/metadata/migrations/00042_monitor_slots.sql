-- +goose Up
-- Unix ns, of the last check-in that stands for a run that is judged: it stands for no other.
ALTER TABLE monitor_environments ADD COLUMN taken BIGINT NOT NULL DEFAULT 0;

-- What the event's issue is found by, 32 hex digits; empty while there is none.
ALTER TABLE monitor_incidents ADD COLUMN hash TEXT NOT NULL DEFAULT '';
-- Unix ns, when it was seen to that the issue is resolved; 0 until then.
ALTER TABLE monitor_incidents ADD COLUMN resolved BIGINT NOT NULL DEFAULT 0;
UPDATE monitor_incidents SET resolved = closed WHERE closed > 0;
CREATE INDEX monitor_incidents_unresolved ON monitor_incidents (id) WHERE closed > 0 AND resolved = 0;
CREATE INDEX monitor_incidents_by_hash ON monitor_incidents (hash) WHERE closed = 0 AND hash <> '';

-- +goose Down
DROP INDEX monitor_incidents_by_hash;
DROP INDEX monitor_incidents_unresolved;
ALTER TABLE monitor_incidents DROP COLUMN resolved;
ALTER TABLE monitor_incidents DROP COLUMN hash;
ALTER TABLE monitor_environments DROP COLUMN taken;
