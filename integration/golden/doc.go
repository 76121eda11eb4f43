// Package golden captures what real Sentry SDKs send. Programs in five languages
// (the folders go, node, python, java and browser) fail in as many ways as
// programs do; a server takes their requests byte by byte, and two sets of files
// are made of them:
//
//   - pipeline/testdata/golden: single events with an index that says which of
//     them must be one issue. Tests of normalisation and grouping run over them.
//   - collector/testdata/captures: whole requests as they came, head and body.
//     A test of the collector replays them.
//
// The programs run again in each test and what they send is compared with the
// files, so an SDK that changes its shape is seen when its version is raised;
//
//	go test ./golden -update
//
// writes the files anew. Nothing of the machine may be in them: see [Anonymiser].
package golden
