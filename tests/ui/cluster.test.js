/** The cluster view, while nodes die and come back. */

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { waitFor } from "../../clients/js/test/support/wait.js";
import { openPage, picture, startBrowser } from "./support/browser.js";
import { clusterWithData, ending } from "./support/nodes.js";

const context = ending();
let cluster;
let browser;

before(async () => {
  cluster = await clusterWithData(context);
  browser = await startBrowser(context);
});

test("the page shows what the node tells of its cluster", async () => {
  const page = await openPage(browser, cluster.endpoint(2));
  await page.locator(".health[data-state=ok]", { hasText: "All 3 nodes answer" }).waitFor();
  assert.equal(await page.title(), "Cluster · tallykeep");
  const leader = await cluster.leader();
  const report = await (await fetch(`${cluster.endpoint(2)}/admin/cluster`)).json();
  const shown = page.locator(`.node[data-node="${leader}"]`);
  await page.locator(".tile", { hasText: `Node ${leader}` }).waitFor();
  assert.equal(await page.locator(".node[data-role=leader]").count(), 1);
  assert.match(await shown.textContent(), /leader.*ready.*not at all.*enough space/s);
  assert.match(await page.locator(".tiles").textContent(), new RegExp(`Term${report.term}`));
  assert.match(await page.locator('.node[data-node="2"]').textContent(), /serves this page/);
  assert.match(await page.locator("section", { hasText: "Certificates" }).textContent(), /does not speak TLS/);
  // The other nodes' pages are links away, and keep the view.
  const link = page.locator('.node[data-node="3"] a');
  assert.equal(await link.getAttribute("href"), `${cluster.endpoint(3)}/ui`);
  await picture(page, "cluster");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a leader is killed, and the page tells who leads now, and when it is back", async () => {
  const killed = await cluster.leader();
  const seenFrom = killed === 1 ? 2 : 1;
  const page = await openPage(browser, cluster.endpoint(seenFrom));
  await page.locator(`.node[data-node="${killed}"][data-role=leader]`).waitFor();
  await page.locator(".health[data-state=ok]").waitFor();

  await cluster.signal(killed, "SIGKILL");
  await page.locator(`.node[data-node="${killed}"][data-role=unreachable]`).waitFor();
  await page.locator(`.node[data-role=leader]:not([data-node="${killed}"])`).waitFor();
  await page.locator(".changes", { hasText: new RegExp(`Node ${killed} does not answer any more`) }).waitFor();
  const told = page.locator(".changes li", { hasText: /leads now, in term \d+/ });
  await told.waitFor();
  const leader = await cluster.leader();
  assert.match(await told.first().textContent(), new RegExp(`Node ${leader} leads now`));
  assert.match(await page.locator(".health").textContent(), new RegExp(`Degraded Node ${killed} does not answer.*No further node may fail`));
  await page.locator(".health", { hasText: "All requests are served" }).waitFor();
  assert.equal(await page.locator(".node[data-state=ok]").count(), 2);
  await picture(page, "cluster-leader-killed");

  cluster.start(killed);
  await cluster.waitReady(killed);
  await page.locator(".health[data-state=ok]").waitFor();
  await page.locator(".changes", { hasText: `Node ${killed} answers again` }).waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("changes are said to those who do not see the page", async () => {
  const page = await openPage(browser, cluster.endpoint(1));
  await page.locator(".health[data-state=ok]").waitFor();
  const other = (await cluster.leader()) === 3 ? 2 : 3;
  await cluster.signal(other, "SIGKILL");
  await waitFor("it is said", async () => (await page.locator("#live").textContent()).includes(`Node ${other} does not answer any more`));
  cluster.start(other);
  await cluster.waitReady(other);
  await waitFor("that too", async () => (await page.locator("#live").textContent()).includes(`Node ${other}`));
  await page.context().close();
});

test("a majority is gone: the page says that nothing is read or written", async () => {
  const page = await openPage(browser, cluster.endpoint(1));
  await page.locator(".health[data-state=ok]").waitFor();
  await cluster.signal(2, "SIGKILL");
  await cluster.signal(3, "SIGKILL");
  await page.locator(".health[data-state=bad]", { hasText: "No quorum" }).waitFor();
  await picture(page, "cluster-no-quorum");
  cluster.start(2);
  cluster.start(3);
  await cluster.waitReady(2);
  await cluster.waitReady(3);
  await page.locator(".health[data-state=ok]").waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("the node that serves the page dies: what was known stays, and the way to the others is shown", async () => {
  const page = await openPage(browser, cluster.endpoint(3));
  await page.locator(".health[data-state=ok]").waitFor();
  await cluster.signal(3, "SIGKILL");
  await page.locator("#trouble", { hasText: "could not be reached" }).waitFor();
  assert.equal(await page.locator("#trouble a").first().getAttribute("href"), `${cluster.endpoint(1)}/ui`);
  assert.equal(await page.locator(".node").count(), 3);
  await picture(page, "cluster-own-node-dead");
  cluster.start(3);
  await cluster.waitReady(3);
  await page.locator(".health[data-state=ok]").waitFor();
  assert.equal(await page.locator("#trouble").textContent(), "");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
