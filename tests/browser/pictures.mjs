// The pictures of the README: the status page and the page of a node, light and dark. Comes in: a folder. Goes out:
// PNG files there, of a demo with a fixed seed at the moment at which a zone's subnet is exhausted. Never: a picture
// of another moment because the machine was slow.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { close, demo, nodes, open, ready, until } from './world.mjs';

/** Its fifth story exhausts a subnet after three quarters of an hour. */
const STORY = ['--nodes', '120', '--seed', '5', '--interval', '1s'];
/** Story seconds until shortly before that. */
const BEFORE = 2400;
/** Nodes that get no more addresses for want of a subnet: fewer make no picture. */
const ENOUGH = 4;

const folder = process.argv[2];
const afters = [];
const t = { after: (task) => afters.unshift(task) };
try {
  await mkdir(folder, { recursive: true });
  const service = await demo(t, STORY);
  const order = (path) => fetch(service.truth + path, { method: 'POST' });
  await order('/pause');
  await ready(service);
  await order(`/step?seconds=${BEFORE}`);
  const scraped = async (since) => until('every node has been scraped again', async () =>
    (await nodes(service)).every(({ state, last_success: at }) => state !== 'up' || at > since));
  const dry = await until('a subnet is exhausted', async () => {
    await order('/step?seconds=60');
    await scraped(Date.now() / 1000);
    const found = (await nodes(service)).filter((node) => node.growth_blocked === 'subnet');
    return found.length >= ENOUGH && found[0];
  });
  for (const colorScheme of ['light', 'dark']) {
    for (const [name, path] of [['status', ''], ['node', `node/${dry.node}`]]) {
      const page = await open(t, service.url + path, { colorScheme, viewport: { width: 1280, height: 1150 } });
      await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`) });
    }
  }
} finally {
  for (const task of afters) await task();
  await close();
}
