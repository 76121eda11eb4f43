-- +goose Up
CREATE TABLE organizations
(
	id      BIGINT PRIMARY KEY,
	slug    TEXT   NOT NULL UNIQUE,
	name    TEXT   NOT NULL,
	created BIGINT NOT NULL -- Unix ns
);
INSERT INTO organizations (id, slug, name, created) VALUES (1, 'default', 'Default', 0);

ALTER TABLE projects ADD COLUMN organization BIGINT NOT NULL DEFAULT 1;
ALTER TABLE projects ADD COLUMN active BIGINT NOT NULL DEFAULT 1; -- 0 or 1
ALTER TABLE projects ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE projects ADD COLUMN settings TEXT NOT NULL DEFAULT '{}'; -- JSON
ALTER TABLE projects ADD COLUMN hash_key TEXT NOT NULL DEFAULT ''; -- made with the first settings

ALTER TABLE project_keys ADD COLUMN id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE project_keys ADD COLUMN label TEXT NOT NULL DEFAULT 'Default';
ALTER TABLE project_keys ADD COLUMN active BIGINT NOT NULL DEFAULT 1; -- 0 or 1
ALTER TABLE project_keys ADD COLUMN deleted BIGINT NOT NULL DEFAULT 0; -- 0 or 1: ids are never given twice
ALTER TABLE project_keys ADD COLUMN limit_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE project_keys ADD COLUMN limit_window BIGINT NOT NULL DEFAULT 0; -- s; 0: no limit
UPDATE project_keys SET id = (
	SELECT COUNT(*) FROM project_keys AS o
	WHERE o.created < project_keys.created OR (o.created = project_keys.created AND o.public_key <= project_keys.public_key)
);
CREATE UNIQUE INDEX project_keys_by_id ON project_keys (id);

-- One row, whose version grows with each change of a project or a key.
CREATE TABLE projects_version
(
	id      BIGINT PRIMARY KEY,
	version BIGINT NOT NULL
);
INSERT INTO projects_version (id, version) VALUES (1, 1);

-- +goose Down
DROP TABLE projects_version;
DROP INDEX project_keys_by_id;
ALTER TABLE project_keys DROP COLUMN limit_window;
ALTER TABLE project_keys DROP COLUMN limit_count;
ALTER TABLE project_keys DROP COLUMN deleted;
ALTER TABLE project_keys DROP COLUMN active;
ALTER TABLE project_keys DROP COLUMN label;
ALTER TABLE project_keys DROP COLUMN id;
ALTER TABLE projects DROP COLUMN hash_key;
ALTER TABLE projects DROP COLUMN settings;
ALTER TABLE projects DROP COLUMN revision;
ALTER TABLE projects DROP COLUMN active;
ALTER TABLE projects DROP COLUMN organization;
DROP TABLE organizations;
