package otelkafkago

import (
	"testing"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestEachRecordIsMatchedToTheFetchThatBroughtIt(t *testing.T) {
	all := newFetchLog()
	log := all.partition(topicPartition{"orders", 0})
	var asked []int64
	for _, offset := range []int64{0, 10, 20} {
		f := log.ask(offset, now(), messaging.Server{})
		f.asked = int64(len(asked) + 1)
		asked = append(asked, f.asked)
		log.answer(f, f.asked+100)
	}
	log.ask(30, now(), messaging.Server{}).asked = 4 // not answered
	f := func(offset, wantAsked int64) {
		t.Helper()
		d := log.match(offset)
		if a, answered := d.asked, d.answered; a != wantAsked || wantAsked != 0 && answered != wantAsked+100 {
			t.Errorf("record %d: asked %d, answered %d; want %d", offset, d.asked, d.answered, wantAsked)
		}
	}
	f(0, 1)
	f(9, 1)
	f(10, 2)
	f(25, 3)
	f(35, 3) // the next fetch has not been answered
	f(5, 0)  // forgotten: it was handed out long ago
	f(99, 3) // still the newest answer
	f(-1, 0) // no fetch asked for it
	if n := len(log.fetches); n != 2 {
		t.Errorf("%d fetches are remembered; want the newest answer and the question", n)
	}
	// Redelivered from an earlier offset: the newer fetch brought it.
	again := log.ask(20, now(), messaging.Server{})
	again.asked = 50
	log.answer(again, 150)
	f(25, 50)
	if a := all.partition(topicPartition{"orders", 1}).match(25).asked; a != 0 {
		t.Errorf("another partition's record was asked at %d", a)
	}
}

func TestOnceLostEveryLaterTimeIsUnknown(t *testing.T) {
	all := newFetchLog()
	log := all.partition(topicPartition{"orders", 0})
	all.giveUp()
	// Another connection that is understood: its records cannot be told from
	// those of the one that is not.
	log.answer(log.ask(0, now(), messaging.Server{}), now())
	if d := log.match(0); d != (delivered{}) {
		t.Errorf("%+v; want unknown", d)
	}
}
