package peers

import "slices"

// Requirement levels of OpenTelemetry's conventions.
const (
	required    = "required"
	conditional = "conditionally required"
	recommended = "recommended"
	optIn       = "opt-in"
)

// convention is one attribute of the messaging and Kafka conventions, v1.43.
type convention struct {
	key        string
	level      string
	when       string   // of a conditional one
	operations []string // operation types; empty: all
	// needed tells whether the condition is true of a span of the operation type,
	// with so many links, in a scenario. Nil means that it cannot be here, or is not to be told.
	needed func(f Facts, operation string, links int) bool
	// why says why ours leaves it out, where it does.
	why string
}

var (
	allOps     = []string{"create", "send", "receive", "process", "settle"}
	consumeOps = []string{"receive", "process", "settle"}
	clientOps  = []string{"send", "receive", "process", "settle"}
	wireOps    = []string{"send", "receive", "settle"}
	bodyOps    = []string{"create", "send", "receive", "process"}
)

func always(Facts, string, int) bool { return true }

// of tells that a fact is one of this operation's spans.
func (f Facts) of(operation string) bool { return f.Operation == "" || f.Operation == operation }

// conventions in the order of the document.
var conventions = []convention{
	{key: "messaging.system", level: required, operations: allOps, needed: always},
	{key: "messaging.operation.name", level: required, operations: allOps, needed: always},
	{key: "messaging.operation.type", level: conditional, when: "if applicable", operations: allOps, needed: always},
	{key: "messaging.destination.name", level: conditional, when: "one message, or the same for all", operations: allOps, needed: always},
	{key: "messaging.destination.template", level: conditional, when: "if available", operations: allOps, why: "a Kafka client knows no template of a topic's name"},
	{key: "messaging.destination.anonymous", level: conditional, when: "if true", operations: allOps, why: "no topic of Kafka is anonymous"},
	{key: "messaging.destination.temporary", level: conditional, when: "if true", operations: allOps, why: "no topic of Kafka is temporary"},
	{key: "messaging.consumer.group.name", level: conditional, when: "if there is one", operations: consumeOps, needed: func(f Facts, _ string, _ int) bool { return f.Group }},
	{key: "messaging.batch.message_count", level: conditional, when: "several messages in one operation", operations: clientOps, needed: func(_ Facts, op string, links int) bool { return links > 1 && op != "receive" }},
	{key: "messaging.kafka.message.tombstone", level: conditional, when: "if true", operations: bodyOps, needed: func(f Facts, _ string, _ int) bool { return f.Tombstone }},
	{key: "error.type", level: conditional, when: "if it failed", operations: allOps, needed: func(f Facts, op string, _ int) bool { return f.Failed && f.of(op) }},
	{key: "messaging.destination.partition.id", level: recommended, operations: allOps},
	{key: "messaging.kafka.offset", level: recommended, operations: allOps},
	{key: "messaging.client.id", level: recommended, operations: clientOps},
	{key: "messaging.kafka.message.key", level: recommended, operations: bodyOps, why: "keys name persons and accounts; their hash is told, and the key by an option (WithMessageKey)"},
	{key: "messaging.message.id", level: recommended, operations: allOps, why: "a record of Kafka has none but its partition and offset"},
	{key: "messaging.message.conversation_id", level: recommended, operations: allOps, why: "a record of Kafka has none"},
	{key: "server.address", level: recommended, operations: allOps, why: "the partition's leader, where the client shows which broker it spoke to"},
	{key: "server.port", level: recommended, operations: allOps, why: "with server.address"},
	{key: "network.peer.address", level: recommended, operations: wireOps, why: "it is the address that server.address tells"},
	{key: "network.peer.port", level: recommended, operations: wireOps, why: "with network.peer.address"},
	{key: "messaging.message.body.size", level: optIn, operations: bodyOps},
	{key: "messaging.message.envelope.size", level: optIn, operations: bodyOps, why: "it is not known before compression and batching"},
}

func (c *convention) applies(operation string) bool { return slices.Contains(c.operations, operation) }
