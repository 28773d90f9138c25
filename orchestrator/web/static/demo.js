// The guided demonstration: datagrams from one end of a lab to the other, and what to try then.

import { calls } from './calls.js';
import { attr, h, options, show, text } from './dom.js';
import { api } from './api.js';
import { graphOf, spines } from './layout.js';
import { act, clicked, onCall } from './log.js';
import { on, store } from './store.js';

const NAME = 'demo';
const FAR = 12; // hosts that one demonstration forwards through at most
const STEPS = [
  ['hogs', 'Let 3 hogs compete on middle', ({ method, path }) => method === 'PUT' && path.endsWith('/hogs')],
  ['size', 'Send small datagrams: 300 bytes', ({ method, body }) => method === 'PATCH' && body.size !== undefined],
  ['system', 'Give the forwarder another system', ({ method, body }) => method === 'POST' && body?.workload === 'forwarder'],
  ['cut', 'Cut a ring, see the loss, heal it', ({ path }) => path.endsWith('/cut')],
];

/** Hosts and the networks between them from one end to the other, or null where datagrams have no such way. */
function wayThrough(sample) {
  if (Object.keys(sample.hosts).length > FAR) return null;
  const ways = spines(graphOf(sample, []));
  const way = ways.length === 1 ? ways[0] : [];
  const hosts = way.filter((node) => node[0] === 'h').map((node) => node.slice(2));
  const networks = way.filter((node) => node[0] === 'n').map((node) => node.slice(2));
  const alternate = way.every((node, index) => (node[0] === 'h') === (index % 2 === 0));
  const whole = Object.keys(sample.hosts).length === hosts.length;
  return alternate && whole && hosts.length >= 2 ? { hosts, networks } : null;
}

/** Starts a sink at the far end, forwarders of `system` on the way, and a source at the near end, in this order. */
async function startTraffic(lab, { hosts, networks }, system) {
  const last = hosts.length - 1;
  await act(calls.start(lab, hosts[last], { workload: 'sink', system: 'linux-batch', network: networks[last - 1] }));
  for (let at = last - 1; at > 0; at -= 1) {
    await act(calls.start(lab, hosts[at], { workload: 'forwarder', system, to: hosts[at + 1], network: networks[at - 1] }));
  }
  await act(calls.start(lab, hosts[0], { workload: 'source', system: 'linux-batch', to: hosts[1], rate_mbps: 50 }));
}

/** Waits until a lab is no longer being deployed. */
async function deployed(name) {
  for (;;) {
    const lab = await api.get(`/labs/${name}`);
    if (lab.state === 'ready') return lab;
    if (lab.state !== 'deploying') throw new Error(`the lab ${name} is ${lab.state}: ${lab.message}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** The demonstration in `place`; `open` shows a lab. */
export function demoIn(place, open) {
  const system = h('select', { id: 'demo-system' });
  const start = h('button', { type: 'button', class: 'primary', id: 'demo-start' }, 'Start');
  const along = h('button', { type: 'button', id: 'demo-along' });
  const steps = new Map(STEPS.map(([key, words]) => [key, h('li', {}, words)]));
  const list = h('ol', { class: 'steps' }, [...steps.values()]);
  const intro = h('p', { class: 'muted' }, 'Two FDDI rings; the middle host forwards 50 Mb/s from ring A to ring B.');
  place.replaceChildren(h('h2', {}, 'Guided demonstration'), intro,
    h('div', { class: 'row' }, h('label', { for: 'demo-system' }, 'Forward with'), system, start, along), list);
  let way = null, current = null, going = false;

  on('catalogue', () => options(system, store.catalogue.systems.map(({ name, summary }) => [name, name, summary]), system.value || 'shipping'));

  async function busy(work) {
    going = true;
    attr(start, 'disabled', true);
    attr(along, 'disabled', true);
    try {
      await work();
    } finally {
      going = false;
      attr(start, 'disabled', false);
      attr(along, 'disabled', false);
    }
  }

  start.addEventListener('click', clicked(() => busy(async () => {
    await act(calls.deploy(NAME, 'two-fddi'));
    open(NAME);
    await deployed(NAME);
    await startTraffic(NAME, { hosts: ['source', 'middle', 'sink'], networks: ['ring-a', 'ring-b'] }, system.value);
    for (const step of steps.values()) step.classList.remove('done');
  })));
  along.addEventListener('click', clicked(() => busy(() => startTraffic(current.name, way, system.value))));
  onCall((call) => {
    for (const [key, , match] of STEPS) if (match(call) && !going) steps.get(key).classList.add('done');
  });

  return {
    update(lab, sample) {
      current = lab;
      const idle = sample !== null && Object.values(sample.hosts).every(({ workloads }) => !workloads.some(({ state }) => state === 'running'));
      const traffic = sample !== null && !idle;
      way = idle && lab.state === 'ready' && lab.run === null ? wayThrough(sample) : null;
      show(along, way !== null);
      if (way) text(along, `Start in ${lab.name}`);
      const there = store.labs.has(NAME);
      const free = !there && !(lab?.run); // beside a measurement nothing is started
      show(start, free);
      show(list, traffic && lab.name === NAME);
      show(intro, free);
      show(place, free || way !== null || traffic && lab.name === NAME);
      show(system.parentElement, free || way !== null);
    },
  };
}
