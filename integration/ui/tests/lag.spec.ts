// The lag desk on a real broker: the example's groups keep up; a group made by the
// test stopped at an offset that it committed.
import { accessible, expect, finding, refuse, shot, test } from "./fixtures.js";

const stopped = "ui-stopped";

test("groups are listed with their states, filtered by the URL, and do not move while one reads", async ({ page }) => {
  await page.goto("/lag");
  expect((await finding(page)).length).toBeGreaterThan(10);
  const table = page.getByRole("table", { name: "Lag" });
  for (const group of ["orders", "payments", "shipping"]) {
    await expect(table.getByRole("link", { name: `${group}, ${group}` })).toBeVisible();
  }
  const row = table.getByRole("row").filter({ has: page.getByRole("link", { name: `${stopped}, orders` }) });
  await expect(row).toContainText("Stopped", { timeout: 120_000 });
  await expect(row.getByRole("img", { name: /time behind: last/ })).toBeVisible({ timeout: 60_000 });
  await accessible(page);
  await shot(page, "lag-light");

  await page.getByRole("button", { name: /^Not OK/ }).click();
  await expect(page).toHaveURL(/state=not-ok/);
  await expect(row).toBeVisible();
  await expect(table.getByRole("link", { name: "shipping, shipping" })).toBeHidden();
  await page.reload();
  await expect(page.getByRole("button", { name: /^Not OK/ })).toHaveAttribute("aria-pressed", "true");
  await page.goto("/lag?text=nothing-is-called-so");
  await expect(page.getByRole("heading", { name: "No group is here" })).toBeVisible();
  await page.getByRole("link", { name: "Take all filters away" }).click();
  await page.getByRole("button", { name: "Group", exact: true }).click();
  await expect(page).toHaveURL(/sort=group/);
  await expect(page.getByRole("columnheader", { name: "Group", exact: false }).first()).toHaveAttribute("aria-sort", "ascending");
});

test("a partition leads to the messages of just its offsets", async ({ page }) => {
  await page.goto("/lag");
  await page.getByRole("link", { name: `${stopped}, orders` }).click();
  await expect(page).toHaveURL(/\/lag\/group\?.*group=ui-stopped/);
  expect(await finding(page)).toContain(stopped);
  await expect(page.getByRole("img", { name: /^Time behind of orders: last/ })).toBeVisible();
  await page.getByRole("button", { name: "orders partition 0" }).click();
  await expect(page).toHaveURL(/open=orders%2F0/);
  const unread = page.getByRole("region", { name: "Oldest unread" });
  await expect(unread.getByRole("link", { name: /^orders, partition 0|orders/ }).first()).toBeVisible();
  await accessible(page);
  await shot(page, "lag-group-light");
  await unread.getByRole("link", { name: "All messages of these offsets" }).click();
  await expect(page).toHaveURL(/\/messages\?.*partition=0.*order=sent/);
  await expect(page.getByRole("link", { name: "Show all partitions and offsets" })).toBeVisible();
  const messages = page.getByRole("table", { name: "Messages" });
  await expect(messages.getByRole("link").first()).toBeVisible();
  for (const text of await messages.getByRole("row").allInnerTexts()) {
    if (text.includes("orders")) expect(text).toContain("p0");
  }
  await page.goBack();
  await page.keyboard.press("Escape");
  await expect(page).toHaveURL(/\/lag(\?|$)/);
});

test("the lag desk is read in the dark and on a phone", async ({ page }) => {
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goto(`/lag/group?cluster=bus&group=${stopped}`);
  await expect(page.getByRole("table", { name: "Partitions" }).getByRole("row").nth(1)).toContainText("Stopped");
  await accessible(page);
  await shot(page, "lag-group-dark");
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto("/lag");
  await finding(page);
  await expect(page.getByRole("link", { name: `${stopped}, orders` })).toBeVisible();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  await accessible(page);
  await shot(page, "lag-390-dark");
});

test.describe("with a broken server", () => {
  test.use({ provoked: [/status of (404|503)/] });
  test("what failed is said, and asked again", async ({ page }) => {
    await page.route("**/api/v1/lag?*", (route) => refuse(route, 503, "busy", "16 questions are being answered already", "try again in a moment"));
    await page.goto("/lag");
    await expect(page.getByRole("alert")).toContainText("16 questions", { timeout: 60_000 });
    await page.unroute("**/api/v1/lag?*");
    await page.getByRole("button", { name: "Ask again" }).click();
    await expect(page.getByRole("table", { name: "Lag" })).toBeVisible();
    await page.goto("/lag/group?cluster=bus&group=nobody-is-called-so");
    await expect(page.getByRole("alert")).toContainText("there is no group", { timeout: 60_000 });
  });
});
