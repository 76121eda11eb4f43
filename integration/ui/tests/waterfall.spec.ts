// The page of a trace on data that strains it: a wait of hours, a batch of
// 5,000, a failure sent on, 10,000 spans.
import type { APIRequestContext, Page } from "@playwright/test";
import { accessible, expect, finding, shot, test } from "./fixtures.js";
import { id } from "./seed.js";

const otlp = process.env["HOPTRACE_OTLP_HTTP"] ?? "";
const MS = 1_000_000n;
const HOUR = 3_600_000n * MS;

type Value = { stringValue: string } | { intValue: string };
interface Attribute {
  key: string;
  value: Value;
}
const text = (key: string, value: string): Attribute => ({ key, value: { stringValue: value } });
const whole = (key: string, value: bigint | number): Attribute => ({ key, value: { intValue: String(value) } });

interface Sent {
  service: string;
  span: Record<string, unknown>;
}

const spanId = (): string => id().slice(0, 16);

function span(service: string, name: string, of: { trace: string; span: string; parent?: string }, start: bigint, end: bigint, kind: number, attributes: Attribute[] = [], more: Record<string, unknown> = {}): Sent {
  return { service, span: { traceId: of.trace, spanId: of.span, parentSpanId: of.parent ?? "", name, kind, startTimeUnixNano: String(start), endTimeUnixNano: String(end), attributes, ...more } };
}

const message = (operation: string, topic: string, partition: number, offset: number): Attribute[] => [
  text("messaging.system", "kafka"),
  text("messaging.operation.type", operation),
  text("messaging.destination.name", topic),
  text("messaging.destination.partition.id", String(partition)),
  whole("messaging.kafka.offset", offset),
];

async function send(request: APIRequestContext, spans: Sent[]): Promise<void> {
  for (let i = 0; i < spans.length; i += 1000) {
    const byService = new Map<string, unknown[]>();
    for (const s of spans.slice(i, i + 1000)) byService.set(s.service, [...(byService.get(s.service) ?? []), s.span]);
    const resourceSpans = [...byService].map(([service, list]) => ({
      resource: { attributes: [text("service.name", service), text("hoptrace.host.boot_id", "wf-host")] },
      scopeSpans: [{ scope: { name: "waterfall.spec" }, spans: list }],
    }));
    const answer = await request.post(`${otlp}/v1/traces`, { data: { resourceSpans } });
    expect(answer.status(), await answer.text()).toBe(200);
  }
}

/** Waits until so many spans of a trace are stored. */
async function stored(request: APIRequestContext, trace: string, many: number): Promise<void> {
  await expect
    .poll(async () => ((await (await request.get(`/api/v1/traces/${trace}`)).json()) as { spans?: unknown[] }).spans?.length ?? 0, { timeout: 60_000, intervals: [500] })
    .toBeGreaterThanOrEqual(many);
}

/** An order that is sent, lies for three hours, fails and is sent on by a program that no trace leads to. */
function order(now: bigint, topic: string): { spans: Sent[]; trace: string; reader: string } {
  const [trace, reader] = [id(), id()];
  const [root, sending, processing, query] = [spanId(), spanId(), spanId(), spanId()];
  const at = now - 3n * HOUR - 400n * MS;
  const read = now - 300n * MS;
  return {
    trace,
    reader,
    spans: [
      span("checkout", "POST /checkout", { trace, span: root }, at, at + 40n * MS, 2, [text("http.route", "/checkout"), text("κατάστημα", "Αθήνα"), ...Array.from({ length: 12 }, (_, i) => whole(`extra.${i}`, i))]),
      span("checkout", `send ${topic}`, { trace, span: sending, parent: root }, at + 10n * MS, at + 30n * MS, 4, [
        ...message("send", topic, 1, 7),
        whole("hoptrace.produce.written", at + 22n * MS),
        whole("hoptrace.produce.acked", at + 30n * MS),
        whole("hoptrace.produce.attempts", 2),
        whole("hoptrace.produce.throttle", 2n * MS),
      ]),
      span("支払い", `process ${topic}`, { trace: reader, span: processing }, read, read + 120n * MS, 5, [
        ...message("process", topic, 1, 7),
        text("messaging.consumer.group.name", "支払い"),
        whole("hoptrace.consume.asked", read - 30n * MS),
        whole("hoptrace.consume.answered", read - 20n * MS),
        whole("hoptrace.consume.handed", read),
        whole("hoptrace.consume.high_watermark", 3128),
      ], { links: [{ traceId: trace, spanId: sending }], status: { code: 2, message: "declined" }, events: [{ timeUnixNano: String(read + 50n * MS), name: "gateway asked", attributes: [text("gateway", "card")] }] }),
      span("支払い", "SELECT κάρτες", { trace: reader, span: query, parent: processing }, read + 20n * MS, read + 60n * MS, 3),
      span("支払い", "commit", { trace: reader, span: spanId() }, read + 121n * MS, read + 125n * MS, 3, [...message("settle", topic, 1, 7), text("messaging.consumer.group.name", "支払い")]),
    ],
  };
}

test("a wait of three hours is folded, its critical path goes through the broker, links lead there and back", async ({ page, request }) => {
  const topic = "wf-orders-" + id().slice(0, 6);
  const o = order(BigInt(Date.now()) * MS, topic);
  await send(request, o.spans);
  await stored(request, o.trace, 5);
  await page.goto(`/traces/${o.trace}`);
  expect(await finding(page)).toContain("POST /checkout failed in 支払い after 3");
  const path = page.getByRole("region", { name: "Critical path" });
  await expect(path.getByRole("img", { name: /Critical path by part: Backlog > 99/ })).toBeVisible();
  await expect(page.getByText(/Of the critical path/)).toBeVisible();
  const hop = page.getByRole("button", { name: `Hop ${topic}, group 支払い` });
  await hop.click();
  const parts = page.getByRole("table", { name: "Where the time went" });
  await expect(parts.getByRole("row").filter({ has: page.getByRole("rowheader", { name: "Settle" }) })).toContainText("4.00");
  await expect(page.getByText(/written 2× · throttled/).or(page.getByText("Throttled"))).toHaveCount(1);
  await accessible(page);
  await shot(page, "waterfall-wait-light");

  // The path by topic and off the rows; a link keeps both.
  await path.getByRole("button", { name: "topic", exact: true }).click();
  await expect(page).toHaveURL(/by=topic/);
  await expect(path.getByText(topic)).toBeVisible();
  await page.keyboard.press("p");
  await expect(page).toHaveURL(/path=false/);

  // A subtree is shut and opened; a row is found though it is shut away.
  await page.keyboard.press("ArrowLeft");
  await expect(page).toHaveURL(/shut=/);
  await expect(page.getByRole("button", { name: "Span SELECT κάρτες, 支払い" })).toHaveCount(0);
  await page.keyboard.press("f");
  await page.getByLabel("Find within the trace").fill("κάρτες");
  await expect(page).toHaveURL(/find=/);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Span SELECT κάρτες, 支払い" })).toHaveAttribute("aria-pressed", "true");

  // Nearer, by key and by link; all of it again by escape.
  await page.keyboard.press("Escape"); // out of the field
  await page.keyboard.press("s");
  await expect(page).toHaveURL(/zoom=\d+-\d+/);
  const link = page.url();
  await page.goto("/topics");
  await page.goto(link);
  await expect(page.getByRole("button", { name: "Show all of the time" })).toBeVisible();
  await shot(page, "waterfall-zoomed-light");
  await page.keyboard.press("Escape");
  await expect(page).not.toHaveURL(/zoom=/);

  // Attributes are searched; links have names, one way and the other.
  await page.getByRole("button", { name: "Span POST /checkout, checkout" }).click();
  await page.getByLabel("Search the attributes").fill("αθήνα");
  await expect(page.getByRole("region", { name: "Attributes" }).locator("dd")).toHaveText(["Αθήνα"]);
  await page.getByRole("button", { name: `Span process ${topic}, 支払い, failed` }).click();
  await page.getByRole("region", { name: "Links to" }).getByRole("link", { name: `send ${topic} checkout` }).click();
  await expect(page).toHaveURL(/via=/);
  await expect(hop).toHaveAttribute("aria-pressed", "true");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: `Span process ${topic}, 支払い, failed` })).toHaveAttribute("aria-pressed", "true");

  await page.keyboard.press("e");
  await expect(page).toHaveURL(/errors=true/);
  await expect(page.getByRole("button", { name: "Span SELECT κάρτες, 支払い" })).toHaveCount(0);
});

test("a batch of 5,000 is one row that opens to ages and a sorted page", async ({ page, request }) => {
  test.setTimeout(180_000);
  const topic = "wf-batch-" + id().slice(0, 6);
  const now = BigInt(Date.now()) * MS;
  const batch = { trace: id(), span: spanId() };
  const spans: Sent[] = [];
  const links: unknown[] = [];
  const MANY = 5000;
  for (let i = 0; i < MANY; i++) {
    const of = { trace: id(), span: spanId() };
    const at = now - BigInt(1 + i * i) * MS; // up to 7 h
    spans.push(span("meter", `send ${topic}`, of, at - 5n * MS, at, 4, [...message("send", topic, i % 4, i), whole("hoptrace.produce.written", at - 4n * MS), whole("hoptrace.produce.acked", at)]));
    links.push({ traceId: of.trace, spanId: of.span, attributes: [text("messaging.destination.partition.id", String(i % 4)), whole("messaging.kafka.offset", i)] });
  }
  await send(request, spans);
  await send(request, [
    span("rollup", `process ${topic}`, batch, now, now + 800n * MS, 5, [
      text("messaging.system", "kafka"), text("messaging.operation.type", "process"), text("messaging.destination.name", topic), text("messaging.consumer.group.name", "rollup"),
      whole("messaging.batch.message_count", MANY), whole("hoptrace.consume.asked", now - 3n * MS), whole("hoptrace.consume.answered", now - 2n * MS), whole("hoptrace.consume.handed", now),
    ], { links }),
  ]);
  await stored(request, batch.trace, 1);
  await page.goto(`/traces/${batch.trace}`);
  expect(await finding(page)).toMatch(/process wf-batch-\w+ read 5.000 records at once, as group rollup/);
  await expect(page.getByRole("table", { name: "Waterfall" }).getByRole("row")).toHaveCount(2);
  await shot(page, "waterfall-batch-row-light");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/batch=/);
  await expect(page.getByRole("img", { name: /^Ages of 5 000 records/ })).toBeVisible();
  expect(await finding(page)).toMatch(/read 5.000 records, half of them older than/);
  const table = page.getByRole("table", { name: "Records of the batch" });
  await expect(table.getByRole("row")).toHaveCount(51);
  await expect(table.getByRole("row").nth(1)).toContainText("p3 · 4");
  await accessible(page);
  await shot(page, "batch-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await shot(page, "batch-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await table.getByRole("button", { name: "Record", exact: true }).click();
  await expect(page).toHaveURL(/order=place/);
  await expect(table.getByRole("row").nth(1)).toContainText("p0 · 0");
  await page.getByRole("button", { name: "Next" }).click();
  await expect(page).toHaveURL(/skip=50/);
  await expect(page.getByText(/51 to 100 of/)).toBeVisible();
  await page.reload();
  await expect(page.getByText(/51 to 100 of/)).toBeVisible();
  // To the trace of one producer, in which this batch stands below its own record.
  await table.getByRole("link", { name: /^Trace of the producer/ }).first().click();
  await expect(page.getByRole("button", { name: `Hop ${topic}, group rollup` })).toBeVisible();
  await expect(page.getByRole("table", { name: "Waterfall" }).getByRole("row")).toHaveCount(3);
  await page.keyboard.press("Escape");
  await expect(page).toHaveURL(new RegExp(`/traces/${batch.trace}`));
});

interface Scrolled {
  /** Length of each frame, in ms. */
  frames: number[];
  /** Rows of the waterfall in the page, at most and at least. */
  rows: { most: number; least: number };
  /** How far the page was moved, in px. */
  moved: number;
}

/** Scrolls through the waterfall, a row and more in each frame. */
function scrolled(page: Page): Promise<Scrolled> {
  return page.evaluate(
    () =>
      new Promise((done) => {
        const frames: number[] = [];
        const rows = { most: 0, least: Infinity };
        const top = scrollY;
        let last = performance.now();
        const tick = (now: number) => {
          frames.push(now - last);
          last = now;
          const n = document.querySelectorAll('[role="table"][aria-label="Waterfall"] [role="row"]').length;
          rows.most = Math.max(rows.most, n);
          rows.least = Math.min(rows.least, n);
          if (frames.length > 240) return done({ frames: frames.slice(1), rows, moved: scrollY - top });
          window.scrollBy(0, 90);
          requestAnimationFrame(tick);
        };
        requestAnimationFrame(tick);
      }),
  );
}

test("a trace of more than 10,000 spans says where it is cut, and scrolls", async ({ page, request }) => {
  test.setTimeout(180_000);
  const now = BigInt(Date.now()) * MS;
  const trace = id();
  const ids = Array.from({ length: 10_400 }, () => spanId());
  await send(
    request,
    ids.map((own, i) => span(i % 3 ? "importer" : "store", `row ${i}`, { trace, span: own, ...(i ? { parent: ids[Math.floor((i - 1) / 4)]! } : {}) }, now - 60_000n * MS + BigInt(i) * MS, i ? now - 60_000n * MS + BigInt(i + 30) * MS : now, 1, [whole("row", i), text("kind", "import")])),
  );
  await stored(request, trace, 10_000);
  await page.goto(`/traces/${trace}`);
  await expect(page.getByText(/spans 1 to 10.000 of 10.400/)).toBeVisible({ timeout: 30_000 });
  await expect(page.getByRole("table", { name: "Waterfall" })).toHaveAttribute("aria-rowcount", "10001");
  await shot(page, "waterfall-10000-light");
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  // What the page's own thread does for a frame says more than the frame rate on a
  // machine that other programs share and that paints without a GPU.
  const busy = async () => (await devtools.send("Performance.getMetrics")).metrics.find((m) => m.name === "TaskDuration")!.value * 1000;
  const before = await busy();
  const { frames, rows, moved } = await scrolled(page);
  const work = (await busy()) - before;
  const elapsed = frames.reduce((sum, f) => sum + f, 0);
  console.log(`waterfall: 10,000 spans, ${((frames.length * 1000) / elapsed).toFixed(1)} fps, worst frame ${Math.max(...frames).toFixed(0)} ms (${(work / frames.length).toFixed(1)} ms of the page's thread a frame; ${rows.most} rows at most)`);
  expect(moved, "px scrolled").toBeGreaterThan(240 * 80);
  expect(rows.most, "rows in the page").toBeLessThanOrEqual(200);
  expect(rows.least, "rows in the page").toBeGreaterThan(10);
  // A list that is not virtual takes seconds a frame. The rest is the machine's.
  expect(elapsed / frames.length, "ms a frame").toBeLessThan(250);
  await page.getByRole("link", { name: "next spans" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(/^spans 10.001 to 10.400 of 10.400$/i);
  await page.getByRole("link", { name: "first page" }).click();
  await expect(page.getByRole("heading", { level: 1 })).not.toHaveText(/10.400/);
});

test("a trace can be read on a phone", async ({ page, request }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  const o = order(BigInt(Date.now()) * MS, "wf-phone-" + id().slice(0, 6));
  await send(request, o.spans);
  await stored(request, o.trace, 5);
  await page.goto(`/traces/${o.trace}`);
  await expect(page.getByRole("region", { name: "Critical path" })).toBeVisible();
  await expect(page.getByRole("table", { name: "Waterfall" }).getByRole("img").first()).toBeVisible();
  expect(await page.evaluate(() => scrollY), "it begins with its finding").toBe(0);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  await accessible(page);
  await shot(page, "waterfall-phone-light");
});
