// What integration/awkward sent, and how a page is looked at that must bear it.
import { readFileSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import type { APIRequestContext, Page } from "@playwright/test";
import { ALSO, expect, finding, shot } from "./fixtures.js";

export interface Case {
  name: string;
  trace?: string;
  topic?: string;
  partition: number;
  offset: number;
  group?: string;
  /** What pages must show, by name; times in ms. */
  figures?: Record<string, number>;
}

const file = process.env["HOPTRACE_AWKWARD"];
if (!file) throw new Error("set HOPTRACE_AWKWARD to the file that `go run ./integration/awkward --told FILE` wrote");
export const told = JSON.parse(readFileSync(file, "utf8")) as { now: string; spans: number; cases: Case[] };

export function caseOf(name: string): Case {
  const c = told.cases.find((c) => c.name === name);
  if (!c) throw new Error(`there is no case ${name}`);
  return c;
}

export function figure(c: Case, name: string): number {
  const n = c.figures?.[name];
  if (n === undefined) throw new Error(`case ${c.name} tells no ${name}`);
  return n;
}

export async function get<T>(request: APIRequestContext, path: string): Promise<T> {
  const answer = await request.get("/api/v1" + path);
  expect(answer.status(), `${path}: ${(await answer.text()).slice(0, 300)}`).toBe(200);
  return (await answer.json()) as T;
}

/** A name of HTML must stay a name. */
export function dialogs(page: Page): string[] {
  const seen: string[] = [];
  page.on("dialog", (d) => {
    seen.push(d.message());
    void d.dismiss();
  });
  return seen;
}

async function sideways(page: Page, path: string): Promise<void> {
  const { width, inner } = await page.evaluate(() => ({ width: document.documentElement.scrollWidth, inner: innerWidth }));
  expect.soft(width, `${path} moves sideways at ${inner} px`).toBeLessThanOrEqual(inner);
}

/** The page stands, says nothing that is no value, and moves sideways nowhere. */
export async function bears(page: Page, path: string): Promise<void> {
  await page.goto(path);
  await finding(page);
  // Not for silence on the network: some pages ask again and again.
  await expect(page.locator("[aria-busy=true], .stale, .ghost")).toHaveCount(0);
  const text = await page.locator("body").innerText();
  expect.soft(text.match(/.{0,60}(\bNaN\b|\bundefined\b|\bInfinity\b|\[object ).{0,40}/g) ?? [], `${path} shows values that are none`).toEqual([]);
  await expect.soft(page.getByRole("alert"), `${path} says that something failed`).toHaveCount(0);
  await sideways(page, path);
}

/**
 * What axe finds. It looks at the first rows of a list only, as it takes minutes for
 * thousands of like nodes, and into no frames, as there are none.
 */
async function faults(page: Page, rules?: string[]): Promise<string[]> {
  await expect(page.locator(".panel.stale")).toHaveCount(0);
  let axe = new AxeBuilder({ page }).setLegacyMode().exclude("tbody > tr:nth-child(n+9)").exclude("[role=rowgroup] > [role=row]:nth-child(n+13)");
  axe = rules ? axe.withRules(rules) : axe.options(ALSO);
  const { violations } = await axe.analyze();
  return violations.map((v) => `${v.id} (${v.impact ?? "?"}): ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`);
}

/** Opens a page once and looks at it in the light, in the dark and as wide as a phone. */
export async function look(page: Page, name: string, path: string): Promise<void> {
  const picture = "awkward-" + name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  await bears(page, path);
  await shot(page, picture + "-light");
  expect.soft(await faults(page), `${path}: axe`).toEqual([]);
  await page.emulateMedia({ colorScheme: "dark" });
  await shot(page, picture + "-dark");
  // The other rules do not depend on the theme.
  expect.soft(await faults(page, ["color-contrast"]), `${path}: axe in the dark`).toEqual([]);
  await page.emulateMedia({ colorScheme: "light" });
  const size = page.viewportSize()!;
  await page.setViewportSize({ width: 390, height: 844 });
  await expect(page.locator("[aria-busy=true]")).toHaveCount(0);
  await sideways(page, path);
  expect.soft(await faults(page, ["target-size"]), `${path}: axe on a phone`).toEqual([]);
  await shot(page, picture + "-390");
  await page.setViewportSize(size);
}
