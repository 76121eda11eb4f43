// On a server that nothing has arrived at yet. TestUI runs it first, alone: it
// sends the first span itself.
import { accessible, expect, shot, test } from "./fixtures.js";

const otlp = process.env["HOPTRACE_OTLP_HTTP"];

test("the first run says what to copy, and turns by itself when the first span comes", async ({ page, request }) => {
  expect(otlp, "HOPTRACE_OTLP_HTTP, set by TestUI").toBeTruthy();
  await page.goto("/");
  await expect(page).toHaveURL(/\/traces$/);
  await expect(page.getByRole("heading", { name: "Nothing has arrived yet" })).toBeVisible();
  const tabs = page.getByRole("tab");
  await expect(tabs).toHaveCount(3);
  const lines = new Set<string>();
  for (let i = 0; i < 3; i++) {
    await tabs.nth(i).click();
    await expect(tabs.nth(i)).toHaveAttribute("aria-selected", "true");
    const text = (await page.getByRole("tabpanel").textContent()) ?? "";
    expect(text).toMatch(/127\.0\.0\.1:\d+/);
    lines.add(text);
  }
  expect(lines.size).toBe(3);
  await page.keyboard.press("ArrowLeft");
  await expect(tabs.nth(1)).toBeFocused();
  await accessible(page);
  await shot(page, "first-run-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await accessible(page);
  await shot(page, "first-run-dark");

  const now = BigInt(Date.now()) * 1_000_000n;
  const sent = await request.post(`${otlp}/v1/traces`, {
    data: {
      resourceSpans: [
        {
          resource: { attributes: [{ key: "service.name", value: { stringValue: "newcomer" } }] },
          scopeSpans: [
            {
              spans: [
                {
                  traceId: "5b8efff798038103d269b633813fc60c",
                  spanId: "eee19b7ec3c1b174",
                  name: "hello",
                  kind: 1,
                  startTimeUnixNano: String(now - 5_000_000n),
                  endTimeUnixNano: String(now),
                },
              ],
            },
          ],
        },
      ],
    },
  });
  expect(sent.status(), await sent.text()).toBe(200);
  await expect(page.getByRole("table", { name: "Traces" }).getByRole("link", { name: "hello" })).toBeVisible({ timeout: 20_000 });
  await shot(page, "first-trace-dark");
});
