import type { Status } from '../../api/types'

export interface Step {
  say: string
  lines: string
}

export interface Tab {
  name: string
  steps: Step[]
}

/** What a newcomer copies, with this server's own addresses in it. */
export function firstRunTabs(status: Status): Tab[] {
  const { otlpGrpc, otlpHttp } = status.endpoints
  const grpc = otlpGrpc || '127.0.0.1:4317'
  const http = otlpHttp || 'http://127.0.0.1:4318'
  const project = status.projects.find((p) => p.id === status.project) ?? status.projects[0]
  const dsn = project?.dsns[0]
  const usual = grpc === '127.0.0.1:4317'
  return [
    {
      name: 'Go with kafka-go',
      steps: [
        {
          say: 'Get the two modules.',
          lines: 'go get github.com/hoptrace/hoptrace/instrumentation github.com/hoptrace/hoptrace/instrumentation/otelkafkago',
        },
        {
          say: 'In main:',
          lines: `err := hoptrace.Init(hoptrace.Options{
	ServiceName:  "checkout",${usual ? '' : `\n	Endpoint:     "http://${grpc}",`}
	Integrations: []hoptrace.Integration{otelkafkago.Integration()},
})
if err != nil {
	log.Fatal(err)
}
defer hoptrace.Close()`,
        },
        {
          say: 'Around the writer and the reader that you have; every method is still there.',
          lines: `w := otelkafkago.NewWriter(&kafka.Writer{
	Addr: kafka.TCP("broker:9092"), Topic: "orders", RequiredAcks: kafka.RequireAll,
})
r := otelkafkago.NewReader(kafka.ReaderConfig{
	Brokers: []string{"broker:9092"}, Topic: "orders", GroupID: "billing",
})

msg, err := r.FetchMessage(ctx)
err = r.Process(ctx, msg, func(ctx context.Context, msg kafka.Message) error {
	return handle(ctx, msg)
})
err = r.CommitMessages(ctx, msg)`,
        },
      ],
    },
    {
      name: 'Any OTLP SDK',
      steps: [
        {
          say: 'In the environment of the program; every OpenTelemetry SDK reads it.',
          lines: `export OTEL_SERVICE_NAME=checkout
export OTEL_TRACES_EXPORTER=otlp
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_EXPORTER_OTLP_ENDPOINT=${http}`,
        },
        { say: 'Or over gRPC:', lines: `export OTEL_EXPORTER_OTLP_PROTOCOL=grpc\nexport OTEL_EXPORTER_OTLP_ENDPOINT=http://${grpc}` },
      ],
    },
    {
      name: 'Sentry SDK',
      steps: dsn
        ? [
            { say: 'In the environment of the program; every Sentry SDK reads it.', lines: `export SENTRY_DSN=${dsn}` },
            {
              say: 'Or in Go:',
              lines: `err := sentry.Init(sentry.ClientOptions{Dsn: "${dsn}"})
defer sentry.Flush(2 * time.Second)`,
            },
            { say: 'Or in Node:', lines: `import * as Sentry from '@sentry/node'\nSentry.init({ dsn: '${dsn}' })` },
          ]
        : [{ say: 'This server knows no project with a key, so it has no DSN to show. What it knows:', lines: 'curl -s ' + (typeof location === 'undefined' ? '' : location.origin) + '/api/v1/status' }],
    },
  ]
}
