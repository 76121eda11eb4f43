// Clocks: what the beacon of the server's own collector tells, and hosts with clocks ten seconds off that
// tell theirs by OTLP, one of which is stepped.
import type { APIRequestContext, Page } from "@playwright/test";
import { accessible, expect, finding, shot, test } from "./fixtures.js";
import { id } from "./seed.js";

const otlp = process.env["HOPTRACE_OTLP_HTTP"] ?? "";
const ms = 1_000_000;

interface Host {
  name: string;
  boot: string;
  /** The host's clock minus the truth, ns; a second one after the step. */
  off: number;
  stepped?: number;
  /** Tells lower bounds alone. */
  fetches?: boolean;
}

const word = id().slice(0, 8);
const broker = `kafka-${word}`;
const hosts: Host[] = [
  { name: `checkout-${word}`, boot: `a${word}`, off: 10_000 * ms },
  { name: `payments-${word}`, boot: `b${word}`, off: -10_000 * ms },
  { name: `stepped-${word}`, boot: `c${word}`, off: 2 * ms, stepped: 802 * ms },
  { name: `reader-${word}`, boot: `d${word}`, off: -1 * ms, fetches: true },
];

const attribute = (key: string, value: string | number) => ({ key, value: typeof value === "number" ? { intValue: String(value) } : { stringValue: value } });
const at = (t: bigint) => t.toString();

/** Four minutes of samples of each host, one a second, as wrappers send them, and one message from checkout to payments. */
async function seed(request: APIRequestContext): Promise<void> {
  const now = BigInt(Date.now() - 2000) * 1_000_000n;
  const resource = (h: Host) => ({ attributes: [attribute("service.name", h.name.replace(/-.*/, "")), attribute("host.name", h.name), attribute("hoptrace.host.boot_id", h.boot)] });
  const server = [attribute("server.address", broker), attribute("server.port", 9092)];
  const resourceMetrics = hosts.map((h) => {
    const low: object[] = [];
    const high: object[] = [];
    for (let s = 240; s > 0; s--) {
      const off = h.stepped !== undefined && s <= 100 ? h.stepped : h.off;
      const time = at(now - BigInt(s) * 1_000_000_000n + BigInt(off));
      low.push({ timeUnixNano: time, asInt: String(-off - 1.2 * ms), attributes: server });
      if (!h.fetches) high.push({ timeUnixNano: time, asInt: String(-off + 1.6 * ms), attributes: server });
    }
    const gauge = (name: string, dataPoints: object[]) => ({ name, unit: "ns", gauge: { dataPoints } });
    return {
      resource: resource(h),
      scopeMetrics: [{ metrics: [gauge("hoptrace.clock.offset.low", low), ...(high.length > 0 ? [gauge("hoptrace.clock.offset.high", high)] : [])] }],
    };
  });
  const metrics = await request.post(`${otlp}/v1/metrics`, { data: { resourceMetrics } });
  expect(metrics.status(), await metrics.text()).toBe(200);

  const [producer, consumer] = [hosts[0]!, hosts[1]!];
  const truth = now - 30_000_000_000n;
  const p = (offset: number) => at(truth + BigInt(offset * ms) + BigInt(producer.off));
  const c = (offset: number) => at(truth + BigInt(offset * ms) + BigInt(consumer.off));
  const trace = id();
  const record = [
    attribute("messaging.system", "kafka"),
    attribute("messaging.destination.name", `clocks-${word}`),
    attribute("messaging.destination.partition.id", "0"),
    attribute("messaging.kafka.offset", 7),
  ];
  const send = id().slice(0, 16);
  const span = (h: Host, s: object) => ({ resource: resource(h), scopeSpans: [{ scope: { name: "github.com/hoptrace/hoptrace/instrumentation/otelkafkago" }, spans: [{ traceId: trace, ...s }] }] });
  const spans = await request.post(`${otlp}/v1/traces`, {
    data: {
      resourceSpans: [
        span(producer, {
          spanId: send, name: `send clocks-${word}`, kind: 4, startTimeUnixNano: p(0), endTimeUnixNano: p(6),
          attributes: [...record, attribute("messaging.operation.type", "send"), attribute("hoptrace.produce.written", p(2)), attribute("hoptrace.produce.acked", p(6))],
        }),
        span(consumer, {
          spanId: id().slice(0, 16), parentSpanId: send, name: `process clocks-${word}`, kind: 5, startTimeUnixNano: c(45), endTimeUnixNano: c(60),
          attributes: [...record, attribute("messaging.operation.type", "process"), attribute("messaging.consumer.group.name", "payments"), attribute("hoptrace.consume.asked", c(30)), attribute("hoptrace.consume.answered", c(44)), attribute("hoptrace.consume.handed", c(45))],
        }),
      ],
    },
  });
  expect(spans.status(), await spans.text()).toBe(200);
  await expect
    .poll(async () => (await (await request.get("/api/v1/clocks?from=-15m")).json()).clocks.filter((k: { name: string }) => k.name.endsWith(word)).length, { timeout: 30_000 })
    .toBe(hosts.length);
}

async function open(page: Page, path: string): Promise<void> {
  await page.goto(path);
  await finding(page);
  await expect(page.getByRole("table", { name: "Clocks" }).getByRole("link").first()).toBeVisible();
}

const row = (page: Page, name: string) => page.getByRole("table", { name: "Clocks" }).getByRole("row").filter({ hasText: `${name}-${word}` });

test.beforeAll(async ({ playwright }) => {
  const request = await playwright.request.newContext({ baseURL: process.env["HOPTRACE_WEB"] ?? "" });
  await seed(request);
  await request.dispose();
});

test("each host's clock is told beside the broker's, with its error and what bounded it", async ({ page }) => {
  await open(page, "/clocks?from=-15m");
  await expect(page.getByRole("link", { name: "Clocks", exact: true })).toHaveAttribute("aria-current", "page");
  expect(await finding(page)).toMatch(/stepped|behind|ahead/);
  await expect(row(page, "checkout")).toContainText(/10\.00?.s ahead/);
  await expect(row(page, "checkout")).toContainText(/[12]\.\d+.ms/);
  await expect(row(page, "checkout")).toContainText("round trip");
  await expect(row(page, "payments")).toContainText(/10\.00?.s behind/);
  await expect(row(page, "stepped")).toContainText(/\(1 step\)/);
  await expect(row(page, "stepped")).toContainText(/80[12](\.\d)?.ms ahead/);
  await expect(row(page, "reader")).toContainText("one side alone");
  await expect(row(page, "reader")).toContainText("unknown");
  await accessible(page);
  await shot(page, "clocks-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page);
  await shot(page, "clocks-dark");
});

test("the beacon of the server's own collector is among them", async ({ page, request }) => {
  await expect
    .poll(async () => (await (await request.get("/api/v1/clocks?from=-15m")).json()).clocks.filter((k: { beaconsPerMinute: number; node: number | null; state: string }) => k.beaconsPerMinute > 0 && k.node !== null && k.state === "known").length, { timeout: 30_000 })
    .toBeGreaterThan(0);
  await open(page, "/clocks?from=-15m&sort=seen");
  const own = page.getByRole("table", { name: "Clocks" }).getByRole("row").filter({ hasText: "beacon" }).first();
  await expect(own).toContainText(/equal within ±|behind|ahead/);
});

test("a pair opens to its band over time and its steps, and the link holds that", async ({ page }) => {
  await open(page, "/clocks?from=-15m");
  await row(page, "stepped").getByRole("link").click();
  await expect(page).toHaveURL(new RegExp(`sel=c${word}`));
  const chosen = page.getByRole("region", { name: "Chosen clock" });
  await expect(chosen.getByRole("img", { name: /^Offset of broker .*, 1 step$/ })).toBeVisible();
  await expect(chosen.locator("canvas")).toBeVisible();
  await expect(chosen).toContainText("the band holds the truth");
  await expect(chosen).toContainText("stepped");
  await accessible(page);
  await chosen.scrollIntoViewIfNeeded();
  await shot(page, "clocks-step-light");
  await page.reload();
  await expect(chosen.locator("canvas")).toBeVisible();
  await page.emulateMedia({ colorScheme: "dark" });
  await expect(chosen.locator("canvas")).toBeVisible();
  await shot(page, "clocks-step-dark");
  await page.keyboard.press("Escape");
  await expect(chosen).toHaveCount(0);
});

test("what is known from one side alone says so and the way out", async ({ page }) => {
  await open(page, `/clocks?from=-15m&sel=${encodeURIComponent(`d${word} ${broker}:9092`)}`);
  const chosen = page.getByRole("region", { name: "Chosen clock" });
  await expect(chosen).toContainText("from one side alone");
  await expect(chosen.getByRole("button", { name: "Copy the beacon's line" })).toBeVisible();
  await accessible(page);
});

test("rows are sorted and walked by keys", async ({ page }) => {
  await open(page, "/clocks?from=-15m");
  await page.getByRole("button", { name: "Host's clock is" }).click();
  await expect(page).toHaveURL(/sort=offset/);
  await expect(page.getByRole("columnheader", { name: /Host's clock is/ })).toHaveAttribute("aria-sort", "descending");
  await expect(page.getByRole("table", { name: "Clocks" }).getByRole("link").first()).toHaveAttribute("aria-label", /^(checkout|payments)-/);
  await page.keyboard.press("j");
  await expect(page.locator(":focus")).toHaveAttribute("data-row", "true");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("region", { name: "Chosen clock" })).toBeVisible();
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await expect(page).toHaveURL(/\/clocks$/);
});

test("a host that told nothing leads to what helps", async ({ page }) => {
  await page.goto("/clocks?host=nobody");
  expect(await finding(page)).toContain("Nothing is known of any clock");
  await expect(page.getByRole("button", { name: "Copy the beacon's line" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Copy the topic's line" })).toBeVisible();
  await accessible(page);
  await shot(page, "clocks-empty-light");
  await page.getByRole("link", { name: "all hosts" }).click();
  await expect(page).toHaveURL(/\/clocks$/);
});

test("a message between the two says what it may be off by, and leads to the clocks", async ({ page, request }) => {
  let hop: { parts: { name: string; ns: number; known: boolean }[]; endToEnd: { ns: number; uncertaintyNs: { lo: number; hi: number } }; consumer: { traceId: string }; clock: { evidence: { roundTrips: number }[] } } | undefined;
  await expect
    .poll(async () => (hop = (await (await request.get(`/api/v1/hops?topic=clocks-${word}&from=-15m`)).json()).hops[0])?.clock?.evidence?.length, { timeout: 30_000 })
    .toBe(2);
  // The truth is 60 ms from sent to done, though the clocks are 20 s apart.
  expect(hop!.endToEnd.uncertaintyNs.lo).toBeLessThanOrEqual(60 * ms);
  expect(hop!.endToEnd.uncertaintyNs.hi).toBeGreaterThanOrEqual(60 * ms);
  expect(hop!.parts.filter((p) => p.known).reduce((sum, p) => sum + p.ns, 0)).toBe(hop!.endToEnd.ns);
  for (const e of hop!.clock.evidence) expect(e.roundTrips).toBeGreaterThan(60);
  await page.goto(`/traces/${hop!.consumer.traceId}`);
  await finding(page);
  const pm = page.getByRole("link", { name: /^plus or minus/ }).first();
  if (!(await pm.isVisible())) await page.getByRole("button", { name: new RegExp(`clocks-${word}`) }).first().click();
  await expect(pm).toBeVisible();
  await shot(page, "clocks-hop-light");
  await pm.click();
  await expect(page).toHaveURL(/\/clocks\?host=b/);
});

test("a list of messages says the same beside its whole time", async ({ page }) => {
  for (const path of [`/messages?topic=clocks-${word}&from=-15m`, `/search?in=hops&q=topic:clocks-${word}&from=-15m`]) {
    await page.goto(path);
    await finding(page);
    const pm = page.getByRole("main").getByRole("table").getByRole("link", { name: /^plus or minus .*: show the clocks$/ }).first();
    await expect(pm, path).toBeVisible();
    await accessible(page);
    await pm.click();
    await expect(page).toHaveURL(/\/clocks\?host=b/);
  }
});

test("pairs come in pages and by state, and a link to one leads to its page", async ({ page }) => {
  // As from many hosts: the server's own answer with smaller pages.
  const asked: string[] = [];
  await page.route("**/api/v1/clocks?*", async (route) => {
    const url = new URL(route.request().url());
    if (url.searchParams.get("limit") === "100") url.searchParams.set("limit", "2");
    asked.push(url.search);
    await route.continue({ url: url.href });
  });
  await open(page, "/clocks?from=-15m&sort=offset");
  const table = page.getByRole("table", { name: "Clocks" });
  const pages = page.getByRole("group", { name: "Pages of pairs" });
  await expect(pages).toContainText(/^1 to 2 of \d+ pairs/);
  await expect(table.getByRole("link")).toHaveCount(2);
  const first = await table.getByRole("link").first().getAttribute("aria-label");
  await pages.getByRole("button", { name: "More" }).click();
  await expect(page).toHaveURL(/skip=2/);
  await expect(pages).toContainText(/^3 to [34] of/);
  await expect(table.getByRole("link").first()).not.toHaveAttribute("aria-label", first!);
  await pages.getByRole("button", { name: "Before" }).click();
  await expect(table.getByRole("link").first()).toHaveAttribute("aria-label", first!);

  await page.goto(`/clocks?from=-15m&sort=offset&sel=${encodeURIComponent(`d${word} ${broker}:9092`)}`);
  await expect(page.getByRole("region", { name: "Chosen clock" })).toContainText("from one side alone");
  await expect(row(page, "reader")).toHaveAttribute("aria-current", "true");

  await page.goto("/clocks?from=-15m");
  const said = page.getByRole("main").getByRole("paragraph").filter({ hasText: "bounded from one side alone" });
  await said.locator("a[href*=\"state=one-sided\"]").click();
  await expect(page).toHaveURL(/state=one-sided/);
  await expect(page.getByRole("button", { name: /^one side alone/ })).toHaveAttribute("aria-pressed", "true");
  await expect(table.getByRole("row").filter({ hasText: "known" }).filter({ hasNotText: "unknown" })).toHaveCount(0);
  await expect(row(page, "reader")).toBeVisible();
  await accessible(page);
  await shot(page, "clocks-state-light");
  expect(asked.length).toBeGreaterThan(4);
});

test("clocks can be read on a phone", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await open(page, "/clocks?from=-15m");
  await accessible(page);
  await shot(page, "clocks-phone");
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
});
