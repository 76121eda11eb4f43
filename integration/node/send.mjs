// Sends two different errors, one of them twice, by the Sentry SDK for Node.js
// and prints the ids of the events. The DSN comes in HOPTRACE_DSN.
import * as Sentry from "@sentry/node";

const dsn = process.env.HOPTRACE_DSN;
if (!dsn) {
  throw new Error("set HOPTRACE_DSN to the project's DSN");
}
Sentry.init({
  dsn,
  release: "shop@2026.11.3",
  environment: "integration",
  tracesSampleRate: 1,
});

class StockEmpty extends Error {
  constructor(sku) {
    super(`nothing left of ${sku}`);
    this.name = "StockEmpty";
  }
}

function reserve(sku) {
  throw new StockEmpty(sku);
}

function capture(work, tags) {
  try {
    work();
  } catch (err) {
    return Sentry.captureException(err, { tags });
  }
  throw new Error("the work should have failed");
}

// The SDK drops an event that equals the one before it, so they alternate.
const events = [
  capture(() => reserve("sku-17"), { shop: "eu" }),
  capture(() => JSON.parse("{ broken"), { shop: "us" }),
  capture(() => reserve("sku-17"), { shop: "eu" }),
];

if (!(await Sentry.flush(20_000))) {
  throw new Error("the events were not sent within 20 s");
}
console.log(JSON.stringify({ sdk: Sentry.SDK_VERSION, events }));
await Sentry.close(5_000);
