/** Traffic, storage, objects and top limiters. */

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { waitFor } from "../../clients/js/test/support/wait.js";
import { openPage, picture, startBrowser } from "./support/browser.js";
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

/** Sends checks of which most are refused, until it is told to stop. */
function load() {
  let isOver = false;
  const body = { identifier: "busy", type: "wix", config: { requests: 3, windowMs: 3_600_000 } };
  const ended = (async () => {
    while (!isOver) await send(endpoint, "/check", body);
  })();
  return () => ((isOver = true), ended);
}

test("traffic: requests, refusals and latencies come from the node's metrics", async () => {
  const stop = load();
  const page = await openPage(browser, endpoint, "#/traffic");
  const tile = (name) => page.locator(".tile", { hasText: name }).locator(".figure");
  const number = async (name) => Number.parseFloat((await tile(name).first().textContent()).replaceAll(",", ""));
  await waitFor("requests are drawn", async () => (await number("Requests")) > 1);
  await waitFor("refusals are too", async () => (await number("Refused")) > 1);
  await waitFor("a median is known", async () => /^[\d.]+ (µs|ms|s)$/.test(await tile("Median").textContent()));
  const row = page.locator("tbody tr", { hasText: "/check" });
  await row.first().waitFor();
  assert.match(await row.first().textContent(), /\/checkRATE_LIMITER/);
  // The page's own questions are none of the clients'.
  assert.equal(await page.locator("tbody tr", { hasText: "/metrics" }).count(), 0);
  assert.equal(await page.locator(".chart canvas").count(), 3);
  assert.match(await page.locator(".view").textContent(), /clients of node 1.*node 2, node 3/s);

  await page.getByLabel("Endpoint").selectOption({ label: "/log, AUDIT_LOGGER" });
  await waitFor("nobody logs now", async () => (await tile("Requests").first().textContent()) === "0/s");
  await page.getByLabel("Endpoint").selectOption({ label: "all requests of clients" });
  await waitFor("lines are drawn", async () => (await page.locator(".legend .figure").first().textContent()) !== "–");
  await page.getByRole("combobox", { name: "Time" }).selectOption("300");
  await waitFor("some looks", async () => (await page.evaluate(async () => (await import("./ui/recorder.js")).recorded.points.length)) > 6);
  await picture(page, "traffic");
  await page.emulateMedia({ colorScheme: "dark" });
  await picture(page, "traffic-busy-dark");
  await stop();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("storage: disk, memory, tables and alarms of the node", async () => {
  const page = await openPage(browser, endpoint, "#/storage");
  await page.locator(".tile", { hasText: "Disk, free" }).locator(".figure", { hasText: /iB$/ }).waitFor();
  const cells = page.locator("tbody tr", { hasText: /^entry/ });
  await cells.waitFor();
  assert.match(await page.locator(".columns").textContent(), /Ticks[\d,]+.*Last entry[\d,]+.*Version\d+\.\d+\.\d+/s);
  assert.equal(await page.locator("tbody tr", { hasText: /^log/ }).count(), 1);
  await waitFor("some looks", async () => (await page.evaluate(async () => (await import("./ui/recorder.js")).recorded.points.length)) > 2);
  await picture(page, "storage");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("metrics are read as Prometheus reads them", async () => {
  const page = await openPage(browser, endpoint);
  const found = await page.evaluate(async () => {
    const { Snapshot } = await import("./ui/metrics.js");
    const text = (scale, restarted = 0) =>
      [
        "# TYPE h histogram",
        `h_bucket{a="x",le="0.1"} ${10 * scale}`,
        `h_bucket{a="x",le="1"} ${20 * scale}`,
        `h_bucket{a="x",le="+Inf"} ${20 * scale}`,
        `c_total{a="quo\\"te,le=\\"1\\"",b=""} ${restarted || 100 * scale}`,
        "gauge 1.5e3",
        "not a sample",
      ].join("\n");
    const [before, now] = [new Snapshot(text(1), 1_000), new Snapshot(text(2), 3_000)];
    const anew = new Snapshot(text(1, 7), 5_000);
    return {
      rate: now.rate(before, "c_total"),
      anew: anew.increase(now, "c_total"),
      labels: now.all("c_total")[0].labels,
      gauge: now.sum("gauge"),
      none: now.sum("nothing") ?? "none",
      median: now.quantile(before, "h", 0.5),
      p75: now.quantile(before, "h", 0.75),
      silent: now.quantile(now, "h", 0.5) ?? "none",
    };
  });
  const labels = { a: 'quo"te,le="1"', b: "" };
  assert.deepEqual(found, { rate: 50, anew: 7, labels, gauge: 1500, none: "none", median: 0.1, p75: 0.55, silent: "none" });
  await page.context().close();
});

test("objects are found by binding and name, looked into, and a limiter is given back to and reset", async () => {
  const page = await openPage(browser, endpoint, "#/objects");
  await page.getByLabel("Name begins with").fill("gamma:user-1");
  await page.getByRole("button", { name: "Show" }).click();
  const names = page.locator("tbody a");
  // Of the twelve that were checked: user-1, user-10, user-11.
  await waitFor("they are found", async () => (await names.count()) === 3);
  await picture(page, "objects");
  await page.getByLabel("Name begins with").fill("wix:user-7");
  await page.getByRole("button", { name: "Show" }).click();
  await waitFor("it is alone", async () => (await names.count()) === 1);
  await names.first().click();
  await page.getByRole("heading", { name: "Storage" }).waitFor();
  await page.getByRole("button", { name: "Live state" }).click();
  await page.locator(".live", { hasText: /Counted5/ }).waitFor();
  await picture(page, "object-limiter");
  await page.getByRole("button", { name: "Give back…" }).click();
  await page.getByLabel("Requests").fill("0");
  await page.locator("dialog").getByRole("button", { name: "Give back" }).click();
  // The browser says what is wrong with it, and nothing is sent.
  await page.locator("dialog :invalid").first().waitFor();
  await page.getByLabel("Requests").fill("2");
  await picture(page, "object-credit");
  await page.locator("dialog").getByRole("button", { name: "Give back" }).click();
  await page.getByText("2 given back.").waitFor();
  await page.locator(".live", { hasText: /Counted3/ }).waitFor();
  await page.getByRole("button", { name: "Reset…" }).click();
  await page.locator("dialog").getByRole("button", { name: "Reset" }).click();
  await page.getByText("Reset: the next check begins a new window.").waitFor();
  const again = await send(endpoint, "/check", { identifier: "user-7", type: "wix", config: { requests: 5, windowMs: 3_600_000 } });
  assert.equal(again.body.remaining, 4);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("who is refused most is listed, and leads to the limiter", async () => {
  const page = await openPage(browser, endpoint, "#/limiters");
  const row = page.locator("tbody tr", { hasText: "wix:user-7" });
  await row.waitFor();
  await picture(page, "limiters");
  await row.locator("a").click();
  await page.getByRole("heading", { name: "Storage" }).waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
