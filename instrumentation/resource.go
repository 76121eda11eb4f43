package hoptrace

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// bootIDFile is a file of their own in tests.
var bootIDFile = messaging.BootIDFile

// newResource describes the program. What cannot be found out is left out. The
// caller's attributes win over the environment's, which win over what was found.
func newResource(o Options) *resource.Resource {
	attrs := []attribute.KeyValue{
		attribute.Int("process.pid", os.Getpid()),
		attribute.String("service.name", filepath.Base(os.Args[0])),
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		attrs = append(attrs, attribute.String("host.name", host))
	}
	if id := bootID(); id != "" {
		attrs = append(attrs, attribute.String(messaging.AttrBootID, id))
	}
	own := make([]attribute.KeyValue, 0, 3+len(o.ResourceAttributes))
	for _, kv := range []struct{ key, value string }{
		{"service.name", o.ServiceName},
		{"service.version", o.ServiceVersion},
		{"deployment.environment.name", o.Environment},
	} {
		if kv.value != "" {
			own = append(own, attribute.String(kv.key, kv.value))
		}
	}
	own = append(own, o.ResourceAttributes...)
	res, err := resource.New(context.Background(),
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attrs...),
		resource.WithFromEnv(),
		resource.WithAttributes(own...),
	)
	if res == nil || err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return resource.NewSchemaless(append(attrs, own...)...)
	}
	return res
}

// bootID is this host's.
func bootID() string { return messaging.BootID(bootIDFile) }
