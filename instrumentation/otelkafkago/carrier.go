package otelkafkago

import "github.com/segmentio/kafka-go"

// fixedSize is what kafka-go counts for a message beside its key, value and
// headers when it compares with BatchBytes, rounded up.
const fixedSize = 4 + 1 + 1 + 4 + 4 + 8 + 5

// messageSize is what kafka-go compares with BatchBytes, rounded up.
func messageSize(m *kafka.Message) int64 { return messageSizeWith(m, m.Headers) }

func messageSizeWith(m *kafka.Message, headers []kafka.Header) int64 {
	n := int64(fixedSize + len(m.Key) + len(m.Value))
	for i := range headers {
		n += int64(5 + len(headers[i].Key) + 5 + len(headers[i].Value))
	}
	return n
}

// headerCarrier lets any propagator read and write headers. Set never changes a
// header in place.
type headerCarrier struct{ headers []kafka.Header }

// Get returns the value of the last header with that key.
func (c *headerCarrier) Get(key string) string {
	for i := len(c.headers) - 1; i >= 0; i-- {
		if c.headers[i].Key == key {
			return string(c.headers[i].Value)
		}
	}
	return ""
}

// Set adds a header unless there is one with that key already.
func (c *headerCarrier) Set(key, value string) {
	for i := range c.headers {
		if c.headers[i].Key == key {
			return
		}
	}
	c.headers = append(c.headers[:len(c.headers):len(c.headers)], kafka.Header{Key: key, Value: []byte(value)})
}

// Keys lists the header keys.
func (c *headerCarrier) Keys() []string {
	keys := make([]string, len(c.headers))
	for i := range c.headers {
		keys[i] = c.headers[i].Key
	}
	return keys
}
