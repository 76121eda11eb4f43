-- +goose Up
ALTER TABLE members ADD COLUMN mapped BIGINT NOT NULL DEFAULT 0; -- 1: the identity provider's map gave the role

-- +goose Down
ALTER TABLE members DROP COLUMN mapped;
