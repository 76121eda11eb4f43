// Sends HOPTRACE_COUNT errors one after the other by the Sentry SDK for Node.js
// while the project takes fewer, lets the SDK report what it dropped, and prints
// how many it was asked to send. The DSN comes in HOPTRACE_DSN.
import * as Sentry from "@sentry/node";

const count = Number(process.env.HOPTRACE_COUNT);
Sentry.init({
  dsn: process.env.HOPTRACE_DSN,
  release: "shop@2.0.0",
  // Sent twice a second; its default is a minute.
  clientReportFlushInterval: 500,
  // Sessions are another category.
  integrations: (all) => all.filter(({ name }) => name !== "ProcessSession" && name !== "Dedupe"),
});

for (let order = 0; order < count; order++) {
  Sentry.captureException(new Error(`order ${order} failed`));
  if (!(await Sentry.flush(20_000))) {
    throw new Error(`error ${order} was not sent within 20 s`);
  }
}
await new Promise((done) => setTimeout(done, 1500));
await Sentry.close(5_000);
console.log(JSON.stringify({ sdk: Sentry.SDK_VERSION, count }));
