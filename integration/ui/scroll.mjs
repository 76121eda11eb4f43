// Scrolls through the waterfall of a trace by the wheel and writes down what the page's
// own thread did for each frame, as Chromium's tracing tells it: processor time, which
// other programs of the machine do not lengthen, and time by the clock, which they do.
//
//   node scroll.mjs http://127.0.0.1:8090/traces/ID [wheel steps]
//
// prints {"processor": […], "clock": […], …}: milliseconds of each frame.
import { chromium } from "@playwright/test";

const [url, steps = "300"] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(url);
  const rows = page.getByRole("table", { name: "Waterfall" }).getByRole("row");
  await rows.nth(20).waitFor();
  await page.waitForTimeout(1000);
  const devtools = await browser.newBrowserCDPSession();
  const events = [];
  devtools.on("Tracing.dataCollected", (part) => events.push(...part.value));
  await devtools.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: { recordMode: "recordAsMuchAsPossible", includedCategories: ["devtools.timeline", "disabled-by-default-devtools.timeline"] },
  });
  await page.mouse.move(500, 500);
  const before = await page.evaluate(() => scrollY);
  let most = 0;
  for (let i = 0; i < Number(steps); i++) {
    // Three rows and more at each step, as a wheel turned fast.
    await page.mouse.wheel(0, 100);
    await page.waitForTimeout(16);
    if (i % 50 === 0) most = Math.max(most, await rows.count());
  }
  const moved = (await page.evaluate(() => scrollY)) - before;
  const ended = new Promise((done) => devtools.once("Tracing.tracingComplete", done));
  await devtools.send("Tracing.end");
  await ended;
  console.log(JSON.stringify({ ...framesOf(events), moved, rows: most }));
} finally {
  await browser.close();
}

/** The page's thread is the one that begins the most frames. */
function framesOf(events) {
  const begins = new Map();
  for (const e of events) if (e.name === "BeginCommitCompositorFrame") begins.set(e.pid + "/" + e.tid, [...(begins.get(e.pid + "/" + e.tid) ?? []), e]);
  const [thread, own] = [...begins].sort((a, b) => b[1].length - a[1].length)[0] ?? [];
  if (!own) throw new Error("the trace of the browser holds no frame");
  const starts = own.map((e) => e.ts).sort((a, b) => a - b);
  const mine = events.filter((e) => e.pid + "/" + e.tid === thread);
  // Tasks do not lie within one another; a frame is what was done since the one before it.
  const tasks = mine.filter((e) => e.name === "RunTask");
  const processor = new Array(starts.length - 1).fill(0);
  const clock = new Array(starts.length - 1).fill(0);
  const timed = tasks.some((t) => t.tdur !== undefined);
  for (const t of tasks) {
    const at = frameAt(starts, t.ts + t.dur);
    if (at < 0 || at >= processor.length) continue;
    processor[at] += (timed ? (t.tdur ?? 0) : t.dur) / 1000;
    clock[at] += t.dur / 1000;
  }
  const by = {}; // ms a frame, of what it was made of
  for (const e of mine) if (["FunctionCall", "UpdateLayoutTree", "Layout", "PrePaint", "Paint", "Layerize", "Commit", "FireAnimationFrame", "EventDispatch", "HitTest"].includes(e.name)) by[e.name] = (by[e.name] ?? 0) + (e.tdur ?? e.dur ?? 0) / 1000 / processor.length;
  for (const name in by) by[name] = Math.round(by[name] * 100) / 100;
  return { timed, processor, clock, seconds: (starts.at(-1) - starts[0]) / 1e6, by };
}

/** The last frame that began before a time. */
function frameAt(starts, t) {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] < t) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
