-- +goose Up
CREATE TABLE monitors
(
	id      BIGINT PRIMARY KEY,
	project BIGINT NOT NULL,
	slug    TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	status  TEXT   NOT NULL,
	config  TEXT   NOT NULL, -- JSON
	created BIGINT NOT NULL, -- Unix ns
	UNIQUE (project, slug)
);

CREATE TABLE monitor_environments
(
	monitor BIGINT NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
	name    TEXT   NOT NULL,
	status  TEXT   NOT NULL, -- of the last run that is over, or empty
	last    BIGINT NOT NULL, -- Unix ns, of the last check-in that came
	next    BIGINT NOT NULL, -- Unix ns, of the first run that is not judged yet
	due     BIGINT NOT NULL, -- Unix ns, when it is missed
	PRIMARY KEY (monitor, name)
);

CREATE INDEX monitor_environments_by_due ON monitor_environments (due);

CREATE TABLE check_ins
(
	monitor     BIGINT NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
	id          TEXT   NOT NULL, -- 32 hex digits
	environment TEXT   NOT NULL,
	status      TEXT   NOT NULL,
	time        BIGINT NOT NULL, -- Unix ns
	updated     BIGINT NOT NULL, -- Unix ns
	timeout_at  BIGINT NOT NULL, -- Unix ns; 0 unless it is in progress
	duration    BIGINT NOT NULL, -- ns; -1: not told
	trace       TEXT   NOT NULL, -- 32 hex digits, or empty
	release     TEXT   NOT NULL,
	PRIMARY KEY (monitor, id)
);

CREATE INDEX check_ins_by_time ON check_ins (monitor, environment, time, id);
CREATE INDEX check_ins_by_timeout ON check_ins (timeout_at) WHERE timeout_at > 0;
CREATE INDEX check_ins_by_age ON check_ins (time);

CREATE TABLE monitor_incidents
(
	id          BIGINT PRIMARY KEY,
	monitor     BIGINT NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
	environment TEXT   NOT NULL,
	check_in    TEXT   NOT NULL, -- the last that failed when it was opened
	failures    BIGINT NOT NULL,
	opened      BIGINT NOT NULL, -- Unix ns, of that check-in
	closed      BIGINT NOT NULL, -- Unix ns; 0: it goes on
	event       TEXT   NOT NULL, -- 32 hex digits, of the event that told of it; or empty
	UNIQUE (monitor, environment, check_in)
);

CREATE INDEX monitor_incidents_open ON monitor_incidents (monitor, environment) WHERE closed = 0;
CREATE INDEX monitor_incidents_untold ON monitor_incidents (id) WHERE event = '';

-- How far each partition of the check-ins is applied.
CREATE TABLE monitor_progress
(
	source      TEXT   PRIMARY KEY, -- decimal
	last_offset BIGINT NOT NULL,
	time        BIGINT NOT NULL     -- Unix ns, of that record
);

INSERT INTO issue_counters (name, last) VALUES ('monitors', 0), ('monitor_incidents', 0);

-- +goose Down
DELETE FROM issue_counters WHERE name IN ('monitors', 'monitor_incidents');
DROP TABLE monitor_progress;
DROP TABLE monitor_incidents;
DROP TABLE check_ins;
DROP TABLE monitor_environments;
DROP TABLE monitors;
