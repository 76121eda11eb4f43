// A shop that fails in many ways under the Sentry SDK for Node.js. Each case
// reports one event, whose tag "case" names it: what stands before an @ is the
// issue, what stands behind it is how this event differs from the others.
import { readFile } from "node:fs/promises";
import { createServer, get as httpGet } from "node:http";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import * as Sentry from "@sentry/node";
import express from "express";
import * as shop from "./shop.mjs";

Sentry.init({
  dsn: process.env.HOPTRACE_DSN,
  release: process.env.GOLDEN_RELEASE,
  serverName: process.env.GOLDEN_HOST,
  environment: "golden",
  tracesSampleRate: 0,
});

const cases = {};

/** A case that throws or rejects; its error is reported as a handler does it. */
function fails(name, work, ...args) {
  cases[name] = async () => {
    try {
      await work(...args);
    } catch (err) {
      Sentry.captureException(err, work.more);
      return;
    }
    throw new Error(`case ${name} did not fail`);
  };
}

/** A case that reports by itself. */
function reports(name, work, ...args) {
  cases[name] = () => work(...args);
}

fails("stock-empty", shop.reserve, "sku-17");
fails("stock-empty@other-sku", shop.reserve, "sku-4711");
fails("stock-empty-two-lines", shop.reserveTwice, "sku-1");
fails("stock-empty-two-lines@other-line", shop.reserveTwice, "sku-2");
fails("declined", shop.charge, 17);
fails("declined@other-order", shop.charge, 4_711_000);
fails("cause-one", shop.refund, 17);
fails("cause-one@other-order", shop.refund, 18);
fails("cause-two", () => shop.checkout(17));
fails("cause-string", () => {
  throw new Error("the queue is full", { cause: "1000 of 1000 used" });
});
fails("async-reject", shop.fetchStock, "sku-17");
fails("async-all", () => shop.fetchAll(["sku-17", "sku-18"]));
fails("async-any", shop.fetchAny, ["sku-17", "sku-18"]);
fails("async-any@three", shop.fetchAny, ["sku-1", "sku-2", "sku-3"]);
fails("aggregate-mixed", () => {
  throw new AggregateError([new TypeError("no price"), new RangeError("no date")], "two rules broke");
});
fails("timer", () => shop.later(() => shop.reserve("sku-17")));
fails("timer-arrow", () =>
  shop.later(() => {
    throw new Error("tick failed");
  }),
);
fails("type-error-undefined", () => undefined.name);
fails("type-error-property", () => shop.Cart.empty().total);
fails("type-error-call", () => shop.handlers["order.lost"]());
fails("type-error-handler", () => shop.handlers["order.created"]({}));
fails("type-error-async-handler", () => shop.handlers["order.paid"]({ payment: {} }));
fails("type-error-field-arrow", () => new shop.Cart().add({}));
fails("reference-error", () => missingFunction());
fails("range-error-array", () => new Array(-1));
fails("range-error-method", () => new shop.Cart().save());
fails("range-error-digits", () => (1).toFixed(200));
fails("stack-overflow", () => shop.overflow());
fails("recursion", shop.recurse, 20);
fails("recursion@deeper", shop.recurse, 23);
fails("generator", () => [...shop.lines(17)]);
fails("syntax-json", JSON.parse, "{ broken");
fails("syntax-json@other-text", JSON.parse, "[1, 2");
fails("syntax-function", () => new Function("return ="));
fails("syntax-regexp", () => new RegExp("("));
fails("uri-error", () => decodeURIComponent("%E0%A4%A"));
fails("bigint", () => BigInt("1.5"));
fails("frozen", () => {
  "use strict";
  Object.freeze(shop.handlers);
  shop.handlers.extra = 1;
});
fails("class-unnamed", () => {
  throw new shop.Unnamed("an error of a class without a name of its own");
});
fails("native-promise-then", () => Promise.resolve(null).then((order) => order.id));
fails("array-map", () => [1, 2].map((n) => n.lines.length));
fails("sort-comparator", () =>
  [3, 1, 2].sort(function byWeight() {
    throw new Error("cannot compare weights");
  }),
);
fails("proxy", () => {
  const guarded = new Proxy({}, { get: (_, key) => shop.reserve(String(key)) });
  return guarded.sku17;
});
fails("file-missing", readFile, "/srv/prices/2026-11-23.csv");
fails("file-missing@other-day", readFile, "/srv/prices/2026-11-24.csv");
fails("connection-refused", async () => {
  const request = httpGet("http://127.0.0.1:1/stock/17");
  const [err] = await once(request, "error");
  throw err;
});
fails("fetch-refused", () => fetch("http://127.0.0.1:1/stock/17"));
fails("fetch-aborted", () => fetch("http://127.0.0.1:1/", { signal: AbortSignal.abort() }));
fails("abort-timeout", async () => {
  const signal = AbortSignal.timeout(1);
  await new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    setTimeout(() => {}, 20);
  });
});
fails("import-missing", () => import("./no-such-module.mjs"));

// What is no Error has no stack of its own: the SDK takes that of the handler.
function closeTill() {
  try {
    throw "the till is locked";
  } catch (err) {
    Sentry.captureException(err);
  }
}
function openOrder(order) {
  try {
    throw `order ${order} is locked`;
  } catch (err) {
    Sentry.captureException(err);
  }
}
function lockOrder(order) {
  try {
    throw { code: "E_LOCKED", ...order };
  } catch (problem) {
    Sentry.captureException(problem);
  }
}
function askReason() {
  try {
    throw { reason: "locked" };
  } catch (reason) {
    Sentry.captureException(reason);
  }
}
function loseReason() {
  try {
    throw null;
  } catch (nothing) {
    Sentry.captureException(nothing);
  }
}
function countDown() {
  try {
    throw 42;
  } catch (number) {
    Sentry.captureException(number);
  }
}
reports("thrown-string", closeTill);
reports("thrown-string-number", openOrder, 17);
reports("thrown-string-number@other", openOrder, 18);
reports("thrown-object", lockOrder, { order: 17 });
reports("thrown-object@other-values", lockOrder, { order: 99 });
reports("thrown-object-other-keys", askReason);
reports("thrown-null", loseReason);
reports("thrown-number", countDown);

reports("message", () => Sentry.captureMessage("stock is low"));
const late = (order) => Sentry.captureMessage(`order ${order} is late`, "warning");
reports("message-number", late, 17);
reports("message-number@other", late, 4_711_000);
const lost = (cart) => Sentry.captureMessage(Sentry.parameterize`cart ${cart} was lost`);
reports("message-parameterised", lost, "c-17");
reports("message-parameterised@other", lost, "the last one");
reports("message-other-text", () => Sentry.captureMessage("the door is open"));

/** A case like fails, with more said about the event. */
function scoped(name, more, work, ...args) {
  fails(name, Object.assign(() => work(...args), { more }));
}
scoped("fingerprint-custom", { fingerprint: ["database-down"] }, shop.reserve, "a");
scoped("fingerprint-custom@other-error", { fingerprint: ["database-down"] }, shop.charge, 1);
scoped("fingerprint-other", { fingerprint: ["cache-down"] }, shop.reserve, "a");
scoped("fingerprint-hybrid-eu", { fingerprint: ["{{ default }}", "eu"] }, shop.reserve, "a");
scoped("fingerprint-hybrid-us", { fingerprint: ["{{ default }}", "us"] }, shop.reserve, "a");
scoped(
  "full-scope",
  {
    user: { id: "u-17", email: "ada@example.com" },
    tags: { shop: "eu", tier: "gold" },
    contexts: { cart: { lines: 3, total: 59.9 } },
    extra: { attempt: 2 },
  },
  shop.charge,
  5,
);
const record = (offset) => ({ topic: "orders", partition: 3, offset, key: "customer-17", value: "{}" });
const consumed = (offset) =>
  shop.consume([record(offset)], async ({ topic, partition, offset: at }) => {
    Sentry.getCurrentScope().setContext("kafka", { topic, partition, offset: at, consumer_group: "shipping" });
    throw new Error(`cannot read version of record ${at}`);
  });
fails("consumer", consumed, 4711);
fails("consumer@other-record", consumed, 4712);

// A route of Express fails, with the framework's frames around it.
async function route(path) {
  const app = express();
  app.get("/orders/:id", (request) => {
    throw new Error(`order ${request.params.id} is locked`);
  });
  app.get("/carts/:id", async (request) => {
    await null;
    throw new shop.StockEmpty(request.params.id);
  });
  app.use((err, request, response, _next) => {
    Sentry.captureException(err);
    response.status(500).end();
  });
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  await fetch(`http://127.0.0.1:${server.address().port}${path}`);
  server.close();
}
reports("express-sync", route, "/orders/17?token=abc");
reports("express-sync@other-order", route, "/orders/18");
reports("express-async", route, "/carts/17");

reports("worker-thread", async () => {
  const worker = new Worker("throw new RangeError('the worker has no job')", { eval: true });
  const [err] = await once(worker, "error");
  Sentry.captureException(err);
});

// What nobody catches ends the process, so each of these has one of its own.
const uncaught = {
  "uncaught-exception": () => setTimeout(() => shop.reserve("sku-17"), 1),
  "unhandled-rejection": () => void shop.fetchStock("sku-17"),
  "unhandled-string": () => void Promise.reject("no one listens"),
};

const variant = process.env.GOLDEN_VARIANT ?? "";
const only = process.argv[2];
if (only) {
  Sentry.getGlobalScope().setTag("case", only + variant);
  uncaught[only]();
} else {
  for (const [name, work] of Object.entries(cases)) {
    await Sentry.withIsolationScope(async (scope) => {
      scope.setTag("case", name + variant);
      await Sentry.withScope(work);
    });
    if (!(await Sentry.flush(10_000))) {
      throw new Error(`case ${name} was not sent within 10 s`);
    }
  }
  await Sentry.close(5_000);
}
