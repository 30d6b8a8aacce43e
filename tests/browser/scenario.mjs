// A test of the status page. Comes in: what is to happen. Goes out: a test of Node's own runner. Never: something that
// is left behind, or an error in clearing up that nobody hears of.

import { after, test } from 'node:test';
import { close } from './world.mjs';

after(close);

/** What `t.after` is given is done at the test's end, the last first, and its errors are the test's. */
export function scenario(name, body) {
  test(name, async () => {
    const afters = [];
    const errors = [];
    const keep = (error) => errors.push(error);
    await body({ after: (task) => afters.unshift(task) }).catch(keep);
    for (const task of afters) await Promise.resolve().then(task).catch(keep);
    if (errors.length > 0) throw errors[0];
  });
}
