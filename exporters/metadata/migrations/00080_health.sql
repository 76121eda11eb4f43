-- +goose Up
-- What processes report of themselves. Slots are places in a ring, so that the table
-- needs no cleaning: a newer report takes the place of an old one.
CREATE TABLE health_reports (
	instance TEXT    NOT NULL,
	step     INTEGER NOT NULL, -- s: 10 or 120
	slot     INTEGER NOT NULL, -- (reported / step) modulo the ring's length
	reported BIGINT  NOT NULL, -- Unix ns
	started  BIGINT  NOT NULL, -- Unix ns
	role     TEXT    NOT NULL,
	host     TEXT    NOT NULL,
	version  TEXT    NOT NULL,
	body     TEXT    NOT NULL, -- values and notes, JSON
	PRIMARY KEY (instance, step, slot)
);
CREATE INDEX health_reports_by_time ON health_reports (step, reported);

-- What became of dead letters: their topics cannot tell it.
CREATE TABLE dead_letter_ends (
	topic     TEXT    NOT NULL,
	topic_id  TEXT    NOT NULL, -- hex; empty without one
	part      INTEGER NOT NULL,
	place     BIGINT  NOT NULL, -- offset
	state     TEXT    NOT NULL, -- open, retrying, retried or discarded
	by_whom   TEXT    NOT NULL,
	changed   BIGINT  NOT NULL, -- Unix ns
	PRIMARY KEY (topic, topic_id, part, place)
);

-- +goose Down
DROP TABLE dead_letter_ends;
DROP TABLE health_reports;
