// What is known of the server: its labs and runs, kept right by its events.

import { api } from './api.js';

const listeners = new Map();

export const store = {
  labs: new Map(), // by name, as REST shows them
  runs: new Map(), // by id, the newest first
  cpus: 1,
  version: '',
  catalogue: { systems: [], topologies: [], experiments: [] },
};

/** Hears of `labs`, `runs`, `catalogue` and, with its data, of each kind of event. */
export function on(kind, listener) {
  if (!listeners.has(kind)) listeners.set(kind, []);
  listeners.get(kind).push(listener);
}

function tell(kind, data) {
  for (const listener of listeners.get(kind) ?? []) listener(data);
}

/** Work that is done once more if it was asked for meanwhile, and never twice at once. */
function once(work) {
  let going = null, again = false;
  return async function run() {
    if (going) {
      again = true;
      return going;
    }
    going = (async () => {
      do {
        again = false;
        await work();
      } while (again);
    })().finally(() => { going = null; });
    return going;
  };
}

const refreshLabs = once(async () => {
  const { labs } = await api.get('/labs');
  store.labs = new Map(labs.map((lab) => [lab.name, { ...lab, cpus: store.cpus }]));
  tell('labs');
});

const refreshRuns = once(async () => {
  const { runs } = await api.get('/runs?limit=50');
  store.runs = new Map(runs.map((run) => [run.id, run]));
  tell('runs');
});

/** Everything anew: at the start, and when events were missed. */
export async function refresh() {
  const [health, systems, topologies, experiments] = await Promise.all(['/health', '/systems', '/topologies', '/experiments'].map(api.get));
  store.cpus = health.machine.cpus;
  store.version = health.version;
  store.machine = health.machine;
  store.catalogue = { systems: systems.systems, topologies: topologies.topologies, experiments: experiments.experiments };
  tell('catalogue');
  await Promise.all([refreshLabs(), refreshRuns()]);
}

/** One event of the server. */
export function take(kind, data) {
  const quietly = (work) => work().catch(() => {}); // the server that went away is told of where events end
  if (kind === 'gap') quietly(refresh);
  else if (kind === 'run') quietly(refreshRuns);
  else if (['lab', 'network', 'host', 'machine'].includes(kind)) quietly(refreshLabs);
  else if (kind === 'progress') {
    const run = store.runs.get(data.run);
    if (run) {
      run.progress = { phase: data.phase, done: data.done, total: data.total, seconds_left: data.seconds_left };
      tell('runs');
    }
  }
  tell(kind, data);
}
