// Scrolls through the waterfall of a trace and writes down what Chromium's tracing tells:
// the frames that were drawn, those of them that the page's own thread made anew, and
// what that thread did for each: processor time, which other programs of the machine do
// not lengthen, and time by the clock, which they do.
//
//   node scroll.mjs http://127.0.0.1:8090/traces/ID
//   node scroll.mjs plain      the same of a page of 10,000 lines of text and nothing else
//
// prints {"processor": […], "clock": […], …}: milliseconds of each frame made anew.
import { chromium } from "@playwright/test";

// 200 rows a second, a wheel turned fast. The browser makes the steps, one a frame: steps
// that come from outside, one by one, are fewer than its frames.
const DISTANCE = 30_000;
const SPEED = 6_000;
const [url] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const plain = url === "plain";
  if (plain) await page.setContent("<main>" + Array.from({ length: 10_000 }, (_, i) => `<div style="height: 30px">row ${i}</div>`).join("") + "</main>");
  else await page.goto(url);
  const rows = plain ? page.locator("main > div") : page.getByRole("table", { name: "Waterfall" }).getByRole("row");
  await rows.nth(20).waitFor();
  await page.waitForTimeout(1000);
  const devtools = await browser.newBrowserCDPSession();
  const events = [];
  devtools.on("Tracing.dataCollected", (part) => events.push(...part.value));
  await devtools.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: { recordMode: "recordAsMuchAsPossible", includedCategories: ["devtools.timeline", "disabled-by-default-devtools.timeline", "disabled-by-default-devtools.timeline.frame"] },
  });
  await page.mouse.move(500, 500);
  const before = await page.evaluate(() => scrollY);
  let most = plain ? 0 : await rows.count();
  const counts = plain ? undefined : setInterval(() => void rows.count().then((n) => (most = Math.max(most, n))), 500);
  const hand = await page.context().newCDPSession(page);
  await hand.send("Input.synthesizeScrollGesture", { x: 500, y: 500, yDistance: -DISTANCE, speed: SPEED, gestureSourceType: "mouse", preventFling: true });
  clearInterval(counts);
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
  // Drawn is what reached the screen, from the first step to the last one.
  const [compositor] = events.filter((e) => e.name === "DrawFrame" && e.pid === own[0].pid);
  const drawn = events.filter((e) => e.name === "DrawFrame" && e.pid === compositor?.pid && e.tid === compositor?.tid && e.ts >= starts[0] && e.ts <= starts.at(-1)).length;
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
  return { timed, processor, clock, drawn, seconds: (starts.at(-1) - starts[0]) / 1e6, by };
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
