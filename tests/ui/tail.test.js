/** The tail: requests as they are answered, filtered, paused, and bounded. */

import assert from "node:assert/strict";
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

const check = (type, identifier, requests = 1_000) =>
  send(endpoint, "/check", { identifier, type, config: { requests, windowMs: 3_600_000 } });

/** The tail at `hash`, once the node tells of requests. */
async function openTail(hash, options) {
  const page = await openPage(browser, endpoint, hash, options);
  await live(page);
  return page;
}

async function live(page) {
  await page.locator(".toolbar", { hasText: "Live" }).waitFor();
}

async function shown(page, number) {
  await waitFor(`${number} requests are shown`, async () => (await rows(page).count()) === number);
}

test("requests appear as they are answered, and lead to their objects", async () => {
  const page = await openTail("#/tail");
  assert.match(await page.locator(".empty").textContent(), /Nothing yet/);
  await check("wix", "user-7", 5);
  await check("gamma", "told-of");
  await send(endpoint, "/log", { type: "tailed", action: "seen", details: {} });
  // Without the page's own questions, which are for no binding.
  await shown(page, 3);
  const text = async (place) => (await rows(page).nth(place).textContent()).replace(/\s+/g, " ");
  assert.match(await text(0), /200.*POST \/log.*AUDIT_LOGGER/);
  assert.match(await text(1), /^\d\d:\d\d:\d\d\.\d{3}.*200.*(µs|ms|s)POST \/checkRATE_LIMITERgamma:told-oftold-of$/);
  assert.match(await text(2), /429.*wix:user-7user-7/);
  assert.equal(await rows(page).nth(2).locator(".state").getAttribute("data-state"), "warn");
  assert.deepEqual(await barriers(page), []);
  await picture(page, "tail");
  await rows(page).nth(2).getByRole("link", { name: "wix:user-7" }).click();
  await page.getByRole("heading", { name: "Storage" }).waitFor();
  assert.match(page.url(), /#\/objects\/RATE_LIMITER\/name\/wix%3Auser-7$/);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a tail is of the binding, name and status that is asked for, and the address says so", async () => {
  const page = await openTail("#/tail");
  const filter = async (values) => {
    for (const [label, value] of Object.entries(values)) await page.getByRole("textbox", { name: label }).fill(value);
    await page.getByRole("button", { name: "Filter" }).click();
    await live(page);
  };
  const all = async () => {
    await check("wix", "user-7", 5);
    await check("wix", "another");
    await check("gamma", "user-7");
    await send(endpoint, "/log", { type: "tailed", action: "filtered", details: {} });
  };
  const chooser = page.getByRole("combobox", { name: "Binding" });
  await waitFor("the bindings are known", async () => (await chooser.locator("option").count()) === 4);
  assert.equal(await chooser.inputValue(), "");
  await chooser.selectOption("RATE_LIMITER");
  await filter({});
  assert.match(page.url(), /#\/tail\?binding=RATE_LIMITER$/);
  await all();
  await shown(page, 3);
  await filter({ "Object's name": "wix:*" });
  await shown(page, 0);
  await all();
  await shown(page, 2);
  await filter({ Status: "429, 5xx" });
  await shown(page, 0);
  await all();
  await shown(page, 1);
  assert.match(await rows(page).textContent(), /429.*wix:user-7/);
  assert.deepEqual(Object.fromEntries(new URLSearchParams(page.url().split("?")[1])), { binding: "RATE_LIMITER", name: "wix:*", status: "429, 5xx" });
  await page.goBack();
  await waitFor("the filter before", async () => (await page.getByRole("textbox", { name: "Status" }).inputValue()) === "");
  assert.equal(await chooser.inputValue(), "RATE_LIMITER");
  // What the node does not understand it says.
  await page.getByRole("textbox", { name: "Status" }).fill("many");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.locator(".problem", { hasText: "Status must be a list of such as 429 or 4xx" }).waitFor();
  assert.deepEqual(await barriers(page), []);
  // With everything the page sees itself.
  await page.goto(`${endpoint}/ui#/tail?binding=*`);
  await rows(page).filter({ hasText: "GET /metrics" }).first().waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a pause keeps what is read where it is, and no more rows are kept than a page bears", async () => {
  const page = await openTail("#/tail?binding=RATE_LIMITER&name=gamma:bound-*", { colorScheme: "dark" });
  await check("gamma", "bound-first");
  await shown(page, 1);
  await page.getByRole("button", { name: "Pause" }).click();
  await check("gamma", "bound-second");
  await check("gamma", "bound-third");
  await page.locator(".toolbar", { hasText: "Paused · 3 requests · 2 came meanwhile" }).waitFor();
  assert.equal(await rows(page).count(), 1);
  await picture(page, "tail-paused-dark");
  await page.getByRole("button", { name: "Paused" }).click();
  await shown(page, 3);
  assert.match(await rows(page).first().textContent(), /bound-third/);
  for (let sent = 0; sent < 230; sent += 1) await check("gamma", `bound-${sent}`);
  await page.locator(".toolbar", { hasText: "233 requests · the newest 200 are shown" }).waitFor();
  assert.equal(await rows(page).count(), 200);
  assert.match(await rows(page).first().textContent(), /bound-229/);
  await page.getByRole("button", { name: "Clear" }).click();
  await shown(page, 0);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("what was left out is said, and a stream that breaks off is taken up again", async () => {
  // Written as the node does it, for to make it drop requests takes a browser that reads nothing for minutes.
  const event = { time: Date.now(), node: 1, method: "POST", endpoint: "/check", binding: "RATE_LIMITER", class: "RateLimiter", name: "wix:é", id: null, identifier: "é", status: 200, durationMs: 0.9 };
  const body = `:\n\nevent: request\ndata: ${JSON.stringify(event)}\n\nevent: dropped\ndata: {"count":1234}\n\nevent: dropped\ndata: {"cou`;
  const page = await openPage(browser, endpoint);
  await page.route(/\/admin\/tail/, (route) => route.fulfill({ status: 200, contentType: "text/event-stream", body }), { times: 1 });
  await page.getByRole("link", { name: "Tail" }).click();
  await shown(page, 1);
  assert.match(await rows(page).textContent(), /900 µs.*wix:é/);
  // The stream has ended, and the next one is the node's own.
  await live(page);
  await page.locator(".problem", { hasText: "1,234 requests were left out" }).waitFor();
  await picture(page, "tail-dropped");
  await check("gamma", "after-all");
  await shown(page, 2);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("events are put together however their bytes arrive", async () => {
  const page = await openPage(browser, endpoint);
  const found = await page.evaluate(async () => {
    const { readEvents } = await import("./ui/events.js");
    const text = ":\n\nevent: request\ndata: {\"name\":\"é日\"}\n\ndata:a\ndata: b\n\n:\n\nevent: none\n\nevent: dropped\ndata: cut";
    const bytes = new TextEncoder().encode(text);
    const seen = [];
    for (const size of [1, 2, 7, bytes.length]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, place) => bytes.slice(place * size, (place + 1) * size));
      const body = new ReadableStream({
        pull: (controller) => (pieces.length ? controller.enqueue(pieces.shift()) : controller.close()),
      });
      const events = [];
      for await (const event of readEvents(body)) events.push(event);
      seen.push(events);
    }
    return seen;
  });
  const expected = [{ type: "request", data: '{"name":"é日"}' }, { type: "message", data: "a\nb" }];
  assert.deepEqual(found, [expected, expected, expected, expected]);
  await page.context().close();
});

test("the tail comes back with its node, and fits a phone", async () => {
  const from = cluster.endpoint(3);
  const page = await openPage(browser, from, "#/tail", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true });
  await live(page);
  await cluster.signal(3, "SIGTERM");
  await page.locator(".toolbar", { hasText: "trying again" }).waitFor();
  cluster.start(3);
  await cluster.waitReady(3);
  await live(page);
  for (const identifier of ["back", "a-rather-long-identifier-of-somebody-who-checks"]) {
    await send(from, "/check", { identifier, type: "gamma", config: { requests: 9, windowMs: 3_600_000 } });
  }
  await shown(page, 2);
  assert.ok((await overflow(page)) <= 0);
  await picture(page, "tail-phone");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
