// The pictures that README and docs show: `make pictures` takes them of the example's
// data (stage example) and of the awkward cases (stage awkward), into HOPTRACE_PICTURES.
import { mkdirSync, writeFileSync } from "node:fs";
import type { APIRequestContext, Page } from "@playwright/test";
import { expect, finding, test } from "./fixtures.js";

const dir = process.env["HOPTRACE_PICTURES"] ?? "";
const stage = process.env["HOPTRACE_STAGE"] ?? "example";

test.beforeAll(() => {
  if (!dir) throw new Error("set HOPTRACE_PICTURES to the folder for the pictures (make pictures does)");
  mkdirSync(dir, { recursive: true });
});

async function get<T>(request: APIRequestContext, path: string): Promise<T> {
  const answer = await request.get("/api/v1" + path);
  expect(answer.status(), path).toBe(200);
  return (await answer.json()) as T;
}

/** Goes to a page, waits until all of it is there, and takes it from the top, `height` px of it. */
async function picture(page: Page, name: string, path: string, height: number, scheme: "light" | "dark" = "light"): Promise<void> {
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
  await page.setViewportSize({ width: 1280, height });
  await page.goto(path);
  await finding(page);
  await expect(page.locator("[aria-busy=true], .stale, .ghost")).toHaveCount(0);
  await page.evaluate(() => document.fonts.ready);
  const devtools = await page.context().newCDPSession(page);
  const { data } = await devtools.send("Page.captureScreenshot", { format: "webp", quality: 88 });
  await devtools.detach();
  writeFileSync(`${dir}/${name}.webp`, Buffer.from(data, "base64"));
}

interface Journey {
  traces: string[];
  hops: { topic: string; record: { keyHash: string } }[];
  spans: unknown[];
  events: unknown[];
}

/** The trace of an order of the example whose journey has the most of what `of` counts. */
async function order(request: APIRequestContext, of: (j: Journey) => number): Promise<string> {
  const { traces } = await get<{ traces: { traceId: string }[] }>(request, "/traces?from=-1h&limit=60");
  let best = { trace: "", many: -1 };
  for (const { traceId } of traces) {
    const many = of(await get<Journey>(request, `/traces/${traceId}`));
    if (many > best.many) best = { trace: traceId, many };
  }
  expect(best.trace, "a trace of the example").not.toBe("");
  return best.trace;
}

if (stage === "example") {
  test("waterfall and find", async ({ page, request }) => {
    const whole = await order(request, (j) => new Set(j.hops.map((h) => h.topic)).size * 100 + j.spans.length + 10 * j.events.length);
    for (const scheme of ["light", "dark"] as const) await picture(page, `waterfall-${scheme}`, `/traces/${whole}`, 760, scheme);
    const { keyHash } = (await get<Journey>(request, `/traces/${whole}`)).hops[0]!.record;
    await picture(page, "find", `/find?from=-1h&q=key:${keyHash}`, 480);
  });

  test("topology, topic and lag", async ({ page }) => {
    for (const scheme of ["light", "dark"] as const) await picture(page, `topology-${scheme}`, "/topology?from=-10m", 720, scheme);
    await picture(page, "topic", "/topics/orders?from=-5m", 1330);
    await picture(page, "lag", "/lag?lag_from=-30m", 720);
  });

  test("issue and search", async ({ page, request }) => {
    const { issues } = await get<{ issues: { id: string; title: string }[] }>(request, "/issues?from=-1h");
    const declined = issues.find((i) => i.title.includes("CardDeclined"));
    expect(declined, "the issue of the example").toBeDefined();
    await picture(page, "issue", `/issues/${declined!.id}`, 1100);
    await picture(page, "search", "/search?in=hops&from=-1h&q=" + encodeURIComponent("topic:orders end_to_end>10ms"), 720);
  });
} else {
  test("journey, batch, clocks and health", async ({ page }) => {
    const { caseOf } = await import("./awkward.js");
    await picture(page, "journey", `/traces/${caseOf("retries and a dead letter").trace ?? ""}?view=lanes`, 760);
    const batch = caseOf("batch of 5,000");
    await page.goto(`/traces/${batch.trace ?? ""}`);
    await finding(page);
    await page.getByRole("button", { name: /read 5.000 records|5.000 records/ }).first().click();
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(/batch=/);
    await picture(page, "batch", page.url(), 900);
    await picture(page, "clocks", "/clocks?from=-1h", 480);
    await picture(page, "health", "/health?over=-15m", 900);
  });
}
