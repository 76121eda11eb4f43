// Settings changed by their forms, on a server where nobody signs in. What is changed is
// set back at the end; a project that is made stays, disabled, for none can be removed.
import type { APIRequestContext, Locator, Page } from "@playwright/test";
import { accessible, expect, finding, shot, test } from "./fixtures.js";
import { id } from "./seed.js";

test.describe.configure({ mode: "serial" });
// A refusal is in the browser's console, whatever the page makes of it.
test.use({ provoked: [/status of 40[09]/] });

const word = "set" + id().slice(0, 8);
const FILTER = `*${word} is noise*`;
/** What every collector has seen a change within; the forms say so. */
const SEEN = 5000;

const tabs = ["Keys", "General", "Filters", "Scrubbing", "Sampling", "Quotas", "Grouping"] as const;

interface Project {
  id: string;
  settings: { filters: { errorMessages: string[] } };
  keys: { public: string; label: string; active: boolean; dsn: string }[];
}

let before: Project;

async function project(request: APIRequestContext): Promise<Project> {
  const status = (await (await request.get("/api/v1/status")).json()) as { project: string };
  const answer = await request.get("/api/v1/projects/" + status.project);
  expect(answer.status(), await answer.text()).toBe(200);
  return (await answer.json()) as Project;
}

/** Sends an event with a message by a DSN, and returns what it was answered with. */
async function send(request: APIRequestContext, dsn: string, message: string): Promise<number> {
  const to = new URL(dsn);
  const event = id();
  const body = JSON.stringify({ event_id: event, timestamp: Date.now() / 1000, platform: "other", level: "error", message });
  const answer = await request.post(`${to.origin}/api${to.pathname}/envelope/?sentry_version=7&sentry_key=${to.username}`, {
    data: `${JSON.stringify({ event_id: event })}\n${JSON.stringify({ type: "event", length: Buffer.byteLength(body) })}\n${body}\n`,
    headers: { "Content-Type": "application/x-sentry-envelope" },
  });
  return answer.status();
}

async function titles(request: APIRequestContext): Promise<string[]> {
  const answer = await request.get("/api/v1/issues", { params: { query: word, limit: "50" } });
  expect(answer.status(), await answer.text()).toBe(200);
  return ((await answer.json()) as { issues: { title: string }[] }).issues.map((i) => i.title);
}

/** How many errors the ledger says were filtered for their message. */
async function filtered(request: APIRequestContext): Promise<number> {
  const answer = await request.get("/api/v1/ledger");
  expect(answer.status(), await answer.text()).toBe(200);
  const { lines } = (await answer.json()) as { lines: { category: string; reasons: { outcome: string; reason: string; quantity: number }[] }[] };
  return lines.find((l) => l.category === "error")?.reasons.find((r) => r.outcome === "filtered" && r.reason === "error-message")?.quantity ?? 0;
}

async function open(page: Page, tab: (typeof tabs)[number]): Promise<Locator> {
  await page.goto("/settings");
  await finding(page);
  await page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name: tab }).click();
  const region = page.getByRole("region", { name: tab, exact: true });
  await expect(region).toBeVisible();
  return region;
}

/** Saves by the plan, which must name the changes. */
async function save(page: Page, changes: (string | RegExp)[]): Promise<void> {
  await page.getByRole("button", { name: "Save…" }).click();
  const plan = page.getByRole("dialog", { name: /^Save the settings of / });
  await expect(plan.getByRole("list", { name: "Changes" }).getByRole("listitem")).toHaveText(changes);
  await plan.getByRole("button", { name: "Save", exact: true }).click();
  await expect(plan).toBeHidden();
}

test.beforeAll(async ({ request }) => {
  before = await project(request);
});

// Whatever happened: no filter and no key of this file is left to the next.
test.afterAll(async ({ request }) => {
  const now = await project(request);
  if (now.settings.filters.errorMessages.includes(FILTER)) {
    const back = { ...now.settings, filters: { ...now.settings.filters, errorMessages: before.settings.filters.errorMessages } };
    expect((await request.put("/api/v1/projects/" + now.id, { data: { settings: back } })).status()).toBe(200);
  }
  for (const k of now.keys.filter((k) => k.label.startsWith(word))) {
    expect((await request.delete(`/api/v1/projects/${now.id}/keys/${k.public}`)).status()).toBe(200);
  }
});

test("each tab is a form of its own, by day, by night and on a phone", async ({ page }) => {
  await page.goto("/settings");
  expect(await finding(page)).toMatch(/takes what is sent with \d+ key/);
  const nav = page.getByRole("navigation", { name: "Settings" });
  await expect(nav.getByRole("link")).toHaveText([...tabs]);
  const add: Partial<Record<(typeof tabs)[number], string>> = { Scrubbing: "Add a scrubbing rule", Sampling: "Add a sampling rule", Quotas: "Add a quota" };
  for (const tab of tabs) {
    await nav.getByRole("link", { name: tab }).click();
    await expect(page).toHaveURL(new RegExp(`tab=${tab.toLowerCase()}$`));
    const region = page.getByRole("region", { name: tab, exact: true });
    await expect(region).toBeVisible();
    if (add[tab]) {
      await region.getByRole("button", { name: add[tab] }).click();
      await expect(region.getByRole("group", { name: /-1$/ })).toBeVisible();
      await expect(page.getByRole("group", { name: "Not saved" })).toContainText(`Not saved: ${tab}`);
    }
    await accessible(page);
    await shot(page, `settings-${tab.toLowerCase()}-light`);
    await page.setViewportSize({ width: 390, height: 844 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(over, `${tab} is wider than the screen`).toBeLessThanOrEqual(0);
    if (tab === "Keys" || tab === "Quotas") {
      await shot(page, `settings-${tab.toLowerCase()}-390`);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    if (tab === "Quotas") {
      await page.emulateMedia({ colorScheme: "dark" });
      await accessible(page);
      await shot(page, "settings-quotas-dark");
      await page.emulateMedia({ colorScheme: "light" });
    }
    if (add[tab]) {
      await page.getByRole("button", { name: "Drop…" }).click();
      await page.getByRole("dialog", { name: "Drop your changes" }).getByRole("button", { name: "Drop them" }).click();
      await expect(page.getByRole("group", { name: "Not saved" })).toHaveCount(0);
      await expect(region.getByRole("group", { name: /-1$/ })).toHaveCount(0);
    }
  }
});

test("a filter that is saved holds within 5 s, and what it does not name is kept", async ({ page, request }) => {
  const dsn = before.keys.find((k) => k.active && k.dsn)!.dsn;
  const counted = await filtered(request);
  const form = await open(page, "Filters");
  const field = form.getByRole("textbox", { name: /^Error messages/ });
  const was = await field.inputValue();
  await field.fill(was ? `${was}\n${FILTER}` : FILTER);
  await expect(page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name: /^Filters/ })).toHaveText("Filters changed");
  await page.getByRole("button", { name: "Save…" }).click();
  await accessible(page);
  await shot(page, "settings-plan-light");
  await page.getByRole("dialog").getByRole("button", { name: "Keep as it is" }).click();
  expect((await project(request)).settings.filters.errorMessages).not.toContain(FILTER);
  await save(page, [`Filters: Error messages with ${FILTER}`]);
  const saved = Date.now();
  await expect(page.getByRole("status").filter({ hasText: "Saved. Every collector sees it within 5 s." })).toBeVisible();
  await expect(page.getByRole("group", { name: "Not saved" })).toHaveCount(0);
  await expect(page.getByRole("complementary", { name: "About this project" })).toContainText("error messages");
  await page.waitForTimeout(Math.max(0, saved + SEEN - Date.now()));
  // Both are answered alike: a program cannot mend what a filter drops.
  expect(await send(request, dsn, `${word} is noise, cart 81`)).toBe(200);
  expect(await send(request, dsn, `${word} is wanted`)).toBe(200);
  await expect.poll(() => titles(request), { timeout: 30_000, message: "what no filter names is kept" }).toEqual([`${word} is wanted`]);
  await expect.poll(() => filtered(request), { timeout: 30_000, message: "the ledger counts what is filtered" }).toBe(counted + 1);
  expect(await titles(request)).toEqual([`${word} is wanted`]);

  await page.reload();
  await expect(field).toHaveValue(was ? `${was}\n${FILTER}` : FILTER);
  await field.fill(was);
  await save(page, [`Filters: Error messages without ${FILTER}`]);
  expect((await project(request)).settings).toEqual(before.settings);
});

test("what the server finds wrong stands beside its field, and nothing is saved", async ({ page, request }) => {
  const form = await open(page, "Scrubbing");
  await form.getByRole("button", { name: "Add a scrubbing rule" }).click();
  const rule = form.getByRole("group", { name: "scrubbing rule rule-1" });
  const match = rule.getByRole("textbox", { name: "Regular expression" });
  await match.fill("card (");
  // Seen from another tab, the fault leads back to its own.
  await page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name: "General" }).click();
  await page.getByRole("button", { name: "Save…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Save", exact: true }).click();
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(page.getByRole("alert")).toHaveText("Nothing was saved: one field is at fault.");
  await expect(page).toHaveURL(/tab=scrubbing/);
  await expect(match).toHaveAttribute("aria-invalid", "true");
  await expect(match).toHaveAccessibleDescription(/missing closing \)/);
  await expect(match).toBeFocused();
  await expect(rule.getByText(/missing closing \)/)).toBeInViewport();
  await expect(rule.locator("[aria-invalid]")).toHaveCount(1);
  await accessible(page);
  await shot(page, "settings-fault-light");
  expect((await project(request)).settings).toEqual(before.settings);
  await match.fill("card [0-9]+");
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(match).not.toHaveAttribute("aria-invalid");
  await page.getByRole("button", { name: "Drop…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drop them" }).click();
});

test("what somebody else saved meanwhile stays, and one's own stands on top of it", async ({ page, request }) => {
  const form = await open(page, "General");
  await form.getByRole("spinbutton", { name: /^Days/ }).fill("31");
  const other = { ...before.settings, allowedOrigins: ["https://shop.example"] };
  expect((await request.put("/api/v1/projects/" + before.id, { data: { settings: other } })).status()).toBe(200);
  await page.getByRole("button", { name: "Save…" }).click();
  const plan = page.getByRole("dialog", { name: /^Save / });
  await plan.getByRole("button", { name: "Save", exact: true }).click();
  await expect(page.getByRole("status").filter({ hasText: "Somebody else saved meanwhile (General: Web origins that browsers may send from)." })).toBeVisible();
  await expect(form.getByRole("textbox", { name: /^Web origins/ })).toHaveValue("https://shop.example");
  await expect(form.getByRole("spinbutton", { name: /^Days/ })).toHaveValue("31");
  await save(page, ["General: Days that events are kept 0 → 31"]);
  expect((await project(request)).settings).toEqual({ ...other, retentionDays: 31 });
  expect((await request.put("/api/v1/projects/" + before.id, { data: { settings: before.settings } })).status()).toBe(200);
});

test("another name of the project is no change of its settings", async ({ page, request }) => {
  const form = await open(page, "General");
  await form.getByRole("spinbutton", { name: /^Days/ }).fill("32");
  const was = ((await (await request.get("/api/v1/projects/" + before.id)).json()) as { name: string }).name;
  await page.getByRole("button", { name: "Rename…" }).click();
  const plan = page.getByRole("dialog", { name: "Rename " + was });
  await plan.getByRole("textbox", { name: "Name" }).fill(word);
  await plan.getByRole("button", { name: "Rename", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1, name: word })).toBeVisible();
  // Somebody elsewhere does the same, and this page does not know of it.
  expect((await request.put("/api/v1/projects/" + before.id, { data: { name: was } })).status()).toBe(200);
  await save(page, ["General: Days that events are kept 0 → 32"]);
  await expect(page.getByRole("status").filter({ hasText: "Saved. Every collector sees it within 5 s." })).toBeVisible();
  const now = (await (await request.get("/api/v1/projects/" + before.id)).json()) as Project & { name: string };
  expect([now.name, now.settings]).toEqual([was, { ...before.settings, retentionDays: 32 }]);
  expect((await request.put("/api/v1/projects/" + before.id, { data: { settings: before.settings } })).status()).toBe(200);
});

test("one is asked before one leaves what is not saved, and a draft is kept on the way back", async ({ page }) => {
  await page.goto("/issues");
  await finding(page);
  await page.getByRole("link", { name: "Settings", exact: true }).click();
  await finding(page);
  await page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name: "General" }).click();
  const days = page.getByRole("spinbutton", { name: /^Days/ });
  await days.fill("30");
  // Its own tabs are no leaving.
  await page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name: "Sampling" }).click();
  await page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name: "General" }).click();
  await expect(days).toHaveValue("30");

  const plan = page.getByRole("dialog", { name: "Leave without saving" });
  await page.getByRole("link", { name: "Logs", exact: true }).click();
  await expect(plan.getByRole("listitem")).toHaveText(["General: Days that events are kept 0 → 30"]);
  await accessible(page);
  await shot(page, "settings-leave-light");
  await plan.getByRole("button", { name: "Keep as it is" }).click();
  await expect(page).toHaveURL(/\/settings\?tab=general$/);
  await expect(days).toHaveValue("30");
  // By the keyboard, too.
  await page.getByRole("heading", { level: 1 }).click();
  await page.keyboard.press("g");
  await page.keyboard.press("l");
  await expect(plan).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(plan).toBeHidden();
  // The browser's own buttons ask nothing: the draft is there when one comes back.
  while (page.url().includes("/settings")) {
    await page.goBack();
  }
  await expect(page).toHaveURL(/\/issues$/);
  await finding(page);
  await page.getByRole("link", { name: "Settings", exact: true }).click();
  await expect(page.getByRole("group", { name: "Not saved" })).toContainText("Not saved: General");
  await page.getByRole("link", { name: "Logs", exact: true }).click();
  await plan.getByRole("button", { name: "Leave", exact: true }).click();
  await expect(page).toHaveURL(/\/logs$/);
  await finding(page);
  // And nothing is left of it, nor of the question.
  await page.getByRole("link", { name: "Settings", exact: true }).click();
  await finding(page);
  await expect(page.getByRole("group", { name: "Not saved" })).toHaveCount(0);
  await page.getByRole("link", { name: "Lag", exact: true }).click();
  await expect(page).toHaveURL(/\/lag/);
  await page.goBack();
  await expect(page).toHaveURL(/\/settings/);
  await page.goForward();
  await expect(page).toHaveURL(/\/lag/);
});

test("a key is made, limited, disabled within 5 s, rotated and deleted", async ({ page, request, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const keys = await open(page, "Keys");
  const label = word + "-key";
  await keys.getByRole("button", { name: "New key…" }).click();
  let plan = page.getByRole("dialog", { name: "A new key" });
  await plan.getByLabel("Label").fill(label);
  await plan.getByLabel("limit what may be sent with it").check();
  await plan.getByLabel("Events").fill("5000");
  await plan.getByLabel("In seconds").fill("0");
  await plan.getByRole("button", { name: "Make it" }).click();
  await expect(plan.getByRole("alert")).toBeVisible();
  await accessible(page);
  await shot(page, "settings-key-fault-light");
  await plan.getByLabel("In seconds").fill("60");
  await plan.getByRole("button", { name: "Make it" }).click();
  const row = keys.getByRole("row").filter({ hasText: label });
  await expect(row).toContainText("5 000 in a minute");
  await row.getByRole("button", { name: `Copy the DSN of ${label}` }).click();
  await expect(row.getByRole("button", { name: `Copy the DSN of ${label}` })).toHaveText("Copied");
  const dsn = await page.evaluate(() => navigator.clipboard.readText());
  expect(dsn).toMatch(/^https?:\/\/[0-9a-f]{32}@/);
  await expect.poll(() => send(request, dsn, `${word} by a new key`), { timeout: SEEN }).toBe(200);

  await row.getByRole("button", { name: `Disable ${label}…` }).click();
  plan = page.getByRole("dialog", { name: `Disable ${label}` });
  await expect(plan).toContainText("refused, within 5 s");
  await plan.getByRole("button", { name: "Disable it" }).click();
  await expect(row).toContainText("disabled");
  await page.waitForTimeout(SEEN);
  expect(await send(request, dsn, `${word} by a disabled key`)).toBe(403);
  await accessible(page);
  await shot(page, "settings-keys-two-light");

  await row.getByRole("button", { name: `Enable ${label}…` }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Enable it" }).click();
  await expect(row).not.toContainText("disabled");
  await row.getByRole("button", { name: `Change ${label}…` }).click();
  plan = page.getByRole("dialog", { name: `Change ${label}` });
  await plan.getByLabel("limit what may be sent with it").uncheck();
  await plan.getByRole("button", { name: "Change it" }).click();
  await expect(row).toContainText("none");
  await row.getByRole("button", { name: `Rotate ${label}…` }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Rotate it" }).click();
  await expect(row).toHaveCount(2);
  await expect(row.filter({ hasText: "disabled" })).toContainText(new URL(dsn).username);
  for (let left = 2; left > 0; left--) {
    await row.getByRole("button", { name: `Delete ${label}…` }).first().click();
    plan = page.getByRole("dialog", { name: `Delete ${label}` });
    await expect(plan).toContainText("It cannot be taken back");
    await plan.getByRole("button", { name: "Delete it" }).click();
    await expect(row).toHaveCount(left - 1);
  }
  expect((await project(request)).keys).toEqual(before.keys);
});

test("grouping rules are tried on what is stored before they hold", async ({ page, request }) => {
  const form = await open(page, "Grouping");
  await form.getByRole("textbox", { name: "Fingerprints" }).fill(`message:"*${word}*" -> ${word}`);
  await form.getByRole("button", { name: /^Try on the newest/ }).click();
  await expect(form.getByRole("status", { name: "What the rules would do" })).toContainText(/\d+ of [\d ]+ events would be in another issue/);
  await accessible(page);
  await shot(page, "settings-grouping-tried-light");
  expect((await project(request)).settings).toEqual(before.settings);
  await page.getByRole("button", { name: "Drop…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drop them" }).click();
});

test("a project is made, renamed and disabled", async ({ page, request }) => {
  await page.goto("/settings");
  await finding(page);
  const side = page.getByRole("complementary", { name: "About this project" });
  await side.getByRole("button", { name: "New project…" }).click();
  let plan = page.getByRole("dialog", { name: "A new project" });
  await plan.getByLabel("Slug").fill(word);
  await plan.getByRole("button", { name: "Make it" }).click();
  await expect(plan).toBeHidden();
  await expect(page).toHaveURL(/project=\d+/);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(`${word} takes what is sent with 1 key`);
  await side.getByRole("button", { name: "Rename…" }).click();
  plan = page.getByRole("dialog", { name: `Rename ${word}` });
  await plan.getByLabel("Name").fill("Shop " + word);
  await plan.getByRole("button", { name: "Rename", exact: true }).click();
  await expect(plan).toBeHidden();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(`Shop ${word} takes what is sent with 1 key`);
  const dsn = await page.getByRole("table", { name: "Keys" }).locator("pre").textContent();
  await side.getByRole("button", { name: "Disable…" }).click();
  plan = page.getByRole("dialog", { name: `Disable Shop ${word}` });
  await plan.getByRole("button", { name: "Disable", exact: true }).click();
  await expect(plan).toBeHidden();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(`Shop ${word} is disabled: what is sent to it is refused`);
  await page.waitForTimeout(SEEN);
  expect(await send(request, dsn!, `${word} to a disabled project`)).toBe(403);
  await accessible(page);
  await shot(page, "settings-project-light");
  await side.getByRole("link", { name: "Default" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(/^Default takes/);
});
