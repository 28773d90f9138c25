// The map's numbers as tables: for those who read them better so, and those who hear them.

import { h, text } from './dom.js';
import { bytes, number, percent, sum } from './format.js';
import { moved } from './live.js';

// Columns after the first; numbers are to the right.
const HOSTS = ['Host', 'State', 'Workloads', 'Systems', 'Mb/s', 'Loss', 'Hogs', 'CPU I/O', 'CPU hogs', 'Containers in use', 'Backlog of rings', 'Drops/s'];
const NETWORKS = ['Network', 'State', 'Medium', 'Mb/s', 'Rate, Mb/s', 'Backlog', 'Loss wanted', 'Drops/s', 'Where'];

const WORDS = ['State', 'Workloads', 'Systems', 'Medium', 'Where'];

function table(caption, columns) {
  const body = h('tbody');
  const rows = new Map();
  return {
    node: h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
      h('table', {}, h('caption', {}, caption), h('thead', {}, h('tr', {}, columns.map((name) => h('th', { scope: 'col', class: WORDS.includes(name) ? 'words' : '' }, name)))), body)),
    fill(entries) {
      for (const [name, row] of rows) {
        if (!(name in entries)) {
          row[0].parentNode.remove();
          rows.delete(name);
        }
      }
      for (const [name, values] of Object.entries(entries)) {
        let cells = rows.get(name);
        if (!cells) {
          cells = columns.map((_, index) => h(index ? 'td' : 'th', index ? { class: WORDS.includes(columns[index]) ? 'words' : 'num' } : { scope: 'row' }));
          rows.set(name, cells);
          body.append(h('tr', {}, cells));
        }
        [name, ...values].forEach((value, index) => text(cells[index], value));
      }
    },
  };
}

const entriesOf = (found, row) => Object.fromEntries(Object.entries(found).map(([name, one]) => [name, row(one)]));

/** The two tables in `place`. */
export function tablesIn(place) {
  const hosts = table('Hosts', HOSTS), networks = table('Networks', NETWORKS);
  place.replaceChildren(networks.node, hosts.node);
  return {
    update(sample) {
      networks.fill(entriesOf(sample.networks, (one) => [
        one.state, one.medium, number(one.mbps), number(one.rate_mbps), bytes(one.backlog_bytes), percent(one.loss),
        number(sum(one.drops_per_s)), Object.keys(one.drops_per_s).join(', ')]));
      hosts.fill(entriesOf(sample.hosts, (one) => {
        const work = one.workloads.filter(({ state }) => state === 'running');
        const sink = work.find(({ workload }) => workload === 'sink');
        const used = ['owned', 'sending', 'withheld'].reduce((total, state) => total + (one.containers[state] ?? 0), 0);
        return [
          one.state, work.map(({ workload }) => workload).join(', '), work.map(({ system }) => system).join(', '),
          work.length ? work.map((w) => number(moved(w))).join(', ') : '–', sink ? percent(sink.loss) : '–', String(one.hogs),
          number(one.cpu.io), number(one.cpu.hogs), Object.keys(one.containers).length ? String(used) : '–',
          Object.keys(one.rings).length ? String(sum(one.rings)) : '–', number(sum(one.drops_per_s))];
      }));
    },
  };
}
