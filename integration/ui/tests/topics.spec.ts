// Topics: the list, and one with 24 partitions of which one is hot after a member left.
import type { APIRequestContext } from "@playwright/test";
import { accessible, expect, finding, refuse, shot, test } from "./fixtures.js";
import { id } from "./seed.js";

const otlp = process.env["HOPTRACE_OTLP_HTTP"] ?? "";
// Of this run alone: what is sent again would be counted again.
const topic = `stock-${id().slice(0, 8)}`;

/** A record a minute in each of 24 partitions over the last hour; at minute 40 one of two members leaves, and partition 7 waits from then on. */
async function send(request: APIRequestContext): Promise<void> {
  const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
  const number = (key: string, value: bigint | number) => ({ key, value: { intValue: String(value) } });
  const start = BigInt(Date.now() - 62 * 60_000) * 1_000_000n;
  const spans: Record<string, object[]> = {};
  for (let minute = 0; minute < 60; minute++) {
    for (let p = 0; p < 24; p++) {
      const at = start + BigInt(minute) * 60_000_000_000n + BigInt(p) * 1_000_000n;
      const wait = minute >= 40 && p === 7 ? 40_000_000_000n : 20_000_000n;
      const common = [text("messaging.system", "kafka"), text("messaging.destination.name", topic), text("messaging.destination.partition.id", String(p)), number("messaging.kafka.offset", minute), number("messaging.message.body.size", 400 + p * 10)];
      const [trace, sent] = [id(), id().slice(0, 16)];
      (spans["warehouse-0"] ??= []).push({
        traceId: trace, spanId: sent, name: `send ${topic}`, kind: 4, startTimeUnixNano: String(at), endTimeUnixNano: String(at + 3_000_000n),
        attributes: [...common, text("messaging.operation.type", "send"), number("hoptrace.produce.written", at + 2_000_000n), number("hoptrace.produce.acked", at + 3_000_000n)],
      });
      const answered = at + wait;
      (spans[minute >= 40 ? "stock-0" : `stock-${p % 2}`] ??= []).push({
        traceId: trace, spanId: id().slice(0, 16), parentSpanId: sent, name: `process ${topic}`, kind: 5, startTimeUnixNano: String(answered + 1_000_000n), endTimeUnixNano: String(answered + 6_000_000n),
        attributes: [...common, text("messaging.operation.type", "process"), text("messaging.consumer.group.name", "stock"), number("hoptrace.consume.record_time", at), number("hoptrace.consume.asked", at), number("hoptrace.consume.answered", answered), number("hoptrace.consume.handed", answered + 1_000_000n)],
      });
    }
  }
  // Two that nobody could take.
  for (let i = 0; i < 2; i++) {
    const at = start + BigInt(i) * 1_000_000_000n;
    (spans["stock-0"] ??= []).push({
      traceId: id(), spanId: id().slice(0, 16), name: `send ${topic}-dlq`, kind: 4, startTimeUnixNano: String(at), endTimeUnixNano: String(at + 3_000_000n),
      attributes: [text("messaging.system", "kafka"), text("messaging.destination.name", `${topic}-dlq`), text("messaging.destination.partition.id", "0"), number("messaging.kafka.offset", i), text("messaging.operation.type", "send")],
    });
  }
  const answer = await request.post(`${otlp}/v1/traces`, {
    data: {
      resourceSpans: Object.entries(spans).map(([instance, list]) => ({
        resource: { attributes: [text("service.name", instance.split("-")[0] ?? ""), text("service.instance.id", instance), text("hoptrace.host.boot_id", "one-host")] },
        scopeSpans: [{ spans: list }],
      })),
    },
  });
  expect(answer.ok(), await answer.text()).toBeTruthy();
}

test.beforeAll(async ({ request }) => {
  await send(request);
  await expect.poll(async () => {
    const d = (await (await request.get(`/api/v1/topics/${topic}?from=-90m`)).json()) as { groups?: { messages: number }[] };
    return d.groups?.[0]?.messages ?? 0;
  }, { timeout: 30_000 }).toBe(24 * 60);
});

test("the list leads to a topic that says which partition holds the wait", async ({ page }) => {
  await page.goto("/topics?sort=wait&from=-6h");
  await expect(page.getByRole("columnheader", { name: "In the broker" })).toHaveAttribute("aria-sort", "descending");
  await accessible(page);
  await shot(page, "topics-light");
  await page.getByRole("link", { name: `${topic}, group stock` }).click();
  await expect(page).toHaveURL(new RegExp(`/topics/${topic}\\?group=stock&from=-6h`));
  expect(await finding(page)).toContain("Partition 7 holds");
  await expect(page.getByRole("img", { name: /^Parts at p99: Batch queue/ })).toBeVisible();
  await expect(page.getByRole("table", { name: "Writers and groups" }).getByRole("row", { name: /^stock/ })).toContainText("1 440");
  await expect(page.getByRole("list", { name: "Rebalances" })).toContainText("12 partitions moved; stock-1 left");
  await expect(page.getByRole("table", { name: `Slowest messages of ${topic}` }).getByRole("link").first()).toContainText(topic);
  await accessible(page);
});

test("cells are walked by keys and lead to just their messages", async ({ page }) => {
  await page.setViewportSize({ width: 1280, height: 1900 });
  await page.goto(`/topics/${topic}?from=-90m`);
  const map = page.getByRole("application", { name: /^Cells of time and partition/ });
  await map.focus();
  await page.keyboard.press("ArrowRight");
  await expect(page).toHaveURL(/row=0&at=\d+/);
  for (let i = 0; i < 7; i++) await page.keyboard.press("ArrowDown");
  await expect(page).toHaveURL(/row=7/);
  for (let i = 0; i < 8; i++) await page.keyboard.press("ArrowLeft");
  await expect(page.getByRole("status").filter({ hasText: /^p7, .*read by stock-0/ })).toContainText(/: (39|4[0-2])(\.\d)? s, 1 message/);
  const cell = page.getByRole("region", { name: "Messages of the marked cell" });
  await expect(cell.getByRole("table").getByRole("link", { name: /^Record / })).toHaveCount(1);
  await accessible(page);
  await shot(page, "topic-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page);
  await shot(page, "topic-dark");
  await page.reload();
  await expect(page.getByRole("status").filter({ hasText: /^p7/ })).toBeVisible();
  await cell.getByRole("link", { name: /in the marked cell/ }).click();
  await expect(page).toHaveURL(/\/messages\?.*partition=7.*order=slowest/);
  await expect(page.getByRole("table", { name: "Messages" }).getByRole("link", { name: /^Record / })).toHaveCount(1);
});

test("the heat map is a table, too, and reads on a phone", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 2600 });
  await page.goto(`/topics/${topic}?from=-90m&row=7`);
  const table = page.getByRole("table", { name: "Partitions" });
  await expect(table.getByRole("button", { name: "p7" })).toHaveAttribute("aria-expanded", "true");
  await expect(page.getByRole("table", { name: "Partition 7 over time" })).toContainText("stock-1");
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  await accessible(page);
  await shot(page, "topic-narrow");
});

test("a topic leads to its dead letters, its group's lag and the records that were slowest", async ({ page }) => {
  await page.goto(`/topics/${topic}?from=-90m&group=stock`);
  await expect(page.getByRole("link", { name: "Lag of stock" })).toHaveAttribute("href", new RegExp(`/lag/group\\?group=stock&topic=${topic}`));
  await expect(page.getByRole("table", { name: `Slowest messages of ${topic}` }).getByRole("link", { name: /^Record / }).first()).toHaveAttribute("href", new RegExp(`/records/${topic}/7/\\d+`));
  await page.getByRole("link", { name: `Dead letters: ${topic}-dlq` }).click();
  await expect(page).toHaveURL(new RegExp(`/topics/${topic}-dlq\\?from=-90m`));
  expect(await finding(page)).toContain("nobody has been seen to read it");
  await expect(page.getByText("No message of this topic was read in this time.")).toBeVisible();
  await accessible(page);
});

test("a topic that nobody used says so", async ({ page }) => {
  await page.goto("/topics/nothing-of-this-name?from=-1h");
  expect(await finding(page)).toContain("No message passed nothing-of-this-name");
  await expect(page.getByRole("heading", { name: "No message passed this topic in this time" })).toBeVisible();
  await accessible(page);
});

test.describe("when the store is away", () => {
  test.use({ provoked: [/status of 503/] });

  test("the part that failed says so, the rest stands, and it is asked again", async ({ page }) => {
    await page.route("**/api/v1/topics/*/heatmap*", (route) => refuse(route, 503, "store_unavailable", "the store cannot be reached", "try again in a moment"));
    await page.goto(`/topics/${topic}?from=-90m&group=stock`);
    const heat = page.getByRole("region", { name: "Time by partition" });
    await expect(heat.getByRole("alert")).toContainText("the store cannot be reached");
    await expect(page.getByRole("table", { name: "Parts" })).toBeVisible();
    await accessible(page);
    await page.unroute("**/api/v1/topics/*/heatmap*");
    await heat.getByRole("button", { name: "Ask again" }).click();
    await expect(heat.getByRole("application")).toBeVisible();
  });
});
