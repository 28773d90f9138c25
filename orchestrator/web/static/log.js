// What the page has asked of the server by a click, for people to repeat in a shell or a program.

import { api, Refused, secured } from './api.js';
import { asCurl, asPython } from './calls.js';
import { byId, h, show, text } from './dom.js';

const KEPT = 100;
const listeners = [];
let made = 0;

/** Hears of every call that succeeded. */
export const onCall = (listener) => listeners.push(listener);

/** Sends a call, shows it, and says what came of it. Throws what the server refused. */
export async function act(call) {
  const began = performance.now();
  try {
    const { status, value } = await api.send(call.method, call.path, call.body);
    record(call, status, performance.now() - began, '');
    show(byId('message'), false);
    for (const listener of listeners) listener(call);
    return value;
  } catch (error) {
    record(call, error instanceof Refused ? error.status : 0, performance.now() - began, error.message);
    throw error;
  }
}

/** What a handler of a click is wrapped in: a refusal is shown, not lost. */
export const clicked = (work) => async (event) => {
  event?.preventDefault?.();
  try {
    await work(event);
  } catch (error) {
    say(error.message);
    if (error instanceof TypeError || error instanceof ReferenceError) throw error; // a fault of this page
  }
};

/** Tells the person something went wrong; it stays until something succeeds. */
export function say(message) {
  text(byId('message'), message);
  show(byId('message'), true);
}

function record(call, status, ms, problem) {
  made += 1;
  const good = status >= 200 && status < 300;
  const result = status === 0 ? 'no answer' : `${status} · ${ms < 9.5 ? ms.toFixed(1) : Math.round(ms)} ms`;
  const line = () => [
    h('b', {}, call.method), ' ', `${api.base}${call.path}`,
    call.body === undefined ? null : h('span', { class: 'body' }, ` ${JSON.stringify(call.body)}`),
  ];
  byId('last-call').replaceChildren(...line().filter(Boolean));
  text(byId('last-result'), result);
  byId('last-result').className = `result num ${good ? 'good' : 'bad'}`;
  byId('last-copy').replaceChildren(...copies(call));
  text(byId('call-count'), String(made));
  const entry = h('li', {},
    h('div', { class: 'call-line' },
      h('code', {}, line()), h('span', { class: `result num ${good ? 'good' : 'bad'}` }, result), h('span', { class: 'copies' }, copies(call))),
    problem ? h('p', { class: 'bad' }, problem) : null,
    h('details', {}, h('summary', {}, 'As code'), h('pre', {}, asCurl(call, secured())), h('pre', {}, asPython(call))));
  const list = byId('call-list');
  list.prepend(entry);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  show(byId('no-calls'), false);
}

function copies(call) {
  return [
    copier('curl', 'Copy as curl', () => asCurl(call, secured())),
    copier('Python', 'Copy as Python', () => asPython(call)),
  ];
}

function copier(label, title, content) {
  const button = h('button', { type: 'button', class: 'small', 'aria-label': title, title }, label);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(content());
      text(button, 'copied');
    } catch {
      text(button, 'see All'); // a browser may keep the clipboard; the code is in the list of calls
    }
    setTimeout(() => text(button, label), 1500);
  });
  return button;
}
