package metadata

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Component trees are most of what an issue takes: 9 KB of JSON for a stack of 22
// frames, which compresses to a tenth. A column of text holds them packed: packed,
// then base64 of zstd. What does not begin so is JSON, as older versions wrote it.
const (
	packed       = "z1:"
	minPackBytes = 256
)

var treeCodec = sync.OnceValues(func() (*zstd.Encoder, *zstd.Decoder) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(64<<10), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // of the options above
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxGrouping))
	if err != nil {
		panic(err)
	}
	return enc, dec
})

// packTree gives a tree's text for its column.
func packTree(tree []byte) string {
	if len(tree) > maxGrouping {
		return ""
	}
	if len(tree) < minPackBytes {
		return text(string(tree))
	}
	enc, _ := treeCodec()
	small := enc.EncodeAll(bytes.ToValidUTF8(tree, []byte("\uFFFD")), nil)
	return packed + base64.RawStdEncoding.EncodeToString(small)
}

// unpackTree gives back the JSON.
func unpackTree(column string) ([]byte, error) {
	rest, is := strings.CutPrefix(column, packed)
	if !is {
		return []byte(column), nil
	}
	small, err := base64.RawStdEncoding.DecodeString(rest)
	if err != nil {
		return nil, fmt.Errorf("the component tree is damaged: %w", err)
	}
	_, dec := treeCodec()
	tree, err := dec.DecodeAll(small, nil)
	if err != nil {
		return nil, fmt.Errorf("the component tree is damaged: %w", err)
	}
	return tree, nil
}
