// kafkajs under the Sentry SDK for Node.js, as its users set it up. Prints the
// ids of the spans that the SDK made, since it sends them in Sentry's own form,
// the event that it sent from inside the first order, and the one of the first
// record that it read.
import { createRequire } from "node:module";
import * as Sentry from "@sentry/node";
import { need, relay } from "./relay.mjs";

Sentry.init({
  dsn: need("HOPTRACE_DSN"),
  release: "shop@2026.11.5",
  environment: "integration",
  tracesSampleRate: 1,
});
const spans = [];
Sentry.getClient().on("spanEnd", (span) => {
  const { trace_id, span_id, parent_span_id, name, attributes } = Sentry.spanToJSON(span);
  spans.push({
    traceId: trace_id,
    spanId: span_id,
    parentId: parent_span_id ?? "",
    name,
    kind: attributes["sentry.kind"] ?? "internal",
    service: need("HOPTRACE_SERVICE"),
    attributes: Object.entries(attributes).map(([key, value]) => ({ key, value: String(value) })),
  });
});

const require = createRequire(import.meta.url);
const kafkajs = (await import("kafkajs")).default;
const version = (name) => `${name} ${require(`${name}/package.json`).version}`;

const ids = (span) => {
  const { traceId, spanId } = span.spanContext();
  return { traceId, spanId };
};
let event, failed;
const seen = await relay({
  kafkajs,
  clientId: need("HOPTRACE_SERVICE"),
  inSpan: (name, work) =>
    Sentry.startNewTrace(() =>
      Sentry.startSpan({ name, op: "function" }, async (span) => {
        await work(ids(span));
        event ??= Sentry.captureException(new Error("the checkout was slow"));
      }),
    ),
  activeSpan: () => {
    const span = Sentry.getActiveSpan();
    if (!span) {
      return {};
    }
    // The handler of the first record fails.
    failed ??= { event: Sentry.captureException(new Error("the order cannot be read")), ...ids(span) };
    return ids(span);
  },
});
if (!(await Sentry.flush(20_000))) {
  throw new Error("the event was not sent within 20 s");
}
console.log(JSON.stringify({ ...seen, spans, event, failed, parts: ["kafkajs", "@sentry/node"].map(version) }));
await Sentry.close(5_000);
