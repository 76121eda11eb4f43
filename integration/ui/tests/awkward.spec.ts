// Each page over what integration/awkward makes: waits of hours, parts below zero,
// batches of thousands, names in any script. A page must bear it, in the light, in the
// dark and on a phone, and must show the figures that were sent.
import { readFileSync } from "node:fs";
import type { APIRequestContext, Page } from "@playwright/test";
import { accessible, expect, finding, shot, test } from "./fixtures.js";

interface Case {
  name: string;
  trace?: string;
  topic?: string;
  partition: number;
  offset: number;
  group?: string;
  figures?: Record<string, number>;
}

const file = process.env["HOPTRACE_AWKWARD"];
if (!file) throw new Error("set HOPTRACE_AWKWARD to the file that `go run ./integration/awkward --told FILE` wrote");
const told = JSON.parse(readFileSync(file, "utf8")) as { now: string; spans: number; cases: Case[] };

function caseOf(name: string): Case {
  const c = told.cases.find((c) => c.name === name);
  if (!c) throw new Error(`there is no case ${name}`);
  return c;
}

const figure = (c: Case, name: string): number => {
  const n = c.figures?.[name];
  if (n === undefined) throw new Error(`case ${c.name} tells no ${name}`);
  return n;
};

/** A name of HTML must stay a name. */
function noDialogs(page: Page): string[] {
  const dialogs: string[] = [];
  page.on("dialog", (d) => {
    dialogs.push(d.message());
    void d.dismiss();
  });
  return dialogs;
}

/** The page stands, says nothing that is no value, and moves sideways nowhere. */
async function bears(page: Page, path: string): Promise<void> {
  await page.goto(path);
  await finding(page);
  // Not for silence on the network: some pages ask again and again.
  await expect(page.locator("[aria-busy=true], .stale, .ghost")).toHaveCount(0);
  const text = await page.locator("body").innerText();
  expect(text.match(/.{0,60}(\bNaN\b|\bundefined\b|\bInfinity\b|\[object ).{0,40}/g) ?? [], `${path} shows values that are none`).toEqual([]);
  await expect(page.getByRole("alert"), `${path} says that something failed`).toHaveCount(0);
  const { width, inner } = await page.evaluate(() => ({ width: document.documentElement.scrollWidth, inner: innerWidth }));
  expect(width, `${path} moves sideways`).toBeLessThanOrEqual(inner);
}

/** The pages of the rail, as they are. */
async function rail(page: Page): Promise<{ name: string; path: string }[]> {
  await page.goto("/traces");
  await finding(page);
  const links = await page.getByRole("navigation", { name: "Pages" }).getByRole("link").all();
  const out: { name: string; path: string }[] = [];
  for (const l of links) {
    const path = (await l.getAttribute("href")) ?? "";
    const name = ((await l.textContent()) ?? "").trim();
    if (name) out.push({ name: name.toLowerCase(), path });
  }
  expect(out.length).toBeGreaterThan(8);
  return out;
}

/** The pages of one thing each. */
async function details(request: APIRequestContext): Promise<{ name: string; path: string }[]> {
  const out = told.cases.filter((c) => c.trace).map((c) => ({ name: "trace " + c.name, path: "/traces/" + c.trace! }));
  const answer = await request.get("/api/v1/issues?limit=100");
  const { issues } = (await answer.json()) as { issues: { id: string; title: string }[] };
  for (const [i, wanted] of [/^支払い/, /^خطأ/, /script/, /^Generated/, /^SettlementTooLate/].entries()) {
    const issue = issues.find((issue) => wanted.test(issue.title));
    if (!issue) throw new Error(`no issue is like ${String(wanted)}`);
    out.push({ name: `issue ${i + 1}`, path: "/issues/" + issue.id });
  }
  const behind = caseOf("a group behind");
  out.push({ name: "lag group", path: `/lag/group?cluster=bus&group=${encodeURIComponent(behind.group!)}` });
  return out;
}

const pictureOf = (name: string) => "awkward-" + name.replaceAll(/[^a-z0-9]+/g, "-");

for (const look of [
  { name: "light", width: 1280, height: 800, scheme: "light" as const },
  { name: "dark", width: 1280, height: 800, scheme: "dark" as const },
  { name: "390", width: 390, height: 844, scheme: "light" as const },
]) {
  test.describe(look.name, () => {
    test.use({ viewport: { width: look.width, height: look.height }, colorScheme: look.scheme });
    test(`each page of the rail bears the awkward cases (${look.name})`, async ({ page }) => {
      test.setTimeout(300_000);
      const dialogs = noDialogs(page);
      for (const { name, path } of await rail(page)) {
        await test.step(name, async () => {
          await bears(page, path);
          await shot(page, `${pictureOf(name)}-${look.name}`);
          await accessible(page);
        });
      }
      expect(dialogs).toEqual([]);
    });

    test(`each trace, issue and group bears them (${look.name})`, async ({ page, request }) => {
      test.setTimeout(480_000);
      const dialogs = noDialogs(page);
      for (const { name, path } of await details(request)) {
        await test.step(name, async () => {
          await bears(page, path);
          await shot(page, `${pictureOf(name)}-${look.name}`);
          await accessible(page);
        });
      }
      expect(dialogs).toEqual([]);
    });
  });
}

interface Part {
  ns?: string | number;
}
interface Trace {
  spans: unknown[];
  services: string[];
  hops: { topic: string; parts: Record<string, Part | null> }[];
}

async function traceOf(request: APIRequestContext, c: Case): Promise<Trace> {
  const answer = await request.get("/api/v1/traces/" + c.trace!);
  expect(answer.status(), c.name).toBe(200);
  return (await answer.json()) as Trace;
}

test("what was sent is what the API answers", async ({ request }) => {
  for (const name of ["trace of 10,000 spans", "deep", "odd spans"]) {
    const c = caseOf(name);
    expect((await traceOf(request, c)).spans.length, name).toBe(figure(c, "spans"));
  }
  const chain = caseOf("forty services");
  const answer = await traceOf(request, chain);
  expect(new Set(answer.services).size).toBe(figure(chain, "services"));
  expect(answer.hops.length).toBe(figure(chain, "hops"));
  const ring = caseOf("a ring");
  expect((await traceOf(request, ring)).hops.length).toBe(figure(ring, "hops"));

  const issues = await request.get("/api/v1/issues?limit=100");
  const { issues: all } = (await issues.json()) as { issues: { title: string; events: number }[] };
  expect(all.find((i) => i.title.startsWith("Burst: "))?.events).toBe(figure(caseOf("errors"), "burst"));

  const behind = caseOf("a group behind");
  const lag = await request.get(`/api/v1/lag/${behind.group!}?cluster=bus`);
  expect(lag.status()).toBe(200);
  const { partitions } = (await lag.json()) as { partitions: { topic: string; lag: string | number | null }[] };
  expect(partitions.length).toBe(figure(behind, "partitions"));
  expect(partitions.reduce((sum, p) => sum + Number(p.lag ?? 0), 0)).toBe(figure(behind, "unread"));
});

test("what was sent is what the pages say", async ({ page }) => {
  const waited = caseOf("wait of hours");
  await page.goto("/traces/" + waited.trace!);
  await finding(page);
  await expect(page.locator("main")).toContainText(/3\sh\s0?2\sm/);

  const large = caseOf("trace of 10,000 spans");
  await page.goto("/traces/" + large.trace!);
  await finding(page);
  await expect(page.locator("main")).toContainText(/10\s?000/u);

  await page.goto("/issues?q=Burst");
  await finding(page);
  await expect(page.getByRole("row").filter({ hasText: "the pool of connections is exhausted" })).toContainText(String(figure(caseOf("errors"), "burst")));

  const behind = caseOf("a group behind");
  await page.goto(`/lag/group?cluster=bus&group=${behind.group!}`);
  await finding(page);
  await expect(page.locator("main")).toContainText(/1\s?200/u);
});

test("the first route is small and quick", async ({ page }) => {
  let script = 0;
  const sizes: string[] = [];
  const asked: Promise<void>[] = [];
  page.on("requestfinished", (r) => {
    if (!/\.js($|\?)/.test(r.url())) return;
    asked.push(
      r.sizes().then(({ responseBodySize }) => {
        script += responseBodySize;
        sizes.push(`${new URL(r.url()).pathname} ${responseBodySize}`);
      }),
    );
  });
  await page.goto("/");
  await finding(page);
  await page.waitForLoadState("load");
  await Promise.all(asked);
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  console.log(`first route: ${script} bytes of compressed script (${sizes.join(", ")}); first contentful paint after ${Math.round(paint ?? NaN)} ms`);
  expect(sizes.length, "scripts").toBeGreaterThan(0);
  expect(paint, "first contentful paint").toBeDefined();
  expect(script).toBeLessThanOrEqual(350 * 1024);
  // A script that is not compressed on the way would pass unseen until it grew.
  const main = await page.request.get(sizes[0]!.split(" ")[0]!, { headers: { "Accept-Encoding": "gzip, br" } });
  expect(main.headers()["content-encoding"], "compression of scripts").toMatch(/^(gzip|br)$/);
});
