// What every list has: a query in the language of its rows, pages, and all of it as a file.
import type { Page } from "@playwright/test";
import { accessible, expect, finding, shot, test } from "./fixtures.js";
import { seed } from "./seed.js";

let word = "";

test.beforeAll(async ({ playwright, baseURL }) => {
  const request = await playwright.request.newContext(baseURL ? { baseURL } : {});
  const status = (await (await request.get("/api/v1/status")).json()) as { projects: { dsns: string[] }[] };
  word = (await seed(request, status.projects[0]!.dsns[0]!, process.env["HOPTRACE_OTLP_HTTP"] ?? "")).word;
  const logs = async () => ((await (await request.get("/api/v1/logs", { params: { q: word, limit: "500" } })).json()) as { logs: unknown[] }).logs.length;
  await expect.poll(logs, { timeout: 60_000, message: "logs of what was sent" }).toBe(123);
  await request.dispose();
});

/** The rows of a list's file, read by the browser as a person's is. */
async function file(page: Page, what: string): Promise<unknown[]> {
  const link = page.getByRole("link", { name: `All ${what} as JSON` });
  const downloading = page.waitForEvent("download");
  await link.click();
  const download = await downloading;
  expect(download.suggestedFilename()).toMatch(/^hoptrace-[\w-]+-\d{8}T\d{6}Z\.json$/);
  const parts: Buffer[] = [];
  for await (const part of await download.createReadStream()) {
    parts.push(part as Buffer);
  }
  return JSON.parse(Buffer.concat(parts).toString()) as unknown[];
}

test("traces are asked in the language of spans, old filters beside it, and the file has what the list has", async ({ page }) => {
  await page.goto("/traces?service=payments");
  await finding(page);
  const field = page.getByRole("textbox", { name: "Search" });
  await expect(field).toHaveValue("service:payments");
  await field.fill("service:payments status:error");
  await field.press("Enter");
  await expect(page).toHaveURL(/service=payments&q=status%3Aerror/);
  const rows = page.getByRole("table", { name: "Traces" }).locator("tbody tr");
  await expect(rows.first()).toBeVisible();
  await expect(page.locator(".panel.stale")).toHaveCount(0);
  const shown = await rows.count();
  const all = (await file(page, "traces")) as { errors: number; services: string[] }[];
  expect(all.length).toBeGreaterThanOrEqual(shown);
  for (const t of all) {
    expect(t.errors).toBeGreaterThan(0);
    expect(t.services).toContain("payments");
  }
  await accessible(page);
  await shot(page, "lists-traces-light");
});

test.describe("a query that cannot be read", () => {
  test.use({ provoked: [/400 \(Bad Request\)/] });

  test("says where the fault is", async ({ page }) => {
    await page.goto("/traces?q=" + encodeURIComponent("duration>fast"));
    await expect(page.getByText(/at 10: duration wants a number with a unit/)).toBeVisible();
    await accessible(page);
  });
});

test("messages are asked in the language of hops and have pages", async ({ page }) => {
  await page.goto("/messages?topic=payments&q=" + encodeURIComponent("processing>0ms"));
  await finding(page);
  const names = page.getByRole("table", { name: "Messages" }).locator("[data-row]");
  await expect(names).toHaveCount(100);
  const of = () => names.evaluateAll((all) => all.map((a) => a.getAttribute("href")));
  const first = await of();
  await page.getByRole("button", { name: "Older messages" }).click();
  await expect(page).toHaveURL(/before=/);
  await expect.poll(async () => (await of()).some((href) => first.includes(href))).toBe(false);
  await accessible(page);
  await shot(page, "lists-messages-light");
  await page.getByRole("link", { name: "Newest" }).click();
  await expect(page).not.toHaveURL(/before=/);
  const all = (await file(page, "messages")) as { topic: string }[];
  expect(all.length).toBeGreaterThan(100);
  expect(new Set(all.map((m) => m.topic))).toEqual(new Set(["payments"]));
  await page.getByLabel("Order").selectOption("slowest");
  await expect(names).toHaveCount(100);
  await page.getByRole("button", { name: "Faster messages" }).click();
  await expect(page.getByRole("link", { name: "Slowest" })).toBeVisible();
});

test("logs are asked in their language", async ({ page }) => {
  await page.goto("/logs");
  await finding(page);
  const field = page.getByRole("textbox", { name: "Search" });
  await field.fill(`${word} (level:error OR level:warn)`);
  await field.press("Enter");
  await expect(page).toHaveURL(/q=/);
  await expect(page.getByRole("table", { name: "Logs" }).locator("tbody tr")).toHaveCount(2);
  expect(await file(page, "logs")).toHaveLength(2);
  await accessible(page);
  await shot(page, "lists-logs-light");
  await page.getByRole("button", { name: "Take the query away" }).click();
  await expect(page).not.toHaveURL(/q=/);
  await page.goto(`/logs?q=${word}`);
  await finding(page);
  expect(await file(page, "logs")).toHaveLength(123);
});

test("every list has its file", async ({ page }) => {
  for (const [path, what] of [
    ["/issues", "issues"],
    ["/topics", "topics"],
    ["/lag", "lines"],
    ["/lag/group?group=payments", "partitions"],
    ["/ledger", "lines"],
    ["/clocks", "clocks"],
  ] as const) {
    await page.goto(path);
    await finding(page);
    expect((await file(page, what)).length, path).toBeGreaterThan(0);
    await accessible(page);
  }
  await page.goto("/traces?service=shipping");
  await page.getByRole("table", { name: "Traces" }).getByRole("link").first().click();
  await expect(page.getByRole("navigation", { name: "Pictures of the journey" })).toBeVisible();
  expect((await file(page, "hops")).length).toBeGreaterThanOrEqual(3);
});
