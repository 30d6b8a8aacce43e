// The pictures of the README: the status page and the page of a node, light and dark. Comes in: a folder. Goes out:
// PNG files there, of a demo with a fixed seed at the moment at which a zone's subnet is exhausted and EC2 throttles.
// Never: a picture of another moment because the machine was slow.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { close, demo, nodes, open, ready, until } from './world.mjs';

/** A story in which a subnet is exhausted after 21 minutes, EC2 throttles after 28, and little else happens until then. */
const STORY = ['--nodes', '100', '--seed', '41', '--interval', '1s'];
/** Story seconds until shortly before that, and from there to the next look. */
const BEFORE = 1200;
const STEP = 120;

const folder = process.argv[2];
const afters = [];
const t = { after: (task) => afters.unshift(task) };
try {
  await mkdir(folder, { recursive: true });
  const service = await demo(t, STORY);
  const order = (path) => fetch(service.truth + path, { method: 'POST' });
  const later = async (seconds) => {
    await order(`/step?seconds=${seconds}`);
    const since = Date.now() / 1000;
    await until('every node has been scraped again', async () =>
      (await nodes(service)).every(({ last_scrape: at }) => at > since));
  };
  await order('/pause');
  await ready(service);
  await later(BEFORE);
  const dry = await until('a subnet is exhausted and EC2 throttles', async () => {
    await later(STEP);
    const blocked = (reason) => all.filter((node) => node.growth_blocked === reason);
    const all = await nodes(service);
    return blocked('throttled').length > 0 && blocked('subnet')[0];
  });
  for (const colorScheme of ['light', 'dark']) {
    for (const [name, path] of [['status', ''], ['node', `node/${dry.node}`]]) {
      const page = await open(t, service.url + path, { colorScheme, viewport: { width: 1280, height: 960 } });
      await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`) });
    }
  }
} finally {
  for (const task of afters) await task();
  await close();
}
