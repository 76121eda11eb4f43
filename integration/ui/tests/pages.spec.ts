// The pages on the data of the example: orders over three topics, some declined.
import type { Locator, Page } from "@playwright/test";
import { accessible, expect, finding, refuse, shot, test } from "./fixtures.js";

/** Opens the list of traces of the whole line and returns its rows' links. */
async function traces(page: Page): Promise<Locator> {
  await page.goto("/traces?service=shipping");
  const links = page.getByRole("table", { name: "Traces" }).getByRole("link");
  await expect(links.nth(2)).toBeVisible();
  return links;
}

async function openOrder(page: Page): Promise<void> {
  await (await traces(page)).first().click();
  await expect(page).toHaveURL(/\/traces\/[0-9a-f]{32}/);
  await expect(page.getByRole("button", { name: "Hop shipping, group shipping" })).toBeVisible();
}

test("traces begin with a finding and are filtered by the URL", async ({ page }) => {
  await page.goto("/");
  await expect(page).toHaveURL(/\/traces$/);
  expect((await finding(page)).length).toBeGreaterThan(10);
  const table = page.getByRole("table", { name: "Traces" });
  await expect(table.getByRole("link").nth(5)).toBeVisible();
  await accessible(page);
  await shot(page, "traces-light");
  await page.getByLabel("Service").selectOption("newcomer");
  await expect(page).toHaveURL(/service=newcomer/);
  await expect(table.getByRole("link")).toHaveCount(1);
  await page.getByLabel("Service").selectOption("payments");
  await expect(table.getByRole("link").nth(5)).toBeVisible();
  const rows = table.getByRole("row");
  for (let i = 1; i < 4; i++) {
    await expect(rows.nth(i)).toContainText("payments");
  }
  await page.getByLabel("Errors only").check();
  await expect(page).toHaveURL(/errors=true/);
  await expect(table.getByRole("link").first()).toBeVisible();
  await page.reload();
  await expect(page.getByLabel("Service")).toHaveValue("payments");
  await expect(page.getByLabel("Errors only")).toBeChecked();
});

test("a list is walked by j and k, opened by enter and left by escape", async ({ page }) => {
  const links = await traces(page);
  await page.keyboard.press("j");
  await expect(links.nth(0)).toBeFocused();
  await page.keyboard.press("j");
  await expect(links.nth(1)).toBeFocused();
  await page.keyboard.press("k");
  await expect(links.nth(0)).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/traces\/[0-9a-f]{32}/);
  await expect(page.getByRole("table", { name: "Waterfall" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page).toHaveURL(/\/traces(\?|$)/);
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keyboard" })).toBeVisible();
  await accessible(page);
  await shot(page, "help-light");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog", { name: "Keyboard" })).toBeHidden();
  await page.keyboard.press("/");
  await expect(page.getByRole("textbox", { name: "Search" })).toBeFocused();
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("i");
  await expect(page).toHaveURL(/\/issues/);
});

test("the waterfall draws three hops with their parts, on three axes", async ({ page }) => {
  await openOrder(page);
  expect(await finding(page)).toContain("POST /checkout");
  for (const topic of ["orders", "payments", "shipping"]) {
    await expect(page.getByRole("button", { name: `Hop ${topic}, group ${topic}` })).toBeVisible();
    await expect(page.getByRole("img", { name: new RegExp(`${topic}.*processing`, "i") })).toBeVisible();
  }
  await page.getByRole("button", { name: "Hop payments, group payments" }).click();
  await expect(page).toHaveURL(/row=payments/);
  const parts = page.getByRole("table", { name: "Where the time went" });
  for (const part of ["Batch queue", "Ack", "Backlog", "Long poll", "Fetch queue", "Processing", "Sent → done"]) {
    const row = parts.getByRole("row").filter({ has: page.getByRole("rowheader", { name: part, exact: true }) });
    await expect(row).toHaveCount(1);
    await expect(row).not.toContainText("unknown");
  }
  await accessible(page);
  await shot(page, "waterfall-light");
  await expect(page.getByRole("button", { name: "Time axis: folded" })).toBeVisible();
  for (const axis of ["linear", "log"]) {
    await page.keyboard.press("z");
    await expect(page.getByRole("button", { name: new RegExp(`Time axis: ${axis}`) })).toBeVisible();
    await expect(page).toHaveURL(new RegExp(`axis=${axis}`));
    await shot(page, `waterfall-${axis}-light`);
  }
  // A link shows what its sender saw.
  const link = page.url();
  await page.goto("/topics");
  await page.goto(link);
  await expect(page.getByRole("button", { name: /Time axis: log/ })).toBeVisible();
  await expect(page.getByRole("button", { name: "Hop payments, group payments" })).toHaveAttribute("aria-pressed", "true");
  await page.keyboard.press("z");
  await expect(page.getByRole("button", { name: "Time axis: folded" })).toBeVisible();
  const before = page.url();
  await page.keyboard.press("j");
  await expect(page).not.toHaveURL(before);
  await page.keyboard.press("k");
  await expect(page).toHaveURL(before);
});

test("topics show their parts and open", async ({ page }) => {
  await page.goto("/topics");
  expect((await finding(page)).length).toBeGreaterThan(10);
  for (const topic of ["orders", "payments", "shipping"]) {
    await expect(page.getByRole("link", { name: `${topic}, group ${topic}` })).toBeVisible();
  }
  await accessible(page);
  await page.getByRole("link", { name: "payments, group payments" }).click();
  await expect(page).toHaveURL(/\/topics\/payments\?group=payments/);
  await expect(page.getByRole("img", { name: /^Parts at p99: / })).toBeVisible();
  await accessible(page);
});

test("messages are listed, slowest first on demand, and lead to their waterfall", async ({ page }) => {
  await page.goto("/messages?topic=payments&group=payments");
  const links = page.getByRole("table", { name: "Messages" }).getByRole("link");
  await expect(links.nth(5)).toBeVisible();
  await page.getByLabel("Order").selectOption("slowest");
  await expect(page).toHaveURL(/order=slowest/);
  await accessible(page);
  await shot(page, "messages-light");
  await links.first().click();
  await expect(page).toHaveURL(/\/traces\/[0-9a-f]{32}\?row=payments/);
  await expect(page.getByRole("button", { name: "Hop payments, group payments" })).toHaveAttribute("aria-pressed", "true");
});

test("an issue shows its event, why it is one issue, and the message that caused it", async ({ page }) => {
  await page.goto("/issues");
  expect((await finding(page)).length).toBeGreaterThan(5);
  const row = page.getByRole("table", { name: "Issues" }).getByRole("link", { name: /CARD_DECLINED/ });
  await expect(row).toHaveCount(1);
  await accessible(page);
  await shot(page, "issues-light");
  await row.click();
  await expect(page).toHaveURL(/\/issues\/\d+/);
  await finding(page);
  const about = page.getByRole("complementary", { name: "About this issue" });
  await expect(about).toContainText("payments");
  await expect(about).toContainText("Age");
  await expect(about.getByRole("heading", { name: "Why these are one issue" })).toBeVisible();
  await expect(page.getByRole("region", { name: "Event" })).toContainText("takePayment");
  // The numbers of the finding lead to what they count.
  await page.locator(".sum").getByRole("link", { name: /^\d+$/ }).first().click();
  await expect(page.getByRole("table", { name: "Events" })).toBeInViewport();
  await page.goBack();
  await accessible(page);
  await shot(page, "issue-light");
  const first = page.url();
  await page.keyboard.press("j");
  await expect(page).not.toHaveURL(first);
  await about.getByRole("link", { name: /Its waterfall/ }).click();
  await expect(page).toHaveURL(/\/traces\/[0-9a-f]{32}\?row=payments/);
  await expect(page.getByRole("button", { name: "Hop payments, group payments" })).toHaveAttribute("aria-pressed", "true");
  await page.goBack();
  await expect(page).toHaveURL(/\/issues\/\d+/);
  await page.keyboard.press("Escape");
  await expect(page).toHaveURL(/\/issues(\?|$)/);
});

const pages = [
  ["traces", "/traces"],
  ["messages", "/messages"],
  ["topics", "/topics"],
  ["issues", "/issues"],
] as const;

test.describe("in the dark", () => {
  test.use({ colorScheme: "dark" });

  for (const [name, path] of pages) {
    test(`${name} can be read`, async ({ page }) => {
      await page.goto(path);
      await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
      await finding(page);
      await expect(page.locator("main table").getByRole("row").nth(1)).toBeVisible();
      await accessible(page);
      await shot(page, `${name}-dark`);
    });
  }

  test("the waterfall and an issue can be read", async ({ page }) => {
    await openOrder(page);
    await accessible(page);
    await shot(page, "waterfall-dark");
    await page.goto("/issues");
    await page.getByRole("table", { name: "Issues" }).getByRole("link", { name: /CARD_DECLINED/ }).click();
    await expect(page.getByRole("complementary", { name: "About this issue" })).toContainText("payments");
    await accessible(page);
    await shot(page, "issue-dark");
  });

  test("the choice of a theme outlives the page", async ({ page }) => {
    await page.goto("/topics");
    const html = page.locator("html");
    await expect(html).toHaveAttribute("data-theme", "dark");
    const button = page.getByRole("button", { name: /^Theme:/ });
    for (let i = 0; i < 3 && (await html.getAttribute("data-theme")) !== "light"; i++) {
      await button.click();
    }
    await expect(html).toHaveAttribute("data-theme", "light");
    await page.reload();
    await expect(html).toHaveAttribute("data-theme", "light");
  });
});

test("at 390 px every page can be read without scrolling sideways", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  for (const [, path] of pages) {
    await page.goto(path);
    await finding(page);
    await expect(page.locator("main table").getByRole("row").nth(1)).toBeVisible();
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(over, `${path} is wider than the screen`).toBeLessThanOrEqual(0);
    await shot(page, `narrow${path.replace("/", "-")}`);
  }
  await openOrder(page);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(over, "the waterfall is wider than the screen").toBeLessThanOrEqual(0);
  await shot(page, "narrow-waterfall");
});

test("a page that does not exist says so", async ({ page }) => {
  await page.goto("/nowhere");
  await expect(page.getByRole("heading", { name: "There is no such page" })).toBeVisible();
  await accessible(page);
});

test.describe("when the server does not answer", () => {
  test.use({ provoked: [/Failed to load resource/] });

  test("the page says what failed and asks the same question again", async ({ page }) => {
    await page.route("**/api/v1/topics*", (route) => refuse(route, 503, "store_unavailable", "the store cannot be reached now", "try again"));
    await page.goto("/topics");
    const alert = page.getByRole("alert");
    await expect(alert).toContainText("the store cannot be reached now", { timeout: 30_000 });
    await expect(alert).toContainText("/api/v1/topics");
    await accessible(page);
    await shot(page, "error-light");
    await page.unroute("**/api/v1/topics*");
    await alert.getByRole("button", { name: "Ask again" }).click();
    await expect(page.getByRole("link", { name: "payments, group payments" })).toBeVisible();
  });

  test("nobody answering at all is said too", async ({ page }) => {
    await page.route("**/api/v1/**", (route) => route.abort("connectionrefused"));
    await page.goto("/issues");
    await expect(page.getByRole("alert").first()).toContainText("the server does not answer", { timeout: 30_000 });
    await shot(page, "down-light");
  });

  test("a trace that is not stored says so", async ({ page }) => {
    await page.goto("/traces/00000000000000000000000000000abc");
    await expect(page.getByRole("heading", { level: 1 })).toContainText("cannot be shown", { timeout: 30_000 });
    await expect(page.getByRole("alert")).toContainText("no span of trace");
    await accessible(page);
    await shot(page, "trace-not-found-light");
  });
});
