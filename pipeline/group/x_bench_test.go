package group

import (
	"strings"
	"testing"
)

func BenchmarkParameteriseOfVersion1(b *testing.B) {
	s := strings.Repeat(`cannot charge order 17 of ann@example.com: dial tcp 10.1.2.3:9092: timeout after 1m30.5s, id 6f9619ff-8b86-d011-b42d-00c04fc964ff; `, 3)
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		parameterise1(s)
	}
}
