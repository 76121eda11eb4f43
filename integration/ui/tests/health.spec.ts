// The pipeline's own health on a server where awkward records were put aside.
import { accessible, expect, finding, shot, test } from "./fixtures.js";

test("health begins with a finding, draws the line and opens a stage", async ({ page }) => {
  await page.goto("/health");
  expect((await finding(page)).length).toBeGreaterThan(10);
  const graph = page.getByRole("group", { name: "The line" });
  await expect(graph.getByRole("button", { name: /^collector:/ })).toBeVisible();
  await expect(graph.getByRole("button", { name: /^clickhouse:/ })).toBeVisible();
  await expect(page.getByRole("list", { name: "Ruled out" }).getByRole("listitem").first()).toBeVisible();
  await graph.getByRole("button", { name: /^persist-spans:/ }).press("Enter");
  await expect(page).toHaveURL(/stage=persist-spans/);
  await expect(page.getByRole("img", { name: /^Items a second through persist-spans/ })).toBeVisible();
  await page.reload();
  await expect(page.getByRole("img", { name: /^Records that wait for persist-spans/ })).toBeVisible();
  await expect(page.getByRole("table", { name: "The ledger of this time" })).toBeVisible();
  await expect(page.getByRole("table", { name: "Processes" }).getByRole("row").nth(1)).toContainText("all@");
  await accessible(page);
  await shot(page, "health-light");
});

test("how often a stage failed leads to what it failed by last", async ({ page }) => {
  // Nothing fails on a server that is well: the answer of one whose store was away for a moment.
  await page.route("**/api/v1/health?*", async (route) => {
    const answer = await route.fetch();
    const body = (await answer.json()) as { stages: { name: string; retries: number; errors: number; failures: object[] }[] };
    const stage = body.stages.find((s) => s.name === "persist-spans")!;
    const at = String(BigInt(Date.now() - 60_000) * 1_000_000n);
    Object.assign(stage, { state: "failing", why: "what it did failed 3 times in the last minute, and is tried again", batches: 9 });
    stage.retries = 3;
    stage.errors = 1;
    stage.failures = [
      { kind: "handling", at, says: "cannot write 512 spans: connection refused", process: "all@vm:1" },
      { kind: "committing", at, says: "NOT_COORDINATOR", process: "all@vm:1" },
    ];
    await route.fulfill({ response: answer, json: body });
  });
  await page.goto("/health");
  await finding(page);
  await page.getByRole("link", { name: "3 tries again of persist-spans: what failed last" }).click();
  await expect(page).toHaveURL(/stage=persist-spans.*#failures$/);
  const last = page.getByRole("region", { name: "What failed last of persist-spans" });
  await expect(last.getByRole("listitem")).toHaveText([/1.m ago a batch failed, and is tried again: cannot write 512 spans: connection refused/, /it could not commit: NOT_COORDINATOR/]);
  await accessible(page);
  await last.scrollIntoViewIfNeeded();
  await shot(page, "health-failures-light");
  await page.getByRole("link", { name: "1 error of persist-spans: what failed last" }).click();
  await expect(last).toBeInViewport();
});

test("a dead letter is looked at and discarded by a plan, and what it held is scrubbed", async ({ page }) => {
  await page.goto("/health/letters");
  expect(await finding(page)).toMatch(/dead letters? waits? for somebody/);
  const rows = page.getByRole("table", { name: "Dead letters" }).getByRole("row");
  await expect(rows.nth(1)).toBeVisible();
  const before = await rows.count();
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/letter=ingest-spans-dlq/);
  const side = page.getByRole("complementary", { name: /^Dead letter ingest-spans-dlq/ });
  await expect(side.getByText("authorization")).toBeVisible();
  await expect(page.locator("body")).not.toContainText(/hunter2|4111 1111|abcdefghijklmnop/);
  await accessible(page);
  await shot(page, "health-letters-light");
  await page.keyboard.press("Escape");
  await expect(side).toBeHidden();

  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await expect(page.getByText("1 letter chosen")).toBeVisible();
  await page.getByRole("button", { name: "Discard…" }).click();
  const plan = page.getByRole("dialog", { name: "Discard 1 dead letter" });
  await expect(plan).toContainText("Nothing is deleted");
  await plan.getByRole("button", { name: "Discard" }).click();
  await expect(plan.getByRole("list", { name: "Outcomes" })).toContainText("discarded");
  await plan.getByRole("button", { name: "Close" }).click();
  await expect(rows).toHaveCount(before - 1);
  await page.getByRole("button", { name: /^Discarded/ }).click();
  await expect(page).toHaveURL(/state=discarded/);
  await expect(rows).toHaveCount(2);
});

test("health is read in the dark and on a phone", async ({ page }) => {
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goto("/health?stage=persist-spans");
  await finding(page);
  await expect(page.getByRole("table", { name: "Stages" })).toBeVisible();
  await accessible(page);
  await shot(page, "health-dark");
  await page.setViewportSize({ width: 390, height: 844 });
  for (const path of ["/health", "/health/letters"]) {
    await page.goto(path);
    await finding(page);
    expect(await page.evaluate(() => document.documentElement.scrollWidth), path).toBeLessThanOrEqual(390);
    await accessible(page);
    await shot(page, path.replaceAll("/", "-").slice(1) + "-390-dark");
  }
});
