-- +goose Up
-- One row: whoever changes members takes it first, so that two changes at once do
-- not both leave the last owner. Its number gives ids, which are not given twice.
CREATE TABLE account_changes
(
	id BIGINT PRIMARY KEY,
	n  BIGINT NOT NULL
);

INSERT INTO account_changes (id, n) VALUES (1, 0);

CREATE TABLE members
(
	id       BIGINT PRIMARY KEY,
	email    TEXT   NOT NULL UNIQUE, -- lower case
	name     TEXT   NOT NULL,
	role     TEXT   NOT NULL,
	password TEXT   NOT NULL,        -- a hash; empty: none
	issuer   TEXT   NOT NULL,        -- of the identity provider; empty: none
	subject  TEXT   NOT NULL,
	created  BIGINT NOT NULL,        -- Unix ns
	seen     BIGINT NOT NULL         -- Unix ns; 0: never
);

CREATE UNIQUE INDEX members_by_subject ON members (issuer, subject) WHERE subject <> '';

CREATE TABLE member_sessions
(
	hash    TEXT   PRIMARY KEY, -- SHA-256, 64 hex digits
	id      BIGINT NOT NULL UNIQUE,
	member  BIGINT NOT NULL REFERENCES members (id),
	created BIGINT NOT NULL,    -- Unix ns
	used    BIGINT NOT NULL,    -- Unix ns
	expires BIGINT NOT NULL,    -- Unix ns
	agent   TEXT   NOT NULL,
	address TEXT   NOT NULL
);

CREATE INDEX member_sessions_by_member ON member_sessions (member);
CREATE INDEX member_sessions_by_end ON member_sessions (expires);

CREATE TABLE member_links
(
	member  BIGINT PRIMARY KEY REFERENCES members (id),
	hash    TEXT   NOT NULL UNIQUE, -- SHA-256, 64 hex digits
	created BIGINT NOT NULL,        -- Unix ns
	expires BIGINT NOT NULL         -- Unix ns
);

CREATE TABLE audit
(
	id     BIGINT PRIMARY KEY,
	at     BIGINT NOT NULL, -- Unix ns
	actor  TEXT   NOT NULL,
	action TEXT   NOT NULL,
	target TEXT   NOT NULL,
	detail TEXT   NOT NULL
);

ALTER TABLE api_tokens ADD COLUMN role TEXT NOT NULL DEFAULT '';      -- empty: for /api/0/ only
ALTER TABLE api_tokens ADD COLUMN member BIGINT NOT NULL DEFAULT 0;   -- 0: nobody's
ALTER TABLE api_tokens ADD COLUMN prefix TEXT NOT NULL DEFAULT '';    -- how it begins
ALTER TABLE api_tokens ADD COLUMN expires BIGINT NOT NULL DEFAULT 0;  -- Unix ns; 0: never

CREATE INDEX api_tokens_by_member ON api_tokens (member);

-- +goose Down
DROP INDEX api_tokens_by_member;
ALTER TABLE api_tokens DROP COLUMN expires;
ALTER TABLE api_tokens DROP COLUMN prefix;
ALTER TABLE api_tokens DROP COLUMN member;
ALTER TABLE api_tokens DROP COLUMN role;
DROP TABLE audit;
DROP TABLE member_links;
DROP TABLE member_sessions;
DROP TABLE members;
DROP TABLE account_changes;
