// The table of nodes, its filter, its links and the page of a node, all with the script. Comes in: a fleet that stands
// still, and what the API says of it. Goes out: names in their order. Never: an order that the page itself tells.

import assert from 'node:assert/strict';
import { mixed } from './fleets.mjs';
import { scenario } from './scenario.mjs';
import { exporter, fleet, ipamd, names, nodes, open, ready, until } from './world.mjs';

/** A fleet of 40 nodes, of which four cannot grow and four cannot be scraped. */
async function service(t) {
  const { file } = await fleet(t, mixed());
  const running = await exporter(t, file);
  await ready(running);
  await until('all that cannot grow are known', async () =>
    (await nodes(running)).filter((node) => node.growth_blocked).length === 4);
  return running;
}

/** Reasons in the order in which the page offers them. */
const REASONS = ['max_pods', 'ceiling', 'subnet', 'denied', 'throttled', 'api', 'unknown'];
const warm = (node) => (node.total === null ? null : node.total - node.assigned);
/** What each column is ordered by; null comes last in both directions. Usable is max: no kubelet limits these pods. */
const COLUMNS = {
  Node: (node) => node.node,
  State: (node) => node.state,
  'In use': (node) => (node.max === null ? null : node.assigned / node.max),
  Assigned: (node) => node.assigned,
  Warm: warm,
  Usable: (node) => node.max,
  'No growth': (node) => (node.growth_blocked === null ? null : REASONS.indexOf(node.growth_blocked)),
  Zone: (node) => node.labels.zone ?? null,
  Type: (node) => node.labels.instance_type ?? null,
  Nodegroup: (node) => node.labels.nodegroup ?? null,
};

function ordered(all, by, direction) {
  const sign = direction === 'descending' ? -1 : 1;
  return [...all].sort((a, b) => {
    const [x, y] = [by(a), by(b)];
    if (x === null || y === null) return (x === null) - (y === null) || (a.node < b.node ? -1 : 1);
    if (x !== y) return x < y ? -sign : sign;
    return a.node < b.node ? -1 : 1;
  }).map((node) => node.node);
}

/** Waits until the table holds these names in this order. */
async function shows(page, what, expected) {
  let seen;
  await until(what, async () => {
    seen = await names(page);
    return seen.join() === expected.join();
  }).catch((error) => {
    assert.deepEqual(seen, expected, what);
    throw error;
  });
}

scenario('each heading sorts, the other way when clicked again, and says so', async (t) => {
  const running = await service(t);
  const all = await nodes(running);
  const page = await open(t, `${running.url}?rows=100`, { clock: true });
  for (const [name, by] of Object.entries(COLUMNS)) {
    const seen = new Set();
    for (let click = 0; click < 2; click += 1) {
      const heading = page.getByRole('columnheader', { name, exact: true });
      const before = await heading.getAttribute('aria-sort');
      await heading.getByRole('link').click();
      await until(`${name} is sorted anew`, async () => ![null, before].includes(await heading.getAttribute('aria-sort')));
      const direction = await heading.getAttribute('aria-sort');
      seen.add(direction);
      assert.deepEqual(await names(page), ordered(all, by, direction), `${name}, ${direction}`);
      assert.equal(await page.locator('th[aria-sort]').count(), 1);
      assert.equal(await page.evaluate(() => document.activeElement.firstChild.textContent), name, 'it keeps the focus');
    }
    assert.deepEqual([...seen].sort(), ['ascending', 'descending'], name);
  }
  // Times go on: those that never answered come last.
  await page.getByRole('link', { name: 'Last good' }).click();
  await page.locator('th[aria-sort]', { hasText: 'Last good' }).waitFor();
  const never = all.filter((node) => node.last_success === null).map((node) => node.node).sort();
  assert.deepEqual((await names(page)).slice(-never.length), never);
  // The worst first, as on the first page: blocked by others, then without values, then the rest by use.
  await page.getByRole('link', { name: 'worst first' }).click();
  const urgency = (node) => (node.growth_blocked ? 4 : node.state === 'failed' ? 3 : 0);
  const use = (node) => (node.max === null ? -1 : node.assigned / node.max);
  await shows(page, 'the worst is first', [...all].sort((a, b) =>
    urgency(b) - urgency(a) || use(b) - use(a) || (a.node < b.node ? -1 : 1)).map((node) => node.node));
});

scenario('each filter shows the nodes that the API knows as such, and its address shows them again', async (t) => {
  const running = await service(t);
  const all = (await nodes(running)).sort((a, b) => (a.node < b.node ? -1 : 1));
  const page = await open(t, `${running.url}?sort=node&rows=100`, { clock: true });
  const those = (wanted) => all.filter(wanted).map((node) => node.node);
  const choose = (name, value) => page.locator(`select[name=${name}]`).selectOption(value);
  const cases = [
    ['node', 'EXAMPLE', () => true],
    ['node', '-3', (node) => node.node.includes('-3')],
    ['zone', 'us-west-2b', (node) => node.labels.zone === 'us-west-2b'],
    ['type', 'c5.9xlarge', (node) => node.labels.instance_type === 'c5.9xlarge'],
    ['nodegroup', 'ingest', (node) => node.labels.nodegroup === 'ingest'],
    ['state', 'failed', (node) => node.state === 'failed'],
    ['reason', 'http_status', (node) => node.last_outcome === 'http_status'],
    ['reason', 'subnet', (node) => node.growth_blocked === 'subnet'],
    ['reason', 'throttled', () => false],
  ];
  for (const [name, value, wanted] of cases) {
    const set = (to) => (name === 'node' ? page.locator('input[name=node]').fill(to) : choose(name, to));
    await set(value);
    await page.clock.fastForward(300);
    await shows(page, `${name}=${value}`, those(wanted));
    const at = new URL(page.url());
    assert.equal(at.searchParams.get(name), value);
    assert.equal(at.searchParams.get('sort'), 'node');
    await set('');
  }
  await page.clock.fastForward(300);
  await shows(page, 'all again', those(() => true));
  // Several at once, and the same from the address alone.
  await choose('zone', 'us-west-2a');
  await choose('type', 'm5.large');
  const both = those(({ labels }) => labels.zone === 'us-west-2a' && labels.instance_type === 'm5.large');
  await shows(page, 'both', both);
  assert.match(await page.locator('#count').innerText(), new RegExp(`^${both.length} nodes of 40`));
  await page.reload();
  assert.deepEqual(await names(page), both);
  assert.equal(await page.locator('select[name=zone]').inputValue(), 'us-west-2a');
  await page.getByRole('link', { name: 'Show all' }).click();
  await page.locator('#count', { hasText: /^40 nodes/ }).waitFor();
  assert.equal(await page.locator('select[name=zone]').inputValue(), '');
});

scenario('an order that was clicked outlives a filter, and the browser goes back to what was shown', async (t) => {
  const running = await service(t);
  const all = await nodes(running);
  const page = await open(t, `${running.url}?sort=use&order=desc&rows=100`, { clock: true });
  await page.getByRole('link', { name: 'Zone' }).click();
  await page.locator('th[aria-sort=ascending]', { hasText: 'Zone' }).waitFor();
  await page.locator('select[name=state]').selectOption('up');
  const up = all.filter((node) => node.state === 'up');
  await shows(page, 'those that are up, by zone', ordered(up, COLUMNS.Zone, 'ascending'));
  await page.goBack();
  await shows(page, 'as it began', ordered(all, COLUMNS['In use'], 'descending'));
  assert.equal(await page.locator('select[name=state]').inputValue(), '', 'the form says what the table shows');
  await page.goForward();
  await shows(page, 'forward again', ordered(up, COLUMNS.Zone, 'ascending'));
  assert.equal(await page.locator('select[name=state]').inputValue(), 'up');
});

scenario('findings and states lead to their nodes', async (t) => {
  const running = await service(t);
  const page = await open(t, running.url, { clock: true });
  for (const [name, count] of [['subnet', 2], ['denied', 2], ['http_status', 2], ['parse', 2]]) {
    await page.locator('.finding', { hasText: `(${name})` }).getByRole('link', { name: 'show in the table' }).click();
    await page.locator('#count', { hasText: `${count} nodes of 40` }).waitFor();
    assert.equal(await page.locator('select[name=reason]').inputValue(), name);
    const them = (await nodes(running)).filter((node) => [node.growth_blocked, node.last_outcome].includes(name));
    assert.deepEqual((await names(page)).sort(), them.map((node) => node.node).sort());
    assert.ok(await page.locator('#nodes-title').evaluate((title) => {
      const { top } = title.getBoundingClientRect();
      return top >= 0 && top < innerHeight;
    }), 'the table is in view');
  }
  await page.getByRole('row', { name: /^failed/ }).getByRole('link').click();
  await page.locator('#count', { hasText: '4 nodes of 40' }).waitFor();
});

scenario('a node has a page with its figures, its series, its interfaces and its last scrapes', async (t) => {
  const answers = [ipamd({ assigned: 7, total: 9, max: 14, eni: { 'eni-0a': 5, 'eni-0b': 2 } }), 503];
  let at = 0;
  const { file } = await fleet(t, [{ name: 'one', labels: { zone: 'z', team: 'blue' }, answer: () => answers[at] }]);
  const running = await exporter(t, file);
  await ready(running);
  const page = await open(t, running.url, { clock: true });
  await page.getByRole('link', { name: 'one', exact: true }).click();
  assert.equal(new URL(page.url()).pathname, '/node/one');
  assert.equal(await page.locator('h1').innerText(), 'one');
  const rows = (of) => page.locator(`${of} tr`).evaluateAll((all) => all.map((row) =>
    [...row.children].map((cell) => cell.textContent)));
  const series = (await rows('table.series')).filter((cells) => cells.length === 2);
  assert.deepEqual(series.sort(), [['', '14'], ['', '7'], ['', '9'], ['{eni="eni-0a"}', '5'], ['{eni="eni-0b"}', '2'],
    ['{goversion="go1.24.4",version="v1.20.4"}', '1']]);
  assert.deepEqual(await rows('#figures table'), [['eni="eni-0a"', '5'], ['eni="eni-0b"', '2']]);
  const widths = await page.locator('#figures table rect').evaluateAll((all) => all.map((bar) => bar.getAttribute('width')));
  assert.deepEqual(widths, ['100.00', '40.00']);
  assert.match(await page.locator('#figures').innerText(), /in use\s*7\s*50\.0% of usable\s*warm\s*2/);
  assert.match(await page.locator('#labels').innerText(), /team\s+blue/);
  assert.equal((await fetch(await page.getByRole('link', { name: 'its metrics' }).evaluate((link) => link.href))).status, 200);
  at = 1;
  await until('its failure is seen', async () => {
    await page.clock.fastForward(5000);
    return (await page.locator('#state').innerText()).includes('“the answer has HTTP status 503”');
  });
  const outcomes = await page.locator('#scrapes .tag').allInnerTexts();
  assert.equal(outcomes[0], 'http_status', 'the newest first');
  assert.equal(outcomes.at(-1), 'ok');
  await page.getByRole('link', { name: 'All nodes' }).click();
  assert.equal(page.url(), running.url);

  page.expected.push('404');
  const answer = await page.goto(`${running.url}node/two`);
  assert.equal(answer.status(), 404);
  assert.match(await page.locator('main').innerText(), /No node of this name is known now/);
});
