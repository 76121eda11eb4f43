// Takes the pictures that README.md and docs/ show, 1280 px wide, of a server that has
// the example's traffic and the awkward cases (TestPictures in integration/pictures
// starts one).
//
//   HOPTRACE_WEB=http://127.0.0.1:8090 HOPTRACE_AWKWARD=told.json node pictures.mjs FOLDER name …
import { chromium } from "@playwright/test";
import { mkdirSync, readFileSync } from "node:fs";

const [folder, ...names] = process.argv.slice(2);
const web = process.env["HOPTRACE_WEB"];
if (!folder || !web || names.length === 0) throw new Error("usage: HOPTRACE_WEB=URL [HOPTRACE_AWKWARD=FILE] node pictures.mjs FOLDER name …");
const file = process.env["HOPTRACE_AWKWARD"];
const cases = file ? JSON.parse(readFileSync(file, "utf8")).cases : [];
const caseOf = (name) => {
  const found = cases.find((c) => c.name === name);
  if (!found) throw new Error(`the awkward cases hold no ${name}`);
  return found;
};
const ask = async (path) => {
  const answer = await fetch(web + "/api/v1" + path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
};
const declined = async () => {
  const { issues } = await ask("/issues?query=CARD_DECLINED&limit=1");
  if (!issues[0]) throw new Error("the example has sent no error");
  return { id: issues[0].id, event: (await ask(`/issues/${issues[0].id}/events/latest`)).event };
};

/** Where each view is, and what of it is shown. What README.md shows is there in both themes. */
const views = {
  waterfall: { both: true, path: async () => "/traces/" + (await declined()).event.traceId },
  topology: { both: true, height: 720, path: () => "/topology?from=-15m" },
  issue: { both: true, path: async () => "/issues/" + (await declined()).id },
  find: {
    height: 560,
    path: async () => "/find?q=" + encodeURIComponent("key:" + (await ask("/traces/" + (await declined()).event.traceId)).hops[0].record.keyHash),
  },
  journey: { path: () => `/traces/${caseOf("retries and a dead letter").trace}?view=lanes` },
  topic: { height: 1000, path: () => `/topics/${caseOf("hot partition").topic}?from=-1h&group=${caseOf("hot partition").group}` },
  lag: { both: true, path: () => "/lag?from=-15m" },
  group: { height: 720, path: () => `/lag/group?from=-15m&cluster=bus&group=${caseOf("a group behind").group}` },
  batch: {
    path: async () => {
      const b = (await ask("/traces/" + caseOf("batch of 5,000").trace)).batches[0];
      return `/traces/${b.traceId}?batch=${b.traceId}/${b.spanId}`;
    },
  },
  search: { path: () => "/search?in=hops&from=-1h&q=" + encodeURIComponent("backlog>1s OR processing>1s") },
  clocks: { height: 480, path: () => "/clocks?from=-1h" },
  health: { path: () => "/health?from=-15m" },
};

mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
try {
  const page = await browser.newPage({ locale: "en-GB", timezoneId: "UTC", reducedMotion: "reduce" });
  for (const name of names) {
    const v = views[name];
    if (!v) throw new Error(`there is no view ${name}`);
    await page.setViewportSize({ width: 1280, height: v.height ?? 800 });
    await page.emulateMedia({ colorScheme: "light" });
    await page.goto(web + (await v.path()));
    await page.getByRole("heading", { level: 1 }).waitFor();
    // Not for silence on the network: some pages ask again and again.
    await page.waitForFunction(() => !/^(Asking…)?$/.test(document.querySelector("h1")?.textContent ?? "") && !document.querySelector("[aria-busy=true], .stale, .ghost, [role=alert]"));
    await page.waitForTimeout(700);
    for (const theme of v.both ? ["light", "dark"] : ["light"]) {
      await page.emulateMedia({ colorScheme: theme });
      await page.waitForTimeout(300);
      await page.screenshot({ path: `${folder}/${name}${theme === "dark" ? "-dark" : ""}.png` });
    }
  }
} finally {
  await browser.close();
}
