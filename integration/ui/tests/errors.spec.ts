// What can be seen of errors, logs and the ledger: on what a shop's programs sent
// when they broke (seed.ts). The tests of one issue act on it in order.
import type { APIRequestContext, Page } from "@playwright/test";
import { accessible, expect, finding, shot, test } from "./fixtures.js";
import { seed, type Sent } from "./seed.js";

const otlp = process.env["HOPTRACE_OTLP_HTTP"] ?? "";

let sent: Sent;

interface Listed {
  issues: { id: string; title: string; events: number; status: string }[];
}

async function issuesOf(request: APIRequestContext): Promise<Listed["issues"]> {
  const answer = await request.get("/api/v1/issues", { params: { query: sent.word, limit: "50" } });
  expect(answer.status(), await answer.text()).toBe(200);
  return ((await answer.json()) as Listed).issues;
}

/** Ids of the issues by the type of their error, as they were when they came. */
const ids = new Map<string, string>();

function issueOf(type: string): string {
  const id = ids.get(type);
  if (!id) {
    throw new Error(`there was no issue ${type} of ${sent.word}`);
  }
  return id;
}

/** Presses an action, looks at its plan, and does it. */
async function doIt(page: Page, action: string, title: string | RegExp, verb: string, fill?: () => Promise<void>): Promise<void> {
  await page.getByRole("button", { name: action, exact: true }).click();
  const plan = page.getByRole("dialog", { name: title });
  await expect(plan).toBeVisible();
  await plan.getByRole("textbox", { name: "You are" }).fill("ada");
  await fill?.();
  await plan.getByRole("button", { name: verb, exact: true }).click();
  await expect(plan).toBeHidden();
}

test.beforeAll(async ({ playwright, baseURL }) => {
  expect(otlp, "HOPTRACE_OTLP_HTTP, set by TestUI").toBeTruthy();
  const request = await playwright.request.newContext(baseURL ? { baseURL } : {});
  const status = (await (await request.get("/api/v1/status")).json()) as { projects: { dsns: string[] }[] };
  sent = await seed(request, status.projects[0]!.dsns[0]!, otlp);
  await expect
    .poll(async () => (await issuesOf(request)).map((i) => [i.title.split(":")[0], i.events]).sort(), { timeout: 60_000, message: "issues of what was sent" })
    .toEqual([
      ["CardDeclined", 4],
      ["OutOfStock", 2],
      ["ShelfEmpty", 1],
    ]);
  for (const i of await issuesOf(request)) {
    ids.set(i.title.split(":")[0]!, i.id);
  }
  await request.dispose();
});

test("an event shows its calls, who it was about, its files, and what was taken out of it", async ({ page, request }) => {
  await page.goto(`/issues/${issueOf("CardDeclined")}`);
  expect(await finding(page)).toContain(`declined ${sent.word}`);
  const event = page.getByRole("region", { name: "Event", exact: true });
  await expect(event).toContainText("not handled");
  await expect(event).toContainText("raise CardDeclined(card) from e");
  await expect(event).toContainText("caused by HTTPStatusError: 402 Payment Required");
  const code = event.getByLabel("Code of charge");
  await expect(code).toContainText("91");
  await expect(event.getByText("calls of flask.app")).toBeVisible();
  await event.getByText("2 variables").click();
  await expect(event).toContainText("'card-gateway'");
  await expect(page.getByRole("table", { name: "Before it happened" }).getByRole("row").first()).toContainText("POST card-gateway/charges");
  await expect(page.getByRole("region", { name: "User" })).toContainText("user-0@example.com");
  const asked = page.getByRole("region", { name: "Request" });
  await expect(asked).toContainText("https://shop.example/orders");
  await expect(asked).not.toContainText("4111");
  await expect(asked).not.toContainText("abcdefghij");
  const changed = page.getByRole("table", { name: "Changed before it was kept" });
  await expect(changed.getByRole("row").filter({ hasText: "request.data.card" })).toContainText("replaced by the rule @creditcard");
  await expect(changed.getByRole("row").filter({ hasText: "extra.password" })).toContainText("replaced by the rule @password");
  const downloading = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download gateway-answer.json" }).click();
  const stream = await (await downloading).createReadStream();
  const parts: Buffer[] = [];
  for await (const part of stream) {
    parts.push(part as Buffer);
  }
  expect(Buffer.concat(parts).toString()).toBe(`{"error": "declined", "word": "${sent.word}"}`);
  await expect(page.getByRole("link", { name: "Its trace", exact: true })).toHaveAttribute("href", new RegExp(`/traces/${sent.trace}`));
  await accessible(page);
  await shot(page, "issue-event-light");
});

test("an issue says which parts made its hash and why others did not", async ({ page }) => {
  await page.goto(`/issues/${issueOf("CardDeclined")}`);
  const about = page.getByRole("complementary", { name: "About this issue" });
  await expect(about).toContainText("charge ← create_order");
  await expect(about).toContainText("not by the message: the stack counts instead");
  const why = page.getByRole("region", { name: "Why grouped" });
  await expect(why).toContainText("The program's own calls decide");
  const part = (text: string) => why.getByRole("listitem").filter({ hasText: text }).last();
  await expect(part("create_order")).toContainText("counts: ");
  await expect(part("create_order")).not.toContainText("does not count");
  await expect(part("wsgi_app")).toContainText("does not count");
  await expect(part("wsgi_app")).toContainText("not the program's own");
  await expect(why.getByText("Not used: system")).toBeVisible();
  await expect(why).toContainText("The rules of today give this event the same hash.");
  await accessible(page);
  await why.scrollIntoViewIfNeeded();
  await shot(page, "issue-why-light");
});

test("nothing acts at one click: an action opens its plan first", async ({ page, request }) => {
  const id = issueOf("CardDeclined");
  await page.goto(`/issues/${id}`);
  const actions = page.getByRole("group", { name: "Actions" });
  for (const [action, title] of [
    ["Resolve…", "Resolve this issue"],
    ["Archive…", "Archive this issue"],
    ["Assign…", "Assign this issue"],
    ["Merge…", "Merge this issue"],
    ["Delete…", "Delete this issue"],
  ] as const) {
    await actions.getByRole("button", { name: action }).click();
    const plan = page.getByRole("dialog", { name: title });
    await expect(plan).toContainText(/undo|undone|Undo|To/);
    await accessible(page);
    await shot(page, `plan-${action.slice(0, -1).toLowerCase()}-light`);
    await plan.getByRole("button", { name: "Keep as it is" }).click();
    await expect(plan).toBeHidden();
  }
  expect((await issuesOf(request)).find((i) => i.id === id)?.status).toBe("unresolved");
});

test("an issue is assigned, bookmarked, commented, archived, reopened and resolved, and its log tells it", async ({ page }) => {
  const id = issueOf("CardDeclined");
  await page.goto(`/issues/${id}`);
  const about = page.getByRole("complementary", { name: "About this issue" });
  const state = page.locator("main");
  await doIt(page, "Assign…", "Assign this issue", "Assign", async () => page.getByRole("textbox", { name: "To", exact: true }).fill("grace"));
  await expect(about).toContainText("grace");
  await doIt(page, "Bookmark…", "Bookmark this issue", "Bookmark");
  await expect(about).toContainText("by ada");
  await doIt(page, "Change priority…", "Change the priority of this issue", "Change", async () => page.getByRole("radio", { name: "low" }).check());
  await expect(about).toContainText("low");
  const log = page.getByRole("region", { name: "Log" });
  await log.getByRole("textbox", { name: "Comment" }).fill("the gateway's own fault");
  await log.getByRole("button", { name: "Comment" }).click();
  await expect(log.getByRole("listitem").first()).toContainText("ada the gateway's own fault");
  for (const [choice, fields, told] of [
    ["it escalates", {}, "until it escalates"],
    ["some hours have passed", { Hours: "48" }, "until"],
    ["so many more events came", { Events: "500", "Within hours": "24" }, "500 events within"],
    ["so many users met it", { Users: "20" }, "20 users"],
    ["somebody reopens it", {}, "until reopened"],
  ] as const) {
    await doIt(page, "Archive…", "Archive this issue", "Archive", async () => {
      await page.getByRole("radio", { name: choice }).check();
      for (const [label, value] of Object.entries(fields)) {
        await page.getByRole("textbox", { name: label }).fill(value);
      }
    });
    await expect(about).toContainText(told);
    await expect(log.getByRole("listitem").first()).toContainText("ada archived it");
    await doIt(page, "Reopen…", "Reopen this issue", "Reopen");
    await expect(log.getByRole("listitem").first()).toContainText("ada reopened it");
  }
  for (const [choice, told] of [
    ["in the next release", "after shop@3.2.0"],
    ["in a release", "in shop@3.3.0"],
    ["now:", "by time"],
  ] as const) {
    await doIt(page, "Resolve…", "Resolve this issue", "Resolve", async () => {
      await page.getByRole("radio", { name: choice }).check();
      if (choice === "in a release") {
        await page.getByRole("textbox", { name: "Release" }).fill("shop@3.3.0");
      }
    });
    await expect(about).toContainText(told);
    await expect(state.getByText("resolved", { exact: true })).toBeVisible();
    await doIt(page, "Reopen…", "Reopen this issue", "Reopen");
  }
  await accessible(page);
  await shot(page, "issue-log-light");
});

test("issues are merged, and unmerged by choosing hashes, with exact counts", async ({ page, request }) => {
  const into = issueOf("CardDeclined");
  const from = issueOf("OutOfStock");
  await page.goto(`/issues/${from}`);
  await doIt(page, "Merge…", "Merge this issue", "Merge", async () => page.getByRole("textbox", { name: "Into issue number" }).fill(into));
  await expect(page).toHaveURL(new RegExp(`/issues/${into}$`));
  const why = page.getByRole("region", { name: "Why grouped" });
  await expect(why.getByRole("checkbox")).toHaveCount(2);
  await expect(why).toContainText(`from issue ${from}`);
  await expect(page.getByRole("table", { name: "Events" }).getByRole("link")).toHaveCount(6);
  const takeOut = why.getByRole("button", { name: "Take out…" });
  await expect(takeOut).toBeDisabled();
  await accessible(page);
  await page.goto(`/issues/${from}`);
  await expect(page.getByText(`issue ${from} was merged into it`)).toBeVisible();
  // The hash that came from the other issue.
  await why.getByRole("checkbox").nth(0).check();
  await why.getByRole("checkbox").nth(1).check();
  await expect(takeOut).toBeDisabled();
  const merged = why.locator(".hash").filter({ hasText: `from issue ${from}` }).getByRole("checkbox");
  for (const box of await why.getByRole("checkbox").all()) {
    await box.uncheck();
  }
  await merged.check();
  await takeOut.click();
  const plan = page.getByRole("dialog", { name: "Take one hash out" });
  await expect(plan).toContainText(`issue ${from}, which they were merged from`);
  await accessible(page);
  await shot(page, "plan-unmerge-light");
  await plan.getByRole("button", { name: "Take out" }).click();
  await plan.getByRole("link", { name: `issue ${from}` }).click();
  await expect(page).toHaveURL(new RegExp(`/issues/${from}$`));
  await expect(page.getByRole("table", { name: "Events" }).getByRole("link")).toHaveCount(2);
  const counts = Object.fromEntries((await issuesOf(request)).map((i) => [i.id, i.events]));
  expect(counts).toMatchObject({ [into]: 4, [from]: 2 });
});

test("rows are chosen by key and mouse, in ranges, and the choice is in the address", async ({ page }) => {
  await page.goto(`/issues?query=${sent.word}`);
  const table = page.getByRole("table", { name: "Issues" });
  const boxes = table.getByRole("checkbox", { name: /^Choose (?!all)/ });
  await expect(boxes).toHaveCount(3);
  await expect(table.getByRole("row").nth(1).getByRole("img")).toHaveCount(2);
  await expect(table.getByRole("img", { name: /events in 24 hours/ })).toHaveCount(3);
  await expect(table.getByRole("img", { name: /4 events in 14 days, at most \d a day/ })).toHaveCount(1);
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await expect(page.getByText("1 issue chosen")).toBeVisible();
  await expect(boxes.nth(0)).toBeChecked();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("Shift+X");
  await expect(page.getByText("3 issues chosen")).toBeVisible();
  await expect(page).toHaveURL(/chosen=\d+\.\d+\.\d+/);
  await accessible(page);
  await shot(page, "issues-chosen-light");
  await page.reload();
  await expect(page.getByText("3 issues chosen")).toBeVisible();
  await page.getByRole("button", { name: "Choose none" }).click();
  await expect(page).not.toHaveURL(/chosen/);
  await boxes.nth(2).click();
  await boxes.nth(0).click({ modifiers: ["Shift"] });
  await expect(page.getByText("3 issues chosen")).toBeVisible();
  await boxes.nth(1).click();
  await expect(page.getByText("2 issues chosen")).toBeVisible();
  // The keys work with the focus in the box, too.
  await page.keyboard.press("x");
  await expect(page.getByText("3 issues chosen")).toBeVisible();
  const all = table.getByRole("checkbox", { name: "Choose all of this page" });
  await expect(all).toBeChecked();
  await all.click();
  await expect(page.getByText(/issues? chosen/)).toHaveCount(0);
});

test("an action on several issues tells what became of each", async ({ page, request }) => {
  const [into, from] = [issueOf("CardDeclined"), issueOf("OutOfStock")];
  await page.goto(`/issues?query=${sent.word}`);
  await page.getByRole("checkbox", { name: "Choose all of this page" }).click();
  // Meanwhile somebody else resolves one and merges another.
  const put = async (data: unknown) => expect((await request.put("/api/v1/issues", { data })).status()).toBe(200);
  await put({ ids: [into], assign: "grace" });
  await put({ ids: [from], merge: into });
  await page.getByRole("group", { name: "Actions" }).getByRole("button", { name: "Assign…" }).click();
  const plan = page.getByRole("dialog", { name: "Assign 3 issues" });
  await plan.getByText("The 3 issues").click();
  await expect(plan.getByRole("listitem")).toHaveCount(3);
  await plan.getByRole("textbox", { name: "You are" }).fill("ada");
  await plan.getByRole("textbox", { name: "To", exact: true }).fill("grace");
  await plan.getByRole("button", { name: "Assign", exact: true }).click();
  const outcome = page.getByRole("dialog", { name: "1 done, 1 so before, 1 not done" });
  await expect(outcome).toBeVisible();
  const of = (type: string) => outcome.getByRole("listitem").filter({ hasText: type });
  await expect(of("ShelfEmpty")).toContainText("done");
  await expect(of("it was theirs before")).toHaveCount(1);
  await expect(outcome.getByRole("listitem").first()).toContainText("OutOfStock");
  await expect(outcome.getByRole("listitem").first()).toContainText(`it was merged into issue ${into}`);
  await accessible(page);
  await shot(page, "plan-outcome-light");
  await outcome.getByRole("button", { name: "Close" }).click();
  await expect(outcome).toBeHidden();
  await expect(page.getByText(/issues? chosen/)).toHaveCount(0);
  await expect(page.getByRole("table", { name: "Issues" }).getByRole("checkbox", { name: /^Choose (?!all)/ })).toHaveCount(2);
  // As it was.
  const detail = (await (await request.get(`/api/v1/issues/${into}`)).json()) as { hashes: { hash: string; former: string }[] };
  const hashes = detail.hashes.filter((h) => h.former === from).map((h) => h.hash);
  expect((await request.post(`/api/v1/issues/${into}/unmerge`, { data: { hashes, former: true } })).status()).toBe(200);
});

test("an issue is discarded and restored", async ({ page }) => {
  const id = issueOf("OutOfStock");
  await page.goto(`/issues/${id}`);
  await doIt(page, "Delete…", "Delete this issue", "Delete and discard", async () => page.getByRole("checkbox", { name: /discard what comes like it/ }).check());
  await expect(page).toHaveURL(/\/issues$/);
  await page.getByRole("link", { name: "Discarded issues" }).click();
  const row = page.getByRole("table", { name: "Discarded issues" }).getByRole("row").filter({ hasText: sent.word });
  await expect(row).toHaveCount(1);
  await accessible(page);
  await shot(page, "discarded-light");
  await row.getByRole("button", { name: /^Restore/ }).click();
  const plan = page.getByRole("dialog", { name: "Restore a discarded issue" });
  await plan.getByRole("button", { name: "Restore" }).click();
  await expect(plan).toBeHidden();
  await expect(row).toHaveCount(0);
});

test("an exception of an OpenTelemetry span is an issue that says where it came from", async ({ page }) => {
  await page.goto(`/issues/${issueOf("ShelfEmpty")}`);
  const event = page.getByRole("region", { name: "Event", exact: true });
  await expect(event).toContainText("from OpenTelemetry");
  await expect(event).toContainText("Warehouse.java");
  await accessible(page);
});

test("an error within a processed record shows that record's way and its age", async ({ page, request }) => {
  // The example's own program, instrumented by the wrapper and by sentry-go.
  const listed = (await (await request.get("/api/v1/issues", { params: { query: "CARD_DECLINED topic:payments" } })).json()) as Listed;
  expect(listed.issues).toHaveLength(1);
  const id = listed.issues[0]!.id;
  interface Part {
    name: string;
    known: boolean;
    ns: number;
  }
  const told = (await (await request.get(`/api/v1/issues/${id}/events/latest`)).json()) as { event: { id: string }; message: { age: { ns: number }; ageFrom: string; hop: { topic: string; partition: number; offset: number; parts: Part[] } } };
  const { hop, age, ageFrom } = told.message;
  expect(ageFrom).toBe("appended");
  // It is processed before it fails, and lay in the broker before that.
  const lay = hop.parts.filter((p) => p.known && ["backlog", "long_poll", "fetch_queue"].includes(p.name)).reduce((n, p) => n + p.ns, 0);
  expect(age.ns).toBeGreaterThanOrEqual(lay);
  expect(age.ns).toBeLessThanOrEqual(lay + hop.parts.find((p) => p.name === "processing")!.ns + 1e9);
  await page.goto(`/issues/${id}/events/${told.event.id}`);
  const message = page.getByRole("region", { name: "The message that caused it" });
  await expect(message).toContainText("since it was appended");
  await expect(message.getByRole("definition").first()).toContainText(/\d\s(ns|µs|ms|s|m|h)/);
  const bar = message.getByRole("img", { name: /^Hop payments p\d+ offset/ });
  const fills = await bar.locator("rect").evaluateAll((all) => all.map((r) => r.getAttribute("fill")));
  const colours: Record<string, string> = { batch_queue: "batch", retry: "retry", ack: "ack", backlog: "backlog", long_poll: "poll", fetch_queue: "fetchq", processing: "process" };
  const drawn = hop.parts.filter((p) => p.known && p.ns > 0);
  expect(drawn.length).toBeGreaterThan(2);
  expect(fills).toEqual(drawn.map((p) => (["ack", "processing"].includes(p.name) ? `var(--${colours[p.name]})` : `url(#hatch-${colours[p.name]})`)));
  await shot(page, "issue-message-light");
  await message.getByRole("link", { name: /^The record payments/ }).click();
  await expect(page).toHaveURL(`/records/payments/${hop.partition}/${hop.offset}`);
  await page.goBack();
  await message.getByRole("link", { name: /Its waterfall/ }).click();
  await expect(page).toHaveURL(/\/traces\/[0-9a-f]{32}\?row=payments/);
});

test("the ledger adds up, opens to its reasons, and says its verdict first", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("l");
  await expect(page).toHaveURL(/\/ledger$/);
  expect(await finding(page)).toMatch(/item|end/);
  const ledger = page.getByRole("table", { name: "Ledger", exact: true });
  const row = (name: string) => ledger.getByRole("row").filter({ has: page.getByRole("button", { name, exact: true }) });
  await expect(row("errors")).toHaveCount(1);
  // Each line is the sum of its ends.
  const cells = await ledger.locator("tbody > tr").evaluateAll((rows) => rows.map((r) => Array.from(r.querySelectorAll("td")).map((c) => (c.textContent ?? "").replace(/\s/g, "").replace("\u2212", "-"))));
  const lines = cells.filter((c) => c.length === 8 && c.every((x) => /^-?\d+$/.test(x))).map((c) => c.map(Number));
  expect(lines.length).toBeGreaterThanOrEqual(4);
  for (const [received, ...ends] of lines) {
    expect(ends.reduce((a, b) => a + b, 0)).toBe(received);
  }
  await expect(async () => {
    await page.reload();
    await finding(page);
    await expect(page.getByText("balanced", { exact: true })).toBeVisible({ timeout: 1000 });
  }).toPass({ timeout: 60_000 });
  await page.getByRole("button", { name: "errors", exact: true }).click();
  await expect(page).toHaveURL(/open=error/);
  const reasons = page.getByRole("table", { name: "Reasons of errors" });
  await expect(reasons.getByRole("row").filter({ hasText: "queue_overflow" })).toContainText("discarded by the client");
  await expect(page.getByRole("table", { name: "Backlog" }).getByRole("row").filter({ hasText: "persist-events" })).toBeVisible();
  await accessible(page);
  await shot(page, "ledger-light");
  await page.getByLabel("Time range").selectOption("-1h");
  await expect(page).toHaveURL(/from=-1h/);
  await expect(reasons).toBeVisible();
});

test("logs are filtered, paged, opened, and lead to their trace", async ({ page }) => {
  await page.goto(`/logs?text=${sent.word}`);
  expect(await finding(page)).toMatch(/1 of 100 logs tells an error/);
  const rows = page.getByRole("table", { name: "Logs" }).getByRole("row");
  await expect(rows).toHaveCount(101);
  await page.getByRole("button", { name: "Older logs" }).click();
  await expect(rows).toHaveCount(24);
  await page.getByRole("link", { name: "Newest" }).click();
  await expect(rows).toHaveCount(101);
  await page.getByLabel("Level").selectOption("warn");
  await expect(page).toHaveURL(/level=warn/);
  await expect(rows).toHaveCount(3);
  await page.getByRole("button", { name: `the card gateway declined ${sent.word}` }).click();
  await expect(page).toHaveURL(/open=/);
  await expect(page.getByRole("region", { name: "Attributes" })).toContainText("8112");
  await accessible(page);
  await shot(page, "logs-light");
  await page.reload();
  await expect(page.getByRole("region", { name: "Attributes" })).toBeVisible();
  await page.getByRole("link", { name: "Logs of its trace" }).click();
  await expect(page).toHaveURL(new RegExp(`trace=${sent.trace}`));
  await expect(rows).toHaveCount(101);
  await page.getByRole("button", { name: "Take the trace filter away" }).click();
  await page.getByRole("combobox", { name: "Service" }).fill("no such service");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("No log matches");
  await accessible(page);
});

test("a journey leads to its logs", async ({ page }) => {
  await page.goto("/traces?service=shipping");
  await page.getByRole("table", { name: "Traces" }).getByRole("link").first().click();
  await page.getByRole("link", { name: "its logs" }).click();
  await expect(page).toHaveURL(/\/logs\?trace=[0-9a-f]{32}/);
  await finding(page);
});

test("settings show the keys, and what becomes of what is sent", async ({ page }) => {
  await page.goto("/settings");
  expect(await finding(page)).toMatch(/takes what is sent with \d+ key/);
  await expect(page.getByRole("table", { name: "Keys" })).toContainText(/http:\/\/[0-9a-f]{32}@/);
  await expect(page.getByRole("complementary", { name: "About this project" })).toContainText("passwords, keys and card numbers");
  await accessible(page);
  await shot(page, "settings-light");
});

const pages = ["/logs", "/ledger?open=error", "/settings", "/issues/discarded"];

test.describe("in the dark", () => {
  test.use({ colorScheme: "dark" });

  test("the pages of errors can be read", async ({ page }) => {
    for (const path of [...pages, `/issues/${issueOf("CardDeclined")}`]) {
      await page.goto(path);
      await finding(page);
      await accessible(page);
      await shot(page, `${path.split(/[?/]/)[1]!}${path.includes("discarded") ? "-discarded" : /\d$/.test(path) ? "-event" : ""}-dark`);
    }
  });
});

test("at 390 px they can be read without scrolling sideways", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  for (const path of [...pages, `/issues/${issueOf("CardDeclined")}`]) {
    await page.goto(path);
    await finding(page);
    await page.waitForLoadState("networkidle");
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(over, `${path} is wider than the screen`).toBeLessThanOrEqual(0);
    await shot(page, `narrow-errors-${path.split(/[?/]/)[1]!}${path.includes("discarded") ? "-discarded" : ""}`);
  }
});

// Last: it sends again, under other words.
test("what comes while one reads the ledger waits behind a button", async ({ page, request }) => {
  await page.goto("/ledger");
  await finding(page);
  const errors = page.getByRole("table", { name: "Ledger", exact: true }).getByRole("row").filter({ has: page.getByRole("button", { name: "errors", exact: true }) });
  const before = await errors.textContent();
  const status = (await (await request.get("/api/v1/status")).json()) as { projects: { dsns: string[] }[] };
  await seed(request, status.projects[0]!.dsns[0]!, otlp);
  const waiting = page.getByRole("button", { name: /new items?$|Show what changed/ });
  await expect(waiting).toBeVisible({ timeout: 30_000 });
  expect(await errors.textContent()).toBe(before);
  await expect(async () => {
    await waiting.click({ timeout: 1000 });
    expect(await errors.textContent()).not.toBe(before);
  }).toPass({ timeout: 30_000 });
});
