// What integration/awkward sent is what the API answers and what the pages say.
import type { APIRequestContext, Page } from "@playwright/test";
import { caseOf, figure, get } from "./awkward.js";
import { expect, finding, test } from "./fixtures.js";

interface Range {
  lo: number;
  hi: number;
}
interface Part {
  name: string;
  known: boolean;
  ns: number;
  uncertaintyNs?: Range;
}
interface Hop {
  topic: string;
  parts: Part[];
  endToEnd: Part;
  consumer: { traceId: string } | null;
  record: { attempts: number };
}
interface Trace {
  durationNs: number;
  spans: unknown[];
  services: string[];
  hops: Hop[];
  batches: { traceId: string; spanId: string; records: number; told: number | null }[];
}

const MS = 1e6;
const traceOf = (request: APIRequestContext, name: string) => get<Trace>(request, "/traces/" + caseOf(name).trace!);
const partOf = (h: Hop, name: string): Part => h.parts.find((p) => p.name === name)!;

/** Opens the trace of a case and chooses its hop; the table of its parts. */
async function partsOf(page: Page, name: string) {
  const c = caseOf(name);
  await page.goto("/traces/" + c.trace!);
  await page.getByRole("button", { name: `Hop ${c.topic!}, group ${c.group!}` }).click();
  const table = page.getByRole("table", { name: "Where the time went" });
  return (part: string) => table.getByRole("row").filter({ has: page.getByRole("rowheader", { name: part, exact: true }) });
}

test("a wait of three hours is told to the millisecond, with what lies around it", async ({ page, request }) => {
  const c = caseOf("wait of hours");
  const hop = (await traceOf(request, c.name)).hops[0]!;
  expect(partOf(hop, "backlog").ns).toBe(figure(c, "backlog") * MS);
  expect(partOf(hop, "batch_queue").ns).toBe(figure(c, "batchQueue") * MS);
  expect(partOf(hop, "processing").ns).toBe(figure(c, "processing") * MS);
  const row = await partsOf(page, c.name);
  await expect(row("Backlog")).toContainText(/3\sh\s02\sm/);
  await expect(row("Batch queue")).toContainText(/3\.00\sms/);
  await expect(row("Processing")).toContainText(/3\.00\sms/);
  expect(await finding(page)).toMatch(/after 3\sh\s02\sm/);
});

test("parts below zero are shown as such, and no length is made of them", async ({ page, request }) => {
  const c = caseOf("negative parts");
  const hop = (await traceOf(request, c.name)).hops[0]!;
  expect(partOf(hop, "fetch_queue").ns).toBe(figure(c, "fetchQueue") * MS);
  expect(partOf(hop, "processing").ns).toBe(figure(c, "processing") * MS);
  expect(hop.endToEnd.ns).toBeLessThan(0);
  const row = await partsOf(page, c.name);
  await expect(row("Fetch queue")).toContainText(/−5\.00\sms/);
  await expect(row("Fetch queue")).toContainText("clocks disagree");
  await expect(row("Long poll")).toContainText(/−4\.19\ss/);
  expect(await finding(page)).toMatch(/two clocks disagree by 4\.19\ss or more/);
  await expect(page.getByText(/2 parts are negative/)).toBeVisible();
});

test("what crosses two clocks lies within its bounds, and they are drawn", async ({ page, request }) => {
  const c = caseOf("two clocks");
  const trace = await traceOf(request, c.name);
  const backlog = partOf(trace.hops[0]!, "backlog");
  // Between the ack and the question lay 24 ms, by no clock of either host.
  expect(backlog.uncertaintyNs!.lo).toBeLessThanOrEqual(24 * MS);
  expect(backlog.uncertaintyNs!.hi).toBeGreaterThanOrEqual(24 * MS);
  // Root, send and process on one clock: the root is not 1.9 s away from what it sent.
  expect(Math.abs(trace.durationNs / MS - figure(c, "length")), "ms that the length is off").toBeLessThan(6);
  const row = await partsOf(page, c.name);
  await expect(row("Backlog")).toContainText(/± \d/);
  expect(await finding(page)).toMatch(/GET \/frame reached egress after 4\d\.\d\sms/);
  await page.getByRole("button", { name: "Span GET /frame, ingress" }).click();
  await expect(page.getByText(/1\.90\ss earlier: its host’s clock was compared/)).toBeVisible();
  await expect(page.getByText(/^clocks ± /)).toBeVisible();

  const { clocks } = await get<{ clocks: { name: string; lowNs: number; highNs: number }[] }>(request, "/clocks?from=-1h");
  for (const [name, off] of [["host-ahead", -1500], ["host-behind", 400]] as const) {
    const clock = clocks.find((c) => c.name === name)!;
    expect(clock.lowNs, name).toBeLessThanOrEqual(off * MS);
    expect(clock.highNs, name).toBeGreaterThanOrEqual(off * MS);
  }
  await page.goto("/clocks?from=-1h");
  await finding(page);
  await expect(page.getByRole("table", { name: "Clocks" }).getByRole("row").filter({ hasText: "host-ahead" })).toContainText(/1\.50\ss/);
});

test("what a missing producer would have told is unknown, never zero", async ({ page, request }) => {
  const hop = (await traceOf(request, "missing producer")).hops[0]!;
  expect(hop.parts.filter((p) => !p.known).map((p) => p.name)).toEqual(["batch_queue", "retry", "ack", "backlog", "long_poll"]);
  const row = await partsOf(page, "missing producer");
  for (const part of ["Batch queue", "Ack", "Backlog"]) await expect(row(part)).toContainText("unknown");
});

test("a batch of 5,000 is one row with a distribution of ages", async ({ page, request }) => {
  const c = caseOf("batch of 5,000");
  const trace = await traceOf(request, c.name);
  const b = trace.batches[0]!;
  expect(b.records, "the wrapper links to 128, and names the others by their offsets").toBe(figure(c, "messages"));
  const { ages } = await get<{ ages: { known: number; maxNs: number; buckets: { count: number }[] } }>(request, `/traces/${b.traceId}/spans/${b.spanId}/batch?limit=1`);
  expect(ages.known).toBe(figure(c, "messages"));
  expect(ages.buckets.reduce((sum, x) => sum + x.count, 0)).toBe(figure(c, "messages"));
  expect(Math.abs(ages.maxNs / MS - figure(c, "oldest")), "ms that the oldest is off").toBeLessThan(50);
  await page.goto("/traces/" + c.trace!);
  expect(await finding(page)).toMatch(/read 5\s000 records at once, as group meter-rollup/u);
  await expect(page.getByRole("table", { name: "Waterfall" }).getByRole("row")).toHaveCount(1 + trace.spans.length);
  await page.getByRole("button", { name: "Open the batch of 5 000 records" }).click();
  await expect(page.getByRole("img", { name: /^Ages of 5 000 records/ })).toBeVisible();

  // The same by the wrapper and a real broker; a program of another SDK links to all.
  const real = caseOf("a real batch of 5,000");
  const record = await get<{ hops: Hop[] }>(request, `/records/${real.topic!}/${real.partition}/${real.offset}`);
  const read = await get<Trace>(request, "/traces/" + record.hops[0]!.consumer!.traceId);
  expect(read.batches[0]?.records).toBe(figure(real, "messages"));
  expect(record.hops[0]!.parts.find((p) => p.name === "batch_queue")?.known, "a record that has no link knows its producer").toBe(true);
  expect(read.spans.length).toBeLessThan(10);
  const foreign = (await traceOf(request, "foreign batch")).batches[0]!;
  expect(foreign.records).toBe(figure(caseOf("foreign batch"), "messages"));

  // One that bounds its links and names nothing else.
  const cut = caseOf("cut foreign batch");
  const some = (await traceOf(request, cut.name)).batches[0]!;
  expect([some.told, some.records]).toEqual([figure(cut, "messages"), figure(cut, "links")]);
  await page.goto("/traces/" + cut.trace!);
  await page.getByRole("button", { name: "Open the batch of 400 records" }).click();
  await expect(page.getByText(/names 128: its program bounds the links/)).toBeVisible();
});

test("a payment goes over two retry topics to a dead letter", async ({ page, request }) => {
  const c = caseOf("retries and a dead letter");
  const trace = await traceOf(request, c.name);
  const first = trace.hops.find((h) => h.topic === c.topic)!;
  expect(first.record.attempts).toBe(figure(c, "attempts"));
  expect(trace.hops.filter((h) => h.consumer !== null).length).toBe(figure(c, "processings"));
  await page.goto("/traces/" + c.trace!);
  await finding(page);
  await expect(page.getByText(/ended as a dead letter in/)).toBeVisible();
  await expect(page.getByText(/written 4×/)).toBeVisible();
  await page.goto(`/traces/${c.trace!}?view=lanes`);
  await expect(page.getByRole("group", { name: /^Journey over 4 topics/ })).toBeVisible();
});

test("forty services, a ring, 10,000 spans and 300 deep are all there", async ({ page, request }) => {
  for (const name of ["trace of 10,000 spans", "deep", "odd spans"]) {
    expect((await traceOf(request, name)).spans.length, name).toBe(figure(caseOf(name), "spans"));
  }
  const chain = caseOf("forty services");
  const answer = await traceOf(request, chain.name);
  expect([answer.services.length, answer.hops.length]).toEqual([figure(chain, "services"), figure(chain, "hops")]);
  expect((await traceOf(request, "a ring")).hops.length).toBe(figure(caseOf("a ring"), "hops"));
  await page.goto("/traces/" + caseOf("trace of 10,000 spans").trace!);
  await finding(page);
  await expect(page.getByText(/^10\s000 spans$/u)).toBeVisible();
  await page.goto("/traces/" + chain.trace!);
  await finding(page);
  await expect(page.getByText(/^40 services$/)).toBeVisible();
  await expect(page.getByText(/^39 hops$/)).toBeVisible();
});

test("a record that three groups read, one that nobody did, and names in any script", async ({ page }) => {
  const groups = caseOf("three groups");
  await page.goto(`/records/${groups.topic!}/${groups.partition}/${groups.offset}`);
  expect(await finding(page)).toContain(`was read by ${figure(groups, "groups")} groups`);
  const unread = caseOf("unread");
  await page.goto(`/records/${unread.topic!}/${unread.partition}/${unread.offset}`);
  expect(await finding(page)).toContain("Nobody has been seen to read");
  const escaped = caseOf("names to escape");
  await page.goto(`/records/${encodeURIComponent(escaped.topic!)}/${escaped.partition}/${escaped.offset}`);
  expect(await finding(page)).toContain(escaped.topic!);
  const russian = caseOf("names in other scripts");
  await page.goto("/find?q=" + encodeURIComponent(`${russian.topic!}/${russian.partition}@${russian.offset}`));
  await expect(page).toHaveURL(/\/records\//); // where one thing answers, it is opened
  await expect(page.getByRole("main")).toHaveCount(1);
  expect(await finding(page)).toContain(russian.topic!);
});

test("the topology, the search and the lag desk count what was sent", async ({ page, request }) => {
  const hot = caseOf("hot partition");
  const { edges } = await get<{ edges: { from: string; to: string; messages: number; latency: { p99Ns: number } | null }[] }>(request, "/topology?from=-24h");
  const read = edges.find((e) => e.from === "t:clicks" && e.to === "g:sessions")!;
  expect(read.messages).toBe(figure(hot, "messages"));
  // The last of 600 lay 179.7 s; nothing lay longer.
  expect(read.latency!.p99Ns / 1e9).toBeGreaterThan(160);
  expect(read.latency!.p99Ns / 1e9).toBeLessThan(200);
  await page.goto("/topology?topic=clicks&from=-24h");
  await finding(page);
  await page.getByRole("button", { name: "Table", exact: true }).click();
  await expect(page.getByRole("table", { name: "Edges" }).getByRole("row").filter({ hasText: "clicks → sessions" })).toContainText(String(figure(hot, "messages")));
  await page.goto("/search?in=hops&q=" + encodeURIComponent("topic:clicks partition:" + hot.partition));
  expect(await finding(page)).toContain(`${figure(hot, "hot")} hops match`);

  await page.goto("/issues?q=Burst");
  await finding(page);
  await expect(page.getByRole("row").filter({ hasText: "the pool of connections is exhausted" })).toContainText(String(figure(caseOf("errors"), "burst")));
  await page.goto("/health/letters");
  expect(await finding(page)).toContain(`${figure(caseOf("dead letters"), "letters")} dead letters`);

  const behind = caseOf("a group behind");
  // The lag watcher looks at the group now and then.
  const partitions = async () => {
    const answer = await request.get(`/api/v1/lag/${behind.group!}?cluster=bus`);
    return ((await answer.json()) as { partitions?: { partition: number; lag: string | number | null }[] }).partitions ?? [];
  };
  await expect
    .poll(async () => (await partitions()).reduce((sum, p) => sum + Number(p.lag ?? 0), 0), { timeout: 60_000 })
    .toBe(figure(behind, "unread"));
  await page.goto(`/lag/group?cluster=bus&group=${behind.group!}`);
  await finding(page);
  await expect(page.getByRole("table", { name: "Partitions" }).getByRole("row")).toHaveCount(1 + figure(behind, "partitions"));
  const hottest = (await partitions()).find((p) => p.partition === behind.partition)!;
  await expect(page.getByRole("row").filter({ has: page.getByRole("button", { name: `${behind.topic!} partition ${behind.partition}`, exact: true }) })).toContainText(String(hottest.lag));
});
