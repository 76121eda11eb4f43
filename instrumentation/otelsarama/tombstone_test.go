package otelsarama

import (
	"testing"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestAMessageIsATombstoneAsSaramaWritesIt(t *testing.T) {
	for _, tc := range []struct {
		value sarama.Encoder
		want  bool
	}{
		{nil, true},
		{sarama.ByteEncoder(nil), true}, // written as null
		{sarama.ByteEncoder{}, false},
		{sarama.StringEncoder(""), false},
	} {
		var sent messaging.Sent
		describeSent(&sent, &sarama.ProducerMessage{Value: tc.value})
		if sent.Tombstone != tc.want {
			t.Errorf("a value %#v: tombstone %v; want %v", tc.value, sent.Tombstone, tc.want)
		}
	}
}
