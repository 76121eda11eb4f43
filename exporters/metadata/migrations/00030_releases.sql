-- +goose Up
CREATE TABLE releases
(
	version   TEXT   PRIMARY KEY,
	ref       TEXT   NOT NULL,
	url       TEXT   NOT NULL,
	status    TEXT   NOT NULL,
	created   BIGINT NOT NULL, -- Unix ns
	started   BIGINT NOT NULL, -- Unix ns; 0: not told
	finalized BIGINT NOT NULL, -- Unix ns; 0: not released
	commits   BIGINT NOT NULL
);

CREATE INDEX releases_by_created ON releases (created);

CREATE TABLE release_projects
(
	version TEXT   NOT NULL REFERENCES releases (version) ON DELETE CASCADE,
	project BIGINT NOT NULL,
	PRIMARY KEY (version, project)
);

CREATE INDEX release_projects_by_project ON release_projects (project);

CREATE TABLE release_deploys
(
	id          BIGINT PRIMARY KEY,
	version     TEXT   NOT NULL REFERENCES releases (version) ON DELETE CASCADE,
	environment TEXT   NOT NULL,
	name        TEXT   NOT NULL,
	url         TEXT   NOT NULL,
	started     BIGINT NOT NULL, -- Unix ns; 0: not told
	finished    BIGINT NOT NULL, -- Unix ns; 0: not told
	created     BIGINT NOT NULL  -- Unix ns
);

CREATE INDEX release_deploys_by_version ON release_deploys (version, created);

-- +goose Down
DROP TABLE release_deploys;
DROP TABLE release_projects;
DROP TABLE releases;
