package harness

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// Engine asks the store behind the product's back, by ClickHouse's protocol.
type Engine struct {
	Address string

	t      testing.TB
	client *ch.Client
}

// OpenEngine serves the data directory of a stopped process by `hoptrace
// clickhouse`, and connects.
func OpenEngine(t testing.TB, data string) *Engine {
	t.Helper()
	h := LaunchHoptrace(t, Options{Role: "clickhouse", Data: data})
	h.WaitReady(t, time.Minute)
	return DialEngine(t, h.EngineAddress)
}

// DialEngine connects to a server.
func DialEngine(t testing.TB, address string) *Engine {
	t.Helper()
	client, err := ch.Dial(t.Context(), ch.Options{Address: address, User: EngineUser, Password: EnginePassword, Database: "hoptrace"})
	if err != nil {
		t.Fatalf("cannot connect to the engine on %s: %v", address, err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return &Engine{Address: address, t: t, client: client}
}

// Table asks a SELECT and gives its rows as text. Columns must be strings or
// whole numbers.
func (e *Engine) Table(query string) [][]string {
	e.t.Helper()
	var (
		rows    [][]string
		results proto.Results
		fault   error
	)
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	err := e.client.Do(ctx, ch.Query{
		Body:   query,
		Result: results.Auto(),
		OnResult: func(_ context.Context, b proto.Block) error {
			first := len(rows)
			for range b.Rows {
				rows = append(rows, make([]string, len(results)))
			}
			for i, column := range results {
				for row := range b.Rows {
					text, err := cell(column.Data, row)
					if err != nil {
						fault = fmt.Errorf("column %s: %w", column.Name, err)
						return fault
					}
					rows[first+row][i] = text
				}
			}
			for _, column := range results {
				column.Data.Reset()
			}
			return nil
		},
	})
	if err != nil {
		e.t.Fatalf("cannot ask the engine %q: %v", query, err)
	}
	return rows
}

func cell(data proto.ColResult, row int) (string, error) {
	if auto, ok := data.(*proto.ColAuto); ok {
		data = auto.Data.(proto.ColResult)
	}
	switch c := data.(type) {
	case *proto.ColStr:
		return c.Row(row), nil
	case *proto.ColLowCardinality[string]:
		return c.Row(row), nil
	case *proto.ColUInt8:
		return strconv.FormatUint(uint64(c.Row(row)), 10), nil
	case *proto.ColUInt32:
		return strconv.FormatUint(uint64(c.Row(row)), 10), nil
	case *proto.ColUInt64:
		return strconv.FormatUint(c.Row(row), 10), nil
	case *proto.ColInt32:
		return strconv.FormatInt(int64(c.Row(row)), 10), nil
	case *proto.ColInt64:
		return strconv.FormatInt(c.Row(row), 10), nil
	}
	return "", fmt.Errorf("the harness does not read type %s (%T)", data.Type(), data)
}

// Number asks a SELECT of one whole number.
func (e *Engine) Number(query string) int64 {
	e.t.Helper()
	rows := e.Table(query)
	if len(rows) != 1 || len(rows[0]) != 1 {
		e.t.Fatalf("%q gave %d rows, want one number", query, len(rows))
	}
	n, err := strconv.ParseInt(rows[0][0], 10, 64)
	if err != nil {
		e.t.Fatalf("%q: %v", query, err)
	}
	return n
}

// Version is the engine's own.
func (e *Engine) Version() string {
	e.t.Helper()
	return e.Table("SELECT version()")[0][0]
}
