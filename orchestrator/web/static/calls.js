// Every request that changes something: what is sent, and the same in Python (orchestrator/client).

const part = encodeURIComponent;

/** A value as Python writes it. */
function python(value) {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object') {
    return `{${Object.entries(value).map(([key, one]) => `${python(key)}: ${python(one)}`).join(', ')}}`;
  }
  return JSON.stringify(value);
}

/** A call of the Python client's method. */
function client(method, given, named = {}) {
  const words = Object.entries(named).map(([name, value]) => `${name}=${python(value)}`);
  return `client.${method}(${[...given.map(python), ...words].join(', ')})`;
}

const call = (method, path, body, code) => ({ method, path, body, code });
const host = (lab, name) => `/labs/${part(lab)}/hosts/${part(name)}`;
const network = (lab, name) => `/labs/${part(lab)}/networks/${part(name)}`;

export const calls = {
  deploy: (name, topology) =>
    call('POST', '/labs', { name, topology }, client('deploy', [name, topology])),
  destroy: (lab) => call('DELETE', `/labs/${part(lab)}`, undefined, client('destroy_lab', [lab])),
  start: (lab, where, { workload, system, ...more }) =>
    call('POST', `${host(lab, where)}/workloads`, { workload, system, ...more },
      client('start_workload', [lab, where, workload, system], more)),
  change: (lab, where, id, change) =>
    call('PATCH', `${host(lab, where)}/workloads/${part(id)}`, change, client('change_workload', [lab, where, id], change)),
  stop: (lab, where, id) =>
    call('DELETE', `${host(lab, where)}/workloads/${part(id)}`, undefined, client('stop_workload', [lab, where, id])),
  hogs: (lab, where, count) => call('PUT', `${host(lab, where)}/hogs`, { count }, client('set_hogs', [lab, where, count])),
  hostState: (lab, where, verb) => // start, stop
    call('POST', `${host(lab, where)}/${verb}`, undefined, client(`${verb}_host`, [lab, where])),
  wire: (lab, name, verb) => // cut, heal
    call('POST', `${network(lab, name)}/${verb}`, undefined, client(`${verb}_network`, [lab, name])),
  run: (experiment, choices) => call('POST', '/runs', { experiment, ...choices }, client('create_run', [experiment], choices)),
  cancel: (run) => call('DELETE', `/runs/${run}`, undefined, client('cancel_run', [run])),
  pause: (run) => call('POST', `/runs/${run}/pause`, undefined, client('pause_run', [run])),
  resume: (run) => call('POST', `/runs/${run}/resume`, undefined, client('resume_run', [run])),
};

/** The call that a request for workloads is. */
export function workloadCall(method, path, body) {
  const [, lab, where, id] = path.match(/^\/labs\/([^/]+)\/hosts\/([^/]+)\/workloads(?:\/([^/]+))?$/).map((one) => one && decodeURIComponent(one));
  return method === 'POST' ? calls.start(lab, where, body) : calls.stop(lab, where, id);
}

/** A word as the shell takes it. */
const quoted = (word) => (/^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** The call as one command. The token stays in its file. */
export function asCurl({ method, path, body }, secured) {
  const words = ['curl', '-X', method];
  if (body !== undefined) words.push('-H', quoted('Content-Type: application/json'), '-d', quoted(JSON.stringify(body)));
  if (secured) words.push('-H', '"Authorization: Bearer $(cat "$TRANSSHIP_TOKEN_FILE")"');
  return [...words, quoted(`${location.origin}/api/v1${path}`)].join(' ');
}

/** The call as a program. With a token, $TRANSSHIP_TOKEN_FILE names its file. */
export function asPython({ code }) {
  return `from orchestrator.client import Client\n\nclient = Client(${python(location.origin)})\n${code}\n`;
}
