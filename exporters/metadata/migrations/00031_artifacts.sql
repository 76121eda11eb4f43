-- +goose Up
CREATE TABLE artifact_chunks
(
	sha1   TEXT   PRIMARY KEY, -- 40 hex digits
	size   BIGINT NOT NULL,
	stored BIGINT NOT NULL,    -- 1 once the blob store has it
	used   BIGINT NOT NULL     -- Unix ns, when an upload last asked for it
);

CREATE INDEX artifact_chunks_by_used ON artifact_chunks (used);

CREATE TABLE artifact_bundles
(
	bundle  TEXT   PRIMARY KEY, -- 40 hex digits
	note    TEXT   NOT NULL,
	single  BIGINT NOT NULL,    -- 1: a file uploaded by itself
	created BIGINT NOT NULL,    -- Unix ns
	used    BIGINT NOT NULL     -- Unix ns
);

CREATE INDEX artifact_bundles_by_used ON artifact_bundles (used);

CREATE TABLE artifact_files
(
	bundle   TEXT   NOT NULL REFERENCES artifact_bundles (bundle) ON DELETE CASCADE,
	path     TEXT   NOT NULL,
	kind     TEXT   NOT NULL,
	url      TEXT   NOT NULL,
	debug_id TEXT   NOT NULL, -- 32 hex digits, or empty
	headers  TEXT   NOT NULL, -- a JSON object of texts
	size     BIGINT NOT NULL,
	sha1     TEXT   NOT NULL,
	chunks   TEXT   NOT NULL, -- a JSON array of texts
	PRIMARY KEY (bundle, path)
);

CREATE INDEX artifact_files_by_debug_id ON artifact_files (debug_id);
CREATE INDEX artifact_files_by_url ON artifact_files (url);

-- Which chunks are referred to.
CREATE TABLE artifact_file_chunks
(
	bundle TEXT NOT NULL REFERENCES artifact_bundles (bundle) ON DELETE CASCADE,
	sha1   TEXT NOT NULL,
	PRIMARY KEY (bundle, sha1)
);

CREATE INDEX artifact_file_chunks_by_sha1 ON artifact_file_chunks (sha1);

CREATE TABLE artifact_holds
(
	bundle  TEXT   NOT NULL REFERENCES artifact_bundles (bundle) ON DELETE CASCADE,
	project BIGINT NOT NULL,
	version TEXT   NOT NULL, -- of the release; empty: found by debug id only
	dist    TEXT   NOT NULL,
	created BIGINT NOT NULL, -- Unix ns
	PRIMARY KEY (bundle, project, version, dist)
);

CREATE INDEX artifact_holds_by_release ON artifact_holds (project, version, dist);

CREATE TABLE artifact_assemblies
(
	checksum TEXT   PRIMARY KEY,
	chunks   TEXT   NOT NULL, -- a JSON array of texts
	holds    TEXT   NOT NULL, -- a JSON array
	created  BIGINT NOT NULL, -- Unix ns
	changed  BIGINT NOT NULL, -- Unix ns, when it was noted or found faulty
	claimed  BIGINT NOT NULL, -- Unix ns, until when somebody works on it
	fault    TEXT   NOT NULL
);

-- +goose Down
DROP TABLE artifact_assemblies;
DROP TABLE artifact_holds;
DROP TABLE artifact_file_chunks;
DROP TABLE artifact_files;
DROP TABLE artifact_bundles;
DROP TABLE artifact_chunks;
