// What can be changed in a lab: its workloads, the hogs of a host, its networks. Each change is one REST call or two.

import { api } from './api.js';
import { calls } from './calls.js';
import { attr, h, options, show, text } from './dom.js';
import { number } from './format.js';
import { act, clicked } from './log.js';
import { store } from './store.js';

const REST_MS = 250; // a slider that has rested for so long is meant
const FEW = 6; // networks that have a row each; of more, the chosen one
const MANY = 8; // workloads that have a row each; of more, those of the chosen host
const DATAGRAMS = ['source', 'forwarder', 'sink']; // what is on local channels has its neighbours' system
const HEADERS = 28; // bytes of IP and UDP

/** A slider and a field for one number; `send` gets what was chosen once it rests, and `where()` as it was then. */
function slider(name, { min, max, step, unit, most = max }, send, where = () => null) {
  const range = h('input', { type: 'range', min, max, step, 'aria-label': `${name}, ${unit}` });
  const field = h('input', { type: 'number', min, max: most, step: 'any', class: 'num', inputmode: 'decimal', 'aria-label': `${name}, ${unit}, as a number` });
  const node = h('div', { class: 'slider' }, h('span', { class: 'slider-name' }, name), range, field, h('span', { class: 'unit' }, unit));
  let timer = 0, meant = null;
  const settle = (value) => {
    meant = value;
    const place = where();
    clearTimeout(timer);
    timer = setTimeout(clicked(async () => {
      const sent = meant;
      try {
        await send(sent, place);
      } finally {
        if (meant === sent) meant = null;
      }
    }), REST_MS);
  };
  range.addEventListener('input', () => { field.value = range.value; settle(Number(range.value)); });
  field.addEventListener('change', () => {
    if (!field.checkValidity() || field.value === '') return;
    range.value = field.value;
    settle(Number(field.value));
  });
  return {
    node,
    /** Shows what the server has, unless somebody is just choosing. */
    set(value) {
      if (meant !== null || value === null || document.activeElement === field) return;
      if (range.value !== String(value)) range.value = value;
      if (field.value !== String(value)) field.value = value;
    },
    lock(locked) { range.disabled = locked; field.disabled = locked; },
  };
}

/** What starts a workload of datagrams again as it was, found from its view and its host's interfaces. */
function asStarted({ workload, params }, interfaces) {
  const { local, remote, out_local: out, rate_mbps: rate, size, warmup_s: warmup, flow, duration_s: seconds, ...rest } = params;
  const [address, port] = (local ?? '').split(':');
  const asked = { workload };
  if (remote) asked.to = remote;
  if (Number(port)) asked.port = Number(port);
  if (size) asked.size = size;
  if (workload === 'source') {
    asked.rate_mbps = rate;
    if (seconds) asked.duration_s = seconds;
  } else {
    asked.network = interfaces.find((one) => one.address === address)?.network;
  }
  if (Object.keys(rest).length) asked.params = rest;
  return asked;
}

/** One running workload: its system, and of a source what it sends. */
class Row {
  constructor(lab, host, one, lookAgain) {
    Object.assign(this, { lab, host, id: one.id, workload: one.workload, lookAgain });
    const changes = DATAGRAMS.includes(one.workload);
    this.system = h('select', { 'aria-label': `I/O system of the ${one.workload} on ${host}`, hidden: !changes });
    const fixed = changes ? null : h('span', { class: 'muted' }, one.system);
    this.stop = h('button', { type: 'button', class: 'small', 'aria-label': `Stop the ${one.workload} on ${host}` }, 'Stop');
    this.rate = this.size = null;
    const where = one.workload === host ? '' : ` on ${host}`;
    this.node = h('div', { class: 'workload', 'data-workload': `${host}:${one.workload}` },
      h('div', { class: 'row' }, h('span', { class: 'grow' }, h('b', {}, one.workload), where), this.system, fixed, this.stop));
    this.system.addEventListener('change', clicked(() => this.restart(this.system.value)));
    this.stop.addEventListener('click', clicked(async () => { await act(calls.stop(lab, host, this.id)); lookAgain(); }));
  }

  /** Sliders for what a source sends, on networks that carry so much. */
  sends({ rate_mbps: rate, size }, most, largest) {
    const change = (what) => async (value) => { await act(calls.change(this.lab, this.host, this.id, { [what]: value })); this.lookAgain(); };
    if (!this.rate) {
      this.rate = slider('rate', { min: 1, max: most, step: 1, unit: 'Mb/s', most: 40000 }, change('rate_mbps'));
      this.size = slider('size', { min: 64, max: largest, step: 4, unit: 'bytes', most: 65507 }, change('size'));
      this.node.append(this.rate.node, this.size.node);
    }
    this.rate.set(rate);
    this.size.set(size);
  }

  update(one, locked) {
    options(this.system, store.catalogue.systems.map(({ name }) => [name, name]), document.activeElement === this.system ? this.system.value : one.system);
    for (const node of [this.system, this.stop]) attr(node, 'disabled', locked);
    this.rate?.lock(locked);
    this.size?.lock(locked);
  }

  /** A workload keeps its system for life: stop it and start one that is otherwise the same. */
  async restart(system) {
    const { lab, host } = this;
    const [view, { interfaces }] = await Promise.all([
      api.get(`/labs/${lab}/hosts/${host}/workloads/${this.id}?over_s=0`), api.get(`/labs/${lab}/hosts/${host}`)]);
    const again = asStarted(view, interfaces);
    await act(calls.stop(lab, host, this.id));
    try {
      await act(calls.start(lab, host, { ...again, system }));
    } catch (error) {
      await act(calls.start(lab, host, { ...again, system: view.system })); // it was refused: as it was
      throw error;
    } finally {
      this.lookAgain();
    }
  }
}

/** The controls in `place`. `choose` hears of a host or network picked here. */
export function controlsIn(place, choose) {
  const rows = new Map();
  const list = h('div', { class: 'workloads' });
  const hostSelect = h('select', { 'aria-label': 'Host' });
  const hostState = h('button', { type: 'button', class: 'small' });
  let hostShown = null, networkShown = null, lab = null, known = '', looking = false, locked = false;
  const hogs = slider('hogs', { min: 0, max: 8, step: 1, unit: '', most: 64 },
    (count, [name, host]) => act(calls.hogs(name, host, count)), () => [lab.name, hostShown]);
  const hogsUsed = h('p', { class: 'muted num', id: 'hogs-used' });
  const networkSelect = h('select', { 'aria-label': 'Network' });
  const wires = h('div', { class: 'wires' });
  const reading = h('p', { class: 'note' });
  const title = h('h2', {}, 'Controls');
  place.replaceChildren(title, reading,
    h('h3', {}, 'Workloads'), list,
    h('h3', {}, 'Host'), h('div', { class: 'row' }, hostSelect, hostState), hogs.node, hogsUsed,
    h('h3', {}, 'Networks'), networkSelect, wires);
  const networks = new Map();
  hostSelect.addEventListener('change', () => choose(`h:${hostSelect.value}`));
  networkSelect.addEventListener('change', () => choose(`n:${networkSelect.value}`));
  hostState.addEventListener('click', clicked(() => act(calls.hostState(lab.name, hostShown, hostState.dataset.verb))));

  /** What sources send stands in no sample: asked for when workloads have changed, or were told to. */
  async function look(sample) {
    if (looking) { known = ''; return; } // asked again with the next sample
    looking = true;
    try {
      const sources = [...rows.values()].filter(({ workload }) => workload === 'source');
      for (const row of sources) {
        const one = await api.get(`/labs/${row.lab}/hosts/${row.host}/workloads/${row.id}?over_s=0`);
        const near = Object.values(sample.networks).filter(({ links }) => row.host in links);
        const rates = near.map(({ rate_mbps: rate }) => rate).filter(Boolean);
        const mtu = Math.min(...lab.networks.filter(({ name }) => row.host in (sample.networks[name]?.links ?? {})).map(({ mtu: bytes }) => bytes));
        row.sends(one.params, rates.length ? Math.ceil(Math.min(...rates) * 1.5) : 1000, Number.isFinite(mtu) ? mtu - HEADERS : 1472);
      }
    } catch {
      known = ''; // it ended meanwhile: the next sample says so
    } finally {
      looking = false;
    }
  }

  function workloads(sample, chosenHost) {
    const running = [];
    for (const [host, { workloads: all }] of Object.entries(sample.hosts)) {
      for (const one of all) if (one.state === 'running') running.push([host, one]);
    }
    const order = { source: 0, forwarder: 1, sink: 2 };
    const shown = (running.length > MANY ? running.filter(([host]) => host === chosenHost) : running)
      .sort(([, a], [, b]) => (order[a.workload] ?? 3) - (order[b.workload] ?? 3));
    const ids = new Set(shown.map(([host, one]) => `${host}/${one.id}`));
    for (const [key, row] of rows) {
      if (!ids.has(key)) {
        row.node.remove();
        rows.delete(key);
      }
    }
    for (const [host, one] of shown) {
      const key = `${host}/${one.id}`;
      if (!rows.has(key)) rows.set(key, new Row(lab.name, host, one, () => { known = ''; }));
      rows.get(key).update(one, locked);
    }
    const wanted = [...ids].join();
    if (wanted !== known) {
      known = wanted;
      const nodes = [...ids].map((key) => rows.get(key).node);
      // Kept where they are if they are those: what is moved loses the keyboard's focus.
      if (!nodes.length) list.replaceChildren(h('p', { class: 'empty' }, running.length ? 'Choose a host that works.' : 'Nothing runs.'));
      else if (nodes.some((node, index) => list.children[index] !== node) || list.children.length !== nodes.length) list.replaceChildren(...nodes);
      look(sample);
    }
  }

  function wire(name) {
    const button = h('button', { type: 'button', class: 'small' });
    const rateField = h('span', { class: 'num muted' });
    const node = h('div', { class: 'row', 'data-network': name }, h('span', { class: 'grow' }, name), rateField, button);
    button.addEventListener('click', clicked(() => act(calls.wire(lab.name, name, button.dataset.verb))));
    return {
      node,
      update(one) {
        const verb = one.state === 'cut' ? 'heal' : 'cut';
        text(button, verb === 'cut' ? 'Cut' : 'Heal');
        attr(button, 'data-verb', verb);
        attr(button, 'aria-label', `${verb === 'cut' ? 'Cut' : 'Heal'} ${name}`);
        button.classList.toggle('danger', verb === 'heal');
        attr(button, 'disabled', locked);
        text(rateField, one.rate_mbps ? `${number(one.rate_mbps)} Mb/s` : 'no limit');
      },
    };
  }

  function wiresOf(sample) {
    const names = Object.keys(sample.networks);
    const many = names.length > FEW;
    show(networkSelect, many);
    if (many) options(networkSelect, names.map((name) => [name, name]), networkShown ?? names[0]);
    const shown = many ? [networkSelect.value] : names;
    for (const [name, made] of networks) {
      if (!shown.includes(name)) {
        made.node.remove();
        networks.delete(name);
      }
    }
    for (const name of shown) {
      if (!networks.has(name)) {
        networks.set(name, wire(name));
        wires.append(networks.get(name).node);
      }
      networks.get(name).update(sample.networks[name]);
    }
  }

  return {
    /** Shows a sample; `chosen` is the node picked on the map. */
    update(view, sample, chosen) {
      if (lab?.name !== view.name) {
        hostShown = networkShown = null;
        rows.clear();
        list.replaceChildren();
        networks.clear();
        wires.replaceChildren();
        known = '-';
      }
      lab = view;
      locked = view.run !== null;
      text(reading, locked ? `The run ${view.run} uses this lab: it can be watched, and not be changed.` : '');
      show(reading, locked);
      const names = Object.keys(sample.hosts);
      if (chosen?.[0] === 'h') hostShown = chosen.slice(2);
      if (chosen?.[0] === 'n') networkShown = chosen.slice(2);
      if (!names.includes(hostShown)) {
        const forwards = names.find((name) => sample.hosts[name].workloads.some(({ workload }) => workload === 'forwarder'));
        hostShown = forwards ?? names[names.length === 3 ? 1 : 0];
      }
      options(hostSelect, names.map((name) => [name, name]), hostShown);
      const host = sample.hosts[hostShown];
      hogs.set(host.hogs);
      hogs.lock(locked);
      text(hogsUsed, `CPU: I/O path ${number(host.cpu.io)}, hogs ${number(host.cpu.hogs)}, agent ${number(host.cpu.agent)}`);
      const stopped = host.state === 'stopped';
      text(hostState, stopped ? 'Start host' : 'Stop host');
      attr(hostState, 'data-verb', stopped ? 'start' : 'stop');
      attr(hostState, 'disabled', locked);
      attr(hostSelect, 'data-state', host.state);
      workloads(sample, hostShown);
      wiresOf(sample);
    },
  };
}
