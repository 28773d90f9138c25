// What a run found: figure, rows with intervals, ratios, and why trials did not count.

import { api } from './api.js';
import { h } from './dom.js';
import { factors, number, percent } from './format.js';
import { say } from './log.js';

const interval = (ends) => (ends ? `[${number(ends[0])}, ${number(ends[1])}]` : '');

function table(caption, columns, rows) {
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', {}, h('caption', {}, caption),
      h('thead', {}, h('tr', {}, columns.map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, rows.map(([head, ...cells]) => h('tr', {}, h('th', { scope: 'row' }, head), cells.map((cell) => h('td', { class: 'num' }, cell)))))));
}

/** Trials that did not count, in the words of the server. */
async function invalidTrials(run) {
  const answer = await api.fetch(`/runs/${run.id}/trials`);
  return (await answer.text()).split('\n').filter(Boolean).map(JSON.parse).filter(({ valid }) => valid === false);
}

/** Shows the result of a run that has ended in `place`. */
export async function resultIn(place, run) {
  const image = h('img', { class: 'figure', alt: `Figure of run ${run.id}; its numbers are in the table below` });
  place.append(h('p', { class: 'empty' }, 'reading the result'));
  let result;
  try {
    result = await api.get(`/runs/${run.id}/result`);
  } catch (error) {
    place.replaceChildren(h('p', { class: 'note' }, error.message));
    return;
  }
  const invalid = result.rows.reduce((total, row) => total + row.invalid_trials, 0);
  const published = result.rows.some((row) => row.published !== null);
  const columns = ['System', 'Factors', ...(published ? ['Published'] : []), 'Median', '95 % interval', 'Unit', 'Loss', 'Trials', 'Invalid'];
  const rows = result.rows.map((row) => [row.system, factors(row.factors), ...(published ? [number(row.published)] : []),
    number(row.median), interval(row.ci95), row.unit, percent(row.loss), String(row.trials), String(row.invalid_trials)]);
  const ratios = result.ratios.map((ratio) => [`${ratio.of} / ${ratio.to}`, factors(ratio.factors), number(ratio.published), number(ratio.median), interval(ratio.ci95)]);
  place.replaceChildren(
    h('div', { class: 'figure-place' }, image),
    table('Rows', columns, rows),
    ...(ratios.length ? [table('Ratios', ['Of / to', 'Factors', 'Published', 'Median', '95 % interval'], ratios)] : []),
    notes(result.environment.notes ?? []),
    invalid ? reasons(run, invalid) : h('p', { class: 'muted' }, 'Every trial counted.'));
  try {
    const picture = await (await api.fetch(`/runs/${run.id}/figure?format=svg`)).blob();
    image.src = URL.createObjectURL(picture);
    image.addEventListener('load', () => URL.revokeObjectURL(image.src), { once: true });
  } catch (error) {
    image.replaceWith(h('p', { class: 'note' }, error.message));
  }
}

function notes(found) {
  if (!found.length) return '';
  return h('details', { open: found.length < 6 }, h('summary', {}, 'Notes'), h('ul', {}, found.map((note) => h('li', {}, note))));
}

/** Why trials did not count: asked for when somebody wants to know. */
function reasons(run, count) {
  const list = h('ul');
  const node = h('details', {}, h('summary', {}, `${count} invalid trial${count === 1 ? '' : 's'}: why`), list);
  node.addEventListener('toggle', async () => {
    if (!node.open || list.children.length) return;
    try {
      list.replaceChildren(...(await invalidTrials(run)).map((trial) =>
        h('li', {}, h('b', {}, `${trial.system}, ${factors(trial.factors)}, round ${trial.round}: `), (trial.reasons ?? []).join('; '))));
    } catch (error) {
      say(error.message);
    }
  });
  return node;
}
