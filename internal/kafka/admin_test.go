package kafka

import (
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestEnsureTopicsWaitsForATopicThatAnotherRoleMadeAMomentAgo(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SleepOutOfOrder())
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cfg := DefaultConfig()
	cfg.Brokers = cluster.ListenAddrs()
	a := admin(t, cfg)
	if err := a.EnsureTopics(t.Context(), topics.All()); err != nil {
		t.Fatal(err)
	}
	// The broker has made them, and for a moment does not know them.
	var asked atomic.Int32
	cluster.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if asked.Add(1) > 2 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range req.(*kmsg.DescribeConfigsRequest).Resources {
			one := kmsg.NewDescribeConfigsResponseResource()
			one.ResourceType, one.ResourceName, one.ErrorCode = r.ResourceType, r.ResourceName, kerr.UnknownTopicOrPartition.Code
			resp.Resources = append(resp.Resources, one)
		}
		return resp, nil, true
	})
	if err := a.EnsureTopics(t.Context(), topics.All()); err != nil {
		t.Errorf("EnsureTopics beside another role = %v, want nil", err)
	}
	if asked.Load() < 3 {
		t.Errorf("the broker was asked %d times: this test shows nothing", asked.Load())
	}
}
