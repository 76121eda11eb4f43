package main

import "errors"

// role is what one process does.
type role struct {
	name                                  string
	broker, engine                        bool // the embedded ones, unless an address is set
	collector, pipeline, web, printConfig bool
}

var (
	roles = map[string]role{
		"all":        {name: "all", broker: true, engine: true, collector: true, pipeline: true, web: true},
		"collector":  {name: "collector", collector: true},
		"pipeline":   {name: "pipeline", pipeline: true},
		"web":        {name: "web", web: true},
		"clickhouse": {name: "clickhouse", engine: true},
	}
	// roleConfig is `hoptrace config`: the values are checked, not a role's needs.
	roleConfig = role{name: "config", printConfig: true}
	// roleTopics is `hoptrace topics`, which needs brokers at most, and finds
	// the embedded one by itself.
	roleTopics = role{name: "topics", printConfig: true}
	// roleTokens is `hoptrace tokens`, which needs the metadata store only.
	roleTokens = role{name: "tokens", printConfig: true}
)

// needs lists what the role cannot start without and is not set.
func (r role) needs(s *settings) (faults []error) {
	if r.name == "clickhouse" && s.ClickHouse.Password == "" {
		return []error{errors.New("clickhouse.password: is empty; choose the password that other processes must give (HOPTRACE_CLICKHOUSE_PASSWORD)")}
	}
	if r.name == "all" || r.name == "clickhouse" || r.printConfig {
		return nil
	}
	if (r.collector || r.pipeline) && len(s.Kafka.Brokers) == 0 {
		faults = append(faults, errors.New("kafka.brokers: is empty; this role apart needs the addresses of the brokers (--kafka.brokers broker-1:9092)"))
	}
	if (r.pipeline || r.web) && s.ClickHouse.Address == "" {
		faults = append(faults, errors.New("clickhouse.address: is empty; this role apart needs a server, or `hoptrace clickhouse` on this machine (--clickhouse.address 127.0.0.1:9000)"))
	}
	if s.Metadata.DSN == "" {
		faults = append(faults, errors.New("metadata.dsn: is empty; roles apart need a store that they share (--metadata.dsn postgres://… or sqlite:/shared/path)"))
	}
	if (r.pipeline || r.web) && s.Blobs.Dir == "" {
		faults = append(faults, errors.New("blobs.dir: is empty; pipeline and web apart need a directory that they share (--blobs.dir /shared/path)"))
	}
	return faults
}
