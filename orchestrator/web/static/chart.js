// Numbers over the last minute, drawn on a canvas when a sample comes; the same numbers as a table beneath.

import { attr, h, text } from './dom.js';
import { number } from './format.js';
import { SPAN_S } from './live.js';

const COLOURS = 8;
const USUAL = { sink: 0, forwarder: 1, source: 4 }; // the same thing has the same colour
const REST = [2, 3, 5, 6, 7, 0, 1, 4];
const EDGE = { left: 40, right: 10, top: 16, bottom: 20 };
const theme = matchMedia('(prefers-color-scheme: dark)');

let cached = null;
theme.addEventListener('change', () => { cached = null; });

function palette() {
  if (cached === null) {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    cached = { ink: read('--ink'), muted: read('--muted'), line: read('--line'), series: Array.from({ length: COLOURS }, (_, n) => read(`--s${n + 1}`)) };
  }
  return cached;
}

/** The top of an axis and the distance of its lines: 1, 2 or 5 times a power of ten. */
export function scale(most) {
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((found) => found >= rough * 0.999);
  return { step, top: Math.ceil((most / step) * 0.9999) * step };
}

/** A chart in `place`. `least` is the least that its axis reaches to, `most` the most, if any; `lines` can be told apart. */
export function chartIn(place, { title, unit, least, most = Infinity, lines = 6, none }) {
  const canvas = h('canvas', { role: 'img' });
  const legend = h('div', { class: 'legend' });
  const rows = h('tbody');
  const table = h('details', { class: 'numbers' }, h('summary', {}, 'Table'),
    h('table', {}, h('thead', {}, h('tr', {}, ['', `now, ${unit}`, 'mean', 'least', 'most'].map((name) => h('th', { scope: 'col' }, name)))), rows));
  place.replaceChildren(h('h3', {}, title, h('span', { class: 'unit' }, ` ${unit}`)), canvas, legend, table);
  const hidden = new Set();
  const colour = new Map();
  let entries = new Map(), drawn = null;

  /** What to draw of all there is: those of the chosen host or network, then workloads, then networks. */
  function choice(group, chosen) {
    const mine = (series) => chosen !== null && (series.key.split(':')[1] === chosen.slice(2) && (series.key[0] === 'n') === (chosen[0] === 'n'));
    const rank = (series) => (mine(series) ? 0 : series.kind === 'workload' ? 1 : 2);
    const found = [[], [], []];
    for (const series of group.values()) found[rank(series)].push(series);
    return found.flat().slice(0, lines).sort((a, b) => rank(a) - rank(b) || (a.label < b.label ? -1 : 1));
  }

  function tint(key) {
    if (!colour.has(key)) {
      const used = new Set(colour.values());
      const order = [USUAL[key.split(':')[2]], ...REST].filter((one) => one !== undefined);
      colour.set(key, order.find((one) => !used.has(one)) ?? order.at(-1));
    }
    return colour.get(key);
  }

  function describe(series) {
    const wanted = new Set(series.map(({ key }) => key));
    for (const [key, entry] of entries) {
      if (!wanted.has(key)) {
        entry.button.remove();
        entry.row.remove();
        entries.delete(key);
        colour.delete(key);
      }
    }
    const fresh = series.some(({ key }) => !entries.has(key));
    for (const one of series) {
      let entry = entries.get(one.key);
      if (!entry) {
        const value = h('span', { class: 'num' });
        const swatch = h('i', { class: `swatch c${tint(one.key) + 1} ${one.kind}` });
        const button = h('button', { type: 'button', 'aria-pressed': 'true', title: 'show or hide' }, swatch, one.label, ' ', value);
        button.addEventListener('click', () => {
          if (!hidden.delete(one.key)) hidden.add(one.key);
          attr(button, 'aria-pressed', !hidden.has(one.key));
          if (drawn) api.draw(...drawn);
        });
        const cells = [0, 1, 2, 3].map(() => h('td', { class: 'num' }));
        const row = h('tr', {}, h('th', { scope: 'row' }, one.label), cells);
        entries.set(one.key, entry = { button, value, row, cells });
      }
      text(entry.value, number(one.last));
      if (table.open) {
        const known = one.values.filter((value) => value !== null);
        const mean = known.reduce((total, value) => total + value, 0) / known.length;
        [one.last, known.length ? mean : null, known.length ? Math.min(...known) : null, known.length ? Math.max(...known) : null]
          .forEach((value, index) => text(entry.cells[index], number(value)));
      }
    }
    if (fresh) { // in the order of the choice
      legend.append(...series.map(({ key }) => entries.get(key).button));
      rows.append(...series.map(({ key }) => entries.get(key).row));
    }
    const now = series.map((one) => `${one.label} ${number(one.last)}`).join(', ');
    attr(canvas, 'aria-label', `${title}, ${unit}, over the last ${SPAN_S} seconds. Now: ${now || none}`);
  }

  const api = {
    draw(history, group, chosen) {
      drawn = [history, group, chosen];
      const series = choice(group, chosen);
      describe(series);
      const shown = series.filter(({ key }) => !hidden.has(key));
      const dots = devicePixelRatio || 1;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      if (canvas.width !== Math.round(width * dots) || canvas.height !== Math.round(height * dots)) {
        canvas.width = Math.round(width * dots);
        canvas.height = Math.round(height * dots);
      }
      const c = canvas.getContext('2d');
      const { ink, muted, line, series: tints } = palette();
      c.setTransform(dots, 0, 0, dots, 0, 0);
      c.clearRect(0, 0, width, height);
      c.font = '11px system-ui, sans-serif';
      const highest = Math.max(least, ...shown.flatMap(({ values }) => values.filter((value) => value !== null)));
      const { step, top } = scale(Math.min(highest, most));
      const x = (time) => EDGE.left + (1 - (history.now - time) / SPAN_S) * (width - EDGE.left - EDGE.right);
      const y = (value) => height - EDGE.bottom - (Math.min(value, top) / top) * (height - EDGE.top - EDGE.bottom);
      c.lineWidth = 1;
      c.textAlign = 'right';
      c.textBaseline = 'middle';
      for (let at = 0; at <= top * 1.0001; at += step) {
        c.strokeStyle = line;
        c.beginPath();
        c.moveTo(EDGE.left, Math.round(y(at)) + 0.5);
        c.lineTo(width - EDGE.right, Math.round(y(at)) + 0.5);
        c.stroke();
        c.fillStyle = muted;
        c.fillText(String(Number(at.toPrecision(6))), EDGE.left - 6, y(at));
      }
      c.textBaseline = 'alphabetic';
      for (const back of width < 280 ? [60, 30, 0] : [60, 40, 20, 0]) {
        c.textAlign = back === 60 ? 'left' : back === 0 ? 'right' : 'center';
        c.fillText(back === 0 ? 'now' : `−${back} s`, x(history.now - back), height - 5);
      }
      marks(c, history, x, height, muted);
      if (!shown.length) {
        c.textAlign = 'center';
        c.fillText(none, (EDGE.left + width) / 2, height / 2);
      }
      c.save();
      c.beginPath();
      c.rect(EDGE.left, 0, width - EDGE.left - EDGE.right, height - EDGE.bottom + 2);
      c.clip();
      c.lineJoin = 'round';
      for (const one of [...shown].reverse()) {
        c.strokeStyle = tints[tint(one.key)] ?? ink;
        c.lineWidth = one.kind === 'network' ? 1.4 : 2;
        c.setLineDash(one.kind === 'network' ? [4, 3] : []);
        c.beginPath();
        let gap = true;
        one.times.forEach((time, index) => {
          const value = one.values[index];
          if (value !== null) c[gap ? 'moveTo' : 'lineTo'](x(time), y(value));
          gap = value === null;
        });
        c.stroke();
      }
      c.setLineDash([]);
      c.restore();
    },
  };

  /** Where somebody changed something: a thin line, and what it was where there is room. */
  function marks(c, history, x, height, muted) {
    let free = -Infinity;
    c.textAlign = 'left';
    for (const { time, label } of history.marks) {
      const at = Math.round(x(time)) + 0.5;
      if (at < EDGE.left) continue;
      c.strokeStyle = muted;
      c.setLineDash([1, 3]);
      c.beginPath();
      c.moveTo(at, EDGE.top - 6);
      c.lineTo(at, height - EDGE.bottom);
      c.stroke();
      c.setLineDash([]);
      if (at > free) {
        c.fillStyle = muted;
        c.fillText(label, at + 3, EDGE.top - 5);
        free = at + c.measureText(label).width + 8;
      }
    }
  }

  table.addEventListener('toggle', () => drawn && api.draw(...drawn));
  theme.addEventListener('change', () => drawn && api.draw(...drawn));
  new ResizeObserver(() => drawn && api.draw(...drawn)).observe(canvas);
  return api;
}
