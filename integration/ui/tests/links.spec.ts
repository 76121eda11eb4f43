// A link holds the whole state of a page: who opens it sees what was seen.
import { expect, finding, test } from "./fixtures.js";

test("the time of the lag desk goes along, and [ and ] change it", async ({ page }) => {
  await page.goto("/lag");
  await finding(page);
  const over = page.getByLabel("Lag over", { exact: true });
  await expect(over).toHaveValue("-2h");
  await page.keyboard.press("[");
  await expect(page).toHaveURL(/lag_from=-6h/);
  await expect(page.getByRole("columnheader", { name: "Time behind, 6 h" })).toBeVisible();
  await page.getByRole("link", { name: "orders, orders" }).click();
  await expect(page).toHaveURL(/\/lag\/group\?.*group=orders.*lag_from=-6h/);
  await expect(over).toHaveValue("-6h");
  await page.keyboard.press("]");
  await page.keyboard.press("]");
  await expect(page).toHaveURL(/lag_from=-30m/);
  await page.keyboard.press("]"); // there is none shorter
  await page.getByRole("link", { name: "← All groups" }).click();
  await expect(page).toHaveURL(/\/lag\?lag_from=-30m/);
  await page.reload();
  await expect(over).toHaveValue("-30m");
});

test("Health keeps its time and which stages are unfolded", async ({ page }) => {
  await page.goto("/health");
  await finding(page);
  await page.keyboard.press("]");
  await expect(page).toHaveURL(/over=-15m/);
  await expect(page.getByLabel("Health over")).toHaveValue("-15m");
  const more = page.getByRole("button", { name: /more that nothing comes to/ });
  await more.click();
  await expect(page).toHaveURL(/all=true/);
  const rows = page.getByRole("table", { name: "Stages" }).getByRole("row");
  const unfolded = await rows.count();
  await page.reload();
  await expect(page.getByRole("button", { name: "Fold the stages that nothing comes to" })).toHaveAttribute("aria-expanded", "true");
  expect(await rows.count()).toBe(unfolded);
});

for (const path of ["/traces", "/messages", "/lag", "/health", "/logs", "/clocks", "/issues", "/ledger"]) {
  test(`${path} says in its URL that it is not live`, async ({ page }) => {
    await page.goto(path);
    await finding(page);
    const live = page.getByRole("button", { name: "Live", exact: true });
    await expect(live).toHaveAttribute("aria-pressed", "true");
    await live.click();
    await expect(page).toHaveURL(/live=off/);
    await page.reload();
    await expect(live).toHaveAttribute("aria-pressed", "false");
    await live.click();
    await expect(page).not.toHaveURL(/live=/);
  });
}

test("a copied link shows the same time tomorrow", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.goto("/messages?from=-1h&topic=orders");
  await finding(page);
  await page.keyboard.press("c");
  await expect(page.getByText("Link copied, with the time as it is now")).toBeVisible();
  const url = new URL(await page.evaluate(() => navigator.clipboard.readText()));
  const [from, to] = [url.searchParams.get("from"), url.searchParams.get("to")].map((t) => Date.parse(t ?? ""));
  expect(to! - from!).toBe(3600_000);
  expect(Math.abs(Date.now() - to!)).toBeLessThan(60_000);
  await page.goto(url.pathname + url.search);
  await finding(page);
  await expect(page.getByRole("table", { name: "Messages" }).getByRole("link").first()).toBeVisible();
  await page.goto("/lag");
  await finding(page);
  await page.keyboard.press("c");
  await expect(page.getByText("Link copied", { exact: true })).toBeVisible();
});

test("the topology keeps what is looked for, and says when a link's time is not in its range", async ({ page }) => {
  await page.goto("/topology");
  await finding(page);
  await page.getByRole("textbox", { name: "Find a node" }).fill("orders");
  await expect(page).toHaveURL(/find=orders/);
  await page.reload();
  await expect(page.getByRole("textbox", { name: "Find a node" })).toHaveValue("orders");
  await page.goto("/topology?at=946684800000000000"); // in the year 2000
  await finding(page);
  const note = page.getByText("is not in this range: the whole of it is shown");
  await expect(note).toContainText("2000");
  await page.getByRole("button", { name: "Forget it" }).click();
  await expect(page).not.toHaveURL(/at=/);
  await expect(note).toHaveCount(0);
});

test("a filter of the whole list is not taken for a part of an OR", async ({ page }) => {
  await page.goto("/messages");
  await finding(page);
  const search = page.getByRole("textbox", { name: "Search" });
  await search.fill("topic:orders OR min:1s");
  await search.press("Enter");
  await expect(page.getByRole("alert")).toHaveText("min:1s is for the whole list and cannot stand beside OR, NOT or brackets: choose it from the filters below");
  await search.fill("(topic:orders OR topic:payments)");
  await search.press("Enter");
  await expect(page).toHaveURL(/q=/);
  await expect(page.getByRole("alert")).toHaveCount(0);
});

test("a link to a partition leads to its page of a group's many", async ({ page }) => {
  await page.route("**/api/v1/lag/orders?*", (route) => route.continue({ url: route.request().url().replace("limit=200", "limit=2") }));
  await page.goto("/lag/group?cluster=bus&group=orders&open=orders%2F3");
  const pages = page.getByRole("group", { name: "Pages of partitions" });
  await expect(pages).toContainText("3 to 4 of 4 partitions");
  await expect(page.getByRole("button", { name: "orders partition 3" })).toHaveAttribute("aria-expanded", "true");
  await expect(page.getByRole("button", { name: "orders partition 0" })).toHaveCount(0);
  await pages.getByRole("button", { name: "Before" }).click();
  await expect(pages).toContainText("1 to 2 of 4 partitions");
  await expect(page).toHaveURL(/skip=0/);
  await pages.getByRole("button", { name: "More" }).click();
  await expect(page.getByRole("button", { name: "orders partition 2" })).toBeVisible();
  await page.reload();
  await expect(pages).toContainText("3 to 4 of 4 partitions");
  // A link on the page itself does so, too.
  await page.goto("/lag/group?cluster=bus&group=orders");
  await expect(pages).toContainText("1 to 2 of 4 partitions");
  await page.evaluate(() => history.pushState(null, "", "/lag/group?cluster=bus&group=orders&open=orders%2F3"));
  await expect(pages).toContainText("3 to 4 of 4 partitions");
  await expect(page.getByRole("button", { name: "orders partition 3" })).toHaveAttribute("aria-expanded", "true");
});
