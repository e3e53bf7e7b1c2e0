/** The page as a whole: its headers, keyboard, narrow windows, colours and barriers. */

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { waitFor } from "../../clients/js/test/support/wait.js";
import { barriers, openPage, overflow, picture, startBrowser } from "./support/browser.js";
import { clusterWithData, ending } from "./support/nodes.js";

const VIEWS = ["cluster", "traffic", "tail", "storage", "objects", "audit", "limiters"];
const TITLES = ["Cluster", "Traffic", "Tail", "Storage", "Objects", "Audit log", "Top limiters"];

const context = ending();
let cluster;
let endpoint;
let browser;

before(async () => {
  cluster = await clusterWithData(context);
  endpoint = cluster.endpoint(1);
  browser = await startBrowser(context);
});

/** The view is there, and what it asked for has come. */
async function settled(page) {
  await waitFor("the view has come", async () => (await page.locator("h1").count()) === 1 && (await page.locator(".loading").count()) === 0);
}

test("the page and its files forbid what they do not need, and are sent once", async () => {
  const page = await fetch(`${endpoint}/ui`);
  const text = await page.text();
  const links = [...text.matchAll(/(?:href|src)="(ui\/[^"]+)"/g)].map(([, path]) => `/${path}`);
  assert.ok(links.length >= 5);
  for (const path of ["/ui", ...links]) {
    const answer = await fetch(endpoint + path);
    await answer.arrayBuffer();
    assert.equal(answer.status, 200, path);
    const policy = answer.headers.get("content-security-policy");
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
    assert.equal(answer.headers.get("referrer-policy"), "no-referrer");
    assert.equal(answer.headers.get("cache-control"), "no-cache");
    const again = await fetch(endpoint + path, { headers: { "If-None-Match": answer.headers.get("etag") } });
    assert.deepEqual([again.status, await again.text()], [304, ""], path);
  }
  for (const id of [2, 3]) assert.equal(await (await fetch(`${cluster.endpoint(id)}/ui`)).text(), text);
  const slash = await fetch(`${endpoint}/ui/`, { redirect: "manual" });
  assert.deepEqual([slash.status, slash.headers.get("location")], [308, "../ui"]);
  for (const path of ["/ui/nothing.js", "/ui/page/index.html", "/ui/..%2fmod.rs"]) {
    const answer = await fetch(endpoint + path);
    assert.deepEqual([answer.status, (await answer.json()).code], [404, "not_found"], path);
  }
  const posted = await fetch(`${endpoint}/ui`, { method: "POST" });
  assert.deepEqual([posted.status, (await posted.json()).code], [405, "method_not_allowed"]);
});

test("every view is without barriers, light and dark", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await openPage(browser, endpoint, "", { colorScheme, reducedMotion: "reduce" });
    for (const [place, view] of VIEWS.entries()) {
      await page.goto(`${endpoint}/ui#/${view}`);
      await page.getByRole("heading", { level: 1, name: TITLES[place] }).waitFor();
      await settled(page);
      assert.deepEqual(await barriers(page), [], `${view}, ${colorScheme}`);
      if (colorScheme === "dark") await picture(page, `${view}-dark`);
    }
    assert.deepEqual(page.faults, []);
    await page.context().close();
  }
});

test("on a phone nothing reaches over the edge", async () => {
  const page = await openPage(browser, endpoint, "", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true });
  for (const view of VIEWS) {
    await page.goto(`${endpoint}/ui#/${view}`);
    await settled(page);
    assert.equal(await overflow(page), 0, view);
    await picture(page, `${view}-phone`);
  }
  assert.deepEqual(await barriers(page), []);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("everything is reached by keyboard, and what has the focus is seen", async () => {
  const page = await openPage(browser, endpoint);
  await settled(page);
  const focused = () => page.evaluate(() => document.activeElement?.textContent.trim());
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to content");
  assert.ok(await page.locator(".skip").evaluate((link) => link.getBoundingClientRect().top >= 0));
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");

  await page.getByRole("link", { name: "tallykeep" }).focus();
  const walked = [];
  for (let step = 0; step < 2 + VIEWS.length; step += 1) {
    await page.keyboard.press("Tab");
    walked.push(await focused());
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, "solid", walked.at(-1));
  }
  assert.deepEqual(walked, ["Token", "Theme: system", ...TITLES]);
  await page.getByRole("link", { name: "Audit log" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Audit log" }).waitFor();
  // Who followed the link is where it leads, and the next step is into the view.
  assert.equal(await focused(), "Audit log");
  assert.equal(await page.locator("nav [aria-current=page]").textContent(), "Audit log");
  await page.locator("tbody tr").first().waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.type("payment");
  await page.keyboard.press("Enter");
  await waitFor("payments alone", async () => (await page.locator("tbody tr").count()) === 4);
  await page.locator("tbody button").first().focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await waitFor("it is closed", async () => (await page.getByRole("dialog").count()) === 0);
  assert.ok(await page.locator("tbody button").first().evaluate((button) => button === document.activeElement));
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("what has the focus keeps it while figures change", async () => {
  const page = await openPage(browser, endpoint);
  const link = page.locator('.node[data-node="2"] a');
  await link.waitFor();
  await link.focus();
  const asked = page.waitForResponse(/\/admin\/cluster/);
  await asked;
  await page.waitForResponse(/\/admin\/cluster/);
  assert.ok(await link.evaluate((one) => one === document.activeElement));
  await page.context().close();
});

test("the theme is the system's until one is chosen, and the choice is kept", async () => {
  const page = await openPage(browser, endpoint, "", { colorScheme: "dark" });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  const button = page.locator("#theme");
  await button.click();
  assert.equal(await button.textContent(), "Theme: light");
  assert.notEqual(await ground(), dark);
  await page.reload();
  assert.equal(await button.textContent(), "Theme: light");
  await button.click();
  assert.equal(await button.textContent(), "Theme: dark");
  assert.equal(await ground(), dark);
  await button.click();
  assert.equal(await button.textContent(), "Theme: system");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
