-- +goose Up
CREATE TABLE saved_queries
(
	id      BIGINT PRIMARY KEY,
	project BIGINT NOT NULL,
	name    TEXT   NOT NULL,
	subject TEXT   NOT NULL, -- spans, hops, issues, logs
	query   TEXT   NOT NULL,
	view    TEXT   NOT NULL, -- parameters of the page's address
	owner   TEXT   NOT NULL,
	created BIGINT NOT NULL, -- Unix ns
	changed BIGINT NOT NULL, -- Unix ns
	UNIQUE (project, name)
);

-- +goose Down
DROP TABLE saved_queries;
