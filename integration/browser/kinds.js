// A page that sends each kind of item that the Sentry SDK for browsers knows and
// leaves the ids in window.told. With preflight=1 the SDK sends a header that
// makes the browser ask for permission first.
import * as Sentry from "@sentry/browser";

const settings = new URL(location.href).searchParams;
const told = { sdk: `sentry.javascript.browser/${Sentry.SDK_VERSION}`, events: {} };

Sentry.init({
  dsn: settings.get("dsn"),
  release: "shop@2.0.0",
  environment: "integration",
  integrations: [Sentry.browserTracingIntegration({ instrumentPageLoad: false })],
  tracesSampleRate: 1,
  enableLogs: true,
  transportOptions: {
    // Chromium fails requests that outlive the page once 64 KiB of them are on
    // their way, and one counts for a while after it was answered.
    fetchOptions: { keepalive: false },
    headers: settings.get("preflight") ? { "X-Requested-With": "XMLHttpRequest" } : {},
  },
  beforeSend(event) {
    // What the global handlers caught has no id that the page would know.
    told.events[event.tags?.case ?? "loose"] = event.event_id;
    return event;
  },
});

async function flush(what) {
  if (!(await Sentry.flush(20_000))) {
    throw new Error(`the ${what} was not sent within 20 s`);
  }
}

async function event(what, capture) {
  Sentry.getIsolationScope().setTag("case", what);
  await Sentry.withScope((scope) => capture(scope));
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

/** Lets work throw where nobody catches it, and waits until the SDK has sent that. */
function loose(work) {
  const caught = new Promise((resolve) => {
    Sentry.getClient().on("afterSendEvent", resolve);
  });
  setTimeout(work, 0);
  return caught;
}

await Sentry.startNewTrace(() =>
  Sentry.startSpan({ name: "pay", op: "ui.action", forceTransaction: true }, async (span) => {
    const { traceId, spanId } = span.spanContext();
    Object.assign(told, { trace: traceId, span: spanId });
    Sentry.getIsolationScope().setTag("case", "error");
    Sentry.captureException(caught(() => charge(17)));
    Sentry.logger.warn("order 17 is late", { order: 17 });
    Sentry.startInactiveSpan({ name: "draw", op: "ui.render" }).end();
  }),
);
await flush("spans");
Sentry.metrics.count("orders", 3, { attributes: { shop: "eu" } });
await flush("metric");

await event("chained", () => {
  const bank = new Error("bank said no", { cause: caught(() => charge(18)) });
  Sentry.captureException(new Error("cannot pay", { cause: bank }));
});
await event("message", () => Sentry.captureMessage("stock is low"));
await event("attachment", (scope) => {
  scope.addAttachment({ filename: "cart.json", contentType: "application/json", data: '{"lines":3}' });
  Sentry.captureException(new Error("cart is broken"));
});
await event("uncaught", () => loose(() => charge(19)));
await event("rejection", () => loose(() => void Promise.reject(new Declined("card of order 20 declined"))));
told.feedback = Sentry.captureFeedback({ name: "Ada", email: "ada@example.com", message: "the button does nothing" });
await flush("feedback");
Sentry.startSession();
Sentry.captureSession(true);
await flush("session");
if (settings.get("limited")) {
  // The first is refused, the second the SDK drops; it reports when the page is left.
  for (let i = 0; i < 2; i++) {
    await event("limited-by-quota", () => Sentry.captureException(new Error(`too many: ${i}`)));
  }
  Object.defineProperty(document, "visibilityState", { value: "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
  await flush("client report");
}
window.told = told;
document.title = "done";
