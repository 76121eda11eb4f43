// Package embeddedclickhouse runs the ClickHouse engine on one machine
// without a ClickHouse server: the library libchdb, in a child process of the
// same binary, behind ClickHouse's native protocol on a private socket. A
// client such as ch-go cannot tell it from a server, so the exporters have
// one path for both.
//
// It is not a database for others: nothing outside this process can reach
// the socket, there is one user, and nothing is replicated. AggregateFunction
// columns and JSON or Dynamic objects cannot be inserted as blocks, totals
// and extremes are not sent, a FORMAT in a SELECT is not honoured, and the
// engine keeps no system log tables.
//
// The engine has a process of its own because an abort or an exhausted memory
// limit in it must not end a collector. [Process] is the parent's side. Every
// binary that uses it must call [IsChild] first in main.
package embeddedclickhouse

import (
	"errors"
	"fmt"
	"path/filepath"
)

// User is the one user of an embedded engine.
const User = "hoptrace"

// Database is the database that exists in a fresh engine.
const Database = "default"

// Config is what a person may say about the embedded engine.
type Config struct {
	// Dir holds everything that is kept. It is made when missing; one process
	// at a time may use it.
	Dir string

	// Library is the path of libchdb. Empty means that [FindLibrary] looks
	// for it.
	Library string

	// Password is what clients must give. Empty means a random one for each
	// [Process], which is right while only this process dials.
	Password string

	// MemoryLimit bounds the engine's memory in bytes; statements beyond it
	// fail with code 241. The process exceeds it by up to a third, because
	// the engine counts its allocations and not its pages.
	MemoryLimit int64

	// MarkCache bounds the bytes of index marks kept between statements. It
	// is part of MemoryLimit.
	MarkCache int64

	// MaxConnections bounds the clients' connections at once. Each holds a
	// session of the engine.
	MaxConnections int
}

// DefaultConfig suits one machine with 2 GB free; Dir is still to be set.
func DefaultConfig() Config {
	return Config{
		MemoryLimit:    1536 << 20,
		MarkCache:      64 << 20,
		MaxConnections: 64,
	}
}

// minMemoryLimit is what the engine needs to merge parts at all.
const minMemoryLimit = 256 << 20

// Validate names every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("no directory is set (clickhouse.dir)"))
	}
	if c.MemoryLimit < minMemoryLimit {
		faults = append(faults, fmt.Errorf("memory limit %d is below %d bytes", c.MemoryLimit, minMemoryLimit))
	}
	if c.MarkCache < 1<<20 || c.MarkCache > c.MemoryLimit/2 {
		faults = append(faults, fmt.Errorf("mark cache %d is not between 1 MiB and half the memory limit", c.MarkCache))
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1000 {
		faults = append(faults, fmt.Errorf("max connections %d is not between 1 and 1000", c.MaxConnections))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("embedded ClickHouse: %w", err)
	}
	return nil
}

// absolute gives the directory as the engine needs it: with a relative path
// and fsync it does not find its own files.
func (c Config) absolute() (string, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return "", fmt.Errorf("cannot find the directory %q: %w", c.Dir, err)
	}
	return dir, nil
}
