-- +goose Up
ALTER TABLE artifact_bundles ADD COLUMN dist TEXT NOT NULL DEFAULT ''; -- what its manifest says

-- +goose Down
ALTER TABLE artifact_bundles DROP COLUMN dist;
