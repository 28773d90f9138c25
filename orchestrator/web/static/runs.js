// Experiments: what can be run, what runs and how far it is, and what came of it.

import { api } from './api.js';
import { calls } from './calls.js';
import { attr, byId, h, options, show, text } from './dom.js';
import { duration, moment } from './format.js';
import { act, clicked } from './log.js';
import { resultIn } from './result.js';
import { on, store } from './store.js';

const OWN = 'a document of your own';
const EXAMPLE = {
  name: 'first', topology: 'two-fddi',
  workloads: {
    from: { workload: 'source', host: 'source', to: 'relay', rate: 60, size: 4300 },
    relay: { workload: 'forwarder', host: 'middle', to: 'into' },
    into: { workload: 'sink', host: 'sink' },
  },
  factors: { system: ['linux', 'shipping'], hogs: [0, 2] },
  plan: { trials: 3, duration: 1 },
};
const GOING = ['queued', 'running'];
const AGAIN = ['paused', 'interrupted', 'failed', 'cancelled'];

/** How far a run is, in words and as a fraction. */
function progressOf(run) {
  if (run.state !== 'running' || !run.progress) return { words: run.state === 'queued' ? 'waiting for its turn' : '', fraction: null };
  const { phase, done, total, seconds_left: left } = run.progress;
  return { words: `${phase}: ${done} of ${total}${left === null ? '' : `, ${duration(left)} left`}`, fraction: total ? done / total : 0 };
}

/** Makes the view; returns how it is told which run the address names. */
export function runsView() {
  const list = byId('run-list');
  const rows = new Map();
  let wanted = null, shown = null;

  function row(run) {
    const state = h('span', { class: 'chip' });
    const detail = h('span', { class: 'muted num' });
    const bar = h('progress', { max: 1, 'aria-label': `Progress of run ${run.id}` });
    const link = h('a', { href: `#experiments/${run.id}` },
      h('span', { class: 'row' }, h('b', { class: 'grow' }, run.experiment), state),
      h('span', { class: 'muted num' }, moment(run.created)), detail);
    const node = h('li', { 'data-run': run.id }, link, bar);
    return {
      node,
      update(one) {
        const { words, fraction } = progressOf(one);
        text(state, one.state);
        attr(state, 'data-state', one.state);
        text(detail, words || (one.verdict ?? ''));
        show(bar, fraction !== null);
        if (fraction !== null) bar.value = fraction;
        attr(link, 'aria-current', one.id === wanted ? 'true' : null);
      },
    };
  }

  function settle() {
    for (const [id, { node }] of rows) {
      if (!store.runs.has(id)) {
        node.remove();
        rows.delete(id);
      }
    }
    let before = null;
    for (const run of store.runs.values()) {
      if (!rows.has(run.id)) rows.set(run.id, row(run));
      const { node, update } = rows.get(run.id);
      update(run);
      const place = before === null ? list.firstElementChild : before.nextElementSibling;
      if (place !== node) list.insertBefore(node, place);
      before = node;
    }
    show(byId('no-runs'), store.runs.size === 0);
    const going = [...store.runs.values()].filter(({ state }) => GOING.includes(state)).length;
    text(byId('running-count'), String(going));
    show(byId('running-count'), going > 0);
    paint();
  }

  /** One run: made anew when another is shown or its state is another, else only its progress changes. */
  function paint() {
    const run = store.runs.get(wanted);
    const place = byId('run');
    if (!run) {
      if (shown !== null) place.replaceChildren(h('p', { class: 'empty' }, 'Choose a run, or start one.'));
      shown = null;
      return;
    }
    const key = `${run.id} ${run.state}`;
    if (shown?.key !== key) {
      shown = { key, ...detailOf(run) };
      place.replaceChildren(shown.node);
    }
    shown.update(run);
  }

  on('runs', settle);
  runForm();
  return (id) => {
    wanted = id;
    settle();
  };
}

/** A run at length. */
function detailOf(run) {
  const button = (words, call, cls = '') => h('button', { type: 'button', class: cls, onclick: clicked(() => act(call)) }, words);
  const bar = h('progress', { max: 1, 'aria-label': 'Progress' });
  const words = h('p', { class: 'num progress-words', role: 'status' });
  const options_ = Object.entries(run.options).filter(([name, value]) => name !== 'document' && value !== null && value !== false)
    .map(([name, value]) => (value === true ? name : `${name} ${value}`)).join(', ');
  const found = h('div', { class: 'found' });
  const node = h('div', {},
    h('div', { class: 'row wrap' }, h('h2', { class: 'grow' }, run.experiment), h('span', { class: 'chip', 'data-state': run.state }, run.state),
      run.verdict ? h('span', { class: 'chip', 'data-state': run.verdict }, run.verdict) : null),
    h('p', { class: 'muted num' }, `${run.id}, ${moment(run.created)}${options_ ? `, ${options_}` : ''}${run.imported ? `, done on ${run.imported.machine}` : ''}`),
    run.message ? h('p', { class: 'note' }, run.message) : null,
    bar, words,
    h('div', { class: 'row wrap' },
      GOING.includes(run.state) ? [button('Pause', calls.pause(run.id)), button('Cancel', calls.cancel(run.id), 'quiet')] : null,
      AGAIN.includes(run.state) && !run.imported ? button('Resume', calls.resume(run.id), 'primary') : null,
      run.state === 'running' && run.lab ? h('a', { class: 'button', href: `#lab/${run.lab}` }, 'Watch its lab') : null),
    found);
  if (['done', 'invalid'].includes(run.state)) resultIn(found, run);
  return {
    node,
    update(now) {
      const { words: told, fraction } = progressOf(now);
      text(words, told);
      show(words, told !== '');
      show(bar, fraction !== null);
      if (fraction !== null) bar.value = fraction;
    },
  };
}

function runForm() {
  const form = byId('run-form');
  const { experiment, document: own, profile } = form.elements;
  own.value = JSON.stringify(EXAMPLE, null, 2);
  const shipped = () => store.catalogue.experiments.find(({ name }) => name === experiment.value);

  /** What is to be run; throws what is no JSON. */
  function asked() {
    const choices = { quick: form.elements.size.value === 'quick' };
    if (!choices.quick) delete choices.quick;
    const known = shipped();
    if (known && Object.keys(known.topologies).length > 1) choices.profile = profile.value;
    if (known) return [known.name, choices];
    try {
      return [JSON.parse(own.value), choices];
    } catch (error) {
      throw new Error(`the document is no JSON: ${error.message}`, { cause: error });
    }
  }

  let turn = 0;
  async function estimate() {
    const known = shipped();
    text(byId('run-title'), known ? `${known.title}. ${known.source}` : 'See docs/experiments.md; Start says what is wrong with it.');
    show(byId('document-field'), !known);
    show(byId('profile-field'), Boolean(known && Object.keys(known.topologies).length > 1));
    turn += 1;
    const mine = turn;
    let words = '';
    if (known) {
      try {
        const [name, choices] = asked();
        const { value } = await api.send('POST', '/runs', { experiment: name, ...choices, dry_run: true });
        words = `${value.trials} trials, about ${duration(value.seconds)}`;
      } catch (error) {
        words = error.message;
      }
    }
    if (mine === turn) text(byId('run-estimate'), words);
  }

  on('catalogue', () => {
    options(experiment, [...store.catalogue.experiments.map(({ name }) => [name, name]), [OWN, OWN]]);
    estimate();
  });
  for (const field of [experiment, profile, ...form.elements.size]) field.addEventListener('change', estimate);
  form.addEventListener('submit', clicked(async () => {
    const run = await act(calls.run(...asked()));
    location.hash = `#experiments/${run.id}`;
  }));
}
