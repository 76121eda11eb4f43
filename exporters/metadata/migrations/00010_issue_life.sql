-- +goose Up
-- Numbers that are given out, one row a kind. The row of issues is also the lock
-- that whoever gives a hash to an issue holds, so that two cannot.
CREATE TABLE issue_counters
(
	name TEXT   PRIMARY KEY,
	last BIGINT NOT NULL
);
INSERT INTO issue_counters (name, last) SELECT 'issues', COALESCE(MAX(id), 0) FROM issues;
INSERT INTO issue_counters (name, last) VALUES ('activity', 0), ('replacements', 0), ('tombstones', 0);

CREATE TABLE issues_next
(
	id               BIGINT PRIMARY KEY,
	project          BIGINT NOT NULL,
	fingerprint      TEXT   NOT NULL, -- 32 hex digits: the hash that it was made with
	category         TEXT   NOT NULL,
	title            TEXT   NOT NULL,
	culprit          TEXT   NOT NULL,
	search           TEXT   NOT NULL, -- title, a line feed and culprit, in lower case
	level            TEXT   NOT NULL,
	platform         TEXT   NOT NULL,
	logger           TEXT   NOT NULL,
	first_seen       BIGINT NOT NULL, -- Unix ns, of events
	last_seen        BIGINT NOT NULL,
	first_release    TEXT   NOT NULL, -- of the first event that told one
	first_release_at BIGINT NOT NULL, -- time of that event
	last_release     TEXT   NOT NULL,
	last_release_at  BIGINT NOT NULL,
	status           TEXT   NOT NULL,
	substatus        TEXT   NOT NULL,
	since            BIGINT NOT NULL, -- Unix ns
	resolution       TEXT   NOT NULL, -- JSON, empty unless resolved
	archive          TEXT   NOT NULL, -- JSON, empty unless archived
	wake_at          BIGINT NOT NULL, -- Unix ns: when time changes the state, 0 never
	sleeping         BIGINT NOT NULL, -- 1: archived until the events store says so
	forecast         TEXT   NOT NULL, -- JSON, empty unless made
	assignee         TEXT   NOT NULL,
	priority         TEXT   NOT NULL,
	priority_set     BIGINT NOT NULL, -- 1: by a person
	merged_into      BIGINT NOT NULL, -- the issue that has its hashes, 0 none
	deleted          BIGINT NOT NULL, -- Unix ns, 0 not
	created          BIGINT NOT NULL  -- Unix ns, of the server's clock
);

INSERT INTO issues_next (id, project, fingerprint, category, title, culprit, search, level, platform, logger, first_seen, last_seen,
	first_release, first_release_at, last_release, last_release_at, status, substatus, since, resolution, archive, wake_at, sleeping, forecast,
	assignee, priority, priority_set, merged_into, deleted, created)
SELECT id, project, fingerprint, 'error', title, culprit, search, level, platform, '', first_seen, last_seen,
	'', 0, '', 0, 'unresolved', 'ongoing', first_seen, '', '', 0, 0, '',
	'', CASE WHEN level IN ('fatal', 'error') THEN 'high' WHEN level = 'warning' THEN 'medium' ELSE 'low' END, 0, 0, 0, first_seen
FROM issues;

CREATE TABLE issue_hashes
(
	project    BIGINT NOT NULL,
	hash       TEXT   NOT NULL, -- 32 hex digits
	version    TEXT   NOT NULL,
	issue      BIGINT NOT NULL, -- 0: of none, because that was deleted
	former     BIGINT NOT NULL, -- the issue that it was merged from, 0 none
	tree       TEXT   NOT NULL, -- JSON, or empty
	first_seen BIGINT NOT NULL, -- Unix ns, of the server's clock
	after      BIGINT NOT NULL, -- Unix ns: events received before are deleted
	removed    BIGINT NOT NULL, -- after, when their rows were removed
	tombstone  BIGINT NOT NULL, -- discarded as this, 0 not
	PRIMARY KEY (project, hash)
);
INSERT INTO issue_hashes (project, hash, version, issue, former, tree, first_seen, after, removed, tombstone)
SELECT project, fingerprint, '', id, 0, components, first_seen, 0, 0, 0 FROM issues;

DROP TABLE issues;
ALTER TABLE issues_next RENAME TO issues;

CREATE INDEX issues_by_last_seen ON issues (project, last_seen, id);
CREATE INDEX issues_by_first_seen ON issues (project, first_seen, id);
CREATE INDEX issues_by_wake ON issues (wake_at) WHERE wake_at > 0;
CREATE INDEX issues_asleep ON issues (id) WHERE sleeping = 1;
CREATE INDEX issues_deleted ON issues (deleted) WHERE deleted > 0;
CREATE INDEX issues_merged ON issues (merged_into) WHERE merged_into > 0;
CREATE INDEX issue_hashes_by_issue ON issue_hashes (issue);
CREATE INDEX issue_hashes_deleted ON issue_hashes (after) WHERE after > removed;
CREATE INDEX issue_hashes_discarded ON issue_hashes (tombstone) WHERE tombstone > 0;

CREATE TABLE issue_tombstones
(
	id       BIGINT PRIMARY KEY,
	project  BIGINT NOT NULL,
	title    TEXT   NOT NULL,
	culprit  TEXT   NOT NULL,
	by_whom  TEXT   NOT NULL,
	at       BIGINT NOT NULL -- Unix ns
);

CREATE TABLE issue_activity
(
	id      BIGINT PRIMARY KEY,
	issue   BIGINT NOT NULL,
	kind    TEXT   NOT NULL,
	by_whom TEXT   NOT NULL, -- empty: the system
	at      BIGINT NOT NULL, -- Unix ns
	data    TEXT   NOT NULL  -- JSON
);
CREATE INDEX issue_activity_by_issue ON issue_activity (issue, id);

CREATE TABLE issue_bookmarks
(
	issue BIGINT NOT NULL,
	who   TEXT   NOT NULL,
	PRIMARY KEY (issue, who)
);

CREATE TABLE releases_seen
(
	project    BIGINT NOT NULL,
	name       TEXT   NOT NULL,
	created    BIGINT NOT NULL, -- Unix ns
	first_seen BIGINT NOT NULL, -- Unix ns, of events
	last_seen  BIGINT NOT NULL,
	PRIMARY KEY (project, name)
);

-- What is still to be told on the topic event-replacements: written with what it
-- tells of, removed when it is out.
CREATE TABLE event_replacements
(
	id      BIGINT PRIMARY KEY,
	project BIGINT NOT NULL,
	value   TEXT   NOT NULL -- JSON
);

CREATE TABLE leases
(
	name   TEXT   PRIMARY KEY,
	holder TEXT   NOT NULL,
	until  BIGINT NOT NULL -- Unix ns
);

-- +goose Down
DROP TABLE leases;
DROP TABLE event_replacements;
DROP TABLE releases_seen;
DROP TABLE issue_bookmarks;
DROP TABLE issue_activity;
DROP TABLE issue_tombstones;
CREATE TABLE issues_next
(
	id          BIGINT PRIMARY KEY,
	project     BIGINT NOT NULL,
	fingerprint TEXT   NOT NULL,
	title       TEXT   NOT NULL,
	culprit     TEXT   NOT NULL,
	search      TEXT   NOT NULL,
	level       TEXT   NOT NULL,
	platform    TEXT   NOT NULL,
	status      TEXT   NOT NULL,
	first_seen  BIGINT NOT NULL,
	last_seen   BIGINT NOT NULL,
	components  TEXT   NOT NULL,
	UNIQUE (project, fingerprint)
);
INSERT INTO issues_next (id, project, fingerprint, title, culprit, search, level, platform, status, first_seen, last_seen, components)
SELECT MIN(id), project, fingerprint, MIN(title), MIN(culprit), MIN(search), MIN(level), MIN(platform), 'unresolved', MIN(first_seen), MAX(last_seen), '[]'
FROM issues WHERE deleted = 0 GROUP BY project, fingerprint;
DROP TABLE issue_hashes;
DROP TABLE issues;
ALTER TABLE issues_next RENAME TO issues;
CREATE INDEX issues_by_last_seen ON issues (project, last_seen);
DROP TABLE issue_counters;
