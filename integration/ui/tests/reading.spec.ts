// A trace, a record and a batch as somebody reads them who never saw them before: what
// the page says first is true of what it shows below.
import type { Locator } from "@playwright/test";
import { caseOf } from "./awkward.js";
import { accessible, expect, finding, shot, test } from "./fixtures.js";

/** Each head of a table begins where its column does. */
async function headed(table: Locator): Promise<void> {
  const starts = (row: Locator) => row.locator("th, td").evaluateAll((cells) => cells.map((c) => Math.round(c.getBoundingClientRect().left)));
  const rows = table.getByRole("row");
  expect(await starts(rows.nth(0))).toEqual(await starts(rows.nth(1)));
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
