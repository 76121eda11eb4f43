// Search: asked by keyboard with completion, narrowed, saved, exported and copied.
import { accessible, expect, finding, shot, test } from "./fixtures.js";



test.describe("search", () => {
  test("a query is written with completion, and its rows lead on", async ({ page }) => {
    await page.goto("/traces");
    await page.keyboard.press("g");
    await page.keyboard.press("f");
    await expect(page).toHaveURL(/\/search/);
    expect(await finding(page)).toMatch(/span|failure/);
    await page.keyboard.press("/");
    const field = page.getByRole("combobox", { name: "Query" });
    await expect(field).toBeFocused();
    await page.keyboard.type("serv");
    const options = page.getByRole("listbox", { name: "What may be written here" });
    await expect(options.getByRole("option").first()).toContainText("service");
    await shot(page, "search-completion");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await expect(field).toHaveValue("service:");
    await page.keyboard.type("pay");
    await expect(options.getByRole("option", { name: /^payments/ })).toBeVisible();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await expect(field).toHaveValue("service:payments ");
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(/q=service%3Apayments/);
    const table = page.getByRole("table", { name: "Spans" });
    await expect(table.getByRole("row").nth(1)).toContainText("payments");
    await expect(table).not.toContainText("checkout");
    await accessible(page);
    await table.getByRole("row").nth(1).getByRole("link").first().click();
    await expect(page).toHaveURL(/\/traces\/[0-9a-f]{32}\?row=/);
  });

  test("a fault says where it is and the way out, and keeps the field", async ({ page }) => {
    await page.goto("/search");
    const field = page.getByRole("combobox", { name: "Query" });
    await field.fill("duration>fast status:error");
    await expect(page.getByRole("alert").filter({ hasText: 'at 10: duration wants a number with a unit as 250ms, got "fast"' })).toBeVisible();
    await expect(field).toHaveAttribute("aria-invalid", "true");
  });

  test("hops are sorted, given other columns and narrowed by a cell, all in the address", async ({ page }) => {
    await page.goto("/search?from=-1h");
    await page.getByRole("link", { name: "Hops", exact: true }).click();
    await expect(page).toHaveURL(/in=hops/);
    const table = page.getByRole("table", { name: "Hops" });
    await expect(table.getByRole("row").nth(1)).toBeVisible();
    await table.getByRole("button", { name: "Sent → done" }).click();
    await expect(page).toHaveURL(/order=-end_to_end/);
    await expect(table.getByRole("columnheader", { name: "Sent → done" })).toHaveAttribute("aria-sort", "descending");
    await page.getByText("Columns", { exact: true }).first().click();
    await page.getByRole("checkbox", { name: "Processing" }).check();
    await expect(page).toHaveURL(/cols=.*processing/);
    await page.keyboard.press("Escape");
    await expect(table.getByRole("columnheader", { name: "Processing" })).toBeVisible();
    await table.getByRole("button", { name: "payments" }).first().click();
    await page.getByRole("button", { name: /^Only with / }).click();
    await expect(page).toHaveURL(/q=/);
    const q = new URL(page.url()).searchParams.get("q");
    expect(["topic:payments", "producer:payments", "group:payments"]).toContain(q);
    await expect(page.locator(".panel.stale")).toHaveCount(0);
    await page.reload();
    await expect(table.getByRole("columnheader", { name: "Processing" })).toBeVisible();
    await accessible(page);
    await shot(page, "search-hops");
  });

  test("dragging over the histogram narrows the time", async ({ page }) => {
    await page.goto("/search?from=-1h");
    const chart = page.getByRole("img", { name: /spans over time/ });
    await expect(chart.locator("canvas")).toBeVisible();
    const box = (await chart.locator(".u-over").boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.98, box.y + 30, { steps: 5 });
    await page.mouse.up();
    await expect(page).toHaveURL(/from=\d{19}&to=\d{19}/);
  });

  test("a search is saved, opened, exported and deleted", async ({ page }) => {
    await page.goto("/search?from=-1h&q=duration%3E1ms&order=-duration");
    await expect(page.getByRole("table", { name: "Spans" }).getByRole("row").nth(1)).toBeVisible();
    await page.getByRole("button", { name: "Save…" }).click();
    const plan = page.getByRole("dialog", { name: "Save this query" });
    await plan.getByRole("textbox", { name: "Name" }).fill("long spans");
    await plan.getByRole("button", { name: "Save it" }).click();
    await expect(plan).toHaveCount(0);
    await page.goto("/search");
    await page.getByText("Saved (1)").click();
    await page.getByRole("link", { name: "long spans" }).click();
    await expect(page).toHaveURL(/q=duration%3E1ms/);
    await expect(page).toHaveURL(/order=-duration/);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "CSV" }).click()]);
    expect(download.suggestedFilename()).toMatch(/^hoptrace-spans-.*\.csv$/);
    await page.getByText("Copy as").click();
    await expect(page.getByText(/hoptrace query spans 'duration>1ms' --server/)).toBeVisible();
    await page.keyboard.press("Escape");
    await page.getByText("Saved (1)").click();
    await page.getByRole("button", { name: "Delete long spans…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete it" }).click();
    await expect(page.getByText("Saved (1)")).toHaveCount(0);
  });

  test("nothing found teaches the language; a search can be cancelled", async ({ page }) => {
    await page.goto("/search?q=service%3Anothing-of-this-name");
    expect(await finding(page)).toBe("No span matches");
    await expect(page.getByRole("link", { name: "status:error", exact: true })).toBeVisible();
    await accessible(page);
    await shot(page, "search-empty");
    await page.route("**/api/v1/search/**", () => {}); // an engine that does not come to an end
    await page.goto("/search?q=status%3Aerror");
    await page.getByRole("button", { name: "Cancel" }).click();
    await expect(page.getByRole("heading", { name: "The search was cancelled" })).toBeVisible();
    await page.unroute("**/api/v1/search/**");
    await page.getByRole("button", { name: "Search again" }).click();
    await expect(page.getByRole("heading", { name: "The search was cancelled" })).toHaveCount(0);
  });

  for (const [name, width, scheme] of [["dark", 1280, "dark"], ["light", 1280, "light"], ["phone", 390, "light"]] as const) {
    test("looks right: " + name, async ({ page }) => {
      await page.setViewportSize({ width, height: 844 });
      await page.emulateMedia({ colorScheme: scheme });
      await page.goto("/search?from=-1h");
      await expect(page.getByRole("table", { name: "Spans" }).getByRole("row").nth(3)).toBeVisible();
      await accessible(page);
      await shot(page, "search-" + name);
    });
  }
});
