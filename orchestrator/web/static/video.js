// What the displays of a lab show, side by side, and the paper's video (Figure 7) started and stopped by a click.
//
// `api`: get(path) -> JSON, fetch(path, init) -> Response, act(method, path, body) for what changes something. Paths
// are those below /api/v1. A lab's displays are found by asking its hosts; the pictures come one by one.

const SYSTEMS = ['linux', 'shipping'];
const SIZES = ['1264x960', '640x480', '320x240'];
const RATES = [['30', '30 frames/s'], ['60', '60 frames/s'], ['', 'as fast as it goes']];
const RELAYS = 4; // at most, as in the paper
const PREFIX = 'video-'; // of the channels of what is started here, and of what is shown
const PICTURE_MS = 100; // from one picture to the next, at least
const WIDEST = 960; // pixels of a picture, at most: the server drops what nobody sees
const LOOK_MS = 2000;
const SOON_MS = 250; // to the next look while a display has shown nothing yet
const FEW = 8; // hosts that are all asked each time; of more, those with displays, and all now and then
const SELDOM = 10;
const [START, STOP] = ['Start side by side', 'Stop'];
const RATE_MS = 2000; // over which frames are counted

const STYLE = `
.video-bar, .video-places { display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: end; }
.video-bar label { display: block; margin-bottom: .15rem; font-size: .85em; }
.video-places { align-items: start; margin-top: .8rem; }
.video-places figure { flex: 1 1 18rem; margin: 0; min-width: 0; }
.video-places canvas { display: block; width: 100%; height: auto; image-rendering: pixelated;
  border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: 4px; }
.video-places figcaption { margin-top: .3rem; font-variant-numeric: tabular-nums; }
.video-places figcaption b { margin-right: .6em; }
.video-said:empty { display: none; }
`;

const part = encodeURIComponent;
const running = ({ state }) => state === 'running' || state === 'starting';
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const seen = () => (document.hidden
  ? new Promise((resolve) => { document.addEventListener('visibilitychange', resolve, { once: true }); })
  : Promise.resolve());

/** An element with attributes; those named `on...` hear events. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children);
  return node;
}

function choice(label, entries) {
  const id = `${PREFIX}${label.toLowerCase()}`;
  const select = make('select', { id }, ...entries.map(([value, words]) => make('option', { value }, words)));
  return { select, node: make('div', {}, make('label', { for: id }, label), select) };
}

/** How fast a number grows, from what was seen of it lately. */
class Rate {
  constructor(overMs) {
    this.overMs = overMs;
    this.seen = [];
  }

  take(value, now) {
    if (this.seen.length && value < this.seen.at(-1).value) this.seen = []; // it began anew
    this.seen.push({ value, now });
    while (this.seen.length > 2 && now - this.seen[0].now > this.overMs) this.seen.shift();
  }

  /** A second; null while that cannot be told. */
  get perSecond() {
    const [first, last] = [this.seen[0], this.seen.at(-1)];
    return this.seen.length > 1 && last.now > first.now ? (last.value - first.value) / (last.now - first.now) * 1000 : null;
  }
}

/** One display: its picture, which frame that is, and how many a second there are. */
class Screen {
  constructor(panel, host, view) {
    const { width = 1264, height = 960 } = view.params;
    Object.assign(this, { panel, host, id: view.id, system: view.system, rate: new Rate(RATE_MS), ended: new AbortController(), lit: false });
    this.canvas = make('canvas', {
      width, height, role: 'img',
      'aria-label': `Frame buffer of the ${view.system} display on ${host}, ${width} x ${height} pixels, moving`,
    });
    this.figures = make('span', {}, 'waiting for a frame');
    this.node = make('figure', { 'data-system': view.system, 'data-workload': view.id },
      this.canvas, make('figcaption', {}, make('b', {}, view.system), this.figures));
  }

  /** That is how the panel has seen it. One that has not shown a frame is not asked for a picture, which it would refuse. */
  update({ counters }) {
    if (this.lit || !((counters.operations_in ?? 0) > 1)) return;
    this.lit = true;
    this.follow();
  }

  /** Fetches and draws until the display has ended; the next picture only when the last one is there. */
  async follow() {
    while (!this.ended.signal.aborted) {
      await seen();
      await this.panel.playing;
      const began = performance.now();
      try {
        await this.draw();
      } catch (error) {
        if (this.ended.signal.aborted) return;
        this.figures.textContent = error.message;
        await pause(LOOK_MS); // whether it has ended, the panel finds out
      }
      await pause(Math.max(0, PICTURE_MS - (performance.now() - began)));
    }
  }

  async draw() {
    const wide = Math.min(WIDEST, Math.max(64, Math.ceil(this.canvas.clientWidth * devicePixelRatio)));
    const path = `/labs/${part(this.panel.lab)}/hosts/${part(this.host)}/workloads/${part(this.id)}/picture?width=${wide}`;
    const answer = await this.panel.api.fetch(path, { signal: this.ended.signal });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    const frame = Number(answer.headers.get('Transship-Frame'));
    const picture = await createImageBitmap(await answer.blob());
    if (this.canvas.width !== picture.width || this.canvas.height !== picture.height) {
      Object.assign(this.canvas, { width: picture.width, height: picture.height });
    }
    this.canvas.getContext('2d').drawImage(picture, 0, 0);
    picture.close();
    this.rate.take(frame, performance.now());
    this.caption(frame);
  }

  caption(frame) {
    const fps = this.rate.perSecond;
    const cpu = this.panel.cpu(this.host);
    const all = this.panel.on(this.host) > 1 ? ' for all on it' : '';
    this.node.dataset.frame = frame;
    this.figures.textContent = [
      fps === null ? 'measuring' : `${fps.toFixed(fps < 99.5 ? 1 : 0)} frames/s`,
      cpu === null ? this.host : `${this.host}: ${cpu.toFixed(2)} CPUs${all}`,
    ].join(', ');
  }

  /** Asks for no more pictures; the last one stays. */
  rest() {
    this.ended.abort();
  }

  end() {
    this.rest();
    this.node.remove();
  }
}

/** The displays of one lab, and what starts and stops them. */
class Panel {
  constructor(element, lab, api) {
    Object.assign(this, { element, lab, api, hosts: [], ours: new Set(), screens: new Map(), used: new Map(), looks: 0, over: false });
    this.playing = this.turn = Promise.resolve();
    this.size = choice('Frames', SIZES.map((size) => [size, `${size.replace('x', ' x ')}, 8 bits`]));
    this.relays = choice('Relays', Array.from({ length: RELAYS + 1 }, (_, count) => [String(count), String(count)]));
    this.pace = choice('Rate', RATES);
    this.button = make('button', { type: 'button', class: 'primary', 'aria-disabled': 'false', onclick: () => this.work() }, START);
    this.holdButton = make('button', { type: 'button', hidden: true, 'aria-pressed': 'false', onclick: () => this.hold() }, 'Hold the pictures');
    this.said = make('p', { class: 'video-said', role: 'status' });
    this.places = make('div', { class: 'video-places' });
    element.replaceChildren(
      make('div', { class: 'video-bar' }, this.size.node, this.relays.node, this.pace.node, this.button, this.holdButton),
      this.said, this.places);
    this.watch();
  }

  /** The CPUs that a host's I/O path uses; null while that cannot be told. */
  cpu(host) {
    return this.used.get(host)?.perSecond ?? null;
  }

  on(host) {
    return [...this.screens.values()].filter((one) => one.host === host).length;
  }

  async watch() {
    while (!this.over) {
      await seen();
      try {
        await this.look();
      } catch (error) {
        if (!this.over) this.say(error.message);
      }
      await pause([...this.screens.values()].every(({ lit }) => lit) ? LOOK_MS : SOON_MS);
    }
  }

  /** Looks at what there is, one look after the other. */
  look() {
    this.turn = this.turn.catch(() => {}).then(() => this.lookOnce());
    return this.turn;
  }

  async lookOnce() {
    const { hosts } = await this.api.get(`/labs/${part(this.lab)}`);
    this.hosts = hosts;
    const all = hosts.length <= FEW || this.looks % SELDOM === 0;
    this.looks += 1;
    const known = new Set([...this.screens.values()].map(({ host }) => host));
    const asked = hosts.filter((host) => all || known.has(host) || this.placesOf().includes(host));
    const found = new Map();
    for (const host of asked) {
      const workloads = await this.workloads(host);
      this.ours[workloads.some((one) => running(one) && isOurs(one)) ? 'add' : 'delete'](host);
      for (const one of workloads) if (one.workload === 'display' && running(one)) found.set(one.id, { host, one });
    }
    if (this.over) return;
    this.settle(found, new Set(asked));
    this.button.textContent = this.ours.size ? STOP : START;
    await this.count();
  }

  /** Shows these displays and no others, in the order of the systems. */
  settle(found, asked) {
    for (const [id, screen] of this.screens) {
      if (found.has(id) || !asked.has(screen.host)) continue;
      screen.end();
      this.screens.delete(id);
    }
    for (const [id, { host, one }] of found) {
      if (!this.screens.has(id)) this.screens.set(id, new Screen(this, host, one));
      this.screens.get(id).update(one);
    }
    const order = [...this.screens.values()].sort((a, b) => a.system.localeCompare(b.system) || a.id.localeCompare(b.id));
    order.forEach(({ node }, at) => { if (this.places.children[at] !== node) this.places.insertBefore(node, this.places.children[at] ?? null); });
    this.holdButton.hidden = order.length === 0;
  }

  async count() {
    for (const host of new Set([...this.screens.values()].map((one) => one.host))) {
      const { counters } = await this.api.get(`/labs/${part(this.lab)}/hosts/${part(host)}/counters`);
      if (!this.used.has(host)) this.used.set(host, new Rate(2 * LOOK_MS));
      this.used.get(host).take(counters['cpu.io_usec'] / 1e6, performance.now());
    }
  }

  async workloads(host) {
    return (await this.api.get(`${this.path(host)}?over_s=0`)).workloads;
  }

  path(host) {
    return `/labs/${part(this.lab)}/hosts/${part(host)}/workloads`;
  }

  /** The host of each system: one of its own, where there are two. */
  placesOf() {
    return SYSTEMS.map((_, at) => this.hosts[Math.min(at, this.hosts.length - 1)]);
  }

  async start() {
    const [width, height] = this.size.select.value.split('x').map(Number);
    const frame = { width, height, bits: 8 };
    const relays = Number(this.relays.select.value);
    const fps = this.pace.select.value ? { fps: Number(this.pace.select.value) } : {};
    const places = this.placesOf();
    try {
      for (const [at, system] of SYSTEMS.entries()) {
        const channel = (hop) => `${PREFIX}${system}-${hop}`;
        const begin = (workload, params) => this.api.act('POST', this.path(places[at]), { workload, system, params });
        await begin('display', { ...frame, channel: channel(relays), framebuffer: 'video' });
        for (let hop = relays; hop > 0; hop -= 1) {
          await begin('relay', { channel: channel(hop - 1), out_channel: channel(hop), operation_bytes: width * height });
        }
        await begin('server', { ...frame, channel: channel(0), picture: 'moving', ...fps });
      }
    } catch (error) {
      await this.stop().catch(() => {}); // a part of it is of no use; what went wrong first is what is told
      throw error;
    }
  }

  /** Stops the servers, with which the others end, and then what has been left all the same. */
  async stop() {
    const left = async () => {
      const found = [];
      for (const host of new Set([...this.ours, ...this.placesOf()])) {
        for (const one of await this.workloads(host)) if (running(one) && isOurs(one)) found.push({ host, one });
      }
      return found;
    };
    const end = ({ host, one }) => this.api.act('DELETE', `${this.path(host)}/${part(one.id)}`);
    const ours = await left();
    for (const { one } of ours) this.screens.get(one.id)?.rest();
    for (const found of ours) if (found.one.workload === 'server') await end(found);
    let rest = await left();
    for (let tries = 0; rest.length && ours.some(({ one }) => one.workload === 'server') && tries < 20; tries += 1) {
      await pause(PICTURE_MS);
      rest = await left();
    }
    for (const found of rest) await end(found);
  }

  /** What the button does: once at a time, and what goes wrong is said. It keeps the focus. */
  async work() {
    if (this.button.getAttribute('aria-disabled') === 'true') return;
    this.button.setAttribute('aria-disabled', 'true');
    this.say('');
    try {
      if (this.looks === 0) await this.look();
      await (this.ours.size ? this.stop() : this.start());
      await this.look();
    } catch (error) {
      this.say(error.message);
    } finally {
      this.button.setAttribute('aria-disabled', 'false');
    }
  }

  /** Lets the pictures stand still, and go on. */
  hold() {
    const held = this.holdButton.getAttribute('aria-pressed') === 'true';
    this.holdButton.setAttribute('aria-pressed', String(!held));
    if (held) this.goOn();
    else this.playing = new Promise((resolve) => { this.goOn = resolve; });
  }

  say(message) {
    this.said.textContent = message;
  }

  end() {
    this.over = true;
    for (const screen of this.screens.values()) screen.end();
    this.goOn?.();
    this.element.replaceChildren();
  }
}

const isOurs = ({ params }) => String(params.channel ?? '').startsWith(PREFIX);

let panel = null;
let style = null;

/** Shows the displays of a lab in an element, with what starts and stops them. */
export function mount(element, { lab, api }) {
  unmount();
  if (style === null) {
    style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, style];
  }
  panel = new Panel(element, lab, api);
}

/** Takes all of it away; nothing is fetched any more. What runs in the lab goes on. */
export function unmount() {
  panel?.end();
  panel = null;
}
