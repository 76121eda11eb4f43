package messaging

import "time"

// ProducerFacts are settings of a producing client that findings are derived
// from. A zero field is not known.
type ProducerFacts struct {
	BatchTimeout time.Duration // how long the client waits to fill a batch
	BatchSize    int           // messages
	BatchBytes   int64
	Acks         string // "none", "one", "all"
	Async        bool
	Compression  string
}

// ConsumerFacts are settings of a reading client that findings are derived from.
// A zero field is not known.
type ConsumerFacts struct {
	QueueCapacity  int // records
	MinBytes       int
	MaxBytes       int
	MaxWait        time.Duration
	CommitInterval time.Duration
	SyncCommits    bool
}

type advisor struct{}

func (c *Core) newAdvisor() *advisor { return &advisor{} }

func (*advisor) sent(*Producer, string, int64, int64, int, *Outcome) {}
func (*advisor) received(*Consumer, *Delivery)                       {}
func (*advisor) processed(*Consumer, *Delivery, int64, int64)        {}
func (*advisor) settled(*Consumer, *Settlement)                      {}
func (*advisor) rebalanced(*Consumer, string)                        {}
