/** The audit log: found, followed, exported, and harmless whatever stands in it. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";

import { waitFor } from "../../clients/js/test/support/wait.js";
import { barriers, openPage, overflow, picture, startBrowser } from "./support/browser.js";
import { clusterWithData, ending, send } from "./support/nodes.js";

const context = ending();
let cluster;
let endpoint;
let browser;

before(async () => {
  cluster = await clusterWithData(context);
  endpoint = cluster.endpoint(1);
  browser = await startBrowser(context);
});

const rows = (page) => page.locator("tbody tr");

async function found(page, number) {
  await waitFor(`${number} entries are shown`, async () => (await rows(page).count()) === number);
}

test("entries are found by type, user, ip and time, and the address says what was asked", async () => {
  const page = await openPage(browser, endpoint, "#/audit");
  await found(page, 12);
  await picture(page, "audit");
  const field = (label) => page.getByLabel(label, { exact: true });
  const search = () => page.getByRole("button", { name: "Search" }).click();
  await field("Type").fill("payment");
  await search();
  await found(page, 4);
  assert.match(page.url(), /#\/audit\?type=payment$/);
  await field("User").fill("user-0");
  await search();
  await found(page, 1);
  await page.goBack();
  await found(page, 4);
  assert.equal(await field("User").inputValue(), "");
  await field("Type").fill("");
  await field("IP").fill("203.0.113.7");
  await search();
  await found(page, 1);
  assert.match(await rows(page).textContent(), /wix_request.*api_call.*user-3.*203\.0\.113\.7.*"sent":7/s);
  await field("IP").fill("203.0.113.99");
  await search();
  await page.locator(".empty", { hasText: "No entry is like that" }).waitFor();
  await page.goto(`${endpoint}/ui#/audit?range=custom&from=2020-01-01T00:00:30&to=2020-01-02T00:00:30`);
  await waitFor("the form is that of the address", async () => (await field("From").count()) === 1 && (await field("From").inputValue()) !== "");
  await page.locator(".empty").waitFor();
  assert.equal(await field("From").inputValue(), "2020-01-01T00:00:30");
  await page.goto(`${endpoint}/ui#/audit?range=custom&from=2020-01-02T00:00:30&to=2020-01-01T00:00:30`);
  await page.locator(".problem", { hasText: "is after endTime" }).waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("an entry is shown whole, with its numbers as they were written", async () => {
  const exact = '{"type":"exact","action":"numbers","details":{"amount":10.50,"large":12345678901234567890}}';
  await fetch(`${endpoint}/log`, { method: "POST", body: exact });
  const page = await openPage(browser, endpoint, "#/audit?type=exact");
  await found(page, 1);
  await rows(page).getByRole("button").click();
  const dialog = page.getByRole("dialog");
  assert.match(await dialog.locator("pre").textContent(), /"amount": 10\.50,\s+"large": 12345678901234567890/);
  assert.deepEqual(await barriers(page), []);
  await picture(page, "audit-entry");
  await dialog.getByRole("link", { name: "find all entries with this action" }).click();
  await waitFor("the search is another", async () => page.url().endsWith("#/audit?action=numbers"));
  await found(page, 1);
  assert.equal(await page.getByRole("dialog").count(), 0);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("what is logged while one follows appears by itself, and nothing twice", async () => {
  const page = await openPage(browser, endpoint, "#/audit?type=followed");
  await page.locator(".empty").waitFor();
  await page.getByRole("button", { name: "Follow" }).click();
  for (const place of [1, 2, 3]) {
    await send(cluster.endpoint(place), "/log", { type: "followed", action: `step-${place}`, details: {} });
    await found(page, place);
    assert.match(await rows(page).first().textContent(), new RegExp(`step-${place}`));
  }
  await send(endpoint, "/log", { type: "other", action: "unseen", details: {} });
  assert.match(await page.locator("#live").textContent(), /1 new entry/);
  await page.getByRole("button", { name: "Following" }).click();
  await found(page, 3);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("older entries come page by page", async () => {
  const entries = Array.from({ length: 120 }, (_, place) => ({ type: "many", action: `n${place}`, details: {} }));
  assert.equal((await send(endpoint, "/log/batch", { entries })).status, 200);
  const page = await openPage(browser, endpoint, "#/audit?type=many");
  await found(page, 50);
  for (const number of [100, 120]) {
    await page.getByRole("button", { name: "Older entries" }).click();
    await found(page, number);
  }
  await waitFor("there is no more", async () => !(await page.getByRole("button", { name: "Older entries" }).isVisible()));
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("the export is the node's own, for what was searched", async () => {
  const page = await openPage(browser, endpoint, "#/audit?type=payment&range=all");
  await found(page, 4);
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Export CSV" }).click(),
  ]);
  assert.match(download.suggestedFilename(), /^audit-.*\.csv$/);
  const saved = await readFile(await download.path(), "utf8");
  assert.equal(saved, await (await fetch(`${endpoint}/export?format=csv&type=payment`)).text());
  assert.equal(saved.trim().split("\n").length, 5);
  await page.getByText(/^Exported /).waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("hostile entries are texts and nothing else", async () => {
  const hostile = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    "\"><svg onload=alert(3)>",
    "javascript:alert(4)",
    "{{constructor.constructor('alert(5)')()}}",
    "\u202egnp.txe\u202c\u2066",
    "__proto__",
    "مرحبا بالعالم שלום",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳",
    "a".repeat(512),
  ];
  for (const text of hostile) {
    const details = { [text]: text, nested: [{ "</pre><img src=x onerror=alert(6)>": text }] };
    const logged = await send(endpoint, "/log", { type: "hostile", action: text, userId: text, ip: text, details });
    assert.equal(logged.status, 200, JSON.stringify(logged.body));
  }
  const big = { type: "hostile", action: "big", details: { text: "<b>&\u202e".repeat(35_000) } };
  assert.equal((await send(endpoint, "/log", big)).status, 200);

  const page = await openPage(browser, endpoint, "#/audit?type=hostile");
  await found(page, hostile.length + 1);
  assert.ok((await overflow(page)) <= 0);
  await picture(page, "audit-hostile");
  for (let place = 0; place <= hostile.length; place += 1) {
    await rows(page).nth(place).getByRole("button").click();
    const dialog = page.getByRole("dialog");
    await dialog.locator("pre").waitFor();
    assert.equal(await dialog.locator("img, script, svg, b").count(), 0);
    const links = await dialog.locator("a").evaluateAll((all) => all.map((one) => one.getAttribute("href")));
    assert.ok(links.every((href) => href.startsWith("#/audit?")), String(links));
    if (place === 0) {
      // The newest is the big one: all of it is there, and what would turn the text around is written out.
      const text = await dialog.locator("pre").textContent();
      assert.equal(text.split("<b>&\\u202e").length, 35_001);
    }
    await dialog.getByRole("button", { name: "Close" }).click();
  }
  const shown = await page.locator("tbody").textContent();
  assert.ok(shown.includes("<img src=x onerror=alert(1)>"));
  assert.ok(shown.includes("\\u202egnp.txe") && !shown.includes("\u202e"));
  assert.equal(await page.locator("tbody :is(img, script, svg)").count(), 0);
  // A hostile address is no better.
  await page.goto(`${endpoint}/ui#/audit?type=${encodeURIComponent("<img src=x onerror=alert(7)>")}`);
  await page.locator(".empty").waitFor();
  await page.goto(`${endpoint}/ui#/objects/%E0%A4%A/name/${encodeURIComponent("<script>alert(8)</script>")}`);
  await page.locator(".view :is(.problem, .empty)").first().waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
