package otelkafkago

import (
	"context"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// panics is a process hook that remembers what handlers panicked with.
type panics struct{ saw []any }

func (p *panics) Start(ctx context.Context, _ *messaging.Processing) context.Context { return ctx }
func (p *panics) End(_ context.Context, _ *messaging.Processing, _ error, panicked any) {
	p.saw = append(p.saw, panicked)
}

func TestHooksSeeThePanicsOfAProcessorsHandlers(t *testing.T) {
	hook := &panics{}
	defer messaging.AddProcessHook(hook)()
	p := NewProcessor("billing", "", WithTracerProvider(record()))
	msg := kafka.Message{Topic: "orders", Value: []byte("x")}
	for _, run := range []func(){
		func() {
			_ = p.Process(context.Background(), msg, func(context.Context, kafka.Message) error { panic("one") })
		},
		func() {
			_ = p.ProcessBatch(context.Background(), []kafka.Message{msg, msg}, func(context.Context, []kafka.Message) error { panic("many") })
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not go on")
				}
			}()
			run()
		}()
	}
	if len(hook.saw) != 2 || hook.saw[0] != "one" || hook.saw[1] != "many" {
		t.Errorf("the hook saw %v; want one and many", hook.saw)
	}
}
