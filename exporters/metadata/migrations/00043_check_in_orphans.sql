-- +goose Up
-- Check-ins of monitors that are not there yet: two requests of a sender may overtake
-- each other, and the first one makes the monitor.
CREATE TABLE check_in_orphans (
	source      TEXT   NOT NULL,
	last_offset BIGINT NOT NULL,
	project     BIGINT NOT NULL,
	slug        TEXT   NOT NULL,
	received    BIGINT NOT NULL, -- Unix ns
	body        TEXT   NOT NULL, -- the update, JSON
	PRIMARY KEY (source, last_offset)
);
CREATE INDEX check_in_orphans_by_monitor ON check_in_orphans (project, slug);
CREATE INDEX check_in_orphans_by_time ON check_in_orphans (received);

-- +goose Down
DROP TABLE check_in_orphans;
