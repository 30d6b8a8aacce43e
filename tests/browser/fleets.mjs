// The fleets that more than one test looks at. Comes in: nothing. Goes out: lists of nodes for `fleet`. Never: chance.

import { HANGS, REFUSES, ipamd } from './world.mjs';

/** What would be markup, an event, an address, another order of the letters, a way out of an attribute. */
export const HOSTILE = [
  '</title><script>foul("a script")</script>',
  '"><img src=x onerror=foul(1)>',
  "' onmouseover='foul(1)' x='",
  'javascript:foul(1)',
  'a/b/../c',
  '100%2F%zz',
  '?state=up#nodes',
  '\u202Egnp.exe\u202C',
  '\u{1F469}\u200D\u{1F680} e\u0301 \u0000'.replace('\u0000', '\uFFFD'),
  '&lt;b&gt;&amp;&#x27;',
  '{{7*7}}${7*7}<%= 7 %>',
  'w'.repeat(253),
];

/** Nodes whose names, labels and series are all of that. */
export function hostile() {
  return HOSTILE.map((words, at) => {
    const value = words.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
    const page = ipamd({
      assigned: at, total: 20, max: 30, version: value, eni: { [value]: at },
      more: `# TYPE other_series gauge\n# HELP other_series ${words}\nother_series{of="${value}"} 1\n`,
    });
    return {
      name: words,
      labels: { zone: words, instance_type: words, nodegroup: words, [`label_${at}`]: words },
      answer: at % 3 === 2 ? words : page,
    };
  });
}

/** Every node fails, in a way of its own. */
export function broken() {
  const page = ipamd({ assigned: 3, total: 5, max: 10 });
  const answers = { refuses: REFUSES, hangs: HANGS, errs: 503, babbles: '<html>It works!</html>\n', breaks: page.slice(0, 90),
    empties: '\n' };
  return Object.entries(answers).map(([name, answer]) => ({ name, answer, labels: { zone: 'us-west-2a' } }));
}

const ZONES = ['us-west-2a', 'us-west-2b', 'us-west-2c'];
const TYPES = ['m5.large', 'c5.9xlarge'];
const GROUPS = ['web', 'batch', 'ingest'];
const FULL = 40;

/** Node and number are no order of each other; some fail, some get no more addresses, some have no labels. */
export function mixed() {
  return Array.from({ length: FULL }, (_, at) => {
    const [assigned, total, max] = [(at * 7) % 30, 30, at % 4 === 0 ? 58 : 30];
    const labels = at % 10 === 9 ? {} : { zone: ZONES[at % 3], instance_type: TYPES[at % 2], nodegroup: GROUPS[(at * 5) % 3] };
    const name = `ip-10-0-${(at * 13) % FULL}-${at}.Example`;
    const good = ipamd({ assigned, total, max, eni: { 'eni-0a': assigned } });
    if (at % 10 === 4) return { name, labels, answer: at < 20 ? 503 : 'garbage\n' };
    if (at % 10 === 6) return { name, labels, answer: refused(at < 20) };
    return { name, labels, answer: good };
  });
}

/** Pods are refused addresses, for EC2 gives no more: the counts of both grow with each page. */
function refused(bySubnet) {
  const error = bySubnet ? 'InsufficientFreeAddressesInSubnet' : 'UnauthorizedOperation';
  let count = 5;
  return () => {
    count += 1;
    return ipamd({
      assigned: 20, total: 20, max: 58, more: `# TYPE awscni_aws_api_error_count counter
awscni_aws_api_error_count{api="AssignPrivateIpAddresses",error="${error}"} ${count}
# TYPE awscni_no_available_ip_addresses counter
awscni_no_available_ip_addresses ${count}
` });
  };
}
