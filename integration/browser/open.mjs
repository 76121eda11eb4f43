// Opens a page in Chromium, waits until its title is "done" and prints what the
// page left in window.told, as JSON. A page error that the page does not expect
// is no failure here: pages throw on purpose.
//
//   node open.mjs URL        CHROMIUM names the browser
import { chromium } from "playwright-core";

const [url] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const page = await browser.newPage({ locale: "en-GB", timezoneId: "UTC", viewport: { width: 1280, height: 800 } });
  const requests = [];
  page.on("console", (message) => console.error(`console: ${message.text()}`));
  page.on("requestfinished", (request) => requests.push(`${request.method()} ${new URL(request.url()).pathname}`));
  page.on("requestfailed", (request) => console.error(`failed: ${request.method()} ${request.url()}: ${request.failure()?.errorText}`));
  await page.goto(url);
  await page.waitForFunction(() => document.title === "done", null, { timeout: 60_000 });
  const told = await page.evaluate(() => window.told ?? null);
  console.log(JSON.stringify({ browser: browser.version(), told, requests }));
} finally {
  await browser.close();
}
