-- +goose Up
CREATE TABLE api_tokens
(
	id        BIGINT PRIMARY KEY,
	hash      TEXT   NOT NULL UNIQUE, -- SHA-256, 64 hex digits
	name      TEXT   NOT NULL,
	scopes    TEXT   NOT NULL,        -- a JSON array of texts
	created   BIGINT NOT NULL,        -- Unix ns
	last_used BIGINT NOT NULL         -- Unix ns; 0: never
);

-- +goose Down
DROP TABLE api_tokens;
