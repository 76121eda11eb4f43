// The way of a message: retries to a dead letter, forwards, groups, what waits, what
// is missing; and how one finds it.
import type { APIRequestContext, Page } from "@playwright/test";
import { randomBytes } from "node:crypto";
import { accessible, expect, finding, shot, test } from "./fixtures.js";

const web = process.env["HOPTRACE_WEB"] ?? "";
const otlp = process.env["HOPTRACE_OTLP_HTTP"] ?? "";

const hex = (bytes: number): string => randomBytes(bytes).toString("hex");

interface Rec {
  topic: string;
  partition: number;
  offset: number;
}

interface SpanOf {
  trace: string;
  span: string;
  parent?: string;
  service: string;
  name: string;
  kind: number;
  from: number;
  to: number;
  failed?: boolean;
  attributes?: Record<string, string | number>;
}

/** Times are ms after the beginning of the story. */
class Story {
  readonly spans: SpanOf[] = [];
  readonly word = "j" + hex(4);
  constructor(readonly began: number) {}

  ns(ms: number): string {
    return String(BigInt(this.began) * 1_000_000n + BigInt(Math.round(ms * 1e6)));
  }

  root(service: string, name: string, from: number, to: number, trace = hex(16)): { trace: string; span: string } {
    const span = hex(8);
    this.spans.push({ trace, span, service, name, kind: 2, from, to });
    return { trace, span };
  }

  send(at: { trace: string; span: string }, service: string, r: Rec, from: number, more: Record<string, string | number> = {}): { trace: string; span: string } {
    const span = hex(8);
    this.spans.push({
      trace: at.trace,
      span,
      parent: at.span,
      service,
      name: "send " + r.topic,
      kind: 4,
      from,
      to: from + 4,
      attributes: { ...this.of(r, "send"), "hoptrace.produce.written": this.ns(from + 2), "hoptrace.produce.acked": this.ns(from + 4), ...more },
    });
    return { trace: at.trace, span };
  }

  read(at: { trace: string; span: string }, service: string, group: string, r: Rec, from: number, to: number, failed = false, more: Record<string, string | number> = {}): { trace: string; span: string } {
    const span = hex(8);
    this.spans.push({
      trace: at.trace,
      span,
      parent: at.span,
      service,
      name: "process " + r.topic,
      kind: 5,
      from,
      to,
      failed,
      attributes: {
        ...this.of(r, "process"),
        "messaging.consumer.group.name": group,
        "hoptrace.consume.asked": this.ns(from - 3),
        "hoptrace.consume.answered": this.ns(from - 2),
        "hoptrace.consume.handed": this.ns(from),
        "hoptrace.consume.high_watermark": r.offset + 4,
        ...more,
      },
    });
    return { trace: at.trace, span };
  }

  of(r: Rec, operation: string): Record<string, string | number> {
    return {
      "messaging.system": "kafka",
      "messaging.operation.type": operation,
      "messaging.operation.name": operation,
      "messaging.destination.name": r.topic,
      "messaging.destination.partition.id": String(r.partition),
      "messaging.kafka.offset": r.offset,
    };
  }

  async tell(request: APIRequestContext): Promise<void> {
    const services = [...new Set(this.spans.map((s) => s.service))];
    const value = (v: string | number) => (typeof v === "number" ? { intValue: String(v) } : { stringValue: v });
    const list = (a: Record<string, string | number>) => Object.entries(a).map(([key, v]) => ({ key, value: value(v) }));
    const response = await request.post(otlp + "/v1/traces", {
      data: {
        resourceSpans: services.map((service) => ({
          resource: { attributes: list({ "service.name": service, "hoptrace.host.boot_id": "one-host" }) },
          scopeSpans: [
            {
              scope: { name: "journey.spec" },
              spans: this.spans
                .filter((s) => s.service === service)
                .map((s) => ({
                  traceId: s.trace,
                  spanId: s.span,
                  parentSpanId: s.parent ?? "",
                  name: s.name,
                  kind: s.kind,
                  startTimeUnixNano: this.ns(s.from),
                  endTimeUnixNano: this.ns(s.to),
                  status: s.failed ? { code: 2, message: "declined" } : {},
                  attributes: list(s.attributes ?? {}),
                })),
            },
          ],
        })),
      },
    });
    expect(response.ok(), await response.text()).toBe(true);
  }
}

const retried = (of: Rec, attempt: number, first: string) => ({
  "hoptrace.retry.original_topic": of.topic,
  "hoptrace.retry.original_partition": of.partition,
  "hoptrace.retry.original_offset": of.offset,
  "hoptrace.retry.first_seen": first,
  "hoptrace.retry.attempt": attempt,
});

/** Waits until a record is stored. */
async function stored(request: APIRequestContext, r: Rec): Promise<void> {
  await expect(async () => {
    const response = await request.get(`${web}/api/v1/records/${encodeURIComponent(r.topic)}/${r.partition}/${r.offset}`);
    expect(response.status()).toBe(200);
  }).toPass({ timeout: 30_000 });
}

/** An order that fails, is tried again three times and ends as a dead letter. */
async function deadLetter(request: APIRequestContext): Promise<{ s: Story; trace: string; order: Rec; dead: Rec; key: string; message: string }> {
  const s = new Story(Date.now() - 60_000);
  const order = { topic: s.word + "-orders", partition: 3, offset: 918_273 };
  const key = "order-" + s.word;
  const message = "m-" + s.word;
  const root = s.root("checkout", "POST /orders", 0, 12);
  const names = { "messaging.message.id": message, "messaging.message.conversation_id": "c-" + s.word, "messaging.kafka.message.key": key };
  let at = s.read(s.send(root, "checkout", order, 3, names), "payments", "pay", order, 40, 90, true);
  const first = s.ns(90);
  for (const attempt of [1, 2, 3]) {
    const retry = { topic: s.word + "-orders-retry", partition: 0, offset: attempt };
    const sent = s.send(at, "payments", retry, attempt * 1000 - 920, retried(order, attempt, first));
    at = s.read(sent, "payments", "pay", retry, attempt * 1000, attempt * 1000 + 85, true, retried(order, attempt, first));
  }
  const dead = { topic: s.word + "-orders-dlq", partition: 0, offset: 7 };
  s.send(at, "payments", dead, 3080, retried(order, 4, first));
  await s.tell(request);
  await stored(request, dead);
  await stored(request, order);
  return { s, trace: root.trace, order, dead, key, message };
}

const marks = (page: Page) => page.locator("[data-mark]");

test("an order's retries end as a dead letter, lane by lane", async ({ page, request }) => {
  const { s, trace, order } = await deadLetter(request);
  await page.goto(`/traces/${trace}?view=lanes`);
  await finding(page);
  await expect(page.getByText("A record failed, was tried again 3 times and ended as a dead letter in")).toBeVisible();
  const picture = page.getByRole("group", { name: /Journey over 3 topics/ });
  await expect(picture).toBeVisible();
  await expect(marks(page)).toHaveCount(5);
  // The topics stand in the order of the message, with services between.
  await expect(page.locator(".lanename")).toHaveText(["checkout", order.topic, "payments", s.word + "-orders-retry", s.word + "-orders-dlq"]);
  for (const words of [`retry 1 of ${order.topic}/3@918273`, `retry 2 of ${order.topic}/3@918273`, `retry 3 of ${order.topic}/3@918273`, `dead letter of ${order.topic}/3@918273`]) {
    await expect(page.getByRole("button", { name: new RegExp(words.replace("/", "\\/") + "$") })).toHaveCount(1);
  }
  await shot(page, "journey-dead-letter");
  await accessible(page);
  // The keyboard goes from record to record; the URL holds which.
  await page.keyboard.press("j");
  await expect(page).toHaveURL(/row=/);
  const selected = page.locator("[data-mark].sel");
  const before = await selected.getAttribute("data-mark");
  await page.keyboard.press("j");
  await expect.poll(() => selected.getAttribute("data-mark")).not.toBe(before);
  await page.keyboard.press("z");
  await expect(page).toHaveURL(/axis=linear/);
  // v leads on to the table, and to the waterfall with the same row.
  await page.keyboard.press("v");
  const table = page.getByRole("table", { name: "Journey" });
  await expect(table.getByRole("row")).toHaveCount(6);
  await expect(table.getByText(`dead letter of ${order.topic}/3@918273`)).toBeVisible();
  await shot(page, "journey-table");
  await accessible(page);
  await page.keyboard.press("v");
  await expect(page.getByRole("table", { name: "Waterfall" })).toBeVisible();
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goto(`/traces/${trace}?view=lanes`);
  await expect(marks(page)).toHaveCount(5);
  await shot(page, "journey-dead-letter-dark");
  await accessible(page);
});

test("a message is forwarded over topics with names in other scripts, and read by two groups", async ({ page, request }) => {
  const s = new Story(Date.now() - 50_000);
  const [orders, payments, shipping] = ["заказы-" + s.word, "支払い-" + s.word, "משלוח-" + s.word].map((topic, i) => ({ topic, partition: i, offset: 10 + i }));
  const root = s.root("кasse", "POST /заказ", 0, 10);
  const sent = s.send(root, "кasse", orders!, 2);
  s.read(sent, "審査", "audit", orders!, 300, 340);
  const paid = s.read(sent, "支払いサービス", "pay", orders!, 60, 200);
  const shipped = s.read(s.send(paid, "支払いサービス", payments!, 150), "отгрузка", "ship", payments!, 400, 420);
  s.send(shipped, "отгрузка", shipping!, 415);
  await s.tell(request);
  await stored(request, shipping!);
  await page.goto(`/traces/${root.trace}?view=lanes`);
  await finding(page);
  await expect(marks(page)).toHaveCount(4);
  await expect(page.locator(".lanename").first()).toHaveText("кasse");
  const topics = page.locator(".lanename.topic");
  await expect(topics).toHaveText([orders!.topic, payments!.topic, shipping!.topic]);
  await expect(page.getByRole("button", { name: /, forward$/ })).toHaveCount(2);
  await expect(page.getByText(/^p0 · 10 · group audit/)).toBeVisible();
  await expect(page.getByText(/^group pay/)).toBeVisible();
  // What nobody has read is an open end that says for how long.
  await expect(page.getByText(/not read yet, waits \d/)).toBeVisible();
  await shot(page, "journey-groups");
  await accessible(page);
  // A record of it is found by its coordinates, whatever the script.
  await page.goto("/find?q=" + encodeURIComponent(`${orders!.topic}/0@10`));
  await expect(page).toHaveURL(new RegExp("/records/"));
  expect(await finding(page)).toContain("was read by 2 groups");
});

test("three hours of waiting are folded, and a missing producer leaves an outline", async ({ page, request }) => {
  const hours = 3 * 3600_000;
  const s = new Story(Date.now() - hours - 60_000);
  const late = { topic: s.word + "-late", partition: 0, offset: 5 };
  const next = { topic: s.word + "-next", partition: 0, offset: 6 };
  const root = s.root("importer", "import", 0, 20);
  const read = s.read(s.send(root, "importer", late, 5), "indexer", "index", late, hours, hours + 60);
  s.send(read, "indexer", next, hours + 30);
  const orphan = { topic: s.word + "-orphans", partition: 1, offset: 3 };
  const lost = s.read({ trace: hex(16), span: "" }, "indexer", "index", orphan, hours, hours + 40);
  await s.tell(request);
  await stored(request, next);
  await stored(request, orphan);
  await page.goto(`/traces/${root.trace}?view=lanes`);
  await finding(page);
  await expect(marks(page)).toHaveCount(2);
  await expect(page.locator(".lanebody").getByText(/^2.h.59.m$|^3.h.00.m$/).first()).toBeVisible();
  await shot(page, "journey-three-hours");
  await accessible(page);
  await page.goto(`/traces/${lost.trace}?view=lanes`);
  await finding(page);
  await expect(marks(page)).toHaveCount(1);
  await expect(marks(page).locator(".unknown").first()).toBeVisible();
  await expect(page.locator(".lanename")).toHaveText([orphan.topic, "indexer"]);
  await shot(page, "journey-missing-producer");
});

test.describe("a record", () => {
  // A page of a record that is not stored asks for it first.
  test.use({ provoked: [/status of 404/] });
  test("has a page: who read it, what was made of it, its neighbours", async ({ page, request }) => {
    const { s, trace, order, dead, key, message } = await deadLetter(request);
    await page.goto(`/records/${order.topic}/3/918273`);
    expect(await finding(page)).toContain(`failed and ended as a dead letter, ${dead.topic}/0@7`);
    await expect(page.getByRole("table", { name: "Who read it" }).getByRole("row")).toHaveCount(2);
    const made = page.getByRole("table", { name: "What was made of it" });
    await expect(made.getByText(/^retry [123]$/)).toHaveCount(3);
    await expect(made.getByText("dead letter", { exact: true })).toHaveCount(1);
    await expect(page.getByText("Its key, headers and body are not stored.")).toBeVisible();
    await shot(page, "record");
    await accessible(page);
    // Its key leads to all records of that key; its id back to it.
    await page.getByRole("link", { name: message }).click();
    await expect(page).toHaveURL(new RegExp(`/records/${order.topic}/3/918273`));
    await page.getByRole("link", { name: /^its journey$/ }).click();
    await expect(page).toHaveURL(new RegExp(`/traces/${trace}.*view=lanes`));
    await expect(marks(page)).toHaveCount(5);
    await page.getByRole("link", { name: "All about this record" }).click();
    await expect(page).toHaveURL(/\/records\//);

    // Not stored: why that may be, and the nearest that is.
    await page.goto(`/records/${order.topic}/3/918270`);
    expect(await finding(page)).toContain(`Nothing is stored about record ${order.topic}/3@918270`);
    await expect(page.getByText(/older than all that is stored of its partition/)).toBeVisible();
    await page.getByRole("link", { name: "After: offset 918 273" }).click();
    await expect(page).toHaveURL(/918273/);
    await page.goto(`/records/${s.word}-nowhere/0/1`);
    await expect(page.getByText(/No span about topic/)).toBeVisible();
    await shot(page, "record-missing");
    await accessible(page);

    // Found by everything that one may have in hand.
    for (const q of [`${order.topic}/3@918273`, `${order.topic} 3 918273`, `${order.topic}-3@918273`, message, "id:" + message, "conversation:c-" + s.word, "key:" + key, key]) {
      await page.goto("/find");
      await page.getByRole("searchbox", { name: "Find" }).fill(q);
      await page.keyboard.press("Enter");
      await expect(page, q).toHaveURL(new RegExp(`/records/${order.topic}/3/918273`));
    }
    // The key itself is in no address.
    const asked: string[] = [];
    page.on("request", (r) => asked.push(r.url()));
    await page.goto("/find");
    await page.getByRole("searchbox", { name: "Find" }).fill("key:" + key);
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(/\/records\//);
    expect(asked.filter((u) => u.includes(key))).toEqual([]);
    await page.goto("/messages");
    await page.keyboard.press("/");
    await page.keyboard.type(trace);
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(new RegExp(`/traces/${trace}`));
    await page.goto("/traces");
    await page.keyboard.press("/");
    await page.keyboard.type(`${order.topic}/3@918273`);
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(/\/records\//);
  });
});

test("what is looked for and not there says how it was looked for", async ({ page, request }) => {
  const s = new Story(Date.now() - 40_000);
  const root = s.root("shop", "POST /cart", 0, 10);
  const twice = [1, 2].map((offset) => ({ topic: s.word + "-twice", partition: 0, offset }));
  for (const r of twice) s.send(root, "shop", r, r.offset, { "messaging.conversation_id": "talk-" + s.word });
  await s.tell(request);
  await stored(request, twice[1]!);
  await page.goto("/find?q=nobody-" + s.word);
  expect(await finding(page)).toContain("Nothing answers to");
  await expect(page.getByText(/looked for as a message id, a conversation id or a record's key/)).toBeVisible();
  await shot(page, "find-nothing");
  await accessible(page);
  await page.goto("/find");
  await shot(page, "find");
  await accessible(page);
  await page.goto("/find?q=talk-" + s.word);
  expect(await finding(page)).toContain("2 records answer to");
  await expect(page.getByRole("table", { name: "Records" }).getByRole("row")).toHaveCount(3);
  await shot(page, "find-several");
  await accessible(page);
});

test.describe("on a phone", () => {
  test.use({ viewport: { width: 390, height: 844 } });
  test("a journey is a table, and a record can be read", async ({ page, request }) => {
    const { trace, order } = await deadLetter(request);
    await page.goto(`/traces/${trace}?view=lanes`);
    await finding(page);
    // Without its head: each row is a card.
    await expect(page.getByRole("table", { name: "Journey" }).getByRole("row")).toHaveCount(5);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await shot(page, "journey-phone");
    await page.goto(`/records/${order.topic}/3/918273`);
    await finding(page);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await shot(page, "record-phone");
    await accessible(page);
    await page.goto("/find");
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await shot(page, "find-phone");
  });
});
