// The topology: on the example's data, and on 500 nodes of a made-up company.
import type { APIRequestContext, Page } from "@playwright/test";
import { accessible, expect, finding, refuse, shot, test } from "./fixtures.js";
import { id } from "./seed.js";

const otlp = process.env["HOPTRACE_OTLP_HTTP"] ?? "";

/** The graph, drawn. */
async function graph(page: Page, path = "/topology"): Promise<void> {
  await page.goto(path);
  expect((await finding(page)).length).toBeGreaterThan(10);
  await expect(page.getByRole("group", { name: /^Topology: arrow keys/ })).toBeVisible();
}

test("the topology leads from services by topics and groups to services", async ({ page }) => {
  await graph(page);
  await expect(page.getByRole("link", { name: "Topology" })).toHaveAttribute("aria-current", "page");
  for (const topic of ["orders", "payments", "shipping"]) {
    await expect(page.getByRole("button", { name: new RegExp(`^topic ${topic}, [\\d ]+ written, [\\d ]+ read`) })).toBeAttached();
    await expect(page.getByRole("button", { name: new RegExp(`^topic ${topic} is read by group ${topic}: .*p99`) })).toBeAttached();
    await expect(page.getByRole("button", { name: new RegExp(`^group ${topic} is processed by service`) })).toBeAttached();
  }
  await expect(page.getByRole("button", { name: /^service \S+ writes topic payments: .*\/(s|min|h)/ })).toBeAttached();
  await expect(page.getByText("nothing is left out")).toBeVisible();
  await accessible(page);
  await shot(page, "topology-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page);
  await shot(page, "topology-dark");
});

test("an edge opens with its numbers, its distribution and the ways on", async ({ page }) => {
  await graph(page, "/topology?sel=" + encodeURIComponent("t:payments>g:payments"));
  const side = page.getByRole("complementary", { name: "Selected" });
  await expect(side.getByRole("heading", { name: "payments → payments" })).toBeVisible();
  await expect(side).toContainText("topic payments is read by group payments");
  await expect(side).toContainText("it crosses two clocks");
  await expect(side.getByRole("img", { name: /^Distribution of \d/ })).toBeVisible();
  await accessible(page);
  await shot(page, "topology-edge-light");
  const edge = page.getByRole("button", { name: /^topic payments is read by group payments/ });
  await expect(edge).toHaveAttribute("aria-pressed", "true");
  await side.getByRole("link", { name: "Slowest messages" }).click();
  await expect(page).toHaveURL(/\/messages\?.*topic=payments/);
  await expect(page.getByRole("table", { name: "Messages" }).getByRole("link").first()).toBeVisible();
  await page.goBack();
  await side.getByRole("link", { name: "Traces that passed here" }).click();
  await expect(page).toHaveURL(/\/traces\?.*group=payments/);
  await expect(page.getByRole("table", { name: "Traces" }).getByRole("link").first()).toBeVisible();
  await page.goBack();
  await side.getByRole("button", { name: "topic payments" }).click();
  await expect(page).toHaveURL(/sel=t%3Apayments(&|$)/);
  await expect(side.getByRole("heading", { name: "Written by" })).toBeVisible();
  await side.getByRole("button", { name: "Show only its way" }).click();
  await expect(page).toHaveURL(/topic=payments/);
  await expect(page.getByRole("button", { name: /^topic orders, / })).toHaveCount(0);
  await page.getByRole("button", { name: "Show everything" }).click();
  await expect(page.getByRole("button", { name: /^topic orders, / })).toBeAttached();
});

test("the graph is walked by keys, zoomed, and left to the link", async ({ page }) => {
  await graph(page, "/topology?topic=orders");
  await page.getByRole("button", { name: "Fit" }).focus();
  await page.keyboard.press("Tab");
  const focused = page.locator(":focus");
  const first = await focused.getAttribute("aria-label");
  expect(first).toMatch(/^(service|topic|group) /);
  // To where records come in, and on along the edges.
  for (let i = 0; i < 4; i++) await page.keyboard.press("ArrowLeft");
  await expect(focused).toHaveAttribute("aria-label", /^service /);
  await page.keyboard.press("ArrowRight");
  await expect(focused).toHaveAttribute("aria-label", /^topic orders, /);
  await page.keyboard.press("ArrowRight");
  await expect(focused).toHaveAttribute("aria-label", /^group orders, /);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/sel=g%3Aorders/);
  await expect(page.getByRole("complementary", { name: "Selected" }).getByRole("heading", { name: "orders", exact: true })).toBeVisible();
  await page.keyboard.press("+");
  await expect(page).toHaveURL(/box=/);
  const link = page.url();
  await page.goto("/traces");
  await page.goto(link);
  await expect(page.getByRole("button", { name: /^group orders, / })).toHaveAttribute("aria-pressed", "true");
  expect(page.url()).toBe(link);
  await page.keyboard.press("Escape");
  await expect(page).not.toHaveURL(/sel=/);
  await page.keyboard.press("g");
  await page.keyboard.press("y");
  await expect(page).toHaveURL(/\/topology$/);
});

test("time is travelled in steps, and the graph stays where it is", async ({ page }) => {
  await graph(page, "/topology?from=-1h");
  const travel = page.getByRole("region", { name: "Time travel" });
  const step = travel.getByRole("slider", { name: "Step" });
  await expect(step).toHaveAttribute("aria-valuetext", "whole time");
  const orders = page.getByRole("button", { name: /^topic orders, / });
  const place = await orders.boundingBox();
  await travel.getByRole("button", { name: /Earlier/ }).click();
  await expect(page).toHaveURL(/at=\d{19}/);
  await expect(step).toHaveAttribute("aria-valuetext", /^\d\d:\d\d – \d\d:\d\d: [\d ]+ written, [\d ]+ read/);
  await accessible(page);
  await shot(page, "topology-step-light");
  // An hour ago nothing had passed: everything stands still, and in its place.
  await step.fill("1");
  await expect(step).toHaveAttribute("aria-valuetext", /: 0 written, 0 read$/);
  await expect(orders).toHaveAttribute("aria-label", /stands still/);
  expect(await orders.boundingBox()).toEqual(place);
  await page.reload();
  await expect(step).toHaveAttribute("aria-valuetext", /: 0 written, 0 read$/);
  await page.keyboard.press(".");
  await expect(step).toHaveValue("2");
  await travel.getByRole("button", { name: "Whole time" }).click();
  await expect(page).not.toHaveURL(/at=/);
});

test("the same stands in a table, which is what a phone shows", async ({ page }) => {
  await graph(page);
  await page.keyboard.press("v");
  await expect(page).toHaveURL(/view=table/);
  const table = page.getByRole("table", { name: "Edges" });
  const row = table.getByRole("row", { name: /payments → payments topic is read by group/ });
  await expect(row).toBeVisible();
  await table.getByRole("button", { name: "p99" }).click();
  await expect(page).toHaveURL(/sort=p99/);
  await accessible(page);
  await shot(page, "topology-table-light");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/sel=/);
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto("/topology");
  await expect(table).toBeVisible();
  await expect(page.getByRole("group", { name: /^Topology: arrow keys/ })).toHaveCount(0);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  expect(wide).toBeLessThanOrEqual(390);
  await accessible(page);
  await shot(page, "topology-390-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await shot(page, "topology-390-dark");
});

test("nothing in the time, and no such way, say so", async ({ page }) => {
  await page.goto("/topology?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z");
  expect(await finding(page)).toContain("No message passed a topic in this time");
  await expect(page.getByRole("link", { name: "longer time" })).toBeVisible();
  await page.goto("/topology?topic=there-is-none");
  expect(await finding(page)).toContain("No message passed this way");
  await accessible(page);
  await page.getByRole("button", { name: "Show everything" }).click();
  await expect(page.getByRole("button", { name: /^topic orders, / })).toBeAttached();
});

test.describe("when a question fails", () => {
  test.use({ provoked: [/Failed to load resource/] });
  test("the page says which, and asks again", async ({ page }) => {
    await page.route("**/api/v1/topology?*", (route) => refuse(route, 503, "store_unavailable", "the store cannot be reached now", "try again"));
    await page.goto("/topology");
    const alert = page.getByRole("alert");
    await expect(alert).toContainText("the store cannot be reached now", { timeout: 30_000 });
    await expect(alert).toContainText("/api/v1/topology");
    await accessible(page);
    await page.unroute("**/api/v1/topology?*");
    await alert.getByRole("button", { name: "Ask again" }).click();
    await expect(page.getByRole("button", { name: /^topic orders, / })).toBeAttached();
  });
});

/** Spans of a company: each of n services writes a topic, which two groups read. */
async function company(request: APIRequestContext, n: number): Promise<void> {
  const domains = ["rechnungen", "注文", "доставка", "stock", "mail"];
  const service = (i: number) => `${domains[i % n % domains.length]}-service-${i % n}`;
  const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
  const now = BigInt(Date.now()) * 1_000_000n;
  const span = (topic: string, op: "send" | "process", group: string, after: bigint) => ({
    traceId: id(),
    spanId: id().slice(0, 16),
    name: `${op} ${topic}`,
    kind: op === "send" ? 4 : 5,
    startTimeUnixNano: String(now - 60_000_000_000n + after),
    endTimeUnixNano: String(now - 60_000_000_000n + after + 5_000_000n),
    attributes: [
      text("messaging.system", "kafka"),
      text("messaging.destination.name", topic),
      text("messaging.operation.type", op),
      text("messaging.operation.name", op),
      ...(group ? [text("messaging.consumer.group.name", group)] : []),
      text("messaging.destination.partition.id", "0"),
      { key: "messaging.kafka.offset", value: { intValue: "1" } },
    ],
  });
  const spans = new Map<string, unknown[]>();
  const add = (name: string, s: unknown) => spans.set(name, [...(spans.get(name) ?? []), s]);
  for (let i = 0; i < n; i++) {
    const topic = `${domains[i % domains.length]}.changed.v${i}`;
    for (let k = 0; k <= i % 4; k++) add(service(i), span(topic, "send", "", BigInt(k)));
    for (const reader of [i * 3 + 1, i + Math.floor(n / 2)]) add(service(reader), span(topic, "process", service(reader), 20_000_000n));
  }
  const answer = await request.post(`${otlp}/v1/traces`, {
    data: { resourceSpans: [...spans].map(([name, list]) => ({ resource: { attributes: [text("service.name", name)] }, scopeSpans: [{ scope: { name: "other" }, spans: list }] })) },
  });
  if (!answer.ok()) throw new Error(`OTLP was answered ${answer.status()}: ${await answer.text()}`);
}

test("500 nodes stay usable", async ({ page, request }) => {
  await company(request, 166);
  await expect(async () => {
    const got = (await (await request.get("/api/v1/topology?from=-1h")).json()) as { total: { topics: number; services: number; groups: number } };
    expect(got.total.topics).toBeGreaterThanOrEqual(166);
    expect(got.total.services + got.total.groups).toBeGreaterThan(300);
  }).toPass({ timeout: 60_000 });
  await page.goto("/topology?from=-1h");
  await expect(page.getByRole("group", { name: /^Topology: arrow keys/ })).toBeVisible({ timeout: 30_000 });
  expect(await page.getByRole("button", { name: /^(service|topic|group) \S+, [\d ]+ written/ }).count()).toBeGreaterThan(450);
  await shot(page, "topology-500-light");
  // A name is found and brought into sight.
  await page.getByRole("textbox", { name: "Find a node" }).fill("stock.changed.v48");
  await expect(page.getByText("1 found; Enter goes to the first")).toBeVisible();
  await page.keyboard.press("Enter");
  const found = page.getByRole("button", { name: /^topic stock\.changed\.v48, / });
  await expect(found).toHaveAttribute("aria-pressed", "true");
  await expect(found).toBeInViewport();
  await expect(page.getByText(/^\d+ of \d+ nodes in view$/)).toBeVisible();
  await page.getByRole("textbox", { name: "Find a node" }).fill("");
  await accessible(page);
  await shot(page, "topology-500-found-light");
  // A drag moves it by as much as the hand; no frame takes long.
  await expect(page).toHaveURL(/box=/);
  const before = await found.boundingBox();
  const canvas = await page.getByRole("group", { name: /^Topology: arrow keys/ }).boundingBox();
  if (!before || !canvas) throw new Error("the node has no place");
  await page.evaluate(() => {
    const times: number[] = [];
    (window as unknown as { frames: number[] }).frames = times;
    let last = performance.now();
    const tick = () => {
      times.push(performance.now() - last);
      last = performance.now();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  const [x, y] = [canvas.x + canvas.width - 40, canvas.y + canvas.height - 30];
  await page.mouse.move(x, y);
  await page.mouse.down();
  for (let i = 1; i <= 30; i++) await page.mouse.move(x - 5 * i, y - 2 * i);
  await page.mouse.up();
  await expect.poll(async () => Math.round(((await found.boundingBox())?.x ?? 0) - before.x)).toBe(-150);
  await expect(found).toHaveAttribute("aria-pressed", "true");
  const frames = (await page.evaluate(() => (window as unknown as { frames: number[] }).frames)).sort((a, b) => a - b);
  const median = frames[Math.floor(frames.length / 2)] ?? 0;
  test.info().annotations.push({ type: "frames", description: `median ${median.toFixed(1)} ms, p95 ${(frames[Math.floor(frames.length * 0.95)] ?? 0).toFixed(1)} ms` });
  console.log(`drag over ${frames.length} frames: median ${median.toFixed(1)} ms, p95 ${(frames[Math.floor(frames.length * 0.95)] ?? 0).toFixed(1)} ms`);
  expect(median).toBeLessThan(100);
  // All of it fits again.
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Fit" }).click();
  await expect(page.getByText(/nodes in view$/)).toHaveCount(0);
});
