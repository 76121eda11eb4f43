-- +goose Up
CREATE TABLE projects
(
	id      BIGINT PRIMARY KEY,
	slug    TEXT   NOT NULL UNIQUE,
	name    TEXT   NOT NULL,
	created BIGINT NOT NULL -- Unix ns
);

CREATE TABLE project_keys
(
	public_key TEXT   PRIMARY KEY, -- 32 hex digits
	project    BIGINT NOT NULL REFERENCES projects (id),
	created    BIGINT NOT NULL -- Unix ns
);

CREATE INDEX project_keys_by_project ON project_keys (project);

CREATE TABLE issues
(
	id          BIGINT PRIMARY KEY,
	project     BIGINT NOT NULL,
	fingerprint TEXT   NOT NULL, -- 32 hex digits
	title       TEXT   NOT NULL,
	culprit     TEXT   NOT NULL,
	search      TEXT   NOT NULL, -- title and culprit in lower case
	level       TEXT   NOT NULL,
	platform    TEXT   NOT NULL,
	status      TEXT   NOT NULL,
	first_seen  BIGINT NOT NULL, -- Unix ns
	last_seen   BIGINT NOT NULL, -- Unix ns
	components  TEXT   NOT NULL, -- of the grouping: a JSON array of texts
	UNIQUE (project, fingerprint)
);

CREATE INDEX issues_by_last_seen ON issues (project, last_seen);

-- +goose Down
DROP TABLE issues;
DROP TABLE project_keys;
DROP TABLE projects;
