// What a shop's programs send when things break: by Sentry's envelopes and by OTLP.
import { randomUUID } from "node:crypto";
import type { APIRequestContext } from "@playwright/test";

export interface Sent {
  /** In titles, bodies and the names of packages: only this seed has it, so that its issues are its own. */
  word: string;
  /** Events of the failing payment, oldest first. */
  payments: string[];
  /** The trace of the newest of them. */
  trace: string;
}

export const id = (): string => randomUUID().replaceAll("-", "");

interface Item {
  header: Record<string, unknown>;
  body: string;
}

function envelope(header: Record<string, unknown>, items: Item[]): string {
  const lines = [JSON.stringify(header)];
  for (const i of items) {
    lines.push(JSON.stringify({ ...i.header, length: Buffer.byteLength(i.body) }), i.body);
  }
  return lines.join("\n") + "\n";
}

/** The failure of a payment, with all that an SDK can tell. */
export function payment(word: string, event: string, trace: string, user: string): Record<string, unknown> {
  const now = Date.now() / 1000;
  return {
    event_id: event,
    timestamp: now,
    platform: "python",
    level: "error",
    logger: `${word}.payments`,
    release: "shop@3.2.0",
    environment: "production",
    server_name: "payments-2",
    transaction: "POST /orders",
    sdk: { name: "sentry.python", version: "2.30.0" },
    user: { id: user, email: `${user}@example.com`, ip_address: "203.0.113.7", plan: "gold" },
    request: {
      method: "POST",
      url: "https://shop.example/orders",
      query_string: "cart=81&coupon=SUMMER",
      headers: [
        ["Accept", "application/json"],
        ["Authorization", "Bearer abcdefghijklmnopqrstuvwxyz0123456789"],
      ],
      data: { amount: 4990, card: "4111 1111 1111 1111" },
    },
    tags: { currency: "EUR", gateway: "card-gateway" },
    contexts: {
      runtime: { name: "CPython", version: "3.11.2" },
      trace: { trace_id: trace, span_id: trace.slice(0, 16), op: "http.server" },
    },
    extra: { retries: 3, password: "hunter2" },
    breadcrumbs: {
      values: [
        { timestamp: now - 0.35, category: "query", message: "SELECT total FROM orders WHERE id = %s", data: { rows: 1 } },
        { timestamp: now - 0.02, category: "httplib", type: "http", level: "warning", message: "POST card-gateway/charges", data: { status_code: 402 } },
      ],
    },
    exception: {
      values: [
        {
          type: "HTTPStatusError",
          module: "httpx",
          value: "402 Payment Required",
          stacktrace: {
            frames: [
              { function: "charge", module: `${word}.payments`, filename: `${word}/payments.py`, lineno: 88, in_app: true },
              { function: "raise_for_status", module: "httpx._models", filename: "httpx/_models.py", lineno: 829, in_app: false },
            ],
          },
        },
        {
          type: "CardDeclined",
          module: `${word}.payments`,
          value: `the card gateway declined ${word}`,
          mechanism: { type: "generic", handled: false },
          stacktrace: {
            frames: [
              { function: "wsgi_app", module: "flask.app", filename: "flask/app.py", lineno: 1511, in_app: false },
              { function: "full_dispatch_request", module: "flask.app", filename: "flask/app.py", lineno: 919, in_app: false },
              {
                function: "create_order",
                module: `${word}.orders`,
                filename: `${word}/orders.py`,
                lineno: 41,
                in_app: true,
                pre_context: ["def create_order(cart):", "    order = Order(cart)"],
                context_line: "    payments.charge(order.card, order.total)",
                post_context: ["    db.session.add(order)", "    return order"],
              },
              {
                function: "charge",
                module: `${word}.payments`,
                filename: `${word}/payments.py`,
                lineno: 91,
                in_app: true,
                pre_context: ["    try:", "        answer.raise_for_status()", "    except HTTPStatusError as e:"],
                context_line: "        raise CardDeclined(card) from e",
                post_context: ["", "    return answer.json()"],
                vars: { total: 4990, gateway: "'card-gateway'" },
              },
            ],
          },
        },
      ],
    },
  };
}

/** Another failure of the same program, an issue of its own. */
function stock(word: string, event: string): Record<string, unknown> {
  return {
    event_id: event,
    timestamp: Date.now() / 1000,
    platform: "python",
    level: "warning",
    release: "shop@3.2.0",
    environment: "production",
    exception: {
      values: [
        {
          type: "OutOfStock",
          module: `${word}.stock`,
          value: `nothing is left of ${word}`,
          stacktrace: { frames: [{ function: "reserve", module: `${word}.stock`, filename: `${word}/stock.py`, lineno: 12, in_app: true }] },
        },
      ],
    },
  };
}

/** A span that ended with an exception, as any OpenTelemetry SDK tells it. */
function exceptionSpan(word: string): unknown {
  const now = BigInt(Date.now()) * 1_000_000n;
  const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
  return {
    resourceSpans: [
      {
        resource: { attributes: [text("service.name", "warehouse"), text("telemetry.sdk.language", "java")] },
        scopeSpans: [
          {
            spans: [
              {
                traceId: id(),
                spanId: id().slice(0, 16),
                name: "pick",
                kind: 1,
                startTimeUnixNano: String(now - 5_000_000n),
                endTimeUnixNano: String(now),
                status: { code: 2 },
                events: [
                  {
                    timeUnixNano: String(now - 1_000_000n),
                    name: "exception",
                    attributes: [
                      text("exception.type", "com.example.ShelfEmpty"),
                      text("exception.message", `the shelf of ${word} is empty`),
                      text("exception.stacktrace", `com.example.ShelfEmpty: the shelf of ${word} is empty\n\tat com.example.${word}.Warehouse.pick(Warehouse.java:57)\n\tat com.example.Main.main(Main.java:12)\n`),
                    ],
                  },
                ],
              },
            ],
          },
        ],
      },
    ],
  };
}

/** Sends it all and returns what can be looked for. otlp is the collector's HTTP address, dsn a project's. */
export async function seed(request: APIRequestContext, dsn: string, otlp: string, word = "w" + id().slice(0, 8)): Promise<Sent> {
  const to = new URL(dsn);
  const url = `${to.origin}/api${to.pathname}/envelope/?sentry_version=7&sentry_key=${to.username}`;
  const post = async (body: string) => {
    const answer = await request.post(url, { data: body, headers: { "Content-Type": "application/x-sentry-envelope" } });
    if (answer.status() !== 200) {
      throw new Error(`the collector answered ${answer.status()}: ${await answer.text()}`);
    }
  };
  const event = (body: Record<string, unknown>, more: Item[] = []) =>
    post(envelope({ event_id: body["event_id"], sent_at: new Date().toISOString() }, [{ header: { type: "event" }, body: JSON.stringify(body) }, ...more]));

  const sent: Sent = { word, payments: [], trace: "" };
  for (let i = 0; i < 4; i++) {
    sent.trace = id();
    sent.payments.push(id());
    const last = i === 3;
    await event(
      payment(word, sent.payments[i]!, sent.trace, "user-" + (i % 3)),
      last ? [{ header: { type: "attachment", filename: "gateway-answer.json", content_type: "application/json" }, body: `{"error": "declined", "word": "${word}"}` }] : [],
    );
  }
  for (let i = 0; i < 2; i++) {
    await event(stock(word, id()));
  }
  const at = Date.now() / 1000;
  const log = (level: string, body: string, seconds: number) => ({
    timestamp: at - seconds,
    level,
    body,
    trace_id: sent.trace,
    span_id: sent.trace.slice(0, 16),
    severity_number: { info: 9, warn: 13, error: 17 }[level],
    attributes: { "sentry.release": { type: "string", value: "shop@3.2.0" }, "server.address": { type: "string", value: "payments-2" }, order: { type: "integer", value: 8112 } },
  });
  const logs = [log("info", `order of ${word} was taken`, 0.4), log("warn", `the gateway was slow for ${word}`, 0.2), log("error", `the card gateway declined ${word}`, 0.01)];
  for (let i = 0; i < 120; i++) {
    logs.push(log("info", `heartbeat ${i} of ${word}`, 1 + i));
  }
  await post(
    envelope({}, [
      { header: { type: "log", item_count: logs.length, content_type: "application/vnd.sentry.items.log+json" }, body: JSON.stringify({ items: logs }) },
      {
        header: { type: "client_report" },
        body: JSON.stringify({ timestamp: at, discarded_events: [{ reason: "queue_overflow", category: "error", quantity: 3 }, { reason: "sample_rate", category: "transaction", quantity: 7 }] }),
      },
    ]),
  );
  // No event at all: refused, and told in the ledger.
  await request.post(`${to.origin}/api${to.pathname}/store/?sentry_version=7&sentry_key=${to.username}`, { data: "[1, 2", headers: { "Content-Type": "application/json" } });
  const spans = await request.post(`${otlp}/v1/traces`, { data: exceptionSpan(word) });
  if (spans.status() !== 200) {
    throw new Error(`OTLP was answered ${spans.status()}: ${await spans.text()}`);
  }
  return sent;
}
