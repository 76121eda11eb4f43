// Package testevents makes error events as SDKs send them, for benchmarks and
// tests of what lies behind the collector.
package testevents

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// Python is the JSON of an event of about 20 KB as the Python SDK sends it: a
// stack of 22 frames with source and variables, 30 breadcrumbs, modules, contexts
// and a record of Kafka. kind is the error: events of one kind are one issue;
// seed is what differs between two of them.
func Python(kind int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // no secret
	type object = map[string]any
	const frameCount, crumbCount, moduleCount = 22, 30, 60
	frames := make([]object, 0, frameCount)
	for f := range frameCount {
		frames = append(frames, object{
			"filename": fmt.Sprintf("payments/step_%d.py", f), "abs_path": fmt.Sprintf("/srv/app/payments/step_%d.py", f),
			"function": fmt.Sprintf("step_%d_%d", f, kind), "module": fmt.Sprintf("payments.step_%d", f), "lineno": 100 + f, "in_app": f%3 != 0,
			"pre_context":  []string{"    def step(self, order):", "        # the next of the chain", "        if order is None:", `            raise ValueError("order")`, ""},
			"context_line": "        return self.next.step(order)",
			"post_context": []string{"", "    def close(self):", "        self.next.close()", "", ""},
			"vars":         object{"self": fmt.Sprintf("<payments.Step object at 0x%x>", r.Uint64()), "order": object{"id": fmt.Sprintf("'A-%d'", r.IntN(1e6)), "total": "12.5", "n": f}},
		})
	}
	crumbs := make([]object, 0, crumbCount)
	for c := range crumbCount {
		crumbs = append(crumbs, object{
			"timestamp": 1795435198.25 + float64(c), "type": "http", "category": "httplib", "level": "info", "message": "GET /rates",
			"data": object{"url": "http://rates.example/v1", "status_code": 200, "method": "GET"},
		})
	}
	modules := object{}
	for m := range moduleCount {
		modules[fmt.Sprintf("package-%d", m)] = fmt.Sprintf("1.2.%d", m)
	}
	payload, err := json.Marshal(object{
		"event_id": fmt.Sprintf("%016x%016x", r.Uint64(), seed+1), "timestamp": "2026-11-30T11:00:00.123456Z", "platform": "python", "level": "error", "logger": "payments",
		"release": "payments@1.4.2", "environment": "production", "server_name": "node-7", "transaction": "/pay",
		"exception": object{"values": []object{{
			"type": fmt.Sprintf("CardDeclined%d", kind), "value": fmt.Sprintf("card of order %d declined", r.IntN(1e6)), "module": "payments.errors",
			"mechanism": object{"type": "django", "handled": false}, "stacktrace": object{"frames": frames},
		}}},
		"breadcrumbs": object{"values": crumbs}, "modules": modules,
		"tags": object{"region": "eu", "shard": fmt.Sprint(r.IntN(16)), "kafka.topic": "orders"},
		"user": object{"id": fmt.Sprint(r.IntN(1e5)), "email": "ann@example.com", "ip_address": "{{auto}}"},
		"request": object{
			"url": "https://shop.example/pay", "method": "POST", "headers": object{"User-Agent": "Mozilla/5.0", "Accept": "*/*"},
			"env": object{"REMOTE_ADDR": "10.1.2.3"},
		},
		"contexts": object{
			"runtime": object{"name": "CPython", "version": "3.11.2"},
			"trace":   object{"trace_id": fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()|1), "span_id": fmt.Sprintf("%016x", r.Uint64()|1)},
			"kafka":   object{"topic": "orders", "partition": r.IntN(12), "offset": r.IntN(1e9), "group": "billing", "key_hash": fmt.Sprintf("%016x", r.Uint64()), "age_ms": 12.5, "attempt": 1},
		},
		"sdk":   object{"name": "sentry.python", "version": "2.68.0", "integrations": []string{"django", "logging", "modules"}},
		"extra": object{"sys.argv": []string{"manage.py", "run"}},
	})
	if err != nil {
		panic(err) // nothing of it can fail
	}
	return payload
}
