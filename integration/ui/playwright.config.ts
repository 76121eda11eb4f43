import { defineConfig, devices } from "@playwright/test";

const web = process.env["HOPTRACE_WEB"];
if (!web) {
  throw new Error("set HOPTRACE_WEB to the address of a running UI (TestUI in integration/ does)");
}

// Debian's Chromium; no browser is downloaded. Without the flags it asks for
// updates and the like, which a closed network refuses.
const chromium = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const asRoot = process.getuid?.() === 0;

export default defineConfig({
  testDir: "tests",
  outputDir: `${process.env["HOPTRACE_SHOTS"] ?? "../../artefacts/ui"}/playwright`,
  fullyParallel: false,
  workers: 1,
  retries: 0,
  forbidOnly: true,
  timeout: 180_000,
  expect: { timeout: 20_000 },
  reporter: [["list"]],
  use: {
    ...devices["Desktop Chrome"],
    baseURL: web,
    viewport: { width: 1280, height: 800 },
    locale: "en-GB",
    timezoneId: "UTC",
    trace: "retain-on-failure",
    launchOptions: {
      executablePath: chromium,
      args: [
        ...(asRoot ? ["--no-sandbox"] : []),
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});
