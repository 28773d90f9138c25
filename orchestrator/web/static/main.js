// The page: which view is shown, and whether the server is there.

import { api, secured } from './api.js';
import { attr, byId, show, text } from './dom.js';
import { labView } from './lab.js';
import { say } from './log.js';
import { runsView } from './runs.js';
import { on, refresh, store, take } from './store.js';

const views = { lab: labView(), experiments: runsView() };

/** `#lab/NAME`, `#experiments/RUN`. */
function route() {
  const [, view = 'lab', name = null] = /^#(lab|experiments)(?:\/([a-z0-9-]+))?$/.exec(location.hash) ?? [];
  for (const one of Object.keys(views)) {
    show(byId(`view-${one}`), one === view);
    attr(byId(`tab-${one}`), 'aria-current', one === view ? 'page' : null);
  }
  views[view](name);
}

function status(state, words) {
  attr(byId('status'), 'data-state', state);
  text(byId('status-text'), words);
}

function machine() {
  const { state, message, kernel, cpus } = store.machine ?? {};
  if (state === 'up') status('good', `Linux ${kernel}, ${cpus} CPUs`);
  else if (state) status('bad', `machine agent ${state}${message ? `: ${message}` : ''}`);
}

on('catalogue', machine);
on('machine', () => api.get('/health').then((health) => { store.machine = health.machine; machine(); }).catch(() => {}));

let before = null;

/** Reads everything, again and again until that succeeds or the server has gone. */
async function anew() {
  try {
    await refresh();
    show(byId('message'), false);
  } catch (error) {
    say(error.message);
    if (before === 'here') setTimeout(anew, 2000);
  }
}

api.follow('/events', {
  event: take,
  async state(name, error) {
    show(byId('gone'), name === 'gone');
    if (name === 'here') {
      // Labs end with a server: what is shown is read anew, and events of another process are a gap anyway.
      status('good', 'connected');
      show(byId('tab-docs'), !secured()); // a link cannot show a token
      before = name;
      await anew();
      return;
    } else if (name === 'gone') {
      status('bad', before === null ? 'no server' : 'server gone');
      take('gone');
    } else say(error.message);
    before = name;
  },
});

byId('calls-toggle').addEventListener('click', ({ currentTarget: toggle }) => {
  const open = byId('calls-panel').hidden;
  show(byId('calls-panel'), open);
  attr(toggle, 'aria-expanded', open);
});
// A list that is left by Escape or by a click elsewhere closes, as menus do.
document.addEventListener('keydown', ({ key }) => { if (key === 'Escape') byId('deploy').open = false; });
document.addEventListener('click', ({ target }) => { if (!target.closest('#deploy')) byId('deploy').open = false; });
addEventListener('hashchange', route);
route();
