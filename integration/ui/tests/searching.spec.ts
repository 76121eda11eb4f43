// Topics, issues and search when nothing is there, nothing is answered, one may not look, or one asks what is odd.
import { accessible, expect, finding, test } from "./fixtures.js";

test.describe("the list of issues", () => {
  test("takes the whole query language, and its chips keep alternatives together", async ({ page, request }) => {
    const listed = async (query: string) => ((await (await request.get("/api/v1/issues", { params: { query, limit: "500" } })).json()) as { issues: { id: string; level: string }[] }).issues;
    const all = await listed("");
    expect((await listed("NOT level:error")).map((i) => i.id)).toEqual(all.filter((i) => i.level !== "error").map((i) => i.id));
    expect((await listed("-level:error")).length + (await listed("level:error")).length).toBe(all.length);

    await page.goto("/issues");
    await finding(page);
    const field = page.getByRole("textbox", { name: "Search" });
    await field.fill("level:error OR level:fatal");
    await field.press("Enter");
    await expect(page).toHaveURL(/query=level%3Aerror\+OR\+level%3Afatal/);
    await page.getByRole("button", { name: "Unresolved", exact: true }).click();
    await expect(field).toHaveValue("is:unresolved (level:error OR level:fatal)");
    await expect(page.getByRole("table", { name: "Issues" }).getByRole("row").nth(1)).toBeVisible();
    await expect(page.getByRole("button", { name: "Unresolved", exact: true })).toHaveAttribute("aria-pressed", "true");
    await accessible(page);
  });

  test.describe("asked what two stores answer for", () => {
    test.use({ provoked: [/status of 400/] });
    test("says why not, where, and the way out", async ({ page }) => {
      await page.goto("/issues?query=" + encodeURIComponent("level:fatal OR topic:orders"));
      await expect(page.getByRole("alert")).toContainText("at 16: level and topic cannot be alternatives");
      await expect(page.getByRole("alert")).toContainText("ask twice");
      await accessible(page);
    });
  });
});
