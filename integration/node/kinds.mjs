// Sends each kind of item that the Sentry SDK for Node.js knows, one in an
// envelope where the SDK allows it, and prints the ids. The DSN comes in HOPTRACE_DSN.
import * as Sentry from "@sentry/node";

Sentry.init({
  dsn: process.env.HOPTRACE_DSN,
  release: "shop@2.0.0",
  environment: "integration",
  serverName: "web-1",
  tracesSampleRate: 1,
  enableLogs: true,
  clientReportFlushInterval: 500,
});
const told = { sdk: `sentry.javascript.node/${Sentry.SDK_VERSION}`, events: {} };

async function flush(what) {
  if (!(await Sentry.flush(20_000))) {
    throw new Error(`the ${what} was not sent within 20 s`);
  }
}

async function event(what, capture) {
  await Sentry.withScope(async (scope) => {
    scope.setTag("case", what);
    told.events[what] = capture(scope);
  });
  await flush(what);
}

class Declined extends Error {
  name = "Declined";
}

function charge(order) {
  throw new Declined(`card of order ${order} declined`);
}

function caught(work) {
  try {
    work();
  } catch (err) {
    return err;
  }
  throw new Error("the work should have failed");
}

await Sentry.startNewTrace(() =>
  Sentry.startSpan({ name: "pay", op: "queue.process" }, async (span) => {
    const { traceId, spanId } = span.spanContext();
    Object.assign(told, { trace: traceId, span: spanId });
    await event("error", () => Sentry.captureException(caught(() => charge(17))));
    await Sentry.startSpan({ name: "SELECT 1", op: "db.query" }, () => new Promise((done) => setTimeout(done, 2)));
    Sentry.logger.warn("order 17 is late", { order: 17 });
    await flush("log");
  }),
);
await flush("spans");
Sentry.metrics.count("orders", 3, { attributes: { shop: "eu" } });
await flush("metric");

await event("chained", () => {
  const bank = new Error("bank said no", { cause: caught(() => charge(18)) });
  return Sentry.captureException(new Error("cannot pay", { cause: bank }));
});
await event("message", () => Sentry.captureMessage("stock is low"));
await event("attachment", (scope) => {
  scope.addAttachment({ filename: "cart.json", contentType: "application/json", data: '{"lines":3}' });
  return Sentry.captureException(new Error("cart is broken"));
});
const schedule = { schedule: { type: "crontab", value: "*/5 * * * *" }, checkinMargin: 2, maxRuntime: 10, timezone: "UTC" };
told.checkIn = Sentry.captureCheckIn({ monitorSlug: "close-day-node", status: "in_progress" }, schedule);
await flush("check-in");
Sentry.captureCheckIn({ checkInId: told.checkIn, monitorSlug: "close-day-node", status: "ok", duration: 1 }, schedule);
await flush("check-in");
told.feedback = Sentry.captureFeedback({
  name: "Ada",
  email: "ada@example.com",
  message: "the button does nothing",
  associatedEventId: told.events.error,
});
await flush("feedback");
Sentry.startSession();
Sentry.captureSession();
await flush("session");
Sentry.endSession();
await flush("session");

const limited = process.env.HOPTRACE_LIMITED;
if (limited) {
  // The first is refused, the others the SDK drops and reports.
  for (let i = 0; i < 3; i++) {
    await event(limited, () => Sentry.captureException(new Error(`too many: ${i}`)));
  }
  await new Promise((done) => setTimeout(done, 1200));
  await flush("client report");
}
await Sentry.close(5_000);
console.log(JSON.stringify(told));
