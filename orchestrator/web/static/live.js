// The live feed of one lab: its newest sample, and the last minute of every number that a chart may draw.

import { api } from './api.js';

export const SPAN_S = 60;

/** A number over time. Times rise; what is older than the span goes. */
class Series {
  constructor(key, label, kind) {
    Object.assign(this, { key, label, kind, times: [], values: [] });
  }

  add(time, value) {
    this.times.push(time);
    this.values.push(value);
    while (this.times.length && this.times[0] < time - SPAN_S - 2) {
      this.times.shift();
      this.values.shift();
    }
  }

  get last() { return this.values.at(-1) ?? null; }
}

const MAKERS = ['source', 'producer', 'server'];

/** What a workload moves: what a source gives out, what others take in. */
export const moved = (one) => (MAKERS.includes(one.workload) ? one.mbps_out : one.mbps_in);

/** The running workloads of a host, those of one kind as one: a line goes on when one is started again. */
function together(workloads) {
  const kinds = new Map();
  for (const one of workloads) {
    if (one.state !== 'running') continue;
    const had = kinds.get(one.workload);
    const mbps = moved(one);
    if (!had) kinds.set(one.workload, { workload: one.workload, mbps, loss: one.loss });
    else {
      had.mbps = mbps === null ? had.mbps : (had.mbps ?? 0) + mbps;
      had.loss = one.loss === null ? had.loss : Math.max(had.loss ?? 0, one.loss);
    }
  }
  return kinds.values();
}

/** What there is to draw: series by key, in three groups, and marks where somebody changed something. */
export class History {
  constructor() {
    this.groups = { throughput: new Map(), loss: new Map(), drops: new Map() };
    this.marks = [];
    this.now = 0;
  }

  mark(label) {
    if (this.now) this.marks.push({ time: this.now, label });
  }

  take(sample) {
    this.now = sample.at;
    this.marks = this.marks.filter(({ time }) => time > sample.at - SPAN_S);
    const put = (group, key, label, kind, value) => {
      const all = this.groups[group];
      let series = all.get(key);
      if (!series) all.set(key, series = new Series(key, label, kind));
      series.add(sample.at, value);
    };
    for (const [host, { workloads, drops_per_s: drops }] of Object.entries(sample.hosts)) {
      for (const one of together(workloads)) {
        const label = one.workload === host ? host : `${one.workload} ${host}`;
        put('throughput', `w:${host}:${one.workload}`, label, 'workload', one.mbps);
        if (one.workload === 'sink') put('loss', `w:${host}:${one.workload}`, label, 'workload', one.loss === null ? null : one.loss * 100);
      }
      for (const [place, value] of Object.entries(drops)) put('drops', `h:${host}:${place}`, `${host} ${place}`, 'host', value);
    }
    for (const [network, { mbps, drops_per_s: drops }] of Object.entries(sample.networks)) {
      put('throughput', `n:${network}`, network, 'network', mbps);
      for (const [place, value] of Object.entries(drops)) put('drops', `n:${network}:${place}`, `${network} ${place}`, 'network', value);
    }
    for (const all of Object.values(this.groups)) {
      for (const [key, series] of all) {
        if (series.times.at(-1) < sample.at) series.add(sample.at, all === this.groups.drops ? 0 : null);
        if (!series.values.some((value) => value)) {
          if (all === this.groups.drops || series.values.every((value) => value === null)) all.delete(key);
        }
      }
    }
  }
}

/** A sample without nulls where lists and tables are meant: what nobody can say now is not there. */
function whole(sample) {
  for (const host of Object.values(sample.hosts)) {
    // A manager is no workload of anybody's: it moves what the workloads beside it move.
    host.workloads = (host.workloads ?? []).filter(({ workload }) => workload !== 'manager');
    host.hogs ??= 0;
    for (const name of ['cpu', 'containers', 'rings', 'drops_per_s']) host[name] ??= {};
  }
  for (const network of Object.values(sample.networks)) network.drops_per_s ??= {};
  return sample;
}

/** Follows a lab. `sample` is called at most once for each frame that the browser shows, with the newest. */
export function followLab(lab, history, { sample, state }) {
  let newest = null, closed = false;
  const stream = api.follow(`/labs/${encodeURIComponent(lab)}/live`, {
    event(kind, data) {
      if (kind !== 'sample') return;
      history.take(whole(data));
      if (newest === null) requestAnimationFrame(() => { const shown = newest; newest = null; if (!closed) sample(shown, history); });
      newest = data;
    },
    state,
  });
  return { close() { closed = true; stream.close(); }, history };
}
