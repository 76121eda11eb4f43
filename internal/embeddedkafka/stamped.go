package embeddedkafka

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// kfake writes its own time into a batch that asks for it (LogAppendTime) after it has
// checked the batch's sum, and keeps the sum as it was. When it loads the log it then
// takes that batch for corrupt, and cuts off all that lies behind it. So the sums of
// such batches are put right before it loads them. What is corrupt besides, it finds.

// Of a batch of format 2, in bytes from its begin: see Kafka's RecordBatch.
const (
	batchLengthAt   = 8  // of what follows the length
	batchBodyAt     = 12 // what the length counts
	batchMagicAt    = 16
	batchSumAt      = 17
	batchSummedAt   = 21 // the sum is of all from here on: first the attributes
	batchHead       = 23
	batchMagic      = 2
	batchStampedBit = 0x0008
	mostStamped     = 64 << 20 // of a batch that is looked at: more than any request may have
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// correctSums puts right the sums of the batches in a segment file that the broker has
// stamped, and tells how many were wrong.
func correctSums(path string) (corrected int, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("cannot open a segment of the broker's log: %w", err)
	}
	defer f.Close()
	fail := func(err error) (int, error) {
		return corrected, fmt.Errorf("cannot put the sums of %q right: %w", path, err)
	}
	in := bufio.NewReaderSize(f, 256<<10)
	for at := int64(0); ; {
		head, err := in.Peek(batchHead)
		if errors.Is(err, io.EOF) {
			break // the end, or what a crash left of a batch
		}
		if err != nil {
			return fail(err)
		}
		size := batchBodyAt + int64(int32(binary.BigEndian.Uint32(head[batchLengthAt:]))) //nolint:gosec // signed, as Kafka has it
		if size < batchHead || head[batchMagicAt] != batchMagic {
			break
		}
		if binary.BigEndian.Uint16(head[batchSummedAt:])&batchStampedBit == 0 || size > mostStamped {
			if _, err := in.Discard(int(size)); err != nil {
				break
			}
			at += size
			continue
		}
		batch := make([]byte, size)
		if _, err := io.ReadFull(in, batch); err != nil {
			break
		}
		if sum := crc32.Checksum(batch[batchSummedAt:], castagnoli); sum != binary.BigEndian.Uint32(batch[batchSumAt:]) {
			if _, err := f.WriteAt(binary.BigEndian.AppendUint32(nil, sum), at+batchSumAt); err != nil {
				return fail(err)
			}
			corrected++
		}
		at += size
	}
	if corrected > 0 {
		if err := f.Sync(); err != nil {
			return fail(err)
		}
	}
	return corrected, nil
}
