// Who may do what, in the browser: on a server of its own, which begins without a
// member. The tests follow one another: each begins with what the one before left.
import type { APIRequestContext, Browser, Page } from "@playwright/test";
import { accessible, expect, finding, shot, test } from "./fixtures.js";
import { startProvider, type Provider } from "./provider.js";
import { seed, type Sent } from "./seed.js";

test.describe.configure({ mode: "serial" });
// A refusal is in the browser's console, whatever the page makes of it.
test.use({ provoked: [/status of 40[0139]/] });

const otlp = process.env["HOPTRACE_OTLP_HTTP"] ?? "";
const web = process.env["HOPTRACE_WEB"] ?? "";
const issuer = process.env["HOPTRACE_OIDC"] ?? "";
const password = "four words are best";
const people = { owner: "olga", admin: "ada", member: "max", viewer: "vera" } as const;
type Role = keyof typeof people;
const address = (role: Role): string => `${people[role]}@example.com`;

let sent: Sent;
let issue = "";
let provider: Provider;

test.beforeAll(async () => {
  expect(otlp && issuer, "HOPTRACE_OTLP_HTTP and HOPTRACE_OIDC, set by TestUI").toBeTruthy();
  provider = await startProvider(issuer);
});

test.afterAll(() => provider.close());

async function issues(request: APIRequestContext): Promise<{ id: string; title: string }[]> {
  const answer = await request.get("/api/v1/issues", { params: { query: sent.word, limit: "50" } });
  expect(answer.status(), await answer.text()).toBe(200);
  return ((await answer.json()) as { issues: { id: string; title: string }[] }).issues;
}

/** The buttons that open a plan: an ellipsis right behind the word. */
function actions(page: Page): Promise<string[]> {
  return page.getByRole("main").getByRole("button", { name: /\S…$/ }).allTextContents();
}

async function signIn(page: Page, role: Role, to = "/issues"): Promise<void> {
  await page.goto("/sign-in?to=" + encodeURIComponent(to));
  await page.getByLabel("E-mail address").fill(address(role));
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("button", { name: /^Account of / })).toBeVisible();
}

/** Opens a link that sets a password, in a browser of its own, and sets it. */
async function welcome(browser: Browser, path: string): Promise<void> {
  const context = await browser.newContext({ baseURL: web });
  const page = await context.newPage();
  await page.goto(path);
  await expect(page.getByRole("heading", { name: "Set your password" })).toBeVisible();
  await page.getByLabel(/^Password/).fill(password);
  await page.getByRole("button", { name: "Set it and sign in" }).click();
  await expect(page.getByRole("button", { name: /^Account of / })).toBeVisible();
  await context.close();
}

test("without a member nothing asks, every action is there, and the first member is an owner", async ({ page, browser, request }) => {
  const status = (await (await request.get("/api/v1/status")).json()) as { projects: { dsns: string[] }[] };
  sent = await seed(request, status.projects[0]!.dsns[0]!, otlp);
  await expect.poll(async () => (await issues(request)).length, { timeout: 60_000, message: "issues of what was sent" }).toBe(3);
  issue = (await issues(request)).find((i) => i.title.startsWith("CardDeclined"))!.id;
  await page.goto(`/issues/${issue}`);
  await finding(page);
  await expect(page.getByRole("group", { name: "Actions" }).getByRole("button", { name: "Resolve…" })).toBeVisible();
  await expect(page.getByRole("textbox", { name: "Comment" })).toBeVisible();
  await expect(page.getByRole("button", { name: /^Account of / })).toHaveCount(0);

  await page.goto("/members");
  expect(await finding(page)).toBe("There is no member yet: nobody signs in");
  await accessible(page);
  await page.getByRole("button", { name: "Invite…" }).click();
  const plan = page.getByRole("dialog", { name: "Invite a member" });
  await plan.getByLabel("E-mail address").fill(address("owner"));
  await expect(plan.getByLabel("Role")).toHaveValue("owner");
  await plan.getByRole("button", { name: "Invite" }).click();
  const link = await plan.getByLabel("Copy: the lines").textContent();
  expect(link).toContain(web + "/welcome#");
  await welcome(browser, link!.slice(web.length));
  // Who sat here is nobody now.
  await plan.getByRole("button", { name: "Close" }).click();
  await page.goto("/issues");
  await expect(page).toHaveURL(/\/sign-in\?to=%2Fissues$/);
  await expect(page.getByRole("heading", { name: "Sign in to hoptrace" })).toBeVisible();
  await accessible(page);
  await shot(page, "access-sign-in-light");
});

test("one signs in by password and comes back to where one was", async ({ page }) => {
  await page.goto(`/issues?sort=freq&from=-1h`);
  await expect(page).toHaveURL(/\/sign-in\?to=/);
  await page.getByLabel("E-mail address").fill(address("owner"));
  await page.getByLabel("Password").fill("not my password");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("alert")).toContainText(/wrong/);
  await accessible(page);
  await page.getByLabel("Password").fill(password);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL("/issues?sort=freq&from=-1h");
  await expect(page.getByRole("button", { name: "Account of olga" })).toBeVisible();
});

test("an owner invites an admin, a member and a viewer", async ({ page, browser }) => {
  await signIn(page, "owner", "/members");
  expect(await finding(page)).toBe("1 member may sign in");
  for (const role of ["admin", "member", "viewer"] as const) {
    await page.getByRole("button", { name: "Invite…" }).click();
    const plan = page.getByRole("dialog", { name: "Invite a member" });
    await plan.getByLabel("E-mail address").fill(address(role));
    await plan.getByLabel("Role").selectOption(role);
    await plan.getByRole("button", { name: "Invite" }).click();
    const link = await plan.getByLabel("Copy: the lines").textContent();
    await plan.getByRole("button", { name: "Close" }).click();
    await welcome(browser, link!.slice(web.length));
  }
  expect(await finding(page)).toBe("4 members may sign in");
  await accessible(page);
  await shot(page, "access-members-light");
});

test("a session that was ended elsewhere leads to sign-in and back, and loses no work", async ({ page, browser }) => {
  await signIn(page, "owner", `/issues/${issue}`);
  await finding(page);
  await page.getByRole("button", { name: "Resolve…" }).click();
  const plan = page.getByRole("dialog", { name: "Resolve this issue" });

  const other = await (await browser.newContext({ baseURL: web })).newPage();
  await signIn(other, "owner", "/account");
  expect(await finding(other)).toBe("You are olga, owner");
  await accessible(other);
  await shot(other, "access-account-light");
  const sessions = other.getByRole("table", { name: "Browsers" });
  while ((await sessions.getByRole("button", { name: "End…" }).count()) > 0) {
    const before = await sessions.getByRole("row").count();
    await sessions.getByRole("button", { name: "End…" }).first().click();
    await other.getByRole("dialog", { name: "End a session" }).getByRole("button", { name: "End it" }).click();
    await expect(sessions.getByRole("row")).toHaveCount(before - 1);
  }
  await other.context().close();

  await plan.getByRole("button", { name: "Resolve" }).click();
  await expect(plan.getByRole("alert")).toContainText("your session has ended, and nothing was changed");
  await expect(plan.getByRole("link", { name: "sign in in another tab" })).toBeVisible();
  await plan.getByRole("button", { name: "Keep as it is" }).click();
  await page.getByRole("link", { name: "Logs", exact: true }).click();
  await expect(page).toHaveURL(/\/sign-in\?to=%2Flogs/);
  await page.getByLabel("E-mail address").fill(address("owner"));
  await page.getByLabel("Password").fill(password);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL("/logs");
});

test("a viewer reads everything and is shown no action", async ({ page }) => {
  await signIn(page, "viewer", "/issues?from=all");
  await finding(page);
  await expect(page.getByRole("table", { name: "Issues" }).getByRole("row").nth(1)).toBeVisible();
  await expect(page.getByRole("checkbox")).toHaveCount(0);
  await accessible(page);
  await shot(page, "access-issues-viewer-light");
  for (const path of [`/issues/${issue}`, "/issues/discarded", "/search?from=all", "/health", "/health/letters?state=any", "/members", "/settings"]) {
    await page.goto(path);
    await finding(page);
    await page.waitForLoadState("networkidle");
    expect(await actions(page), "actions on " + path).toEqual([]);
    await expect(page.getByRole("checkbox", { name: /^Choose / })).toHaveCount(0);
    await expect(page.getByRole("textbox", { name: "Comment" })).toHaveCount(0);
  }
  await page.goto("/health/letters?state=any");
  await page.getByRole("table", { name: "Dead letters" }).getByRole("link").first().click();
  const letter = page.getByRole("complementary", { name: /^Dead letter / });
  await expect(letter).toContainText("open");
  await expect(letter.getByRole("button", { name: "Retry…" })).toHaveCount(0);
  // What is not on a page is refused all the same.
  const refused = await page.request.put(`/api/v1/issues/${issue}`, { data: { comment: "hello" }, headers: { Origin: web } });
  expect(refused.status()).toBe(403);
  expect(await refused.json()).toMatchObject({ code: "no_permission", needs: "member" });
});

test("a page that one may not see says who can change that", async ({ page }) => {
  await signIn(page, "viewer", "/audit");
  expect(await finding(page)).toBe("The audit cannot be shown");
  const said = page.getByRole("alert");
  await expect(said).toContainText("This is for admins and above");
  await expect(said).toContainText("vera, you are a viewer.");
  await expect(said.getByRole("list", { name: "Who can give the role" }).getByRole("listitem")).toHaveText(["olga olga@example.com owner", "ada ada@example.com admin"]);
  await accessible(page);
  await shot(page, "access-no-permission-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page);
  await shot(page, "access-no-permission-dark");
});

test("a member acts on issues and saves queries, and no more", async ({ page }) => {
  await signIn(page, "member", `/issues/${issue}`);
  await finding(page);
  await page.getByRole("button", { name: "Assign…" }).click();
  const plan = page.getByRole("dialog", { name: "Assign this issue" });
  await expect(plan).toContainText("The log will say that max@example.com did it.");
  await expect(plan.getByRole("textbox", { name: "You are" })).toHaveCount(0);
  await plan.getByRole("textbox", { name: "To" }).fill("max@example.com");
  await plan.getByRole("button", { name: "Assign", exact: true }).click();
  await expect(page.getByRole("region", { name: "Log" })).toContainText("max@example.com assigned it to max@example.com");
  await page.goto("/search?from=all");
  await finding(page);
  await expect(page.getByRole("button", { name: "Save…" })).toBeVisible();
  for (const path of ["/health/letters?state=any", "/members"]) {
    await page.goto(path);
    await finding(page);
    await page.waitForLoadState("networkidle");
    expect(await actions(page), "actions on " + path).toEqual([]);
  }
});

test("a role that was taken away meanwhile takes its actions with it", async ({ page, browser }) => {
  await signIn(page, "member", `/issues/${issue}`);
  await finding(page);
  const admin = await (await browser.newContext({ baseURL: web })).newPage();
  await signIn(admin, "admin", "/members");
  const make = async (role: Role): Promise<void> => {
    await admin.getByRole("button", { name: "Role of max…" }).click();
    const plan = admin.getByRole("dialog", { name: "Role of max" });
    await expect(plan.getByLabel("Role").getByRole("option")).toHaveText(["viewer", "member", "admin"]);
    await plan.getByLabel("Role").selectOption(role);
    await plan.getByRole("button", { name: "Change it" }).click();
    await expect(plan).toBeHidden();
  };
  await make("viewer");
  await page.getByRole("button", { name: "Reopen…" }).or(page.getByRole("button", { name: "Archive…" })).first().click();
  const plan = page.getByRole("dialog");
  await plan.getByRole("button", { name: /^(Reopen|Archive)$/ }).click();
  await expect(plan.getByRole("alert")).toContainText("it needs role member; yours is viewer: an admin or owner can grant it");
  await accessible(page);
  await shot(page, "access-refused-plan-light");
  await plan.getByRole("button", { name: "Keep as it is" }).click();
  await expect(page.getByRole("group", { name: "Actions" })).toHaveCount(0);
  await make("member");
  // An owner is out of an admin's reach.
  await expect(admin.getByRole("button", { name: "Role of olga…" })).toHaveCount(0);
  await admin.context().close();
});

test("a token is made, shown once, used with its role, and refused once it is revoked", async ({ page, playwright }) => {
  await signIn(page, "member", "/account");
  await finding(page);
  const table = page.getByRole("table", { name: "Tokens" });
  await page.getByRole("button", { name: "New token…" }).click();
  const plan = page.getByRole("dialog", { name: "A new token" });
  await expect(plan.getByRole("button", { name: "Make it" })).toBeDisabled();
  await plan.getByLabel(/^Name/).fill("nightly report");
  // No token may more than who makes it.
  await expect(plan.getByLabel("Role").getByRole("option")).toHaveText(["viewer", "member"]);
  await plan.getByLabel("Days that it is good for").fill("367");
  await plan.getByLabel("Days that it is good for").press("Enter");
  await expect(plan).toBeVisible();
  await expect(table.getByRole("row")).toHaveCount(1);
  await plan.getByLabel("Days that it is good for").fill("7");
  await plan.getByRole("button", { name: "Make it" }).click();
  const secret = (await plan.getByLabel("Copy: the lines").textContent()) ?? "";
  expect(secret).toMatch(/^hpt_[0-9a-f]{64}$/);
  await accessible(page);
  await plan.getByRole("button", { name: "Close" }).click();
  const row = table.getByRole("row").filter({ hasText: "nightly report" });
  await expect(row).toContainText("viewer");
  await expect(row).toContainText("never");
  await expect(page.locator("body")).not.toContainText(secret);

  const program = await playwright.request.newContext({ baseURL: web, extraHTTPHeaders: { Authorization: "Bearer " + secret } });
  expect((await program.get("/api/v1/issues")).status()).toBe(200);
  const refused = await program.put(`/api/v1/issues/${issue}`, { data: { comment: "hello" } });
  expect([refused.status(), ((await refused.json()) as { needs: string }).needs]).toEqual([403, "member"]);
  await page.reload();
  await expect(row).not.toContainText("never");
  await accessible(page);
  await shot(page, "access-tokens-light");

  await row.getByRole("button", { name: "Revoke…" }).click();
  const end = page.getByRole("dialog", { name: "Revoke a token" });
  await expect(end).toContainText("nightly report");
  await end.getByRole("button", { name: "Revoke it" }).click();
  await expect(row).toHaveCount(0);
  const gone = await program.get("/api/v1/issues");
  expect([gone.status(), ((await gone.json()) as { code: string }).code]).toEqual([401, "token_unknown"]);
  await program.dispose();
});

test("the account's menu stands in the rail, on a phone, too, and is closed by Escape", async ({ page }) => {
  await signIn(page, "owner", "/issues");
  await finding(page);
  const button = page.getByRole("button", { name: "Account of olga" });
  const menu = page.getByRole("group", { name: "Account" });
  await button.press("Enter");
  await expect(menu).toContainText("olga@example.com");
  await accessible(page);
  await shot(page, "access-menu-light");
  await page.keyboard.press("Escape");
  await expect(menu).toBeHidden();
  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ colorScheme: "dark" });
  await expect(button).toBeInViewport();
  await button.click();
  await expect(menu.getByRole("link", { name: "Your account" })).toBeInViewport();
  await accessible(page);
  await shot(page, "access-menu-390-dark");
  await menu.getByRole("button", { name: "Sign out…" }).click();
  await page.getByRole("dialog", { name: "Sign out" }).getByRole("button", { name: "Sign out" }).click();
  await expect(page).toHaveURL(/\/sign-in$/);
  await page.goto("/issues");
  await expect(page).toHaveURL(/\/sign-in\?to=%2Fissues$/);
});

test("an identity provider signs in who it knows, with the role of their group, and nobody else", async ({ page }) => {
  const by = async (claims: Record<string, unknown> | undefined, to = "/issues?sort=new"): Promise<void> => {
    provider.next = claims;
    await page.context().clearCookies();
    await page.goto("/sign-in?to=" + encodeURIComponent(to));
    await page.getByRole("link", { name: "Continue with Example ID" }).click();
  };
  await by({ sub: "7", email: "dora@example.com", email_verified: true, name: "Dora Dev", groups: ["dev"] });
  await expect(page).toHaveURL("/issues?sort=new");
  await page.getByRole("button", { name: "Account of Dora Dev" }).click();
  await expect(page.getByRole("group", { name: "Account" })).toContainText("member");
  await by({ sub: "7", email: "dora@example.com", email_verified: true, name: "Dora Dev", groups: ["dev", "ops"] }, "/audit");
  expect(await finding(page)).toMatch(/^dora@example.com got another role from the identity provider/);
  await expect(page.getByRole("table", { name: "What was changed" }).getByRole("row").nth(1)).toContainText("member → admin, by the identity provider");
  // The role goes with the group.
  await by({ sub: "7", email: "dora@example.com", email_verified: true, name: "Dora Dev", groups: [] });
  await page.getByRole("button", { name: "Account of Dora Dev" }).click();
  await expect(page.getByRole("group", { name: "Account" })).toContainText("viewer");
  await page.goto("/audit");
  await expect(page.getByRole("alert")).toContainText("This is for admins and above");
  await by(undefined);
  await expect(page.getByRole("alert")).toContainText("said no");
  await accessible(page);
  await by({ sub: "8", email: "eve@evil.example", email_verified: true });
  await expect(page.getByRole("alert")).toContainText("Addresses of your domain may not sign in here");
  await by({ sub: "9", email: "nora@example.com", email_verified: false });
  await expect(page.getByRole("alert")).toContainText("has not verified your e-mail address");
  await shot(page, "access-refused-light");
  // Who was invited is linked at the first time; another subject with that address is somebody else.
  await by({ sub: "10", email: address("admin"), email_verified: true, name: "ada" });
  await expect(page.getByRole("button", { name: "Account of ada" })).toBeVisible();
  await by({ sub: "11", email: address("admin"), email_verified: true });
  await expect(page.getByRole("alert")).toContainText("somebody else at the identity provider");
});
