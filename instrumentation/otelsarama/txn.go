package otelsarama

import (
	"context"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// CommitTxn is sarama.SyncProducer.CommitTxn, with a settle span.
func (p *SyncProducer) CommitTxn() error { return p.in.commitTxn(p.SyncProducer.CommitTxn) }

// CommitTxn is sarama.AsyncProducer.CommitTxn, with a settle span.
func (a *AsyncProducer) CommitTxn() error { return a.in.commitTxn(a.AsyncProducer.CommitTxn) }

func (in *Instrumentation) commitTxn(commit func() error) error {
	start := in.core.Now()
	err := commit()
	in.committedTxn(start, err)
	return err
}

func (in *Instrumentation) committedTxn(start int64, err error) {
	defer in.core.Guard()
	if !messaging.Enabled() {
		return
	}
	s := &messaging.Settlement{Start: start, End: in.core.Now(), Err: err}
	if err != nil {
		s.ErrorType = errorType(err)
	}
	in.consumer("").Settle(context.Background(), s)
}
