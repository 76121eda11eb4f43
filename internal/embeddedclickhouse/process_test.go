package embeddedclickhouse

import (
	"testing"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

func TestClientInsertsAndSelects(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	c := dial(t, p)
	run(t, c, "CREATE TABLE t (id UInt64, name LowCardinality(String)) ENGINE = MergeTree ORDER BY id")
	var id proto.ColUInt64
	name := new(proto.ColStr).LowCardinality()
	for i := range uint64(1000) {
		id.Append(i)
		name.Append("name")
	}
	in := proto.Input{{Name: "id", Data: &id}, {Name: "name", Data: name}}
	if err := c.Do(testContext(t), ch.Query{Body: in.Into("t"), Input: in}); err != nil {
		t.Fatal(err)
	}
	if got := number(t, c, "SELECT sum(id) AS n FROM t WHERE name = 'name'"); got != 499500 {
		t.Fatalf("sum = %d; want 499500", got)
	}
}
