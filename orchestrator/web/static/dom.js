// Making and changing elements. What has not changed is not written: a write is what costs a browser time.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'value') node.value = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An HTML element. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const TEXT = Symbol('text'), SET = Symbol('attributes'); // as last written: to ask an element costs more than to remember

/** Sets a node's text if it is another than this function wrote last. */
export function text(node, value) {
  if (node[TEXT] === value) return;
  node[TEXT] = value;
  node.textContent = value;
}

/** Sets an attribute if it is another than this function wrote last; null takes it away. */
export function attr(node, name, value) {
  const set = node[SET] ??= {};
  if (set[name] === value) return;
  set[name] = value;
  if (value === null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value);
}

/** Shows or hides an element. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

export const byId = (id) => document.getElementById(id);

/** The options of a select, made anew only if they are others; the choice stays where it can. */
export function options(select, entries, chosen = select.value) {
  const key = JSON.stringify(entries);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(...entries.map(([value, label]) => h('option', { value }, label)));
  }
  if (entries.some(([value]) => value === chosen)) select.value = chosen;
}
