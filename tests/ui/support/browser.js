/**
 * A browser that a page may do nothing bad in: an error on the console, an exception, a breach of the
 * content security policy, or a request to another host fails the test.
 */

import { existsSync, mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const assets = join(root, "src/http/ui/page");
const pictures = join(root, "target/ui");
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain" };

/** What the browser says of any request that fails, which tests provoke; what matters is what the page makes of it. */
const OF_THE_NETWORK = /^Failed to load resource: /;

export async function startBrowser(context) {
  const executablePath = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  context.after(() => browser.close());
  return browser;
}

/**
 * A page of its own, with cookies and storage of its own, at `endpoint`/ui and there at `hash`. `options` go to
 * Playwright. Its `faults` are what it must not have done: `endpoint` and those in `alsoAsked` may be asked for things.
 */
export async function openPage(browser, endpoint, hash = "", options = {}) {
  const { alsoAsked = [], ...rest } = options;
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...rest });
  // Longer than an election, shorter than a test.
  context.setDefaultTimeout(20_000);
  const faults = [];
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(`exception: ${error.stack}`));
  page.on("console", (message) => {
    const text = message.text();
    if (["error", "warning"].includes(message.type()) && !OF_THE_NETWORK.test(text)) faults.push(`console: ${text}`);
  });
  page.on("dialog", (dialog) => {
    faults.push(`a script spoke: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const url = request.url();
    const isKnown = [endpoint, ...alsoAsked].some((known) => url.startsWith(`${known}/`)) || url.startsWith("blob:");
    if (!isKnown) faults.push(`asked elsewhere: ${url}`);
  });
  await context.exposeFunction("tellFault", (text) => faults.push(text));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.tellFault(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  if (process.env.TALLYKEEP_UI_FROM_DISK) await serveFromDisk(context);
  await page.goto(`${endpoint}/ui${hash}`);
  return Object.assign(page, { faults });
}

/** To work on the page without building: its files come from the tree, with the headers of the node's own. */
async function serveFromDisk(context) {
  await context.route(/\/ui(\/|$|\?|#)/, async (route) => {
    const { origin, pathname } = new URL(route.request().url());
    const headers = Object.fromEntries((await fetch(`${origin}/ui`)).headers);
    const file = join(assets, pathname.replace(/^\/ui\/?/, "") || "index.html");
    if (!existsSync(file)) return route.continue();
    delete headers["content-length"];
    headers["content-type"] = `${TYPES[extname(file)]}; charset=utf-8`;
    return route.fulfill({ status: 200, headers, body: await readFile(file) });
  });
}

/** A picture of the page for people, under target/ui. */
export async function picture(page, name) {
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true, animations: "disabled" });
}

/** What axe finds wrong with the page as it is now, by WCAG 2.1 A and AA, a line for each. */
export async function barriers(page) {
  await page.evaluate(await readFile(axe, "utf8"));
  const results = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }),
  );
  return results.violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
}

/** How far the page reaches over its window to the right, in pixels. */
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}
