// What the tests of the status page stand on: simulated nodes, the program, the browser. Comes in: what nodes answer,
// flags. Goes out: addresses and pages, all on loopback. Never: a fixed port, a wait for time to pass where something
// can be waited for, a page that did what it must not and no test that fails for it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PARTS = createRequire(join(need('VPCCNI_BROWSER_PARTS'), 'parts.js'));
const PROGRAM = need('VPCCNI_PROGRAM');
const { chromium } = PARTS('playwright-core');

/** For whatever should take a moment, on a machine that is busy. */
export const HANG = 40_000;

/** What tests whether a page can be used by everybody. */
export const AXE = PARTS.resolve('axe-core/axe.min.js');

function need(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run tests/browser/check`);
  return value;
}

/** Asks until the answer is not false, and returns it. */
export async function until(what, ask) {
  const end = Date.now() + HANG;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((after) => setTimeout(after, 50));
  }
}

/** A page as ipamd serves it: gauges of a node, and whatever lines there are besides. */
export function ipamd({ assigned, total, max, eni = {}, version = 'v1.20.4', more = '' }) {
  const perEni = Object.entries(eni).map(([id, n]) => `awscni_assigned_ip_per_eni{eni="${id}"} ${n}\n`).join('');
  return `# TYPE awscni_assigned_ip_addresses gauge
awscni_assigned_ip_addresses ${assigned}
# TYPE awscni_total_ip_addresses gauge
awscni_total_ip_addresses ${total}
# TYPE awscni_ip_max gauge
awscni_ip_max ${max}
# TYPE awscni_build_info gauge
awscni_build_info{goversion="go1.24.4",version="${version}"} 1
${perEni && `# TYPE awscni_assigned_ip_per_eni gauge\n${perEni}`}${more}`;
}

/** Where a scrape ends in the way that a test wants. */
export const HANGS = Symbol('accepts and never answers');
export const REFUSES = Symbol('refuses connections');

/**
 * Nodes behind sockets, and the file that lists them. A node is `{name, labels, answer}`: `answer` is a text, a status,
 * [`HANGS`], [`REFUSES`], or a function that says which, now or later.
 */
export async function fleet(t, nodes) {
  const folder = await mkdtemp(join(tmpdir(), 'vpc-cni-exporter-browser-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'targets.json');
  const listed = await Promise.all(nodes.map(async (node) => {
    const server = createServer(async (_, response) => {
      const answer = await (typeof node.answer === 'function' ? node.answer() : node.answer);
      if (answer === HANGS) return;
      const text = typeof answer === 'string' ? answer : '';
      response.writeHead(text ? 200 : answer, { 'content-type': 'text/plain; version=0.0.4' });
      response.end(text);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    // What refuses has had a port of its own, so that nobody else has it now.
    if (node.answer === REFUSES) server.close();
    else t.after(() => { server.close(); server.closeAllConnections(); });
    return { targets: [`127.0.0.1:${port}`], labels: { node: node.name, ...node.labels } };
  }));
  const write = async (list) => {
    await writeFile(`${file}.new`, JSON.stringify(list));
    await rename(`${file}.new`, file);
  };
  await write(listed);
  return { file, without: (name) => write(listed.filter(({ labels }) => labels.node !== name)) };
}

/** Runs the program until it says where it listens. */
async function run(t, words, says) {
  // Its settings may be variables, too.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VPCCNI_')));
  const child = spawn(PROGRAM, words, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let told = '';
  let ended;
  const end = once(child, 'exit').then(() => { ended = true; });
  for (const out of [child.stdout, child.stderr]) out.setEncoding('utf8').on('data', (text) => { told += text; });
  const stop = async () => {
    child.kill('SIGKILL');
    await end;
  };
  t.after(stop);
  const found = await until(`the program says ${says}`, () => {
    if (ended) throw new Error(`the program ended: ${told}`);
    return says.exec(told);
  });
  return { found, stop, told: () => told };
}

/**
 * The program against nodes of a file; with a short interval, so that nothing takes long, and all of it for an answer:
 * the nodes are a test's own, on a machine that is busy.
 */
export async function exporter(t, file, { interval = '2s', port = 0 } = {}) {
  const words = ['--web.listen-address', `127.0.0.1:${port}`, '--scrape.interval', interval, '--scrape.timeout', interval,
    '--publish.interval', '200ms', '--discover.file', file];
  const { found, stop } = await run(t, words, /listening for HTTP address=127\.0\.0\.1:(\d+)/);
  return { url: `http://127.0.0.1:${found[1]}/`, port: Number(found[1]), stop };
}

/** The demo, with the address of its truth. */
export async function demo(t, words) {
  const all = ['demo', '--web.listen-address', '127.0.0.1:0', ...words];
  const { found, told, stop } = await run(t, all, /page +(http\S+)[^]*\ntruth +(http:\/\/[^/]+)/);
  return { url: found[1], truth: found[2], told, stop };
}

/** Waits until the first round has closed. */
export async function ready({ url }) {
  await until('the first round has closed', async () => (await fetch(`${url}readyz`)).ok);
}

/** All nodes, as the API tells of them. */
export async function nodes({ url }) {
  return (await (await fetch(`${url}api/v1/nodes?per_page=1000`)).json()).nodes;
}

let browser;

/** Closes it. */
export async function close() {
  await (await browser)?.close();
}

/** The browser, the same for all tests of a file. */
async function started() {
  browser ??= chromium.launch({
    executablePath: need('VPCCNI_CHROMIUM'),
    args: [...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  return browser;
}

/**
 * Opens an address, and fails the test at its end if the page complained, asked anybody else, broke its policy or
 * opened a dialog. `page.expected` are texts of complaints that belong to the test.
 */
export async function open(t, url, options = {}) {
  const context = await (await started()).newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(HANG);
  const page = await context.newPage();
  // Ours are all on the same address, each with a port.
  const home = 'http://127.0.0.1:';
  const foul = [];
  page.expected = [];
  page.on('console', (said) => ['error', 'warning'].includes(said.type()) && foul.push(said.text()));
  page.on('pageerror', (error) => foul.push(`an error: ${error}`));
  page.on('dialog', async (dialog) => { foul.push(`a dialog: ${dialog.message()}`); await dialog.dismiss(); });
  page.on('popup', () => foul.push('a window of its own'));
  page.on('request', (request) => {
    if (!request.url().startsWith(home)) foul.push(`a request to ${request.url()}`);
  });
  if (options.javaScriptEnabled !== false) {
    await page.exposeFunction('foul', (text) => foul.push(String(text)));
    await page.addInitScript(() => document.addEventListener('securitypolicyviolation', (event) => {
      globalThis.foul(`against the policy: ${event.violatedDirective} ${event.blockedURI}`);
    }));
  }
  if (options.clock) await page.clock.install();
  t.after(async () => {
    await context.close();
    assert.deepEqual(foul.filter((text) => !page.expected.some((part) => text.includes(part))), []);
  });
  page.answer = await page.goto(url);
  return page;
}

/** Names of the nodes in the table, in their order. Their links have them whole. */
export async function names(page) {
  const links = await page.locator('table.nodes tbody th a').evaluateAll((all) => all.map((a) => a.getAttribute('href')));
  return links.map((href) => decodeURIComponent(href.replace(/^.*node\//, '')));
}
