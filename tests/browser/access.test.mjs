// Whether everybody can use the pages: contrast, names, keyboard, small and enlarged windows. Comes in: every kind of
// fleet. Goes out: what axe-core and the browser find wrong. Never: a rule that is left out because a page breaks it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { HOSTILE, broken, hostile, mixed } from './fleets.mjs';
import { scenario } from './scenario.mjs';
import { AXE, HANGS, exporter, fleet, nodes, open, ready, until } from './world.mjs';

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** Pages of all kinds, by what they show. */
async function pages(t) {
  const found = {};
  for (const [kind, list] of Object.entries({ empty: [], mixed: mixed(), hostile: hostile(), broken: broken() })) {
    const { file } = await fleet(t, list);
    const running = await exporter(t, file);
    await ready(running);
    found[kind] = running.url;
    const of = (words) => { found[`a node: ${words}`] = `${running.url}node/${encodeURIComponent(words)}`; };
    if (kind === 'mixed') {
      await until('some cannot grow', async () => (await nodes(running)).some((node) => node.growth_blocked));
      of((await nodes(running)).find((each) => each.growth_blocked).node);
      of('nobody');
      found['a filter'] = `${running.url}?sort=use&order=desc&rows=5&page=2&zone=us-west-2a`;
    }
    if (kind === 'hostile') for (const words of [HOSTILE[0], HOSTILE.at(-1)]) of(words);
    if (kind === 'broken') of('hangs');
  }
  const { file } = await fleet(t, [{ name: 'a', answer: HANGS }]);
  found['not ready'] = (await exporter(t, file, { interval: '1m' })).url;
  return found;
}

/** What axe-core finds, as a list that can be read. */
async function faults(page, source) {
  await page.evaluate(source);
  return page.evaluate(async (values) => {
    const { violations } = await globalThis.axe.run(document, { runOnly: { type: 'tag', values } });
    return violations.flatMap(({ id, nodes: all }) => all.map(({ html, failureSummary }) =>
      `${id}: ${html.slice(0, 200)}: ${failureSummary}`));
  }, RULES);
}

/** Texts of drawings, which axe-core does not look at: colours against the page's, as WCAG counts. */
function faint(page) {
  return page.evaluate(() => {
    const light = (colour) => {
      const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map((n) => n / 255)
        .map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll('svg text')].filter((text) => {
      const ink = light(getComputedStyle(text).fill);
      return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05) < 4.5;
    }).map((text) => text.outerHTML);
  });
}

/** What is wider than the window, but in a table that can be scrolled. */
function wide(page) {
  return page.evaluate(() => {
    const { clientWidth: room, scrollWidth } = document.documentElement;
    if (scrollWidth <= room) return [];
    const over = [...document.querySelectorAll('body *')].filter((on) =>
      !on.parentElement.closest('.scroll') && on.getBoundingClientRect().right > room + 1);
    return [`${scrollWidth} px`, ...over.map((on) => on.outerHTML.slice(0, 150))].slice(0, 3);
  });
}

scenario('every page is readable in light and dark and named as it must be, and no window is too small', async (t) => {
  const source = await readFile(AXE, 'utf8');
  const page = await open(t, 'about:blank', { clock: true });
  page.expected.push('404');
  const found = [];
  const papers = new Set();
  for (const [kind, url] of Object.entries(await pages(t))) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.goto(url);
      found.push(...[...await faults(page, source), ...await faint(page)].map((fault) => [kind, colorScheme, fault]));
      papers.add(`${colorScheme} ${await page.evaluate(() => getComputedStyle(document.body).backgroundColor)}`);
    }
    // The last is 1280 px at 200%.
    for (const width of [320, 640]) {
      await page.setViewportSize({ width, height: 700 });
      found.push(...(await wide(page)).map((fault) => [kind, `${width} px`, fault]));
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  }
  assert.deepEqual(found, []);
  assert.deepEqual([...papers].sort(), ['dark rgb(20, 23, 28)', 'light rgb(255, 255, 255)']);
});

scenario('the keyboard reaches everything in the order of the page, and one sees where', async (t) => {
  const { file } = await fleet(t, mixed());
  const running = await exporter(t, file);
  await ready(running);
  for (const colorScheme of ['light', 'dark']) {
    const page = await open(t, `${running.url}?rows=5&page=2`, { clock: true, colorScheme });
    // Anew each time: the page updates itself meanwhile.
    await page.evaluate(() => {
      globalThis.reachable = () => [...document.querySelectorAll('a[href], button, input, select, [tabindex="0"]')]
        .filter((on) => on.type !== 'hidden' && on.checkVisibility());
    });
    const wanted = await page.evaluate(() => globalThis.reachable().map((on) => on.outerHTML.slice(0, 80)));
    const reached = [];
    for (let presses = 0; presses < wanted.length; presses += 1) {
      await page.keyboard.press('Tab');
      const on = await page.evaluate(() => {
        const { activeElement: it } = document;
        const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(it);
        const { left, right, top, bottom } = it.getBoundingClientRect();
        const seen = right > 0 && left < innerWidth && bottom > 0 && top < innerHeight;
        const paper = getComputedStyle(document.body).backgroundColor;
        const outlined = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && outlineColor !== paper;
        return { at: globalThis.reachable().indexOf(it), seen, outlined, html: it.outerHTML.slice(0, 80) };
      });
      assert.ok(on.seen && on.outlined, JSON.stringify(on));
      reached.push(on.at);
    }
    assert.deepEqual(reached, wanted.map((_, at) => at), wanted.join('\n'));
  }
});

scenario('the keyboard alone skips to the content, sorts and filters', async (t) => {
  const { file } = await fleet(t, mixed());
  const running = await exporter(t, file);
  await ready(running);
  const page = await open(t, running.url, { clock: true });
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.ok(await page.evaluate(() => document.querySelector('main').contains(document.activeElement)));
  await page.locator('input[name=node]').focus();
  await page.keyboard.type('-3');
  await page.keyboard.press('Enter');
  await page.locator('#count', { hasText: /nodes of 40/ }).waitFor();
  await page.getByRole('link', { name: 'Zone' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('th[aria-sort]', { hasText: 'Zone' }).waitFor();
  const region = page.getByRole('region', { name: 'Table of nodes' });
  await page.setViewportSize({ width: 400, height: 700 });
  await region.focus();
  await page.keyboard.press('ArrowRight');
  await until('the table scrolls', async () => await region.evaluate((on) => on.scrollLeft) > 0);
});

scenario('headings, landmarks and tables say what they are', async (t) => {
  const { file } = await fleet(t, mixed());
  const running = await exporter(t, file);
  await ready(running);
  const page = await open(t, running.url, { clock: true });
  const [first] = await nodes(running);
  for (const path of ['', `node/${first.node}`]) {
    await page.goto(running.url + path);
    const levels = await page.getByRole('heading').evaluateAll((all) => all.map((on) => Number(on.tagName[1])));
    assert.equal(levels[0], 1);
    assert.ok(levels.slice(1).every((level) => level === 2), `${levels}`);
    for (const role of ['banner', 'main']) assert.equal(await page.getByRole(role).count(), 1, role);
    const lost = await page.locator('th:not([scope])').count();
    assert.equal(lost, 0, 'every heading of a table has a scope');
    const unnamed = await page.locator('table').evaluateAll((all) => all.filter((table) =>
      !table.caption && !table.closest('[role=region][aria-label]')).length);
    assert.equal(unnamed, 0, 'every table has a caption, or stands in a region with a name');
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'en');
  }
  await page.goto(running.url);
  assert.equal(await page.getByRole('search').count(), 1);
  assert.equal(await page.getByRole('navigation', { name: 'Pages of nodes' }).count(), 1);
});
