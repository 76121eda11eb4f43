-- +goose Up
CREATE TABLE feedback
(
	project     BIGINT NOT NULL,
	id          TEXT   NOT NULL, -- 32 hex digits
	event       TEXT   NOT NULL, -- 32 hex digits, or empty
	replay      TEXT   NOT NULL, -- 32 hex digits, or empty
	trace       TEXT   NOT NULL, -- 32 hex digits, or empty
	received    BIGINT NOT NULL, -- Unix ns
	name        TEXT   NOT NULL,
	email       TEXT   NOT NULL,
	message     TEXT   NOT NULL,
	url         TEXT   NOT NULL,
	source      TEXT   NOT NULL,
	release     TEXT   NOT NULL,
	environment TEXT   NOT NULL,
	status      TEXT   NOT NULL,
	changed     BIGINT NOT NULL, -- Unix ns; 0: never
	PRIMARY KEY (project, id)
);

CREATE INDEX feedback_by_time ON feedback (project, received, id);
CREATE INDEX feedback_by_event ON feedback (project, event);
CREATE INDEX feedback_by_age ON feedback (received);

-- +goose Down
DROP TABLE feedback;
