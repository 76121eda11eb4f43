// Topics, issues and search when nothing is there, nothing is answered, one may not look, or one asks what is odd.
import type { APIRequestContext } from "@playwright/test";
import { accessible, expect, finding, refuse, shot, test } from "./fixtures.js";
import { id } from "./seed.js";

const otlp = process.env["HOPTRACE_OTLP_HTTP"] ?? "";

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

test.describe("the topics", () => {
  test("behind the last page say so, and lead back", async ({ page }) => {
    await page.goto("/topics?skip=5000");
    await finding(page);
    await expect(page.getByRole("heading", { name: "This page lies behind the last one" })).toBeVisible();
    const pages = page.getByRole("group", { name: "Pages of lines" });
    await expect(pages).toContainText(/none here of \d+ lines/);
    await accessible(page);
    await pages.getByRole("button", { name: "Before" }).click();
    await expect(page.getByRole("table", { name: "Topics" }).getByRole("row").nth(1)).toBeVisible();
    await expect(page.getByRole("heading", { name: "This page lies behind the last one" })).toHaveCount(0);
    await expect(page).not.toHaveURL(/skip=5000/);
  });

  test("keep their frame while they load", async ({ page }) => {
    let go = () => {};
    const asked = new Promise<void>((r) => (go = r));
    await page.route("**/api/v1/topics**", async (route) => {
      await asked;
      await route.continue();
    });
    for (const [path, head] of [["/topics", "Topics"], ["/topics/orders", "Parts"]] as const) {
      await page.goto(path);
      await expect(page.getByRole("table", { name: head }).getByRole("columnheader").first()).toBeVisible();
      await expect(page.getByRole("region", { name: "Asking" })).toBeVisible();
      await expect(page.getByText("unknown", { exact: true })).toHaveCount(0); // what is asked is not unknown
      await shot(page, `topics-loading-${head.toLowerCase()}`);
    }
    go();
    await expect(page.getByRole("table", { name: "Parts" }).getByRole("row").nth(1)).toContainText(/\d/);
  });

  test.describe("refused", () => {
    test.use({ provoked: [/status of (403|503)/] });
    test("say to whom they are open, or what failed and ask again", async ({ page }) => {
      for (const path of ["/topics", "/topics/orders"]) {
        await page.route("**/api/v1/topics**", (route) => refuse(route, 403, "no_permission", "topics are for members of the project", "ask an admin"));
        await page.goto(path);
        await expect(page.getByRole("heading", { name: "You may not see this" })).toBeVisible();
        await accessible(page);
        await page.unroute("**/api/v1/topics**");
        await page.route("**/api/v1/topics**", (route) => refuse(route, 503, "store_unavailable", "the store cannot be reached now", "try again"));
        await page.goto(path);
        await expect(page.getByRole("alert")).toContainText("the store cannot be reached now");
        await page.unroute("**/api/v1/topics**");
        await page.getByRole("button", { name: "Ask again" }).click();
        await expect(page.getByRole("alert")).toHaveCount(0);
        await expect(page.getByRole("table").first().getByRole("row").nth(1)).toBeVisible();
      }
    });
  });
});

/** A record that a host writes and another reads 5 s later; nobody knows how far their clocks are apart. */
async function betweenHosts(request: APIRequestContext, topic: string): Promise<void> {
  const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
  const number = (key: string, value: bigint) => ({ key, value: { intValue: String(value) } });
  const at = BigInt(Date.now() - 60_000) * 1_000_000n;
  const common = [text("messaging.system", "kafka"), text("messaging.destination.name", topic), text("messaging.destination.partition.id", "0"), number("messaging.kafka.offset", 7n)];
  const [trace, sent] = [id(), id().slice(0, 16)];
  const span = (host: string, s: object) => ({
    resource: { attributes: [text("service.name", host), text("hoptrace.host.boot_id", topic + host)] },
    scopeSpans: [{ spans: [{ traceId: trace, ...s }] }],
  });
  const answered = at + 5_000_000_000n;
  const answer = await request.post(`${otlp}/v1/traces`, {
    data: {
      resourceSpans: [
        span("writes", { spanId: sent, name: "send " + topic, kind: 4, startTimeUnixNano: String(at), endTimeUnixNano: String(at + 3_000_000n), attributes: [...common, text("messaging.operation.type", "send"), number("hoptrace.produce.written", at), number("hoptrace.produce.acked", at + 3_000_000n)] }),
        span("reads", {
          spanId: id().slice(0, 16), parentSpanId: sent, name: "process " + topic, kind: 5, startTimeUnixNano: String(answered), endTimeUnixNano: String(answered + 6_000_000n),
          attributes: [...common, text("messaging.operation.type", "process"), text("messaging.consumer.group.name", "apart"), number("hoptrace.consume.asked", answered - 1_000_000n), number("hoptrace.consume.answered", answered), number("hoptrace.consume.handed", answered)],
        }),
      ],
    },
  });
  expect(answer.ok(), await answer.text()).toBeTruthy();
}

test("a search says how many hops it cannot judge, and leads to them", async ({ page, request }) => {
  const topic = `apart.${id().slice(0, 8)}`;
  await betweenHosts(request, topic);
  const listed = async () => ((await (await request.get("/api/v1/search/hops", { params: { q: "topic:" + topic, from: "-1h" } })).json()) as { hops: unknown[] }).hops.length;
  await expect.poll(listed, { timeout: 30_000 }).toBe(1);
  await page.goto("/search?in=hops&from=-1h&q=" + encodeURIComponent(`topic:${topic} backlog>1s`));
  expect(await finding(page)).toBe("No hop matches");
  await expect(page.getByText(/Of 1 hop the backlog is unknown: nobody compared the clocks/)).toBeVisible();
  await accessible(page);
  await shot(page, "search-unknown");
  await page.getByRole("main").getByRole("link", { name: "1", exact: true }).first().click();
  await expect(page.getByRole("combobox", { name: "Query" })).toHaveValue(`topic:${topic} -has:backlog`);
  await expect(page.getByRole("table", { name: "Hops" }).getByRole("row")).toHaveCount(2);
  await page.goto("/search?in=hops&from=-1h&order=-end_to_end");
  await page.getByText(/Hops are left out of this order/).getByRole("link", { name: "see them" }).click();
  await expect(page.getByRole("combobox", { name: "Query" })).toHaveValue("-has:end_to_end");
  await expect(page.getByRole("table", { name: "Hops" })).toContainText(topic);
});

test("topics, issues, events and searches can be read at 390 px", async ({ page, request }) => {
  const { issues } = (await (await request.get("/api/v1/issues")).json()) as { issues: { id: string }[] };
  await page.setViewportSize({ width: 390, height: 844 });
  const pages = { topics: "/topics", topic: "/topics/orders", issues: "/issues", issue: `/issues/${issues[0]!.id}`, event: `/issues/${issues[0]!.id}/events/latest`, discarded: "/issues/discarded", search: "/search", hops: "/search?in=hops&order=-processing", fault: "/search?q=" + encodeURIComponent("service:nothing.of.this.name") };
  for (const [name, path] of Object.entries(pages)) {
    await test.step(name, async () => {
      await page.goto(path);
      await finding(page);
      await expect(page.locator("[aria-busy=true], .ghost")).toHaveCount(0);
      expect.soft(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), `${path} moves sideways`).toBeLessThanOrEqual(0);
      await accessible(page);
      await shot(page, "narrow-" + name);
    });
  }
});
