// Package wire follows the Kafka protocol on the connections of a client and
// tells when the request that carried a record was written and answered. It is
// for clients whose own hooks do not tell that.
//
// It reads no record, changes no byte and knows no client. What it does not
// understand it passes on and counts; a time it did not see is absent.
package wire
