// The view of one lab: which one, its map, charts, controls and tables, fed by its live feed.

import { api, Refused } from './api.js';
import { calls, workloadCall } from './calls.js';
import { chartIn } from './chart.js';
import { controlsIn } from './controls.js';
import { demoIn } from './demo.js';
import { attr, byId, options, show, text } from './dom.js';
import { followLab, History } from './live.js';
import { act, clicked, onCall } from './log.js';
import { mapIn } from './map.js';
import { on, store } from './store.js';
import { tablesIn } from './tables.js';

const NOTHING = 'No lab yet. Start the guided demonstration, or deploy a topology.';

/** What a call is called on a chart. */
function markOf({ method, path, body }) {
  const [, , , what, name] = path.split('/');
  if (path.endsWith('/cut') || path.endsWith('/heal')) return `${path.split('/').at(-1)} ${name}`;
  if (path.endsWith('/hogs')) return `hogs ${body.count}`;
  if (method === 'PATCH') return body.rate_mbps !== undefined ? `${body.rate_mbps} Mb/s` : `${body.size} B`;
  if (method === 'POST' && body?.workload === 'forwarder') return body.system;
  return what === 'hosts' && /\/(stop|start)$/.test(path) ? `${path.split('/').at(-1)} ${name}` : null;
}

/** Makes the view; returns how it is told which lab the address names. */
export function labView() {
  let wanted = null, shown = null, feed = null, chosen = null, sample = null, video = null, hadDisplay = false, followed = null;
  const choose = (node) => {
    chosen = node === chosen ? null : node;
    map.choose(chosen);
    if (sample) paint(sample, followed.history);
  };
  const open = (name) => { location.hash = `#lab/${name}`; };
  const map = mapIn(byId('map'), choose);
  const controls = controlsIn(byId('controls'), choose);
  const demo = demoIn(byId('demo'), open);
  const tables = tablesIn(byId('table-place'));
  const charts = {
    throughput: chartIn(byId('chart-throughput'), { title: 'Throughput', unit: 'Mb/s', least: 10, none: 'nothing carried yet' }),
    loss: chartIn(byId('chart-loss'), { title: 'Loss at sinks', unit: '%', least: 5, most: 100, none: 'no sink' }),
    drops: chartIn(byId('chart-drops'), { title: 'Drops', unit: '1/s', least: 10, lines: 4, none: 'no drops' }),
  };

  function paint(now, history) {
    sample = now;
    const lab = store.labs.get(shown);
    if (!lab) return;
    map.update(lab, now);
    for (const [group, chart] of Object.entries(charts)) chart.draw(history, history.groups[group], chosen);
    controls.update(lab, now, chosen);
    demo.update(lab, now);
    if (byId('tables').open) tables.update(now);
    const display = Object.values(now.hosts).some(({ workloads }) => workloads.some((one) => one.workload === 'display' && one.state === 'running'));
    if (display && !hadDisplay) byId('video').open = true;
    hadDisplay = display;
    const panel = byId('video');
    showVideo(panel.open && !panel.hidden ? lab.name : null);
  }

  /** The panel for pictures is a module of its own, loaded when it is opened, or a lab has a display. */
  async function showVideo(lab) {
    if (video?.lab === lab || (video === null && lab === null)) return;
    const before = video;
    video = lab === null ? null : { lab, module: null };
    before?.module?.unmount();
    if (video === null) return;
    const mine = video;
    const module = await import('./video.js');
    if (mine !== video) return;
    mine.module = module;
    const recorded = async (method, path, body) => act(workloadCall(method, path, body));
    module.mount(byId('video-place'), { lab, api: { ...api, act: recorded } });
  }

  function leave() {
    feed?.close();
    feed = null;
    sample = null;
    showVideo(null);
  }

  /** Follows a lab; one that was followed before the server could not be reached goes on where it was. */
  function watch(lab) {
    const again = followed?.created === lab.created && shown === lab.name;
    leave();
    shown = lab.name;
    if (!again) {
      followed = { created: lab.created, history: new History() };
      chosen = null;
      map.choose(null);
      map.clear(`waiting for the first sample of ${lab.name}`);
    }
    feed = followLab(lab.name, followed.history, {
      sample: paint,
      state(name, error) {
        if (name === 'refused') {
          leave();
          map.clear(error instanceof Refused && error.status === 404 ? 'This lab has gone.' : error.message);
        }
      },
    });
  }

  /** Shows the lab that the address names, else the one that is shown, else the newest. */
  function settle() {
    const labs = [...store.labs.values()];
    const lab = store.labs.get(wanted) ?? store.labs.get(shown) ?? labs.at(-1) ?? null;
    const entries = labs.map(({ name, topology }) => [name, `${name} (${topology.name})`]);
    options(byId('lab-select'), entries.length ? entries : [['', 'none']], lab?.name ?? '');
    attr(byId('lab-select'), 'disabled', !labs.length);
    show(byId('destroy'), lab !== null && lab.run === null);
    show(byId('controls'), lab?.state === 'ready');
    show(byId('video'), lab?.state === 'ready' && lab.run === null);
    const state = lab?.state ?? '';
    text(byId('lab-state'), state);
    attr(byId('lab-state'), 'data-state', state);
    show(byId('lab-state'), lab !== null);
    text(byId('lab-about'), lab ? `${count(lab.hosts.length, 'host')}, ${count(lab.networks.length, 'network')}${lab.run ? `, used by run ${lab.run}` : ''}` : '');
    if (!lab || lab.state !== 'ready') {
      leave();
      shown = null;
      map.clear(lab ? `${lab.name} is ${lab.state}${lab.message ? `: ${lab.message}` : ''}` : NOTHING);
      demo.update(lab, null);
    } else if (shown !== lab.name || feed === null) watch(lab);
    else if (sample) paint(sample, followed.history);
  }

  on('labs', settle);
  on('gone', leave);
  onCall((call) => {
    const mark = shown && call.path.startsWith(`/labs/${shown}/`) ? markOf(call) : null;
    if (mark) followed.history.mark(mark);
  });
  byId('lab-select').addEventListener('change', ({ target }) => open(target.value));
  byId('destroy').addEventListener('click', clicked(() => act(calls.destroy(byId('lab-select').value))));
  byId('video').addEventListener('toggle', () => showVideo(byId('video').open && sample ? shown : null));
  byId('tables').addEventListener('toggle', () => sample && tables.update(sample));
  deployForm(open);
  return (name) => {
    wanted = name;
    settle();
  };
}

const count = (number, what) => `${number} ${what}${number === 1 ? '' : 's'}`;

function deployForm(open) {
  const form = byId('deploy-form');
  const { topology, count: workstations, name } = form.elements;
  const chain = () => show(byId('chain-field'), topology.value === 'chain,N');
  on('catalogue', () => {
    const shipped = store.catalogue.topologies.map((one) => [one.name, `${one.name}: ${one.description}`]);
    options(topology, [...shipped, ['chain,N', 'chain,N: as many workstations as you like']], topology.value || 'two-fddi');
    chain();
  });
  topology.addEventListener('change', chain);
  form.addEventListener('submit', clicked(async () => {
    const spec = topology.value === 'chain,N' ? `chain,${workstations.value}` : topology.value;
    await act(calls.deploy(name.value, spec));
    byId('deploy').open = false;
    open(name.value);
  }));
}
