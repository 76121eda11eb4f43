// Package integration holds the tests of the whole product: real processes of
// it, a real Apache Kafka, a real Postgres, real SDKs and a real browser. Each
// test prints which real part and version it ran against. What they need,
// scripts/install-test-parts installs; what is missing fails a test.
package integration
