// Requests to the orchestrator that served this page, with its token where it wants one.

const BASE = '/api/v1';
const KEPT = 'transship-token';
const SILENCE_MS = 20000; // a stream says something every 5 s; after this much silence nobody is there
const AGAIN_MS = [300, 600, 1200, 2000]; // between attempts to reach a server that is gone

let token = sessionStorage.getItem(KEPT);
let asking = null;

/** The orchestrator refused; `field` is what is at fault. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `HTTP status ${status}`);
    Object.assign(this, { status, field: problem.field ?? null, problems: problem.problems ?? [] });
  }
}

/** Nobody answers. */
class Gone extends Error {}

/** Whether the server wants a token, as far as is known. */
export const secured = () => token !== null;

async function newToken(tried) {
  if (token !== tried) return; // somebody has given it meanwhile
  asking ??= askForToken(tried !== null).finally(() => { asking = null; });
  token = await asking;
  sessionStorage.setItem(KEPT, token);
}

function askForToken(wrong) {
  const dialog = document.getElementById('token');
  const form = dialog.querySelector('form');
  const field = form.elements.token;
  document.getElementById('token-wrong').hidden = !wrong;
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      const given = field.value.trim();
      if (!/^[\x21-\x7e]+$/.test(given)) { // no header can have it
        document.getElementById('token-wrong').hidden = false;
        return;
      }
      field.value = '';
      dialog.close();
      resolve(given);
    };
    dialog.oncancel = (event) => event.preventDefault();
    dialog.showModal();
    field.focus();
  });
}

/** A good answer. Throws Refused or Gone. */
async function ask(path, { method = 'GET', headers = {}, body, signal } = {}) {
  for (;;) {
    const shown = token;
    let answer;
    try {
      const authorization = shown === null ? {} : { Authorization: `Bearer ${shown}` };
      answer = await fetch(BASE + path, { method, body, signal, headers: { ...headers, ...authorization }, cache: 'no-store' });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Gone('no answer from the server');
    }
    if (answer.ok) return answer;
    if (answer.status !== 401) throw new Refused(answer.status, await answer.json().catch(() => ({})));
    await newToken(shown);
  }
}

/** A JSON body of a method, and what the answer has; null where that is empty. */
async function send(method, path, body) {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
  const answer = await ask(path, { method, ...json });
  const content = await answer.text();
  return { status: answer.status, value: content.trim() ? JSON.parse(content) : null };
}

/** Server-sent events, found in text as it comes: a sample of a large lab comes in many pieces. */
function reader(tell) {
  let pieces = [], kind = '', data = [], id = null;
  function take(line) {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
    if (name === 'event') kind = value;
    else if (name === 'data') data.push(value);
    else if (name === 'id') id = value;
    else if (line === '') {
      if (kind && data.length) tell(kind, JSON.parse(data.join('\n')), id);
      kind = ''; data = []; id = null;
    }
  }
  return (piece) => {
    let from = 0;
    for (let end = piece.indexOf('\n'); end >= 0; end = piece.indexOf('\n', from)) {
      pieces.push(piece.slice(from, end));
      take(pieces.join(''));
      pieces = [];
      from = end + 1;
    }
    if (from < piece.length) pieces.push(piece.slice(from));
  };
}

/**
 * Follows a stream of events through breaks and restarts of the server. `state` hears `here`, `gone` and, for good,
 * `refused` with the reason. Not EventSource: that cannot send a token.
 */
function follow(path, { event, state = () => {} }) {
  let closed = false, last = null, attempt = 0, current = null;

  async function once() {
    current = new AbortController();
    let quiet = setTimeout(() => current.abort(), SILENCE_MS);
    try {
      const headers = last === null ? {} : { 'Last-Event-ID': last };
      const answer = await ask(path, { headers, signal: current.signal });
      state('here');
      attempt = 0;
      const read = reader((kind, data, id) => {
        if (id !== null) last = id;
        if (!closed) event(kind, data);
      });
      const decoder = new TextDecoder();
      const body = answer.body.getReader();
      for (;;) {
        const { done, value } = await body.read();
        if (done) return;
        clearTimeout(quiet);
        quiet = setTimeout(() => current.abort(), SILENCE_MS);
        read(decoder.decode(value, { stream: true }));
      }
    } finally {
      clearTimeout(quiet);
      current.abort();
    }
  }

  (async () => {
    while (!closed) {
      let reason = null;
      try {
        await once();
      } catch (error) {
        if (error instanceof Refused && error.status < 500 && error.status !== 429) {
          if (!closed) state('refused', error);
          return;
        }
        reason = error;
      }
      if (closed) return;
      state('gone', reason);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS[Math.min(attempt, AGAIN_MS.length - 1)]));
      attempt += 1;
    }
  })();
  return { close() { closed = true; current?.abort(); } };
}

export const api = {
  base: BASE,
  fetch: ask,
  get: async (path) => (await ask(path)).json(),
  send,
  follow,
};
