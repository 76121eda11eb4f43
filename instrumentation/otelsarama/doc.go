// Package otelsarama instruments github.com/IBM/sarama: producers, consumers
// and consumer groups.
package otelsarama
