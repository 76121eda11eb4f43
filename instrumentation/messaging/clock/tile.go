package clock

// Part is one of the parts that a message's way consists of, in time order.
type Part uint8

// The parts. Each begins where the one before ends.
const (
	BatchQueue Part = iota // handed to the client → produce request written
	Ack                    // written → appended to the broker's log
	Residence              // appended → fetch answer arrived; crosses clocks
	FetchQueue             // fetch answer arrived → handed to the application
	HandOff                // handed over → processing started; mostly zero
	Processing             // started → done
	numParts
)

// Times are the moments of one message's way in Unix nanoseconds, each on the
// clock of where it happened. Zero means unknown.
type Times struct {
	Enqueued, Written, Acked int64 // on the producer's host

	Appended int64 // LogAppendTime, whole milliseconds, on the broker; zero: the topic stamps CreateTime

	Fetched, Handed, Started, Done int64 // on the consumer's host
}

// Offsets are what is known of the clocks: the broker's minus that of each host,
// at the time of the message. SameHost says that producer and consumer ran on one
// host, so that nothing needs to be known.
type Offsets struct {
	Producer, Consumer Interval
	SameHost           bool
}

// Tiles are the parts of one message, laid on the consumer's clock by one realised
// offset, so that they sum to EndToEnd exactly when all are known. They are
// signed: nothing is clamped at zero.
type Tiles struct {
	Length [numParts]int64
	Known  [numParts]bool

	// EndToEnd is handed to the client → done.
	EndToEnd      int64
	EndToEndKnown bool

	// Offset is what was added to the producer's times to have them on the
	// consumer's clock: the middle of what is known.
	Offset      int64
	OffsetKnown bool

	// ResidenceRange and EndToEndRange hold the true lengths of Residence and of
	// EndToEnd: the error that comes from the clocks. All other parts but the border
	// between Ack and Residence are exact. A side that is not known is Below or Above.
	ResidenceRange, EndToEndRange Interval
}

// ResidenceLogAppend returns where the residence of a record lies that the broker
// stamped: from its LogAppendTime, whole milliseconds as nanoseconds, to the
// arrival of the fetch answer on the consumer's clock.
func ResidenceLogAppend(fetched, appended int64, consumer Interval) Interval {
	return Interval{
		minus(shift(consumer.Lo, fetched), appended+stampUnit, Below),
		minus(shift(consumer.Hi, fetched), appended, Above),
	}
}

// ResidenceCreate returns where the residence of a record lies that the broker did
// not stamp: it was appended between the times when its request was written and
// answered on the producer's clock. between is the consumer's clock minus the
// producer's, see [Between].
func ResidenceCreate(fetched, written, acked int64, between Interval) Interval {
	return Interval{
		minus(fetched, shift(between.Hi, acked), Below),
		minus(fetched, shift(between.Lo, written), Above),
	}
}

// shift moves one side of an interval; what is not known stays so.
func shift(side, by int64) int64 {
	if side == Below || side == Above {
		return side
	}
	return plus(side, by)
}

// Tile lays out the parts of one message. Whatever lacks a time or an offset is
// unknown; so is a time before 1970 or after 2116.
func Tile(t Times, o Offsets) Tiles {
	var out Tiles
	for _, at := range []*int64{&t.Enqueued, &t.Written, &t.Acked, &t.Appended, &t.Fetched, &t.Handed, &t.Started, &t.Done} {
		if *at <= 0 || *at > latest {
			*at = unknown
		}
	}
	between := Between(o.Producer, o.Consumer)
	if o.SameHost {
		between = Interval{} // exactly zero
		// Both bound the same offset.
		if both := o.Producer.intersect(o.Consumer); both.Lo <= both.Hi {
			o.Producer, o.Consumer = both, both
		}
	}
	if between.Known() && within(between.Middle()) {
		out.Offset, out.OffsetKnown = between.Middle(), true
	}
	moved := func(at int64) int64 {
		if at == unknown || !out.OffsetKnown {
			return unknown
		}
		return at + out.Offset
	}
	set := func(p Part, from, to int64) {
		if from != unknown && to != unknown {
			out.Length[p], out.Known[p] = to-from, true
		}
	}
	written, acked := moved(t.Written), moved(t.Acked)
	logged := logged(t, o, written, acked)
	set(BatchQueue, t.Enqueued, t.Written) // on one clock, known without an offset
	set(Ack, written, logged)
	set(Residence, logged, t.Fetched)
	set(FetchQueue, t.Fetched, t.Handed)
	set(HandOff, t.Handed, t.Started)
	set(Processing, t.Started, t.Done)
	if enqueued := moved(t.Enqueued); enqueued != unknown && t.Done != unknown {
		out.EndToEnd, out.EndToEndKnown = t.Done-enqueued, true
	}

	out.ResidenceRange, out.EndToEndRange = Unknown(), Unknown()
	if t.Fetched != unknown {
		if t.Appended != unknown {
			out.ResidenceRange = ResidenceLogAppend(t.Fetched, t.Appended, o.Consumer)
		}
		if t.Written != unknown && t.Acked != unknown {
			// Both hold the true length, so it is in what they have in common.
			both := out.ResidenceRange.intersect(ResidenceCreate(t.Fetched, t.Written, t.Acked, between))
			if both.Lo <= both.Hi {
				out.ResidenceRange = both
			}
		}
	}
	if t.Enqueued != unknown && t.Done != unknown {
		out.EndToEndRange = Interval{
			minus(t.Done, shift(between.Hi, t.Enqueued), Below),
			minus(t.Done, shift(between.Lo, t.Enqueued), Above),
		}
	}
	return out
}

// unknown stands for a time that is not known, inside this file: on the
// consumer's clock a producer's time may be any number, zero too.
const unknown = Below

// within is true of offsets that can be added to a time.
func within(offset int64) bool { return -latest <= offset && offset <= latest }

// logged returns when the record was appended, on the consumer's clock: the
// middle of its stamp's millisecond, kept between the times when its request was
// written and answered; without a stamp the answer's arrival, or the fetch's if
// that was before.
func logged(t Times, o Offsets, written, acked int64) int64 {
	if t.Appended == unknown || !o.Consumer.Known() || !within(o.Consumer.Middle()) {
		if acked == unknown || t.Fetched == unknown {
			return acked
		}
		return min(acked, t.Fetched)
	}
	at := t.Appended + stampUnit/2 - o.Consumer.Middle()
	if acked != unknown {
		at = min(at, acked)
	}
	if written != unknown {
		at = max(at, written)
	}
	return at
}
