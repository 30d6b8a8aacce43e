// What the page shows of every kind of fleet, with its script and without. Comes in: fleets. Goes out: what a person
// reads. Never: a picture compared with another.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { broken, mixed } from './fleets.mjs';
import { scenario } from './scenario.mjs';
import { demo, exporter, fleet, ipamd, names, nodes, open, ready, until } from './world.mjs';

/** Of the first page with all that it loads, uncompressed. */
const SIZE = 60_000;

const text = (page, selector) => page.locator(selector).innerText();
const colour = (page, selector, of) => page.locator(selector).evaluate((on, name) => getComputedStyle(on)[name], of);

scenario('an empty fleet says so, and invents no figure', async (t) => {
  const { file } = await fleet(t, []);
  const service = await exporter(t, file);
  await ready(service);
  for (const javaScriptEnabled of [true, false]) {
    const page = await open(t, service.url, { javaScriptEnabled });
    assert.match(await text(page, '#findings'), /No node is known/);
    assert.match(await text(page, '#count'), /^0 nodes/);
    assert.doesNotMatch(await text(page, 'main'), /NaN|undefined|null|%/);
    assert.equal(await page.locator('table.nodes tbody tr').count(), 0);
  }
});

scenario('before the first round it has no figures; once it has closed the page turns into a full one by itself', async (t) => {
  let answer;
  const later = new Promise((done) => { answer = done; });
  const list = ['a', 'b'].map((name) => ({ name, answer: () => later }));
  const { file } = await fleet(t, list);
  const service = await exporter(t, file, { interval: '20s' });
  const page = await open(t, `${service.url}#main`, { clock: true });
  assert.match(await text(page, '#findings'), /No figures yet/);
  assert.match(await text(page, '#findings'), /Not ready: /);
  assert.equal(await page.locator('#figures, #nodes').count(), 0);
  assert.equal(await text(page, '#ready'), 'not ready');
  assert.notEqual(await colour(page, '#ready', 'backgroundColor'), 'rgba(0, 0, 0, 0)', 'the state has its colour');
  const node = await open(t, `${service.url}node/a`);
  node.expected.push('404');
  assert.match(await text(node, 'main'), /No node is known yet/);
  answer(ipamd({ assigned: 3, total: 5, max: 10 }));
  await ready(service);
  await until('the page has figures', async () => {
    await page.clock.fastForward(5000);
    return await page.locator('#figures').count() === 1;
  });
  assert.equal(await text(page, '#ready'), 'ready');
});

scenario('of a broken fleet it says how each node fails, and shows no figure of it', async (t) => {
  const { file } = await fleet(t, broken());
  const service = await exporter(t, file);
  await ready(service);
  const page = await open(t, service.url);
  const findings = await text(page, '#findings');
  for (const words of ['cannot be scraped (refused)', 'cannot be scraped (http_status)', 'cannot be scraped (timeout)',
    '3 nodes: cannot be scraped (parse)', 'HTTP status 503', 'Connection refused']) {
    assert.ok(findings.includes(words), `${words} in ${findings}`);
  }
  const rows = await page.locator('table.nodes tbody tr').evaluateAll((all) =>
    all.map((row) => [...row.querySelectorAll('td.number')].map((cell) => cell.textContent)));
  assert.deepEqual(rows, Array(6).fill(['–', '–', '–', '–', 'never']));
  for (const { node, reason } of await nodes(service)) {
    await page.goto(`${service.url}node/${node}`);
    assert.ok((await text(page, '#state')).includes(reason), `${node}: ${reason}`);
    assert.equal(await page.locator('#series, #figures').count(), 0);
  }
});

scenario('without its script it shows the same, and filters and sorts', async (t) => {
  const { file } = await fleet(t, mixed());
  const service = await exporter(t, file);
  await ready(service);
  const blocked = async () => (await nodes(service)).filter((node) => node.growth_blocked).length === 4;
  await until('all that cannot grow are known', blocked);
  // Times go on; all the rest stands still.
  const read = async (page) => [await text(page, '#findings'), await text(page, '#figures'),
    ...await page.locator('table.nodes tr').evaluateAll((rows) =>
      rows.map((row) => [...row.children].slice(0, -1).map((cell) => cell.textContent)))];
  const [page, plain] = [await open(t, service.url), await open(t, service.url, { javaScriptEnabled: false })];
  // A node that is late once, on a machine that is busy, is not a difference.
  let both;
  await until('both are the same', async () => {
    both = [await read(page), await read(plain)];
    if (isDeepStrictEqual(...both)) return true;
    for (const each of [page, plain]) await each.reload();
    return false;
  }).catch(() => assert.deepEqual(both[1], both[0]));
  assert.equal(await plain.locator('#pause').isVisible(), false, 'no button that would do nothing');

  await plain.getByRole('link', { name: 'Assigned' }).click();
  assert.match(plain.url(), /\?sort=assigned&order=desc#nodes$/);
  assert.equal(await plain.locator('th[aria-sort]').getAttribute('aria-sort'), 'descending');
  await plain.locator('select[name=zone]').selectOption('us-west-2b');
  await plain.locator('input[name=node]').fill('EXAMPLE');
  await plain.getByRole('button', { name: 'Filter' }).click();
  const sorted = (await nodes(service)).filter((node) => node.labels.zone === 'us-west-2b')
    .sort((a, b) => (b.assigned ?? -1) - (a.assigned ?? -1) || (a.node < b.node ? -1 : 1));
  assert.deepEqual(await names(plain), sorted.map((node) => node.node), 'in the order that was chosen before');
  assert.equal(await plain.locator('input[name=node]').inputValue(), 'EXAMPLE');
  await plain.getByRole('link', { name: 'Show all' }).click();
  assert.match(await text(plain, '#count'), /^40 nodes, 1 to 25/);
  await plain.getByRole('link', { name: 'Next' }).click();
  assert.match(await text(plain, '#count'), /^40 nodes, 26 to 40/);
});

scenario('the first page of the demo is small, with all that it loads', async (t) => {
  const service = await demo(t, ['--nodes', '60', '--seed', '3']);
  await ready(service);
  const page = await open(t, service.url);
  const loaded = await page.evaluate(() => ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
    .map(({ name, decodedBodySize }) => [name, decodedBodySize]));
  // A Chromium that nobody looks at asks for no icon.
  loaded.push(['icon', (await (await fetch(`${service.url}static/icon.svg`)).arrayBuffer()).byteLength]);
  const size = loaded.reduce((sum, [, bytes]) => sum + bytes, 0);
  assert.ok(loaded.length >= 4 && loaded.every(([, bytes]) => bytes > 0) && size < SIZE, JSON.stringify([size, loaded]));
});

scenario('a large fleet is turned page by page, and the browser goes back', async (t) => {
  const service = await demo(t, ['--nodes', '2000', '--seed', '3', '--interval', '10s']);
  await fetch(`${service.truth}/pause`, { method: 'POST' });
  await ready(service);
  const page = await open(t, `${service.url}?sort=node&rows=500`, { clock: true });
  const seen = new Set();
  const { length: total } = await all(service);
  const last = Math.ceil(total / 500);
  for (let at = 1; ; at += 1) {
    await page.locator('.pages span', { hasText: `Page ${at} of ${last}` }).waitFor();
    for (const name of await names(page)) seen.add(name);
    if (at === last) break;
    await page.getByRole('link', { name: 'Next' }).click();
  }
  assert.equal(seen.size, total, 'every node once');
  assert.equal(await page.getByRole('link', { name: 'Next' }).count(), 0);
  await page.getByRole('link', { name: 'Previous' }).click();
  await page.locator('.pages span', { hasText: `Page ${last - 1} of` }).waitFor();
  await page.goBack();
  await page.locator('.pages span', { hasText: `Page ${last} of` }).waitFor();
  await page.goto(`${service.url}?page=99999`);
  assert.deepEqual(await names(page), []);
  await page.getByRole('link', { name: 'Previous' }).click();
  await page.locator('.pages span', { hasText: `Page ${Math.ceil(total / 25)} of` }).waitFor();
});

/** All nodes, of however many pages. */
async function all(service) {
  const found = [];
  for (let at = 1; ; at += 1) {
    const answer = await (await fetch(`${service.url}api/v1/nodes?per_page=1000&page=${at}`)).json();
    found.push(...answer.nodes);
    if (found.length >= answer.total) return found;
  }
}
