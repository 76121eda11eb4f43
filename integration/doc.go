// Package integration holds the tests of the whole product: real processes of
// it, a real Apache Kafka, a real Postgres, real SDKs and a real browser. Each
// test prints which real part and version it ran against. What they need,
// scripts/install-test-parts installs; what is missing fails a test. They need
// Linux and take about nine minutes on two cores.
//
// By default they build what they test. The environment may say otherwise:
//
//	HOPTRACE_BIN        a built hoptrace (with the UI, for TestUI)
//	ORDERS_BIN          a built example
//	HOPTRACE_ARTEFACTS  where logs and screenshots are kept (artefacts/)
//	CHROMIUM            the browser, when it is not found on the PATH
package integration
