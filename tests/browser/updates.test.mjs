// How the page keeps itself up to date. Comes in: nodes that change, an exporter that ends and begins again. Goes out:
// what a person sees who does not touch the page, or who is in the midst of something. Never: a wait for the page's
// own clock, which the test sets forward.

import assert from 'node:assert/strict';
import { scenario } from './scenario.mjs';
import { exporter, fleet, ipamd, nodes, open, ready, until } from './world.mjs';

/** Between two refreshes of the page. */
const REFRESH = 5000;

/** A fleet of one node, and a page that shows it. */
async function shown(t, options) {
  const world = { assigned: 3 };
  const list = [
    { name: 'changes', labels: { zone: 'z' }, answer: () => ipamd({ assigned: world.assigned, total: 900, max: 999 }) },
    { name: 'stands', labels: { zone: 'z' }, answer: ipamd({ assigned: 1, total: 2, max: 3 }) },
  ];
  Object.assign(world, await fleet(t, list));
  world.service = await exporter(t, world.file);
  await ready(world.service);
  world.page = await open(t, world.service.url, { clock: true, ...options });
  world.cell = world.page.locator('table.nodes tr', { hasText: 'changes' }).locator('td.number').nth(1);
  /** Another value, and an exporter that has seen it. */
  world.knows = async (assigned) => {
    world.assigned = assigned;
    await until('the exporter knows', async () =>
      (await nodes(world.service)).some((node) => node.assigned === assigned));
  };
  /** The same, and one refresh after which `seen` holds. */
  world.becomes = async (assigned, seen = async () => await world.cell.innerText() === String(assigned)) => {
    await world.knows(assigned);
    await world.refreshed();
    await until(`${assigned} is seen`, seen);
  };
  /** One refresh, to its end. */
  world.refreshed = async () => {
    const answer = world.page.waitForResponse(world.page.url().replace(/#.*/, ''));
    await world.page.clock.fastForward(REFRESH);
    await (await answer).finished();
    await world.page.locator('#clock', { hasText: 'updated' }).waitFor();
  };
  return world;
}

scenario('a value that changes is shown, without a new page', async (t) => {
  const { page, becomes, cell } = await shown(t);
  assert.equal(await cell.innerText(), '3');
  await page.evaluate(() => { globalThis.sameDocument = true; });
  await becomes(321);
  assert.match(await page.locator('#figures').innerText(), /in use\s*322/);
  assert.equal(await page.evaluate(() => globalThis.sameDocument), true);
});

scenario('whoever is in the midst of something is not disturbed', async (t) => {
  const { page, becomes, cell } = await shown(t, { viewport: { width: 480, height: 500 } });
  // The focus, on things that are replaced and on one that is not; how far the table and the page are scrolled.
  const region = page.getByRole('region', { name: 'Table of nodes' });
  const focused = () => page.evaluate(() => {
    const on = document.activeElement;
    return on.getAttribute('aria-label') ?? on.textContent;
  });
  let value = 10;
  for (const [on, name] of [[region, 'Table of nodes'], [page.getByRole('link', { name: 'Warm' }), 'Warm'],
    [page.locator('table.nodes').getByRole('link', { name: 'stands' }), 'stands']]) {
    await on.focus();
    const old = await cell.elementHandle();
    await region.evaluate((on) => { on.scrollLeft = 90; });
    const down = await page.evaluate(() => scrollY);
    await becomes(value += 1);
    assert.equal(await old.evaluate((cell) => cell.isConnected), false, 'the table is a new one');
    assert.equal(await focused(), name);
    assert.equal(await region.evaluate((on) => on.scrollLeft), 90);
    assert.equal(await page.evaluate(() => scrollY), down);
  }
  // A text that is being typed, with the cursor in its midst.
  const field = page.locator('input[name=node]');
  await field.fill('chanes');
  await field.evaluate((on) => on.setSelectionRange(4, 4));
  await page.clock.fastForward(300);
  await page.locator('#count', { hasText: '0 nodes of 2' }).waitFor();
  await field.press('g');
  await becomes(value += 1);
  assert.equal(await field.inputValue(), 'changes');
  assert.deepEqual(await field.evaluate((on) => [on === document.activeElement, on.selectionStart]), [true, 5]);
  // A text that is selected, to be copied: what is around it stands still, the rest goes on.
  await page.evaluate(() => getSelection().selectAllChildren(document.querySelector('table.nodes tbody th a')));
  await becomes(value += 1, async () => (await page.locator('#figures').innerText()).includes(String(value + 1)));
  assert.equal(await page.evaluate(() => String(getSelection())), 'changes');
  assert.equal(await cell.innerText(), String(value - 1));
  await page.evaluate(() => getSelection().removeAllRanges());
  await becomes(value += 1);
});

scenario('Pause stops it, and it stays paused until it is to go on', async (t) => {
  const { page, becomes, cell, knows } = await shown(t);
  await becomes(20);
  const pause = page.getByRole('button', { name: 'Pause' });
  await pause.click();
  let asked = 0;
  page.on('request', () => { asked += 1; });
  await knows(21);
  await page.clock.runFor(4 * REFRESH);
  // As when one comes back from another tab.
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await page.clock.runFor(4 * REFRESH);
  assert.equal(await pause.getAttribute('aria-pressed'), 'true');
  assert.equal(await page.locator('#clock').innerText(), 'paused');
  assert.deepEqual([await cell.innerText(), asked], ['20', 0]);
  // What one asks for is done all the same, and does not end the pause.
  await page.getByRole('link', { name: 'Assigned' }).click();
  await until('the table is new', async () => await cell.innerText() === '21');
  assert.equal(await page.locator('#clock').innerText(), 'paused');
  await pause.click();
  await page.locator('#clock', { hasText: 'updated' }).waitFor();
  await becomes(22);
});

scenario('it says when the exporter is gone, and goes on when it is back', async (t) => {
  const { page, service, file, becomes } = await shown(t);
  await becomes(30);
  page.expected.push('ERR_CONNECTION_REFUSED');
  await service.stop();
  await page.clock.fastForward(REFRESH);
  const late = page.locator('#clock.late');
  await late.waitFor();
  assert.match(await late.innerText(), /^not updated: the exporter does not answer/);
  assert.match(await page.getByRole('status').innerText(), /the exporter does not answer/, 'it is said aloud');
  assert.match(await page.locator('#figures').innerText(), /in use\s*31/, 'what was known is still there');
  await page.evaluate(() => { location.hash = '#nodes'; });
  await exporter(t, file, { port: service.port });
  await ready(service);
  await until('it is up to date', async () => {
    await page.clock.fastForward(REFRESH);
    return (await page.locator('#clock').innerText()).startsWith('updated') && await page.locator('#figures').count() === 1;
  });
  assert.equal(await page.locator('#clock.late').count(), 0);
  assert.equal(await page.getByRole('status').innerText(), '', 'and refreshes are not read out');
});

scenario('the page of a node that leaves says so, and shows it again when it is back', async (t) => {
  const { page, service, without } = await shown(t);
  await page.goto(`${service.url}node/changes`);
  page.expected.push('404');
  await without('changes');
  const refreshedUntil = (words) => until(words, async () => {
    await page.clock.fastForward(REFRESH);
    return (await page.locator('main').innerText()).includes(words);
  });
  await refreshedUntil('No node of this name is known now');
  await without(undefined);
  await refreshedUntil('last good scrape');
});
