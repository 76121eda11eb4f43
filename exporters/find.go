package exporters

import (
	"context"

	"github.com/hoptrace/hoptrace/schemas"
)

// FindReader looks things up by what people have in hand.
type FindReader interface {
	// FindRecords lists the records of which a row matches, by the end of its last
	// such row, newest first. Of more than MaxFoundRows matching rows the newest are
	// looked at. A row that was stored twice counts once.
	FindRecords(ctx context.Context, q FindQuery) ([]FoundRecord, error)
	// FindSpans lists spans that match, by their start, newest first: by their own
	// id, or by the attribute that tells a message id or a conversation in any
	// generation of the conventions. Keys match none. It finds what made no row.
	FindSpans(ctx context.Context, q FindQuery) ([]schemas.Span, error)
	// NearRecords gives a record and those of the same partition that are stored with
	// the next lower and the next higher offset.
	NearRecords(ctx context.Context, project uint64, record schemas.RecordRef) (NearRecords, error)
}

// FindBy is what is looked for.
type FindBy string

// What FindQuery looks by.
const (
	FindByKey          FindBy = "key"          // Keys: any of these hashes
	FindByMessageID    FindBy = "id"           // Text
	FindByConversation FindBy = "conversation" // Text
	FindBySpan         FindBy = "span"         // Span: the record carried it; the span itself
)

// MaxFoundRows bounds the rows that FindRecords makes records of.
const MaxFoundRows = 100_000

// FindQuery selects by one thing.
type FindQuery struct {
	Project uint64
	Range   Range // of the row's end, or the span's start
	By      FindBy
	Keys    []uint64
	Text    string
	Span    schemas.SpanID
	Skip    int // of the list
	Limit   int // 1 to 500; zero means 50
}

// FoundRecord is one record, or one row whose record nobody told.
type FoundRecord struct {
	Record      schemas.RecordRef // partition and offset are schemas.Unknown when not told
	First, Last int64             // begin of the first row and end of the last, Unix ns
	Span        schemas.SpanRef   // of the producer's row, or else of the first reader's
	Sent        bool              // a producer's row is among them
	Producer    string            // service
	Groups      []string          // that read it, sorted, at most 10
	Reads       uint64
	Failed      bool
	KeyHash     uint64
	MessageID   string
}

// NearRecords are a record and its neighbours; nil where none is stored.
type NearRecords struct {
	Record, Before, After *FoundRecord
	// Topic tells whether any row of the topic is stored.
	Topic bool
}
