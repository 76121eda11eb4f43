package exportertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// ArtifactStore is what Artifacts tests.
type ArtifactStore interface {
	exporters.Artifacts
	exporters.Releases
	exporters.Tokens
}

// Artifacts is the suite of Artifacts, Releases and Tokens. open gives an empty store.
func Artifacts(t *testing.T, open func(t *testing.T) ArtifactStore) {
	run := func(name string, f func(t *testing.T, s ArtifactStore)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("ReleaseIsMadeChangedAndDeleted", releaseLife)
	run("ReleasesAreListedNewestFirstByProject", releaseList)
	run("DeploysBelongToARelease", deploys)
	run("ChunkCountsOnceItIsStored", chunkStates)
	run("AssemblyIsClaimedByOneAtATime", assemblyClaims)
	run("AssemblyKeepsTheHoldsOfAllWhoAskedForIt", assemblyHolds)
	run("FaultyAssemblyIsTriedAgainLater", assemblyFaults)
	run("FileIsFoundByDebugIDAndByURLOfItsProjectOnly", artifactFound)
	run("BundleOfTheSameKeyIsStoredOnce", bundleTwice)
	run("HoldMayTakeTheDistOfTheBundle", bundleDist)
	run("DroppedReleaseKeepsWhatDebugIDsFind", droppedRelease)
	run("SingleFileCanBeDropped", droppedSingle)
	run("UnusedBundlesAndTheirChunksExpire", expiry)
	run("TokenIsFoundByItsHashUntilItIsRevoked", tokens)
	run("CancelledArtifactCallsFail", artifactsCancelled)
}

func releaseLife(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	ref, url, started, commits := "9f1", "https://ci/1", int64(90), 3
	got, err := s.PutRelease(ctx, "shop@1.0 ☃", exporters.ReleaseChange{Projects: []uint64{7, 3}, Ref: &ref, URL: &url, Started: &started, Commits: &commits}, 100)
	noError(t, "PutRelease", err)
	want := exporters.Release{Version: "shop@1.0 ☃", Projects: []uint64{3, 7}, Ref: ref, URL: url, Status: "open", Created: 100, Started: 90, Commits: 3}
	equal(t, "release", got, want)
	finalized, status := int64(200), "archived"
	got, err = s.PutRelease(ctx, "shop@1.0 ☃", exporters.ReleaseChange{Projects: []uint64{1<<63 + 1}, Finalized: &finalized, Status: &status}, 300)
	noError(t, "PutRelease again", err)
	want.Projects, want.Finalized, want.Status = append(want.Projects, 1<<63+1), finalized, status
	equal(t, "changed release", got, want)
	_, err = s.PutRelease(ctx, "shop@1.0 ☃", exporters.ReleaseChange{OnlyAbsent: true}, 400)
	isError(t, "PutRelease of one that may not be there", err, exporters.ErrExists)
	_, err = s.PutRelease(ctx, "other", exporters.ReleaseChange{OnlyExisting: true}, 400)
	isError(t, "PutRelease of one that must be there", err, exporters.ErrNotFound)
	_, err = s.Release(ctx, "other")
	isError(t, "Release", err, exporters.ErrNotFound)
	noError(t, "DeleteRelease", s.DeleteRelease(ctx, "shop@1.0 ☃"))
	isError(t, "DeleteRelease again", s.DeleteRelease(ctx, "shop@1.0 ☃"), exporters.ErrNotFound)
	_, err = s.Release(ctx, "shop@1.0 ☃")
	isError(t, "Release after DeleteRelease", err, exporters.ErrNotFound)
}

func releaseList(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	for i := range 6 {
		_, err := s.PutRelease(ctx, fmt.Sprintf("v%d", i), exporters.ReleaseChange{Projects: []uint64{uint64(1 + i%2)}}, int64(i))
		noError(t, "PutRelease", err)
	}
	f := func(project uint64, skip, limit int, want ...string) {
		t.Helper()
		rs, err := s.Releases(ctx, project, skip, limit)
		noError(t, "Releases", err)
		var got []string
		for _, r := range rs {
			got = append(got, r.Version)
		}
		equal(t, fmt.Sprintf("Releases(%d, %d, %d)", project, skip, limit), got, want)
	}
	f(0, 0, 500, "v5", "v4", "v3", "v2", "v1", "v0")
	f(0, 1, 2, "v4", "v3")
	f(2, 0, 500, "v5", "v3", "v1")
	f(2, 2, 500, "v1")
	f(9, 0, 500)
}

func deploys(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	_, err := s.AddDeploy(ctx, "v1", exporters.Deploy{Environment: "prod"})
	isError(t, "AddDeploy without a release", err, exporters.ErrNotFound)
	_, err = s.PutRelease(ctx, "v1", exporters.ReleaseChange{}, 1)
	noError(t, "PutRelease", err)
	a, err := s.AddDeploy(ctx, "v1", exporters.Deploy{Environment: "prod", Name: "n", URL: "u", Started: 1, Finished: 2, Created: 3})
	noError(t, "AddDeploy", err)
	b, err := s.AddDeploy(ctx, "v1", exporters.Deploy{Environment: "qa", Created: 4})
	noError(t, "AddDeploy", err)
	if a.ID == b.ID || a.ID == 0 {
		t.Errorf("ids of deploys are %d and %d, want two different ones", a.ID, b.ID)
	}
	got, err := s.Deploys(ctx, "v1")
	noError(t, "Deploys", err)
	equal(t, "deploys", got, []exporters.Deploy{b, a})
	noError(t, "DeleteRelease", s.DeleteRelease(ctx, "v1"))
	got, err = s.Deploys(ctx, "v1")
	noError(t, "Deploys", err)
	equal(t, "deploys of a deleted release", got, []exporters.Deploy(nil))
}

func sha(c byte) string { return strings.Repeat(string(c), 40) }

func storeChunk(t *testing.T, s ArtifactStore, sha1 string, now int64) {
	t.Helper()
	noError(t, "ReserveChunk", s.ReserveChunk(testContext(t), sha1, 5, now))
	noError(t, "ChunkStored", s.ChunkStored(testContext(t), sha1, now))
}

func chunkStates(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	f := func(want ...string) {
		t.Helper()
		got, err := s.MissingChunks(ctx, []string{sha('b'), sha('a'), sha('b'), sha('c')}, 2)
		noError(t, "MissingChunks", err)
		equal(t, "missing chunks", got, want)
	}
	f(sha('b'), sha('a'), sha('c'))
	noError(t, "ReserveChunk", s.ReserveChunk(ctx, sha('a'), 5, 1))
	f(sha('b'), sha('a'), sha('c'))
	noError(t, "ChunkStored", s.ChunkStored(ctx, sha('a'), 1))
	f(sha('b'), sha('c'))
	noError(t, "ReserveChunk again", s.ReserveChunk(ctx, sha('a'), 5, 1))
	f(sha('b'), sha('c'))
	noError(t, "ChunkLost", s.ChunkLost(ctx, sha('a')))
	f(sha('b'), sha('a'), sha('c'))
	isError(t, "ChunkStored of an unknown one", s.ChunkStored(ctx, sha('d'), 1), exporters.ErrNotFound)
	many := make([]string, 1200)
	for i := range many {
		many[i] = fmt.Sprintf("%040x", i)
	}
	storeChunk(t, s, many[1100], 1)
	got, err := s.MissingChunks(ctx, many, 2)
	noError(t, "MissingChunks of many", err)
	if len(got) != len(many)-1 {
		t.Errorf("of %d chunks, one of them stored, %d are missing", len(many), len(got))
	}
}

func assemblyClaims(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	_, err := s.ClaimAssembly(ctx, 10, 20)
	isError(t, "ClaimAssembly of none", err, exporters.ErrNotFound)
	for i, c := range []byte("abc") {
		noError(t, "PutAssembly", s.PutAssembly(ctx, exporters.Assembly{Checksum: sha(c), Chunks: []string{sha(c), sha('0')}, Created: int64(3 - i)}, 0))
	}
	var mu sync.Mutex
	claimed := make(map[string]int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			a, err := s.ClaimAssembly(ctx, 10, 20)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				claimed[a.Checksum]++
			} else if !errors.Is(err, exporters.ErrNotFound) {
				t.Errorf("ClaimAssembly: %v", err)
			}
		})
	}
	wg.Wait()
	equal(t, "claims", claimed, map[string]int{sha('a'): 1, sha('b'): 1, sha('c'): 1})
	a, err := s.ClaimAssembly(ctx, 20, 30) // the time of all is over: the oldest first
	noError(t, "ClaimAssembly when the time of the first is over", err)
	equal(t, "assembly", a, exporters.Assembly{Checksum: sha('c'), Chunks: []string{sha('c'), sha('0')}, Created: 1})
	noError(t, "ReleaseAssembly", s.ReleaseAssembly(ctx, sha('c'), 21))
	a, err = s.ClaimAssembly(ctx, 21, 31)
	if err != nil || a.Checksum != sha('b') && a.Checksum != sha('c') {
		t.Errorf("ClaimAssembly = %v, %v; want one that was let go or whose time is over", a, err)
	}
}

func assemblyHolds(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	x, y, z := exporters.ArtifactHold{Project: 1, Release: "v1"}, exporters.ArtifactHold{Project: 1<<63 + 2, Release: "v1", Dist: "d"}, exporters.ArtifactHold{Project: 3}
	noError(t, "PutAssembly", s.PutAssembly(ctx, exporters.Assembly{Checksum: sha('a'), Chunks: []string{sha('1')}, Holds: []exporters.ArtifactHold{x}, Created: 5}, 0))
	claimed, err := s.ClaimAssembly(ctx, 10, 20)
	noError(t, "ClaimAssembly", err)
	noError(t, "PutAssembly again", s.PutAssembly(ctx, exporters.Assembly{Checksum: sha('a'), Chunks: []string{sha('2')}, Holds: []exporters.ArtifactHold{x, y}, Created: 6}, 0))
	got, err := s.Assembly(ctx, sha('a'))
	noError(t, "Assembly", err)
	equal(t, "assembly", got, exporters.Assembly{Checksum: sha('a'), Chunks: []string{sha('1')}, Holds: []exporters.ArtifactHold{x, y}, Created: 5})
	isError(t, "HoldBundle before it is there", s.HoldBundle(ctx, sha('a'), nil, 1), exporters.ErrNotFound)
	b := bundle('a', 30)
	noError(t, "PutBundle", s.PutBundle(ctx, b, claimed.Holds))
	_, err = s.Assembly(ctx, sha('a'))
	isError(t, "Assembly after PutBundle", err, exporters.ErrNotFound)
	noError(t, "HoldBundle", s.HoldBundle(ctx, sha('a'), []exporters.ArtifactHold{z}, 40))
	for _, h := range []exporters.ArtifactHold{x, y, z} {
		fs, err := s.FilesByURL(ctx, h.Project, h.Release, h.Dist, []string{"~/a.js"})
		noError(t, "FilesByURL", err)
		if len(fs) != 1 {
			t.Errorf("hold %+v: found %d files, want 1: it was added while the upload was put together", h, len(fs))
		}
	}
}

func assemblyFaults(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	a := exporters.Assembly{Checksum: sha('a'), Chunks: []string{sha('1')}, Created: 5}
	noError(t, "PutAssembly", s.PutAssembly(ctx, a, 0))
	noError(t, "FailAssembly", s.FailAssembly(ctx, sha('a'), "no zip", 100))
	_, err := s.ClaimAssembly(ctx, 1000, 2000)
	isError(t, "ClaimAssembly of a faulty one", err, exporters.ErrNotFound)
	a.Chunks = []string{sha('2')}
	noError(t, "PutAssembly too early", s.PutAssembly(ctx, a, 100))
	got, err := s.Assembly(ctx, sha('a'))
	noError(t, "Assembly", err)
	if got.Fault != "no zip" {
		t.Errorf("the fault is %q, want %q", got.Fault, "no zip")
	}
	noError(t, "PutAssembly later", s.PutAssembly(ctx, a, 101))
	got, err = s.ClaimAssembly(ctx, 1000, 2000)
	noError(t, "ClaimAssembly", err)
	equal(t, "assembly", got, a)
}

// bundle has a script with its map, both with a debug id of c, and a source without.
func bundle(c byte, created int64) exporters.ArtifactBundle {
	id := strings.Repeat(string(c), 32)
	return exporters.ArtifactBundle{
		Key: sha(c), Note: "n", Created: created,
		Files: []exporters.ArtifactFile{
			{Path: "files/_/a.js", Kind: exporters.ArtifactMinified, URL: "~/a.js", DebugID: id, Headers: map[string]string{"sourcemap": "a.js.map"}, Size: 5, SHA1: sha('1'), Chunks: []string{sha('1')}},
			{Path: "files/_/a.js.map", Kind: exporters.ArtifactSourceMap, URL: "~/a.js.map", DebugID: id, Size: 10, SHA1: sha('4'), Chunks: []string{sha('2'), sha('3'), sha('2')}},
			{Path: "files/_/ä 'x'.ts", Kind: exporters.ArtifactSource, URL: "~/ä 'x'.ts", Size: 0, SHA1: sha('5')},
		},
	}
}

func paths(fs []exporters.ArtifactFile) (out []string) {
	for _, f := range fs {
		out = append(out, f.Bundle[:1]+":"+f.Path)
	}
	return out
}

func artifactFound(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	b := bundle('a', 30)
	noError(t, "PutBundle", s.PutBundle(ctx, b, []exporters.ArtifactHold{{Project: 1, Release: "v1", Dist: "d"}}))
	c := bundle('b', 40)
	c.Files[0].DebugID = b.Files[0].DebugID
	noError(t, "PutBundle", s.PutBundle(ctx, c, []exporters.ArtifactHold{{Project: 1}}))
	got, err := s.FilesByDebugID(ctx, 1, b.Files[0].DebugID)
	noError(t, "FilesByDebugID", err)
	equal(t, "files by debug id, newest first", paths(got), []string{"b:files/_/a.js", "a:files/_/a.js", "a:files/_/a.js.map"})
	want := b.Files[1]
	want.Bundle, want.Created = sha('a'), 30
	equal(t, "file", got[2], want)
	got, err = s.FilesByDebugID(ctx, 2, b.Files[0].DebugID)
	noError(t, "FilesByDebugID", err)
	equal(t, "files of another project", paths(got), []string(nil))
	f := func(project uint64, release, dist string, urls []string, want ...string) {
		t.Helper()
		got, err := s.FilesByURL(ctx, project, release, dist, urls)
		noError(t, "FilesByURL", err)
		equal(t, fmt.Sprintf("FilesByURL(%d, %q, %q, %q)", project, release, dist, urls), paths(got), want)
	}
	f(1, "v1", "d", []string{"x", "~/a.js", "~/ä 'x'.ts"}, "a:files/_/a.js", "a:files/_/ä 'x'.ts")
	f(1, "v1", "d", nil)
	f(1, "v1", "", []string{"~/a.js"})
	f(1, "v2", "d", []string{"~/a.js"})
	f(2, "v1", "d", []string{"~/a.js"})
	got, err = s.FilesOfRelease(ctx, 1, "v1", 1, 1)
	noError(t, "FilesOfRelease", err)
	equal(t, "files of the release", paths(got), []string{"a:files/_/a.js.map"})
}

func bundleTwice(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	for i := range 2 {
		noError(t, "PutBundle", s.PutBundle(ctx, bundle('a', int64(30+i)), []exporters.ArtifactHold{{Project: 1, Release: fmt.Sprint("v", i)}}))
	}
	for _, release := range []string{"v0", "v1"} {
		got, err := s.FilesOfRelease(ctx, 1, release, 0, 1000)
		noError(t, "FilesOfRelease", err)
		if len(got) != 3 || got[0].Created != 30 {
			t.Errorf("release %s has %d files, want the 3 that were stored first: %+v", release, len(got), got)
		}
	}
}

func bundleDist(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	b := bundle('a', 30)
	b.Dist = "d7"
	noError(t, "PutBundle", s.PutBundle(ctx, b, []exporters.ArtifactHold{{Project: 1, Release: "v1", Dist: exporters.DistOfBundle}}))
	noError(t, "HoldBundle", s.HoldBundle(ctx, b.Key, []exporters.ArtifactHold{{Project: 2, Release: "v1", Dist: exporters.DistOfBundle}}, 31))
	for _, project := range []uint64{1, 2} {
		got, err := s.FilesByURL(ctx, project, "v1", "d7", []string{"~/a.js"})
		noError(t, "FilesByURL", err)
		if len(got) != 1 {
			t.Errorf("project %d has %d files under the bundle's own dist, want 1", project, len(got))
		}
	}
}

func droppedRelease(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	plain := bundle('b', 31)
	for i := range plain.Files {
		plain.Files[i].DebugID = ""
	}
	for _, b := range []exporters.ArtifactBundle{bundle('a', 30), plain} {
		noError(t, "PutBundle", s.PutBundle(ctx, b, []exporters.ArtifactHold{{Project: 1, Release: "v1"}, {Project: 1, Release: "v1", Dist: "d"}, {Project: 2, Release: "v1"}}))
	}
	noError(t, "DropRelease", s.DropRelease(ctx, 1, "v1"))
	count := func(project uint64, want int) {
		t.Helper()
		got, err := s.FilesOfRelease(ctx, project, "v1", 0, 1000)
		noError(t, "FilesOfRelease", err)
		if len(got) != want {
			t.Errorf("project %d has %d files in the release, want %d", project, len(got), want)
		}
	}
	count(1, 0)
	count(2, 6)
	got, err := s.FilesByDebugID(ctx, 1, strings.Repeat("a", 32))
	noError(t, "FilesByDebugID", err)
	if len(got) != 2 {
		t.Errorf("%d files have the debug id, want 2", len(got))
	}
	_, err = s.PutRelease(ctx, "v1", exporters.ReleaseChange{}, 1)
	noError(t, "PutRelease", err)
	noError(t, "DeleteRelease", s.DeleteRelease(ctx, "v1"))
	count(2, 0)
}

func droppedSingle(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	one := bundle('a', 30)
	one.Single, one.Files = true, one.Files[:1]
	for _, b := range []exporters.ArtifactBundle{one, bundle('b', 30)} {
		noError(t, "PutBundle", s.PutBundle(ctx, b, []exporters.ArtifactHold{{Project: 1, Release: "v1"}}))
	}
	got, err := s.FilesByURL(ctx, 1, "v1", "", []string{"~/a.js"})
	noError(t, "FilesByURL", err)
	if len(got) != 2 || !got[0].Single || got[1].Single {
		t.Errorf("got %+v, want the single file and the one of a bundle", got)
	}
	isError(t, "DropSingle in another release", s.DropSingle(ctx, 1, "v2", sha('a')), exporters.ErrNotFound)
	isError(t, "DropSingle of a bundle", s.DropSingle(ctx, 1, "v1", sha('b')), exporters.ErrNotFound)
	noError(t, "DropSingle", s.DropSingle(ctx, 1, "v1", sha('a')))
	got, err = s.FilesByURL(ctx, 1, "v1", "", []string{"~/a.js"})
	noError(t, "FilesByURL", err)
	equal(t, "files", paths(got), []string{"b:files/_/a.js"})
}

func expiry(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	const day = int64(24 * time.Hour)
	old, now := 10*day, 200*day
	for _, c := range "0123" {
		storeChunk(t, s, sha(byte(c)), old) // 0: of an upload
	}
	storeChunk(t, s, sha('9'), now-day/2) // of an upload under way
	noError(t, "PutBundle", s.PutBundle(ctx, bundle('a', old), []exporters.ArtifactHold{{Project: 1}}))
	kept := bundle('b', old)
	kept.Files = kept.Files[:1]
	noError(t, "PutBundle", s.PutBundle(ctx, kept, []exporters.ArtifactHold{{Project: 1}}))
	noError(t, "PutBundle without a hold", s.PutBundle(ctx, exporters.ArtifactBundle{Key: sha('c'), Created: now}, nil))
	noError(t, "UsedBundles", s.UsedBundles(ctx, []string{sha('b'), sha('x')}, now-day))
	noError(t, "PutAssembly", s.PutAssembly(ctx, exporters.Assembly{Checksum: sha('d'), Created: old}, 0))
	noError(t, "PutAssembly", s.PutAssembly(ctx, exporters.Assembly{Checksum: sha('e'), Created: now}, 0))
	removed := make(map[string]int)
	remove := func(sha1 string) error { removed[sha1]++; return nil }

	broken := errors.New("disk on fire")
	_, _, err := s.ExpireArtifacts(ctx, now-90*day, now, 100, func(string) error { return broken })
	isError(t, "ExpireArtifacts when bytes cannot be removed", err, broken)
	n, more, err := s.ExpireArtifacts(ctx, now-90*day, now, 100, remove)
	noError(t, "ExpireArtifacts", err)
	if n != 3 || more {
		t.Errorf("ExpireArtifacts = %d, %v; want 3, false", n, more)
	}
	equal(t, "removed chunks", removed, map[string]int{sha('0'): 1, sha('2'): 1, sha('3'): 1})
	missing, err := s.MissingChunks(ctx, []string{sha('0'), sha('1'), sha('2'), sha('9')}, now)
	noError(t, "MissingChunks", err)
	equal(t, "missing chunks", missing, []string{sha('0'), sha('2')})
	got, err := s.FilesByDebugID(ctx, 1, strings.Repeat("a", 32))
	noError(t, "FilesByDebugID", err)
	equal(t, "files of the bundle that was not used", paths(got), []string(nil))
	got, err = s.FilesByDebugID(ctx, 1, strings.Repeat("b", 32))
	noError(t, "FilesByDebugID", err)
	equal(t, "files of the bundle that was used", paths(got), []string{"b:files/_/a.js"})
	isError(t, "HoldBundle of one that nobody held", s.HoldBundle(ctx, sha('c'), nil, now), exporters.ErrNotFound)
	_, err = s.Assembly(ctx, sha('d'))
	isError(t, "Assembly that came to nothing", err, exporters.ErrNotFound)
	_, err = s.Assembly(ctx, sha('e'))
	noError(t, "Assembly that is young", err)
}

func tokens(t *testing.T, s ArtifactStore) {
	ctx := testContext(t)
	_, err := s.TokenByHash(ctx, [32]byte{1}, 1)
	isError(t, "TokenByHash", err, exporters.ErrNotFound)
	a, err := s.AddToken(ctx, [32]byte{1}, exporters.Token{Name: "ci ☃", Scopes: []string{"b", "a"}, Created: 5})
	noError(t, "AddToken", err)
	b, err := s.AddToken(ctx, [32]byte{2}, exporters.Token{Name: "other", Created: 6})
	noError(t, "AddToken", err)
	if a.ID == b.ID || a.ID == 0 {
		t.Errorf("ids of tokens are %d and %d, want two different ones", a.ID, b.ID)
	}
	if _, err := s.AddToken(ctx, [32]byte{2}, exporters.Token{Name: "the same"}); err == nil {
		t.Error("AddToken took one hash twice")
	}
	minute := int64(time.Minute)
	f := func(now, want int64) {
		t.Helper()
		got, err := s.TokenByHash(ctx, [32]byte{1}, now)
		noError(t, "TokenByHash", err)
		equal(t, "token", got, exporters.Token{ID: a.ID, Name: "ci ☃", Scopes: []string{"a", "b"}, Created: 5, LastUsed: want})
	}
	f(10*minute, 10*minute)
	f(10*minute+1, 10*minute)
	f(12*minute, 12*minute)
	all, err := s.Tokens(ctx)
	noError(t, "Tokens", err)
	if len(all) != 2 || all[0].ID != a.ID || all[1].Name != "other" {
		t.Errorf("Tokens = %+v, want both, oldest first", all)
	}
	noError(t, "RevokeToken", s.RevokeToken(ctx, a.ID))
	isError(t, "RevokeToken again", s.RevokeToken(ctx, a.ID), exporters.ErrNotFound)
	_, err = s.TokenByHash(ctx, [32]byte{1}, 13*minute)
	isError(t, "TokenByHash of a revoked one", err, exporters.ErrNotFound)
}

func artifactsCancelled(t *testing.T, s ArtifactStore) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, f := range map[string]func() error{
		"PutRelease":      func() error { _, err := s.PutRelease(ctx, "v", exporters.ReleaseChange{}, 1); return err },
		"Releases":        func() error { _, err := s.Releases(ctx, 0, 0, 1); return err },
		"MissingChunks":   func() error { _, err := s.MissingChunks(ctx, []string{sha('a')}, 1); return err },
		"PutAssembly":     func() error { return s.PutAssembly(ctx, exporters.Assembly{Checksum: sha('a')}, 0) },
		"ClaimAssembly":   func() error { _, err := s.ClaimAssembly(ctx, 1, 2); return err },
		"PutBundle":       func() error { return s.PutBundle(ctx, bundle('a', 1), nil) },
		"FilesByURL":      func() error { _, err := s.FilesByURL(ctx, 1, "v", "", []string{"x"}); return err },
		"TokenByHash":     func() error { _, err := s.TokenByHash(ctx, [32]byte{}, 1); return err },
		"ExpireArtifacts": func() error { _, _, err := s.ExpireArtifacts(ctx, 1, 2, 1, nil); return err },
	} {
		if err := f(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: got error %v, want %v", name, err, context.Canceled)
		}
	}
}

// ReadArtifact checks reading files in chunks from a blob store.
func ReadArtifact(t *testing.T, s exporters.Blobs) {
	ctx := testContext(t)
	for _, c := range "abc" {
		noError(t, "Put", s.Put(ctx, exporters.ChunkKey(sha(byte(c))), bytes.Repeat([]byte(string(c)), 4)))
	}
	f := func(want string, size, limit int64, chunks ...string) {
		t.Helper()
		got, err := exporters.ReadArtifact(ctx, s, exporters.ArtifactFile{Size: size, Chunks: chunks}, limit)
		if err != nil || string(got) != want {
			t.Errorf("ReadArtifact(%d chunks) = %q, %v; want %q", len(chunks), got, err, want)
		}
	}
	f("", 0, 100)
	f("aaaa", 4, 4, sha('a'))
	f("aaaabbbbcccc", 12, 12, sha('a'), sha('b'), sha('c'))
	_, err := exporters.ReadArtifact(ctx, s, exporters.ArtifactFile{Size: 12, Chunks: []string{sha('a'), sha('b')}}, 11)
	isError(t, "ReadArtifact beyond the limit", err, exporters.ErrTooLarge)
	_, err = exporters.ReadArtifact(ctx, s, exporters.ArtifactFile{Size: 2, Chunks: []string{sha('a'), sha('b')}}, 7)
	isError(t, "ReadArtifact of a file that says it is shorter", err, exporters.ErrTooLarge)
	_, err = exporters.ReadArtifact(ctx, s, exporters.ArtifactFile{Size: 8, Chunks: []string{sha('a'), sha('d')}}, 100)
	isError(t, "ReadArtifact with a chunk gone", err, exporters.ErrNotFound)
}
