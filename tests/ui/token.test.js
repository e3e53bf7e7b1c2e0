/** The page of nodes that ask for API tokens, which are real ones. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { appendFile, readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { promisify } from "node:util";

import { binary } from "../../clients/js/test/support/cluster.js";
import { waitFor } from "../../clients/js/test/support/wait.js";
import { barriers, openPage, picture, startBrowser } from "./support/browser.js";
import { clusterWithData, ending } from "./support/nodes.js";

const context = ending();
let cluster;
let endpoint;
let operator;
let browser;

before(async () => {
  cluster = await clusterWithData(context);
  endpoint = cluster.endpoint(1);
  operator = await askForTokens();
  browser = await startBrowser(context);
});

/** Has all nodes ask for tokens, one after another, as an operator would; gives the operator's. */
async function askForTokens() {
  const file = cluster.file(0, "token");
  const { stdout } = await promisify(execFile)(binary, ["tokens", "operator", file]);
  const [hash] = /\b[0-9a-f]{64}\b/.exec(stdout);
  for (const id of [1, 2, 3]) {
    await appendFile(cluster.file(id, "toml"), `[auth]\noperator_sha256 = ["${hash}"]\n`);
    await cluster.signal(id, "SIGTERM");
    cluster.start(id);
    await cluster.waitReady(id);
  }
  return (await readFile(file, "utf8")).trim();
}

/** Makes a token with these scopes, and waits until the page's node knows it. */
async function create(name, scopes) {
  const headers = { Authorization: `Bearer ${operator}` };
  const body = JSON.stringify({ name, scopes });
  const made = await waitFor(`the token ${name} is made`, async () => {
    const answer = await fetch(`${endpoint}/admin/tokens`, { method: "POST", headers, body });
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(text);
    return JSON.parse(text);
  });
  const bearer = { Authorization: `Bearer ${made.token}` };
  await waitFor("it is known", async () => (await fetch(`${endpoint}/openapi.json`, { headers: bearer })).status === 200);
  return made.token;
}

/** What goes from this page to the nodes, with what its requests say of who asks. */
function overheard(page) {
  const requests = [];
  page.on("request", async (request) => {
    const { authorization, cookie } = await request.allHeaders();
    requests.push({ url: request.url(), authorization, cookie });
  });
  return requests;
}

async function give(page, token) {
  const dialog = page.getByRole("dialog", { name: "Token" });
  await dialog.getByLabel("API token").fill(token);
  await dialog.getByRole("button", { name: "Use this token" }).click();
}

test("who has no token is asked for one, once, and a wrong one is refused", async () => {
  const page = await openPage(browser, endpoint);
  const requests = overheard(page);
  const dialog = page.getByRole("dialog", { name: "Token" });
  await dialog.filter({ hasText: "This node answers those who have an API token" }).waitFor();
  assert.deepEqual(await barriers(page), []);
  await picture(page, "token");
  await give(page, `${operator.slice(0, -1)}${operator.endsWith("0") ? "1" : "0"}`);
  await dialog.filter({ hasText: "mistyped, revoked or over" }).waitFor();
  // This time the user says no, and is left alone.
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await page.locator("#trouble", { hasText: "A valid token is needed" }).waitFor();
  const asked = requests.length;
  await waitFor("the page goes on asking the node", async () => requests.length > asked + 1);
  assert.equal(await dialog.count(), 0);
  await page.locator("#trouble").getByRole("button", { name: "Give a token" }).first().click();
  await give(page, operator);
  await page.locator(".health[data-state=ok]").waitFor();
  await waitFor("the trouble is over", async () => (await page.locator("#trouble").textContent()) === "");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a token is sent as a header, and is in no address, cookie or lasting storage", async () => {
  const token = await create("looks on", ["read"]);
  const page = await openPage(browser, endpoint);
  const requests = overheard(page);
  await page.getByRole("dialog", { name: "Token" }).waitFor();
  await give(page, token);
  await page.locator(".health[data-state=ok]").waitFor();
  // Every view is filled with what `read` may see.
  for (const [view, seen] of [
    ["traffic", ".tile:has-text('Connections') .figure"],
    ["tail", ".toolbar:has-text('Live')"],
    ["storage", "tbody tr:has-text('entry')"],
    ["objects", "tbody a"],
    ["audit", "tbody tr"],
    ["limiters", ".view :is(tbody tr, .empty)"],
  ]) {
    await page.goto(`${endpoint}/ui#/${view}`);
    await page.locator(seen).first().waitFor();
    assert.equal(await page.locator(".problem").count(), 0, view);
    assert.ok(!page.url().includes(token));
  }
  const toNode = requests.filter(({ url }) => !url.startsWith("blob:") && !new URL(url).pathname.startsWith("/ui"));
  assert.ok(toNode.some(({ authorization }) => authorization === `Bearer ${token}`));
  assert.ok(requests.every(({ url, cookie }) => !url.includes(token) && cookie === undefined));
  const kept = await page.evaluate(() => ({ session: { ...sessionStorage }, local: { ...localStorage }, cookie: document.cookie }));
  assert.deepEqual(kept, { session: { "tallykeep-token": token }, local: {}, cookie: "" });
  assert.deepEqual(await page.context().cookies(), []);
  // The header's button forgets it, and the page asks anew.
  await page.getByRole("banner").getByRole("button", { name: "Token" }).click();
  await page.getByRole("dialog", { name: "Token" }).getByRole("button", { name: "Forget the token" }).click();
  await page.getByRole("dialog", { name: "Token" }).filter({ hasText: "those who have an API token" }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("what a token does not reach is said, and another one can be given", async () => {
  const [logs, reads] = [await create("logs alone", ["log"]), await create("reads alone", ["read"])];
  const page = await openPage(browser, endpoint);
  await page.getByRole("dialog", { name: "Token" }).waitFor();
  await give(page, logs);
  const trouble = page.locator("#trouble");
  await trouble.filter({ hasText: /token "logs alone" does not have the scope read or admin/ }).waitFor();
  // No dialog in the way: the token is good, but not for this.
  assert.equal(await page.getByRole("dialog").count(), 0);
  assert.deepEqual(await barriers(page), []);
  await picture(page, "token-of-too-few-scopes");
  await trouble.getByRole("button", { name: "Give another token" }).click();
  await give(page, reads);
  await waitFor("the trouble is over", async () => (await trouble.textContent()) === "");
  await page.locator(".health[data-state=ok]").waitFor();
  // To look is not to reset.
  await page.goto(`${endpoint}/ui#/objects/RATE_LIMITER?prefix=gamma%3Auser-3`);
  await page.locator("tbody a").first().click();
  await page.getByRole("button", { name: "Reset…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Reset" }).click();
  await page.locator(".storage .problem", { hasText: /token "reads alone" does not have the scope check/ }).waitFor();
  await picture(page, "token-refused-reset");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
