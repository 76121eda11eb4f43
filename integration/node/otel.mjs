// kafkajs under OpenTelemetry for Node.js, as its users set it up. Prints the
// ids of the spans that it sent records in and that it processed records in.
import { createRequire } from "node:module";
import { trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { KafkaJsInstrumentation } from "@opentelemetry/instrumentation-kafkajs";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { need, relay } from "./relay.mjs";

const sdk = new NodeSDK({
  serviceName: need("HOPTRACE_SERVICE"),
  traceExporter: new OTLPTraceExporter({ url: `${need("HOPTRACE_OTLP")}/v1/traces` }),
  instrumentations: [new KafkaJsInstrumentation()],
});
sdk.start();

// The instrumentation sees what is required, not what is imported.
const require = createRequire(import.meta.url);
const kafkajs = require("kafkajs");
const version = (name) => `${name} ${require(`${name}/package.json`).version}`;

const ids = (span) => {
  const { traceId, spanId } = span.spanContext();
  return { traceId, spanId };
};
const seen = await relay({
  kafkajs,
  clientId: need("HOPTRACE_SERVICE"),
  inSpan: (name, work) =>
    trace.getTracer("shop").startActiveSpan(name, async (span) => {
      try {
        return await work(ids(span));
      } finally {
        span.end();
      }
    }),
  activeSpan: () => {
    const span = trace.getActiveSpan();
    return span ? ids(span) : {};
  },
});
await sdk.shutdown();
console.log(JSON.stringify({ ...seen, parts: ["kafkajs", "@opentelemetry/instrumentation-kafkajs", "@opentelemetry/sdk-node"].map(version) }));
