package exporters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// ErrExists means that there is one of that name already.
var ErrExists = errors.New("exists already")

// Release is a version of a program, as people announce it. Its projects are
// those that were named with it.
type Release struct {
	Version   string
	Projects  []uint64 // sorted
	Ref       string   // of the source: a commit, a tag
	URL       string
	Status    string // "open" or "archived"
	Created   int64  // Unix ns
	Started   int64  // Unix ns; zero when not told
	Finalized int64  // Unix ns; zero while it is not released
	Commits   int    // how many it was told to have
}

// ReleaseChange is what becomes known of a release. Nil fields leave what is there.
type ReleaseChange struct {
	Projects                 []uint64 // these too
	Ref, URL, Status         *string
	Started, Finalized       *int64
	Commits                  *int
	OnlyExisting, OnlyAbsent bool // fail with ErrNotFound, with ErrExists
}

// Deploy is a release put to work somewhere.
type Deploy struct {
	ID                         int64
	Environment, Name, URL     string
	Started, Finished, Created int64 // Unix ns; the first two are zero when not told
}

// Releases are written by the API that sentry-cli talks to.
type Releases interface {
	// PutRelease makes or changes a release and returns it as it is now.
	PutRelease(ctx context.Context, version string, change ReleaseChange, now int64) (Release, error)
	// Release finds one, or fails with ErrNotFound.
	Release(ctx context.Context, version string) (Release, error)
	// Releases lists those of a project (zero: of all), newest first, at most
	// limit (1 to 500), after leaving out as many as skip.
	Releases(ctx context.Context, project uint64, skip, limit int) ([]Release, error)
	// DeleteRelease removes it with its deploys, and its hold on its artifacts.
	// It fails with ErrNotFound.
	DeleteRelease(ctx context.Context, version string) error
	// AddDeploy fails with ErrNotFound without its release.
	AddDeploy(ctx context.Context, version string, d Deploy) (Deploy, error)
	// Deploys lists a release's, newest first, at most 500.
	Deploys(ctx context.Context, version string) ([]Deploy, error)
}

// Kinds of artifacts.
const (
	ArtifactMinified  = "minified_source"
	ArtifactSourceMap = "source_map"
	ArtifactSource    = "source"
)

// ArtifactFile is one file that was uploaded. Its bytes lie in the blob store,
// in chunks; [ReadArtifact] reads them.
type ArtifactFile struct {
	Bundle  string // of which it is part
	Single  bool   // the bundle is this file, uploaded by itself
	Path    string // in the bundle
	Kind    string // ArtifactMinified and the others; empty when not told
	URL     string // under which the program loads it: "~/static/app.min.js"
	DebugID string // 32 hex digits; empty when it has none
	// Headers are those of HTTP that matter, names in lower case: "sourcemap".
	Headers map[string]string
	Size    int64
	SHA1    string   // 40 hex digits, of the bytes
	Chunks  []string // keys of their contents, in order
	Created int64    // Unix ns
}

// ArtifactHold says for whom a bundle is kept. Release and Dist are empty for
// files that are found by debug id only.
type ArtifactHold struct {
	Project       uint64
	Release, Dist string
}

// DistOfBundle as the Dist of a hold stands for what the bundle says itself.
const DistOfBundle = "*"

// ArtifactBundle is what was uploaded at once.
type ArtifactBundle struct {
	Key     string // of its content: 40 hex digits
	Note    string
	Dist    string // see DistOfBundle
	Single  bool   // one file, uploaded by itself
	Created int64
	Files   []ArtifactFile // Bundle, Single and Created are ignored
}

// Assembly is an upload whose chunks are there and that is to become a bundle.
type Assembly struct {
	Checksum string // SHA-1 of the whole, 40 hex digits
	Chunks   []string
	Holds    []ArtifactHold
	Created  int64  // Unix ns
	Fault    string // why it can never become one; empty while it is waited for
}

// Artifacts knows which files were uploaded and which chunks the blob store has.
// It holds no bytes.
type Artifacts interface {
	// ReserveChunk notes a chunk that is about to be stored, so that nobody
	// removes it, and ChunkStored that it is durable.
	ReserveChunk(ctx context.Context, sha1 string, size int64, now int64) error
	ChunkStored(ctx context.Context, sha1 string, now int64) error
	// MissingChunks gives those (of at most 10,000) that are not stored, in the
	// order of the question, each once. The others are kept for a day at least.
	MissingChunks(ctx context.Context, sha1s []string, now int64) ([]string, error)
	// ChunkLost notes that a chunk's bytes are gone.
	ChunkLost(ctx context.Context, sha1 string) error

	// PutAssembly notes an upload to be put together, or adds to the holds of one
	// that is noted. One with a fault older than retryBefore is tried again.
	PutAssembly(ctx context.Context, a Assembly, retryBefore int64) error
	// Assembly finds one, or fails with ErrNotFound: it became a bundle, or was
	// never asked for.
	Assembly(ctx context.Context, checksum string) (Assembly, error)
	// ClaimAssembly gives the oldest one without a fault that nobody works on,
	// to the caller until the time given; or fails with ErrNotFound.
	ClaimAssembly(ctx context.Context, now, until int64) (Assembly, error)
	// FailAssembly notes why it can never become a bundle.
	FailAssembly(ctx context.Context, checksum, fault string, now int64) error
	// ReleaseAssembly lets others claim it from then on.
	ReleaseAssembly(ctx context.Context, checksum string, from int64) error

	// PutBundle stores a bundle and its holds, and ends the assembly of its key,
	// whose holds it gets too. A bundle that is there gets the holds.
	PutBundle(ctx context.Context, b ArtifactBundle, holds []ArtifactHold) error
	// HoldBundle adds holds to a bundle, or fails with ErrNotFound.
	HoldBundle(ctx context.Context, key string, holds []ArtifactHold, now int64) error

	// FilesByDebugID gives a project's files with this debug id, newest first, at most 20.
	FilesByDebugID(ctx context.Context, project uint64, debugID string) ([]ArtifactFile, error)
	// FilesByURL gives a release's files with one of these URLs (at most 20),
	// newest first, at most 40.
	FilesByURL(ctx context.Context, project uint64, release, dist string, urls []string) ([]ArtifactFile, error)
	// FilesOfRelease lists a release's files, by URL, from one on, at most limit (1 to 1000).
	FilesOfRelease(ctx context.Context, project uint64, release string, skip, limit int) ([]ArtifactFile, error)
	// DropSingle takes a file that was uploaded by itself from a release, or
	// fails with ErrNotFound.
	DropSingle(ctx context.Context, project uint64, release, key string) error
	// DropRelease takes all files from a project's release; those with a debug id
	// are still found by it.
	DropRelease(ctx context.Context, project uint64, release string) error
	// UsedBundles notes that these were of use.
	UsedBundles(ctx context.Context, keys []string, now int64) error

	// ExpireArtifacts removes bundles that were not used since, uploads that came
	// to nothing, and rows of chunks that nothing refers to. It calls remove for
	// the bytes of each such chunk, at most limit; more tells that there are others.
	ExpireArtifacts(ctx context.Context, unusedSince, now int64, limit int, remove func(sha1 string) error) (removed int, more bool, err error)
}

// ChunkGrace is how long at least a chunk is kept that nothing refers to: the
// upload that it belongs to is under way.
const ChunkGrace = 24 * time.Hour

// ArtifactChunkSize is the size of a file's chunks, of all but the last.
const ArtifactChunkSize = 8 << 20

// ChunksFolder is the folder of the blob store in which chunks lie.
const ChunksFolder = "chunks"

// ChunkKey is where a chunk lies in the blob store.
func ChunkKey(sha1 string) string { return ChunksFolder + "/" + sha1[:min(2, len(sha1))] + "/" + sha1 }

// ReadArtifact reads a file's bytes. It fails with ErrNotFound when some are
// gone, and with ErrTooLarge beyond limit.
func ReadArtifact(ctx context.Context, blobs Blobs, f ArtifactFile, limit int64) ([]byte, error) {
	if f.Size > limit {
		return nil, fmt.Errorf("cannot read %s: it has %d bytes, at most %d: %w", f.URL, f.Size, limit, ErrTooLarge)
	}
	if len(f.Chunks) == 1 {
		return blobs.Get(ctx, ChunkKey(f.Chunks[0]))
	}
	out := make([]byte, 0, f.Size)
	for _, c := range f.Chunks {
		b, err := blobs.Get(ctx, ChunkKey(c))
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", f.URL, err)
		}
		if out = append(out, b...); int64(len(out)) > limit {
			return nil, fmt.Errorf("cannot read %s: more than %d bytes: %w", f.URL, limit, ErrTooLarge)
		}
	}
	return out, nil
}

// Scopes of tokens.
const (
	ScopeOrgRead         = "org:read"
	ScopeProjectRead     = "project:read"
	ScopeProjectReleases = "project:releases"
)

// TokenScopes are all of them.
var TokenScopes = []string{ScopeOrgRead, ScopeProjectRead, ScopeProjectReleases}

// Token lets a program act through the API. What the program sends is not kept,
// only its SHA-256.
type Token struct {
	ID       int64
	Name     string
	Scopes   []string     // sorted; at /api/0/
	Role     schemas.Role // at /api/v1/; empty: it is not for there
	Member   int64        // whose it is, and may do no more than; zero: nobody's
	Prefix   string       // how it begins, to know it by
	Created  int64        // Unix ns
	Expires  int64        // Unix ns; zero when never
	LastUsed int64        // Unix ns, exact to a minute; zero when never
}

// Tokens are made at the command line and asked by the API.
type Tokens interface {
	// AddToken stores a token under its hash. It fails with ErrNotFound when its
	// member is gone, with ErrTooLarge when that has MaxMemberTokens.
	AddToken(ctx context.Context, hash [32]byte, t Token) (Token, error)
	// TokenByHash finds the one that has not expired and notes its use, or fails
	// with ErrNotFound.
	TokenByHash(ctx context.Context, hash [32]byte, now int64) (Token, error)
	// Tokens lists all, oldest first.
	Tokens(ctx context.Context) ([]Token, error)
	// RevokeToken removes one, or fails with ErrNotFound.
	RevokeToken(ctx context.Context, id int64) error
}
