// Each page over what integration/awkward makes: waits of hours, parts below zero,
// batches of thousands, names in any script. A page must bear it, in the light, in the
// dark and on a phone.
import { caseOf, dialogs, get, look, bears, told } from "./awkward.js";
import { expect, finding, test } from "./fixtures.js";

test.setTimeout(300_000);

test("each page of the rail bears the awkward cases", async ({ page }) => {
  const seen = dialogs(page);
  await page.goto("/traces");
  await finding(page);
  const links = await page.getByRole("navigation", { name: "Pages" }).getByRole("link").all();
  const pages = new Map<string, string>();
  for (const l of links) {
    const name = ((await l.textContent()) ?? "").trim();
    if (name && name !== "hoptrace") pages.set(name, (await l.getAttribute("href")) ?? "");
  }
  expect(pages.size).toBeGreaterThan(8);
  for (const [name, path] of pages) await test.step(name, () => look(page, name, path));
  expect(seen).toEqual([]);
});

/** Traces that strain what is drawn; the others are opened only. */
const DRAWN = ["wait of hours", "negative parts", "batch of 5,000", "retries and a dead letter", "missing producer", "names in other scripts", "trace of 10,000 spans", "two clocks", "long names"];

test("each trace bears them", async ({ page }) => {
  const seen = dialogs(page);
  for (const c of told.cases.filter((c) => c.trace)) {
    await test.step(c.name, () => (DRAWN.includes(c.name) ? look(page, "trace " + c.name, "/traces/" + c.trace!) : bears(page, "/traces/" + c.trace!)));
  }
  expect(seen).toEqual([]);
});

test("journeys, records, batches, issues and a group bear them", async ({ page, request }) => {
  const seen = dialogs(page);
  const record = (name: string) => {
    const c = caseOf(name);
    return `/records/${encodeURIComponent(c.topic!)}/${c.partition}/${c.offset}`;
  };
  await look(page, "journey retries", `/traces/${caseOf("retries and a dead letter").trace!}?view=lanes`);
  await bears(page, `/traces/${caseOf("names in other scripts").trace!}?view=lanes`);
  await look(page, "record of three groups", record("three groups"));
  for (const name of ["unread", "long names", "names to escape", "a real batch of 5,000", "missing producer"]) await test.step(name, () => bears(page, record(name)));
  const batch = await get<{ batches: { traceId: string; spanId: string }[] }>(request, "/traces/" + caseOf("batch of 5,000").trace!);
  await look(page, "batch", `/traces/${batch.batches[0]!.traceId}?batch=${batch.batches[0]!.traceId}/${batch.batches[0]!.spanId}`);

  const { issues } = await get<{ issues: { id: string; title: string }[] }>(request, "/issues?limit=100");
  for (const wanted of [/^支払い/, /^خطأ/, /script/, /^Generated/, /^SettlementTooLate/]) {
    const issue = issues.find((issue) => wanted.test(issue.title));
    expect(issue, `an issue like ${String(wanted)}`).toBeDefined();
    await test.step(issue!.title.slice(0, 40), () => (wanted.source.includes("script") || wanted.source.includes("خطأ") ? look(page, "issue " + (wanted.source.includes("script") ? "of html" : "in arabic"), "/issues/" + issue!.id) : bears(page, "/issues/" + issue!.id)));
  }
  const behind = caseOf("a group behind");
  await look(page, "lag group", `/lag/group?cluster=bus&group=${encodeURIComponent(behind.group!)}`);
  expect(seen).toEqual([]);
});

test("topics bear them, opened by their address alone", async ({ page }) => {
  const seen = dialogs(page);
  const topic = (name: string) => {
    const c = caseOf(name);
    return `/topics/${encodeURIComponent(c.topic!)}${c.group ? "?group=" + encodeURIComponent(c.group) : ""}`;
  };
  for (const name of ["hot partition", "wait of hours", "long names", "names in other scripts"]) await test.step(name, () => look(page, "topic " + name, topic(name)));
  for (const name of ["negative parts", "batch of 5,000", "names to escape", "unread", "missing producer", "two clocks"]) await test.step(name, () => bears(page, topic(name)));
  expect(seen).toEqual([]);
});
