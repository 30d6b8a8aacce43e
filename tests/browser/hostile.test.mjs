// A fleet whose every name, label and series is an attack. Comes in: HOSTILE. Goes out: text, that is shown as text, and
// links that lead where they say. Never: a script that runs, a request to anybody, markup that is not the page's own.

import assert from 'node:assert/strict';
import { HOSTILE, hostile } from './fleets.mjs';
import { scenario } from './scenario.mjs';
import { exporter, fleet, names, nodes, open, ready } from './world.mjs';

/** Elements that a page may have, and attributes that begin so none. */
const OURS = ['A', 'BODY', 'BUTTON', 'CAPTION', 'CODE', 'DD', 'DIV', 'DL', 'DT', 'FIGCAPTION', 'FIGURE', 'FORM', 'H1', 'H2',
  'HEAD', 'HEADER', 'HTML', 'I', 'INPUT', 'LABEL', 'LI', 'LINK', 'MAIN', 'META', 'NAV', 'OPTGROUP', 'OPTION', 'P', 'RECT',
  'SCRIPT', 'SECTION', 'SELECT', 'SPAN', 'STRONG', 'SVG', 'TABLE', 'TBODY', 'TD', 'TEXT', 'TH', 'THEAD', 'TITLE', 'TR', 'UL'];

/** What of a page is not the page's own. */
function strange(page) {
  return page.evaluate((ours) => [...document.querySelectorAll('*')].flatMap((on) => [
    ...(ours.includes(on.tagName.toUpperCase()) ? [] : [on.tagName]),
    ...[...on.attributes].filter(({ name }) => /^on|^style$|^srcdoc$/.test(name)).map(({ name }) => name),
    ...(on.tagName === 'A' && !['http:'].includes(on.protocol) ? [on.href] : []),
    ...(on.tagName === 'SCRIPT' && (on.textContent || !on.src) ? ['a script within the page'] : []),
  ]), OURS);
}

/** As the page cuts a long text. */
const cut = (words, length) => ([...words].length > length ? `${[...words].slice(0, length).join('')}…` : words);

scenario('the policy forbids what is not ours', async (t) => {
  const { file } = await fleet(t, []);
  const { url } = await exporter(t, file);
  for (const path of ['', 'node/none']) {
    const policy = (await fetch(url + path)).headers.get('content-security-policy');
    const rules = Object.fromEntries(policy.split(';').map((rule) => rule.trim().split(' '))
      .map(([name, ...sources]) => [name, sources.join(' ')]));
    assert.equal(rules['default-src'], "'none'", policy);
    for (const name of ['base-uri', 'frame-ancestors']) assert.equal(rules[name], "'none'", `${name} of ${policy}`);
    assert.equal(rules['form-action'], "'self'", policy);
    for (const [name, sources] of Object.entries(rules)) {
      assert.match(sources, /^'(self|none)'$/, `${name}: no wildcard, nothing inline`);
    }
  }
  // And it is in force.
  const page = await open(t, url);
  page.expected.push('against the policy', 'Content Security Policy', 'a request to http://127.0.0.2/');
  const ran = await page.evaluate(async () => {
    const script = document.createElement('script');
    script.textContent = 'globalThis.ran = true';
    document.head.append(script);
    const image = new Image();
    image.src = 'http://127.0.0.2/';
    await new Promise((done) => { image.onerror = done; image.onload = done; });
    return globalThis.ran === true;
  });
  assert.equal(ran, false);
});

scenario('whatever a node or its labels say is text', async (t) => {
  const { file } = await fleet(t, hostile());
  const running = await exporter(t, file);
  await ready(running);
  const page = await open(t, running.url, { clock: true });
  assert.deepEqual(await strange(page), []);
  assert.deepEqual((await names(page)).sort(), [...HOSTILE].sort());
  const cells = await page.locator('table.nodes tbody tr').evaluateAll((rows) => rows.map((row) =>
    [0, 7, 8, 9].map((at) => row.children[at].textContent)));
  const expected = HOSTILE.map((words) => Array(4).fill(cut(words, 64)));
  assert.deepEqual(cells.sort(), expected.sort(), 'name, zone, type and nodegroup');
  // Every name begins where its column does, whatever it does to the order of letters.
  const lefts = await page.locator('table.nodes tbody th').evaluateAll((all) => all.map((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return Math.round(range.getBoundingClientRect().left - cell.getBoundingClientRect().left);
  }));
  assert.deepEqual([...new Set(lefts)], [lefts[0]]);

  // The form chooses such a value, and an address holds it.
  await page.locator('select[name=zone]').selectOption({ value: HOSTILE[1] });
  await page.locator('#count', { hasText: /^1 node of/ }).waitFor();
  assert.deepEqual(await names(page), [HOSTILE[1]]);
  for (const words of HOSTILE) {
    await page.goto(`${running.url}?${new URLSearchParams({ node: words, zone: words })}`);
    assert.deepEqual(await names(page), [words]);
    for (const field of ['select[name=zone]', 'input[name=node]']) {
      assert.equal(await page.locator(field).inputValue(), words);
    }
    assert.deepEqual(await strange(page), []);
  }
});

scenario('the page of each such node is reached by its link, and is text, too', async (t) => {
  const { file } = await fleet(t, hostile());
  const running = await exporter(t, file);
  await ready(running);
  // By name: another order may change meanwhile.
  const home = `${running.url}?sort=node`;
  const page = await open(t, home, { clock: true });
  for (const [at, words] of (await names(page)).entries()) {
    const node = (await nodes(running)).find((each) => each.node === words);
    await page.goto(home);
    const [answer] = await Promise.all([page.waitForNavigation(),
      page.locator('table.nodes tbody th a').nth(at).click()]);
    assert.equal(answer.status(), 200, node.node);
    assert.equal(await page.locator('h1').textContent(), cut(node.node, 128));
    assert.ok((await page.title()).startsWith(cut(node.node, 64).replace(/\s+/g, ' ').trim()));
    assert.ok((await page.locator('#labels').textContent()).includes(cut(node.labels.zone, 300)));
    assert.deepEqual(await strange(page), [], node.node);
    const metrics = await page.getByRole('link', { name: 'its metrics' }).evaluate((link) => link.href);
    assert.equal(new URL(metrics).searchParams.get('node'), node.node);
  }
  page.expected.push('404');
  for (const words of HOSTILE.slice(0, 2)) {
    const answer = await page.goto(`${running.url}node/${encodeURIComponent(`not ${words}`)}`);
    assert.equal(answer.status(), 404);
    assert.equal(await page.locator('h1').textContent(), cut(`not ${words}`, 128));
    assert.deepEqual(await strange(page), []);
  }
});
