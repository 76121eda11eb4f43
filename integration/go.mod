module github.com/hoptrace/hoptrace/integration

go 1.26.0

replace (
	github.com/hoptrace/hoptrace => ../
	github.com/hoptrace/hoptrace/instrumentation => ../instrumentation
	github.com/hoptrace/hoptrace/instrumentation/messaging => ../instrumentation/messaging
	github.com/hoptrace/hoptrace/instrumentation/otelfranz => ../instrumentation/otelfranz
	github.com/hoptrace/hoptrace/instrumentation/otelkafkago => ../instrumentation/otelkafkago
	github.com/hoptrace/hoptrace/instrumentation/otelsarama => ../instrumentation/otelsarama
	github.com/hoptrace/hoptrace/instrumentation/sentrykafka => ../instrumentation/sentrykafka
)

require (
	github.com/ClickHouse/ch-go v0.74.0
	github.com/IBM/sarama v1.60.2
	github.com/andybalholm/brotli v1.2.8
	github.com/getsentry/sentry-go v0.50.0
	github.com/hoptrace/hoptrace/instrumentation v0.0.0
	github.com/hoptrace/hoptrace/instrumentation/messaging v0.0.0
	github.com/hoptrace/hoptrace/instrumentation/otelfranz v0.0.0
	github.com/hoptrace/hoptrace/instrumentation/otelkafkago v0.0.0
	github.com/hoptrace/hoptrace/instrumentation/otelsarama v0.0.0
	github.com/hoptrace/hoptrace/instrumentation/sentrykafka v0.0.0
	github.com/klauspost/compress v1.20.3
	github.com/segmentio/kafka-go v0.4.51
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kadm v1.19.0
	go.opentelemetry.io/otel v1.46.0
	go.opentelemetry.io/otel/trace v1.46.0
	go.opentelemetry.io/proto/otlp v1.11.1
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/davecgh/go-spew v1.1.2-0.20180830191138-d8f796af33cc // indirect
	github.com/dmarkham/enumer v1.6.3 // indirect
	github.com/eapache/go-resiliency v1.7.0 // indirect
	github.com/go-faster/city v1.0.1 // indirect
	github.com/go-faster/errors v0.7.1 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/grpc-ecosystem/grpc-gateway/v2 v2.31.0 // indirect
	github.com/hashicorp/go-uuid v1.0.3 // indirect
	github.com/hashicorp/go-version v1.9.0 // indirect
	github.com/jcmturner/aescts/v2 v2.0.0 // indirect
	github.com/jcmturner/dnsutils/v2 v2.0.0 // indirect
	github.com/jcmturner/gofork v1.7.6 // indirect
	github.com/jcmturner/gokrb5/v8 v8.4.4 // indirect
	github.com/jcmturner/rpc/v2 v2.0.3 // indirect
	github.com/pascaldekloe/name v1.0.1 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/rcrowley/go-metrics v0.0.0-20250401214520-65e299d6c5c9 // indirect
	github.com/segmentio/asm v1.2.1 // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel/exporters/otlp/otlptrace v1.46.0 // indirect
	go.opentelemetry.io/otel/metric v1.46.0 // indirect
	go.opentelemetry.io/otel/sdk v1.46.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	golang.org/x/tools v0.50.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20260928230214-8a89bd6388cc // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260928230214-8a89bd6388cc // indirect
)
