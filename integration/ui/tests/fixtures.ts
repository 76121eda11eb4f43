// What every test of the UI has: a page whose console errors fail the test, a
// place for screenshots, and axe.
import { AxeBuilder } from "@axe-core/playwright";
import { expect, test as base, type Page, type Route } from "@playwright/test";

export const shots = process.env["HOPTRACE_SHOTS"] ?? "../../artefacts/ui";

interface Fixtures {
  /** Console errors that a test provokes on purpose, as regular expressions. */
  provoked: RegExp[];
  watched: undefined;
}

export const test = base.extend<Fixtures>({
  provoked: [[], { option: true }],
  watched: [
    async ({ page, provoked }, use) => {
      const errors: string[] = [];
      page.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") {
          errors.push(`${message.type()}: ${message.text()} (${message.location().url})`);
        }
      });
      page.on("pageerror", (error) => errors.push(`uncaught: ${error.message}`));
      await use(undefined);
      const unexpected = errors.filter((e) => !provoked.some((p) => p.test(e)));
      expect(unexpected, "errors and warnings on the console").toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

/** Keeps a picture of the page among the artefacts. */
export async function shot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `${shots}/${name}.png` });
}

/** The rule of WCAG 2.2 that axe has, and does not ask by itself. */
export const ALSO = { rules: { "target-size": { enabled: true } } };

/** The page has no fault that axe finds, contrast included. */
export async function accessible(page: Page): Promise<void> {
  // What is shown while an answer is awaited is dimmed.
  await expect(page.locator(".stale:not(tr)")).toHaveCount(0);
  const { violations } = await new AxeBuilder({ page }).options(ALSO).analyze();
  const told = violations.map((v) => `${v.id} (${v.impact ?? "?"}): ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`);
  expect(told, "axe").toEqual([]);
  const wide = await page.locator("svg.sw").evaluateAll((list) => list.filter((e) => e.getBoundingClientRect().width > 24).length);
  expect(wide, "signs of parts that are stretched").toBe(0);
}

/** The sentence that the page begins with, once it is there. */
export async function finding(page: Page): Promise<string> {
  const heading = page.getByRole("heading", { level: 1 });
  await expect(heading).not.toHaveText(/^(Asking…)?$/);
  return (await heading.textContent()) ?? "";
}

/** Answers a question as a server that says no does. */
export function refuse(route: Route, status: number, code: string, detail: string, wayOut: string): Promise<void> {
  return route.fulfill({
    status,
    contentType: "application/problem+json",
    body: JSON.stringify({ type: "urn:hoptrace:problem:" + code, title: code, status, detail, instance: new URL(route.request().url()).pathname, code, wayOut }),
  });
}
