// A page that fails in many ways under the Sentry SDK for browsers. Each case
// reports one event, whose tag "case" names it: what stands before an @ is the
// issue, what stands behind it is how this event differs from the others.
import * as Sentry from "@sentry/browser";
import * as shop from "./shop.js";

const settings = new URL(location.href).searchParams;
Sentry.init({
  dsn: settings.get("dsn"),
  release: settings.get("release"),
  environment: "golden",
  // Chromium fails requests that outlive the page once 64 KiB of them are on
  // their way, and one counts for a while after it was answered.
  transportOptions: { fetchOptions: { keepalive: false } },
  // What equals the event before it is part of the test.
  integrations: (all) => all.filter(({ name }) => name !== "Dedupe"),
});
const variant = settings.get("variant") ?? "";

let sent = () => {};
Sentry.getClient().on("afterSendEvent", () => sent());

const cases = [];

/** A case that throws or rejects; its error is reported as a handler does it. */
function fails(name, work, ...args) {
  cases.push([
    name,
    async () => {
      try {
        await work(...args);
      } catch (err) {
        Sentry.captureException(err);
      }
    },
  ]);
}

/** A case whose error nobody catches: the SDK's global handlers report it. */
function loose(name, work, ...args) {
  cases.push([
    name,
    async () => void setTimeout(() => work(...args), 0),
  ]);
}

fails("stock-empty", shop.reserve, "sku-17");
fails("stock-empty@other-sku", shop.reserve, "sku-4711");
fails("declined", shop.charge, 17);
fails("declined@other-order", shop.charge, 4711000);
fails("cause", shop.checkout, 17);
fails("async", shop.load, "sku-17");
fails("type-error-null", () => new shop.Cart().total());
fails("type-error-call", () => window.missing());
fails("reference-error", () => missingName);
fails("recursion", shop.recurse, 20);
fails("recursion@deeper", shop.recurse, 22);
fails("json", JSON.parse, "{ broken");
fails("json@other-text", JSON.parse, "[1,");
fails("dom-selector", () => document.querySelector("#"));
fails("dom-remove", () => document.body.removeChild(document.createElement("p")));
fails("fetch-failed", () => fetch("http://127.0.0.1:1/stock"));
fails("fetch-aborted", () => fetch("/", { signal: AbortSignal.abort() }));
fails("url", () => new URL("not a url"));
fails("storage", () => localStorage.setItem("a", "x".repeat(11_000_000)));

loose("loose-error", shop.reserve, "sku-17");
loose("loose-error@other-sku", shop.reserve, "sku-18");
loose("loose-string", () => {
  throw "the till is locked";
});
loose("rejection-error", () => void shop.load("sku-17"));
loose("rejection-string", () => void Promise.reject("order 17 is locked"));
loose("rejection-object", () => void Promise.reject({ code: "E_LOCKED", order: 17 }));
loose("rejection-nothing", () => void Promise.reject());
loose("click-handler", () => {
  const button = document.createElement("button");
  button.id = "pay";
  button.addEventListener("click", new shop.Cart().onClick);
  document.body.append(button);
  button.click();
});
loose("animation-frame", () => requestAnimationFrame(() => shop.charge(3)));
loose("event-thrown", () => void Promise.reject(new CustomEvent("payment")));
loose("console-before", shop.pay, 4);

const message = (text) => Sentry.captureMessage(text, "warning");
fails("message", message, "stock is low");
fails("message-number", message, "order 17 is late");
fails("message-number@other", message, "order 4711000 is late");
const lock = (order) => Sentry.captureException({ code: "E_LOCKED", order });
fails("thrown-object", lock, 17);
fails("thrown-object@other-values", lock, 18);

for (const [name, work] of cases) {
  Sentry.getIsolationScope().setTag("case", name + variant);
  const reported = new Promise((resolve) => {
    sent = resolve;
  });
  await Sentry.withScope(work);
  await reported;
}
document.title = "done";
