// A trace, a record and a batch as somebody reads them who never saw them before: what
// the page says first is true of what it shows below.
import type { Locator } from "@playwright/test";
import { caseOf, get } from "./awkward.js";
import { accessible, expect, finding, shot, test } from "./fixtures.js";

/** Each head of a table begins where its column does. */
async function headed(table: Locator): Promise<void> {
  const starts = (row: Locator) => row.locator("th, td").evaluateAll((cells) => cells.map((c) => Math.round(c.getBoundingClientRect().left)));
  const rows = table.getByRole("row");
  expect(await starts(rows.nth(0))).toEqual(await starts(rows.nth(1)));
}

/** Pairs of texts of a picture that lie one over another, as people would see it. */
function overlapping(picture: Locator): Promise<string[]> {
  return picture.evaluate((svg) => {
    const boxes = Array.from(svg.querySelectorAll("text")).map((t) => ({ text: t.textContent ?? "", box: t.getBoundingClientRect() }));
    const out: string[] = [];
    boxes.forEach((a, i) => {
      for (const b of boxes.slice(i + 1)) {
        const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        if (wide > 1 && high > 4) out.push(`${a.text} | ${b.text}`);
      }
    });
    const frame = svg.getBoundingClientRect();
    for (const b of boxes) if (b.box.right > frame.right + 1 || b.box.left < frame.left - 1) out.push(`${b.text} is cut`);
    return out;
  });
}

test("a record that was sent on tells the whole way of what was made of it", async ({ page }) => {
  const c = caseOf("retries and a dead letter");
  await page.goto(`/records/${c.topic!}/${c.partition}/${c.offset}`);
  await finding(page);
  const made = page.getByRole("table", { name: "What was made of it" });
  await expect(made.getByRole("row").filter({ hasText: "payments-dlq" })).toContainText(/4\sm\s00\ss/u);
  await expect(made.getByText("unknown")).toHaveCount(0);
  await headed(page.getByRole("table", { name: "Who read it" }));
  await headed(made);
  expect(await made.evaluate((t) => Math.round(t.getBoundingClientRect().right - t.parentElement!.getBoundingClientRect().right)), "px of the table that lie outside of its panel").toBeLessThanOrEqual(0);
  await accessible(page);
  await shot(page, "reading-record-light");
  await page.goto(`/traces/${c.trace!}?view=table`);
  await headed(page.getByRole("table", { name: "Journey" }));
  // Its first sentence is how it ended, not who touched it last.
  expect(await finding(page)).toMatch(/^POST \/pay ended as a dead letter after 1\sm\s0\d\ss$/u);
});

test("where nobody told of sending, the age is the record's own", async ({ page }) => {
  await page.goto("/traces/" + caseOf("missing producer").trace!);
  expect(await finding(page)).toMatch(/^process legacy\.audit reached audit, 1\sm\s30\ss after the record's own timestamp$/u);
  await expect(page.getByText(/Who sent legacy\.audit p0 is unknown/)).toBeVisible();
});

test("a root that goes on for longer moves no arrival", async ({ page }) => {
  await page.goto("/traces/" + caseOf("trace of 10,000 spans").trace!);
  // The root ends at 9 m.
  expect(await finding(page)).toMatch(/reached transformer after 8\sm\s\d\d\ss$/u);
});

test("the path of what nobody read ends in the broker", async ({ page }) => {
  await page.goto("/traces/" + caseOf("unread").trace!);
  expect(await finding(page)).toContain("Nobody has been seen to read");
  await expect(page.getByRole("region", { name: "Critical path" }).getByRole("img", { name: /by part: Batch queue 97\.8\s%, Ack 2\.2\s%/u })).toBeVisible();
  const parts = page.getByLabel("Parts, summed over this journey");
  await expect(parts.locator("div").filter({ hasText: "Backlog" })).toContainText("not yet");
  await expect(parts.locator("div").filter({ hasText: "Settle" })).toContainText("not seen");
});

test("in lanes no text lies over another, and none is cut", async ({ page }) => {
  for (const name of ["retries and a dead letter", "trace of 10,000 spans", "a ring", "three groups", "long names", "names in other scripts", "unread"]) {
    await page.goto(`/traces/${caseOf(name).trace!}?view=lanes`);
    await finding(page);
    const picture = page.getByRole("group", { name: /^Journey over/ });
    await expect(picture).toBeVisible();
    expect(await overlapping(picture), name).toEqual([]);
    expect(await overlapping(page.locator(".lanes > .axis > svg")), name + ", the axis").toEqual([]);
  }
  await page.goto(`/traces/${caseOf("retries and a dead letter").trace!}?view=lanes`);
  await finding(page);
  await expect(page.getByRole("group", { name: /^Journey over/ })).toBeVisible();
  await shot(page, "reading-lanes-light");
});

test("the row of a batch says how long it took, also before its ages are there", async ({ page }) => {
  let answer = () => {};
  const asked = new Promise<void>((go) => (answer = go));
  await page.route("**/batch?*limit=1*", async (route) => {
    await asked;
    await route.continue();
  });
  await page.goto("/traces/" + caseOf("batch of 5,000").trace!);
  await finding(page);
  const row = page.getByRole("img", { name: /^Span process meters\.readings/ });
  await expect(row.locator("text")).toHaveText(/^812\sms$/);
  answer();
  await expect(row.locator("text")).toHaveText(/^812\sms · half older than/);
  await shot(page, "reading-batch-row-light");
});

test("the finding of a batch leads to the records that it counts, the small shares of a path to their rows", async ({ page, request }) => {
  const c = caseOf("batch of 5,000");
  const { batches } = await get<{ batches: { traceId: string; spanId: string }[] }>(request, "/traces/" + c.trace!);
  await page.goto(`/traces/${c.trace!}?batch=${batches[0]!.traceId}/${batches[0]!.spanId}&order=place`);
  await finding(page);
  const table = page.getByRole("table", { name: "Records of the batch" });
  await expect(table.getByRole("button", { name: "Record", exact: true })).toHaveAttribute("aria-pressed", "true");
  await page.getByRole("heading", { level: 1 }).getByRole("link").last().click();
  await expect(page).toHaveURL(/order=oldest/);
  await expect(table.getByRole("button", { name: "Age", exact: true })).toHaveAttribute("aria-pressed", "true");
  await page.getByRole("paragraph").filter({ hasText: "The oldest, of" }).getByRole("link").first().click();
  await expect(page).toHaveURL(/\/records\/meters\.readings\//);

  await page.goto("/traces/" + caseOf("wait of hours").trace!);
  await finding(page);
  const path = page.getByRole("region", { name: "Critical path" });
  await path.getByRole("button", { name: "6 smaller" }).click();
  await expect(page).toHaveURL(/shares=all/);
  await path.locator("dl > div").filter({ hasText: "Fetch queue" }).getByRole("button").click();
  await expect(page).toHaveURL(/row=orders\.nightly/);
  await accessible(page);
  await page.getByRole("button", { name: "Only the largest" }).click();
  await expect(page).not.toHaveURL(/shares=/);
});

test("the hash of a key leads to all records with that key", async ({ page }) => {
  const c = caseOf("retries and a dead letter");
  await page.goto(`/records/${c.topic!}/${c.partition}/${c.offset}`);
  await finding(page);
  await page.getByRole("link", { name: /^[0-9a-f]{16}$/ }).click();
  await expect(page).toHaveURL(/\/find\?q=key:[0-9a-f]{16}/);
  expect(await finding(page)).toMatch(/^4 records answer to key:[0-9a-f]{16}$/);
  for (const topic of ["payments", "payments-retry-5s", "payments-retry-1m", "payments-dlq"]) await expect(page.getByRole("link", { name: topic, exact: true })).toBeVisible();
});
