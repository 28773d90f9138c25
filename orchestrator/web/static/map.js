// The map of a lab. Its elements are made once for each shape of the lab and width of the page; a sample changes only
// the texts and lengths that differ. Nothing moves between samples: the page shares its CPUs with what it shows.

import { attr, h, s, text } from './dom.js';
import { bytes, number, percent, rate, sum } from './format.js';
import { graphOf, layOut, SIZES } from './layout.js';
import { moved } from './live.js';

const RING = 50; // radius, full size
const BUS = 84; // height
const SELDOM = 8; // samples from one look at the shape of a lab to the next
const NO_LINK = { state: 'running', mbps_to: null, mbps_from: null };
const QUIET = ['running', 'idle'];
const busy = { owned: 1, sending: 1, withheld: 1 };

/** A name as far as there is room. */
const short = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);
const line = (x1, y1, x2, y2, cls) => s('line', { x1, y1, x2, y2, class: cls });
const label = (x, y, cls, anchor, content = '') => s('text', { x, y, class: cls, 'text-anchor': anchor }, content);
const box = (x, y, width, height, cls, rx = 2) => s('rect', { x, y, width, height, rx, class: cls });

/** A row of lengths that share one bar; each part is between 0 and 1. */
function bar(x, y, width, height, classes) {
  const parts = classes.map((cls) => box(x, y, 0, height, cls, 0));
  const node = s('g', {}, box(x, y, width, height, 'track'), parts);
  return {
    node,
    set(fractions) {
      let at = x;
      fractions.forEach((fraction, index) => {
        const long = Math.round(Math.max(0, Math.min(fraction, (x + width - at) / width)) * width * 2) / 2;
        attr(parts[index], 'x', at);
        attr(parts[index], 'width', long);
        at += long;
      });
    },
  };
}

function fullHost(name, cpus) {
  const [width, height] = SIZES.full.host;
  const left = -width / 2 + 12, right = width / 2 - 12, top = -height / 2;
  const state = label(right, top + 21, 'small state', 'end');
  const rows = [0, 1].map((row) => [label(left, top + 42 + row * 16, 'body', 'start'), label(right, top + 42 + row * 16, 'body dim', 'end')]);
  const cpu = bar(left + 34, top + 72, width - 90, 8, ['io', 'hog', 'agent']);
  const cpuText = label(right, top + 80, 'small num', 'end');
  const pool = bar(left + 34, top + 90, width - 90, 8, ['owned', 'posted']);
  const poolText = label(right, top + 98, 'small num', 'end');
  const hogs = label(left, top + 117, 'small hogs', 'start');
  const drops = label(right, top + 117, 'small bad num', 'end');
  const node = s('g', {},
    box(-width / 2, top, width, height, 'shape', 8), label(left, top + 21, 'name', 'start', short(name, 15)), state, rows,
    label(left, top + 80, 'small dim', 'start', 'CPU'), cpu.node, cpuText,
    label(left, top + 98, 'small dim', 'start', 'pool'), pool.node, poolText, hogs, drops);
  return {
    node,
    update(host) {
      text(state, QUIET.includes(host.state) ? '' : host.state);
      const working = host.workloads.filter((one) => one.state === 'running' || one.state === 'starting');
      rows.forEach(([what, how], row) => {
        const one = working[row];
        const hidden = row === 1 && working.length > 2 ? ` +${working.length - 2}` : '';
        text(what, one ? one.workload + hidden : row === 0 ? 'no workload' : '');
        attr(what, 'class', one ? 'body' : 'body dim');
        text(how, one ? one.system : '');
      });
      const { io, hogs: eaten, agent } = host.cpu;
      cpu.set([io / cpus, eaten / cpus, agent / cpus]);
      text(cpuText, io === null ? '–' : number(io + eaten + agent));
      const total = sum(host.containers), used = inUse(host.containers);
      pool.set(total ? [used / total, (host.containers.receiving ?? 0) / total] : [0, 0]);
      text(poolText, total ? String(used) : '–');
      text(hogs, host.hogs ? `${host.hogs} hog${host.hogs === 1 ? '' : 's'}` : '');
      text(drops, dropped(host.drops_per_s));
    },
  };
}

const inUse = (containers) => Object.entries(containers).reduce((total, [state, count]) => total + (busy[state] ? count : 0), 0);

function dropped(drops) {
  const total = sum(drops);
  return total ? `${number(total)} drops/s` : '';
}

/** What a network says in words under its picture: what waits, what it loses. */
function troubles(network) {
  const lines = [];
  if (network.loss) lines.push(`loses ${percent(network.loss)}`);
  if (network.backlog_bytes >= 1024) lines.push(`${bytes(network.backlog_bytes)} wait`);
  return lines.join(' · ');
}

/** A network of full size: a ring for a shared medium, a bus for a switched one; how much of its rate is carried. */
function fullNetwork(name, { medium }) {
  const ring = medium === 'shared';
  const round = 2 * Math.PI * RING;
  const level = ring
    ? s('circle', { r: RING, class: 'level', transform: 'rotate(-90)', 'stroke-dasharray': `0 ${round}` })
    : bar(-44, 28, 88, 6, ['io']);
  const carried = label(0, ring ? 8 : 4, 'big num', 'middle');
  const unit = label(0, ring ? 25 : 20, 'small dim num', 'middle');
  const below = label(0, RING + 18, 'small num', 'middle');
  const drops = label(0, RING + 18, 'small bad num', 'middle');
  const node = s('g', {},
    ring ? s('circle', { r: RING, class: 'shape ring' }) : box(-54, -BUS / 2, 108, BUS, 'shape bus', 6),
    ring ? level : level.node, carried, unit, label(0, ring ? -17 : -20, 'name', 'middle', short(name, 11)), below, drops);
  return {
    node,
    update(network) {
      const fraction = network.rate_mbps ? Math.min(1, (network.mbps ?? 0) / network.rate_mbps) : 0;
      if (ring) attr(level, 'stroke-dasharray', `${Math.round(fraction * round * 2) / 2} ${round}`);
      else level.set([fraction]);
      text(carried, rate(network.mbps));
      const cut = network.state === 'cut';
      text(unit, cut ? 'cut' : network.rate_mbps ? `of ${rate(network.rate_mbps)} Mb/s` : 'Mb/s');
      attr(unit, 'class', cut ? 'small state' : 'small dim num');
      const words = troubles(network), lost = dropped(network.drops_per_s);
      text(below, words);
      text(drops, lost);
      attr(drops, 'y', RING + (words ? 33 : 18));
    },
  };
}

/** Small pictures have room for two figures, and so change less often. */
const whole = (value) => (value < 1 ? '<1' : String(Math.round(value)));

function smallHost(name, cpus) {
  const [width, height] = SIZES.compact.host;
  const cpu = bar(-width / 2 + 4, 7, width - 8, 4, ['io', 'hog', 'agent']);
  const value = label(0, 4, 'tiny num', 'middle');
  const node = s('g', {}, box(-width / 2, -height / 2, width, height, 'shape', 4), label(0, -5, 'tiny', 'middle', short(name, 7)), value, cpu.node);
  return {
    node,
    update(host) {
      const { io, hogs, agent } = host.cpu;
      cpu.set([io / cpus, hogs / cpus, agent / cpus]);
      const best = host.workloads.reduce((most, one) => Math.max(most, moved(one) ?? 0), 0);
      text(value, best ? whole(best) : '');
    },
  };
}

function smallNetwork(name, { medium }) {
  const ring = medium === 'shared';
  const round = 2 * Math.PI * 11;
  const level = ring ? s('circle', { r: 11, class: 'level', transform: 'rotate(-90)', 'stroke-dasharray': `0 ${round}` }) : bar(-10, 4, 20, 4, ['io']);
  const value = label(0, ring ? 3 : 0, 'tiny num', 'middle');
  const node = s('g', {}, ring ? s('circle', { r: 11, class: 'shape ring' }) : box(-12, -11, 24, 22, 'shape bus', 3), ring ? level : level.node, value);
  return {
    node,
    update(network) {
      const fraction = network.rate_mbps ? Math.min(1, (network.mbps ?? 0) / network.rate_mbps) : 0;
      if (ring) attr(level, 'stroke-dasharray', `${Math.round(fraction * 36) / 36 * round} ${round}`);
      else level.set([fraction]);
      text(value, network.state === 'cut' ? '×' : network.mbps >= 0.05 ? whole(network.mbps) : short(name, 4));
    },
  };
}

/** Where a line from `from` to `to` leaves the shape around `to`. */
function edgeOf(from, to, kind, level, ring) {
  const [dx, dy] = [from[0] - to[0], from[1] - to[1]];
  const long = Math.hypot(dx, dy) || 1;
  if (kind === 'network' && ring) {
    const radius = level === 'full' ? RING : 11;
    return [to[0] + (dx / long) * radius, to[1] + (dy / long) * radius];
  }
  const [width, height] = kind === 'host' ? SIZES[level].host : level === 'full' ? [108, BUS] : [24, 22];
  const scale = Math.min(width / 2 / (Math.abs(dx) || 1e-9), height / 2 / (Math.abs(dy) || 1e-9));
  return scale < 1 ? [to[0] + dx * scale, to[1] + dy * scale] : to;
}

/** The line between a host and a network, with what goes each way where there is room to say it. */
function link(hostAt, networkAt, level, ring) {
  const a = edgeOf(hostAt, networkAt, 'network', level, ring);
  const b = edgeOf(networkAt, hostAt, 'host', level, ring);
  const wire = line(...a, ...b, 'wire');
  if (level !== 'full') return { node: wire, update: (found) => attr(wire, 'class', `wire${found.state === 'cut' ? ' cut' : (found.mbps_to ?? 0) + (found.mbps_from ?? 0) > 0.05 ? ' busy' : ''}`) };
  const [x, y] = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const upright = Math.abs(a[1] - b[1]) > Math.abs(a[0] - b[0]);
  const [first, second] = upright
    ? [label(x - 6, y + 4, 'small num', 'end'), label(x + 6, y + 4, 'small num', 'start')]
    : [label(x, y - 7, 'small num', 'middle'), label(x, y + 16, 'small num', 'middle')];
  const away = upright ? b[1] > a[1] : b[0] > a[0]; // from the network to the host is down, or to the right
  const [forth, back] = upright ? ['↓', '↑'] : ['→', '←'];
  const cross = label(x, y + 5, 'cross', 'middle', '');
  return {
    node: s('g', {}, wire, first, second, cross),
    update(found) {
      const { mbps_to: to = 0, mbps_from: from = 0, state } = found;
      const [ahead, behind] = away ? [to, from] : [from, to];
      attr(wire, 'class', `wire${state === 'cut' ? ' cut' : (to ?? 0) + (from ?? 0) > 0.05 ? ' busy' : ''}`);
      text(cross, state === 'cut' ? '✕' : '');
      text(first, ahead >= 0.05 ? `${rate(ahead)} ${forth}` : '');
      text(second, behind >= 0.05 ? `${back} ${rate(behind)}` : '');
    },
  };
}

/** A host or network in a sentence, for those who hear the map. */
export function told(node, sample) {
  const name = node.slice(2);
  if (node[0] === 'n') {
    const one = sample.networks[name];
    if (!one) return name;
    const of = one.rate_mbps ? ` of ${number(one.rate_mbps)}` : '';
    return `network ${name}, ${one.state}: ${number(one.mbps)}${of} Mb/s, ${bytes(one.backlog_bytes)} waiting, ${number(sum(one.drops_per_s))} drops per second`;
  }
  const one = sample.hosts[name];
  if (!one) return name;
  const work = one.workloads.map((w) => `${w.workload} on ${w.system} ${number(moved(w))} Mb/s`).join(', ') || 'no workload';
  return `host ${name}, ${one.state}: ${work}, ${one.hogs} hogs, ${number(sum(one.cpu))} CPUs, ${inUse(one.containers)} containers in use`;
}

/** The map in `place`. `choose` hears which node (`h:middle`, `n:ring-a`) was picked. */
export function mapIn(place, choose) {
  let shape = '', turn = 0, parts = new Map(), links = [], order = [], chosen = null, newest = null, lab = null;

  function build(sample) {
    const trunks = (lab.topology.links ?? []).map(({ ends }) => ends).filter((ends) => ends.every((end) => end in sample.networks && !(end in sample.hosts)));
    const graph = graphOf(sample, trunks);
    const { level, places, zoom, width, height } = layOut(graph, Math.max(place.clientWidth, 300));
    const ring = (name) => sample.networks[name].medium === 'shared';
    parts = new Map();
    links = [];
    const lines = s('g', {});
    for (const [a, b] of graph.edges) {
      if (b[0] === 'n') {
        lines.append(line(...places.get(a), ...places.get(b), 'wire trunk'));
        continue;
      }
      const made = link(places.get(b), places.get(a), level, ring(a.slice(2)));
      lines.append(made.node);
      links.push([a.slice(2), b.slice(2), made]);
    }
    const drawn = s('g', {});
    order = graph.nodes.filter((node) => places.has(node)).sort((a, b) => places.get(a)[1] - places.get(b)[1] || places.get(a)[0] - places.get(b)[0]);
    for (const node of order) {
      const name = node.slice(2), host = node[0] === 'h';
      const cpus = (host && lab.topology.hosts[name]?.cpus?.length) || lab.cpus;
      const part = host ? (level === 'full' ? fullHost(name, cpus) : smallHost(name, cpus))
        : (level === 'full' ? fullNetwork : smallNetwork)(name, sample.networks[name]);
      const [x, y] = places.get(node);
      const group = s('g', { transform: `translate(${x} ${y})`, role: 'button', tabindex: -1, 'data-node': node }, part.node);
      drawn.append(group);
      parts.set(node, { ...part, group });
    }
    const svg = s('svg', { viewBox: `0 0 ${width} ${height}`, class: `map ${level}`, role: 'group', 'aria-label': `Map of the lab ${lab.name}: arrow keys go from one to the next, Enter chooses` }, lines, drawn);
    attr(svg, 'width', width * zoom);
    attr(svg, 'height', height * zoom);
    place.replaceChildren(svg);
    mark();
  }

  function mark() {
    const stop = chosen && parts.has(chosen) ? chosen : order[0];
    for (const [node, { group }] of parts) {
      attr(group, 'tabindex', node === stop ? 0 : -1);
      attr(group, 'aria-pressed', node === chosen);
      group.classList.toggle('chosen', node === chosen);
    }
  }

  function tell(node) {
    const part = parts.get(node);
    if (part && newest) attr(part.group, 'aria-label', told(node, newest));
  }

  place.addEventListener('click', (event) => {
    const node = event.target.closest('[data-node]')?.dataset.node;
    if (node) choose(node);
  });
  place.addEventListener('focusin', (event) => event.target.dataset?.node && tell(event.target.dataset.node));
  place.addEventListener('keydown', (event) => {
    const node = event.target.dataset?.node;
    if (!node) return;
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      choose(node);
      return;
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const next = step ? order[order.indexOf(node) + step] : event.key === 'Home' ? order[0] : event.key === 'End' ? order.at(-1) : null;
    if (!next) return;
    event.preventDefault();
    attr(event.target, 'tabindex', -1);
    const to = parts.get(next).group;
    tell(next);
    attr(to, 'tabindex', 0);
    to.focus();
  });

  const api = {
    /** Shows a sample of a lab (its view from REST, with `cpus` of the machine). */
    update(view, sample) {
      const look = view !== lab || turn % SELDOM === 0 || !shape;
      turn += 1;
      lab = view;
      newest = sample;
      const key = !look ? shape : [place.clientWidth, view.name, Object.keys(sample.hosts), Object.entries(sample.networks).map(([name, { medium, links: ends }]) => [name, medium, Object.keys(ends)])].join();
      if (key !== shape) {
        shape = key;
        build(sample);
      }
      for (const [node, part] of parts) {
        const name = node.slice(2), host = node[0] === 'h';
        const found = host ? sample.hosts[name] : sample.networks[name];
        if (!found) { // the lab is another now
          shape = '';
          return;
        }
        part.update(found);
        const state = found.state === 'cut' || found.state === 'failed' ? 'bad-state' : found.state === 'stopped' ? 'off' : '';
        const trouble = sum(found.drops_per_s) > 0 ? 'dropping' : '';
        attr(part.group, 'class', ['node', state, trouble, node === chosen ? 'chosen' : ''].filter(Boolean).join(' '));
      }
      for (const [network, host, made] of links) made.update(sample.networks[network].links[host] ?? NO_LINK);
      const focused = document.activeElement?.dataset?.node;
      for (const node of new Set([chosen, focused])) if (node) tell(node);
    },
    choose(node) {
      chosen = node;
      mark();
    },
    clear(message) {
      shape = '';
      parts = new Map();
      links = [];
      place.replaceChildren(h('p', { class: 'empty' }, message));
    },
  };
  // Another width is another layout, made when the page has come to rest.
  let waiting = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => newest && parts.size && api.update(lab, newest));
  }).observe(place);
  return api;
}
