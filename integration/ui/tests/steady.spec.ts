// What a page does while its server fails, lasts long, or answers something else than
// before; and that names which need escaping come through each URL.
import { caseOf } from "./awkward.js";
import { accessible, expect, finding, refuse, shot, test } from "./fixtures.js";

const down = "the store cannot be reached now";

test.describe("a page whose questions fail after it was shown", () => {
  test.use({ provoked: [/Failed to load resource/] });

  for (const [path, question] of [
    ["/lag", "**/api/v1/lag?*"],
    ["/health", "**/api/v1/health?*"],
    ["/clocks", "**/api/v1/clocks?*"],
    ["/ledger", "**/api/v1/ledger?*"],
    ["/traces", "**/api/v1/traces?*"],
    ["/messages", "**/api/v1/hops?*"],
  ] as const) {
    test(`${path} says so, how old it is, and asks again`, async ({ page }) => {
      await page.goto(path);
      const said = await finding(page);
      await expect(page.getByRole("button", { name: "Live", exact: true })).toBeVisible();
      const before = await page.locator("main").getByRole("row").count();
      let refused = 0;
      await page.route(question, (route) => {
        refused++;
        return refuse(route, 503, "store_unavailable", down, "try again");
      });
      const notice = page.getByRole("region", { name: "Not refreshed" });
      await expect(notice.getByRole("alert")).toContainText(down, { timeout: 30_000 });
      await expect(notice).toContainText(/What is shown is of \d\d:\d\d:\d\d, (now|\d+\s[smh] ago)/);
      await expect(page.getByRole("button", { name: "Not live" })).toBeVisible();
      // The page stays.
      expect(await finding(page)).toBe(said);
      expect(await page.locator("main").getByRole("row").count()).toBe(before);
      if (path === "/health") {
        await accessible(page);
        await shot(page, "not-refreshed-light");
        await page.emulateMedia({ colorScheme: "dark" });
        await accessible(page);
        await shot(page, "not-refreshed-dark");
        await page.setViewportSize({ width: 390, height: 844 });
        await shot(page, "not-refreshed-390");
      }
      const asked = refused;
      await notice.getByRole("button", { name: "Ask again" }).click();
      await expect.poll(() => refused).toBeGreaterThan(asked);
      // Once the server answers, the page's next question is enough.
      await page.unroute(question);
      await expect(notice).toHaveCount(0, { timeout: 60_000 });
      await expect(page.getByRole("button", { name: "Live", exact: true })).toBeVisible();
    });
  }

  test("a page that is asked by hand says so too", async ({ page }) => {
    await page.goto("/topology");
    await finding(page);
    await page.route("**/api/v1/**", (route) => route.abort("connectionrefused"));
    await page.getByRole("button", { name: "Refresh" }).click();
    await expect(page.getByRole("alert")).toContainText("the server does not answer", { timeout: 30_000 });
    await expect(page.getByRole("alert")).toHaveCount(1);
  });
});

test("a question that lasts long says for how long, and is called back", async ({ page }) => {
  let cut = 0;
  page.on("requestfailed", (r) => (cut += r.url().includes("/api/v1/topics") ? 1 : 0));
  await page.route("**/api/v1/topics?*", () => {}); // no answer
  await page.goto("/topics");
  const asking = page.getByRole("region", { name: "Asking" });
  await expect(asking).toContainText(/for \d+/);
  await asking.getByRole("button", { name: "Cancel" }).click();
  await expect(page.getByRole("status").filter({ hasText: "called back" })).toBeVisible();
  await expect.poll(() => cut).toBeGreaterThan(0);
  await accessible(page);
  await page.unroute("**/api/v1/topics?*");
  await page.getByRole("button", { name: "Ask again" }).click();
  await expect(page.getByRole("table")).not.toHaveCount(0);
  await expect(page.getByRole("region", { name: "Called back" })).toHaveCount(0);
});

test("rows stay where they are while one reads", async ({ page }) => {
  // Two pairs of clocks whose order by offset turns with each answer, and a stage that wakes.
  let turned = false;
  await page.route("**/api/v1/clocks?*", async (route) => {
    const answer = await route.fetch();
    const told = (await answer.json()) as { clocks: { lowNs: number; highNs: number }[] };
    if (turned) told.clocks.reverse();
    told.clocks.forEach((c, i) => Object.assign(c, { lowNs: (100 - i) * 1e9, highNs: (100 - i) * 1e9 + 1e6 }));
    await route.fulfill({ response: answer, json: told });
  });
  await page.goto("/clocks?sort=offset");
  await finding(page);
  const rows = page.getByRole("table", { name: "Clocks" }).getByRole("link");
  const before = await rows.evaluateAll((links) => links.map((l) => l.getAttribute("aria-label")));
  expect(before.length).toBeGreaterThan(1);
  turned = true;
  const notice = page.getByRole("button", { name: "The order changed" });
  await expect(notice).toBeVisible({ timeout: 30_000 });
  const names = () => rows.evaluateAll((links) => links.map((l) => l.getAttribute("aria-label")));
  expect(await names()).toEqual(before);
  await notice.click();
  await expect(notice).toHaveCount(0);
  expect(await names()).not.toEqual(before);

  let awake = false;
  await page.route("**/api/v1/health?*", async (route) => {
    const answer = await route.fetch();
    const told = (await answer.json()) as { stages: { name: string; state: string; batches: number; deadLetters: number }[] };
    told.stages.forEach((s) => Object.assign(s, s.name === "hops-clocks" || awake ? { state: "ok", batches: 3 } : { state: "idle", batches: 0, deadLetters: 0 }));
    await route.fulfill({ response: answer, json: told });
  });
  await page.goto("/health?stage=hops-clocks");
  const opened = page.getByRole("button", { name: /^hops-clocks/, expanded: true });
  await expect(opened).toBeVisible();
  await expect(page.locator(".timechart canvas").first()).toBeVisible();
  const top = async () => Math.round((await opened.boundingBox())!.y + (await page.evaluate(() => scrollY)));
  const at = await top();
  awake = true;
  const others = page.getByRole("button", { name: "Other stages work now" });
  await expect(others).toBeVisible({ timeout: 30_000 });
  expect(Math.abs((await top()) - at)).toBeLessThan(60);
  await others.click();
  await expect(page.getByRole("table", { name: "Stages" }).getByRole("button", { name: /^persist-spans/ })).toBeVisible();
});

test("the help names the keys of each page, and the neighbours of a record can be told from text", async ({ page }) => {
  await page.goto("/lag");
  await finding(page);
  await page.keyboard.press("?");
  const help = page.getByRole("dialog", { name: "Keyboard" });
  for (const name of ["lag", "clocks", "health", "messages", "settings"]) await expect(help.getByText(name, { exact: true })).toBeVisible();
  await page.keyboard.press("Escape");
  const c = caseOf("three groups");
  await page.goto(`/records/${encodeURIComponent(c.topic!)}/${c.partition}/${c.offset}`);
  await finding(page);
  await accessible(page);
});

test("names that need escaping come through each URL", async ({ page }) => {
  const c = caseOf("names to escape");
  const topic = encodeURIComponent(c.topic!);
  const group = encodeURIComponent(c.group!);
  const asked = (path: string) => page.waitForRequest((r) => new URL(r.url()).pathname === "/api/v1" + path);

  for (const [at, path, name, value] of [
    [`/messages?topic=${topic}`, "/hops", "topic", c.topic!],
    [`/topology?topic=${topic}`, "/topology", "topic", c.topic!],
    [`/traces?group=${group}`, "/traces", "group", c.group!],
  ] as const) {
    const question = asked(path);
    await page.goto(at);
    expect(new URL((await question).url()).searchParams.get(name), at).toBe(value);
    await finding(page);
    await expect(page.getByRole("alert")).toHaveCount(0);
  }

  await page.goto(`/topics/${topic}`);
  expect(await finding(page)).not.toContain("No message");
  await expect(page.getByText(c.topic!, { exact: true }).first()).toBeVisible();
  // A choice on the page keeps the name.
  await page.getByLabel("Time range").selectOption("-6h");
  await expect(page).toHaveURL((u) => u.pathname === `/topics/${topic}`);
  expect(await finding(page)).not.toContain("No message");

  await page.goto(`/records/${topic}/${c.partition}/${c.offset}`);
  await finding(page);
  await expect(page.getByRole("complementary", { name: "The record" })).toContainText(c.topic!);
  await expect(page.getByRole("alert")).toHaveCount(0);

  await page.goto("/messages?topic=" + topic);
  await page.getByLabel("Group").selectOption(c.group!);
  await expect(page.getByLabel("Topic")).toHaveValue(c.topic!);
  await expect(page).toHaveURL((u) => u.searchParams.get("topic") === c.topic! && u.searchParams.get("group") === c.group!);
});
