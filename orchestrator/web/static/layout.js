// Where hosts and networks stand: along the longest way through the lab, in rows like lines of text that turn round at
// their ends, so that neighbours stay neighbours. What is not on that way hangs under what it is joined to.

export const SIZES = {
  full: { host: [152, 124], network: [108, 124], gap: 50, row: 48 },
  compact: { host: [38, 30], network: [26, 26], gap: 6, row: 12 },
};
const FULL = { nodes: 24, under: 2 }; // of more, or where more hangs under one, the compact size is easier to read
const LARGE = { nodes: 70, zoom: 1.8 }; // compact, but there is room to draw it larger

const kindOf = (node) => (node[0] === 'h' ? 'host' : 'network');

/** Hosts, networks and what joins them, of a sample and the trunks of a topology. */
export function graphOf(sample, trunks) {
  const nodes = [...Object.keys(sample.hosts).map((name) => `h:${name}`), ...Object.keys(sample.networks).map((name) => `n:${name}`)];
  const edges = [];
  for (const [network, { links }] of Object.entries(sample.networks)) {
    for (const host of Object.keys(links)) edges.push([`n:${network}`, `h:${host}`]);
  }
  for (const [a, b] of trunks) edges.push([`n:${a}`, `n:${b}`]);
  const near = new Map(nodes.map((node) => [node, []]));
  for (const [a, b] of edges) {
    near.get(a)?.push(b);
    near.get(b)?.push(a);
  }
  return { nodes, edges: edges.filter(([a, b]) => near.has(a) && near.has(b)), near };
}

/** From a node outwards: the order in which nodes are met, and from where. */
function spread(near, starts, met = new Map(starts.map((node) => [node, null]))) {
  const order = [...starts];
  for (let at = 0; at < order.length; at += 1) {
    for (const next of near.get(order[at])) {
      if (!met.has(next)) {
        met.set(next, order[at]);
        order.push(next);
      }
    }
  }
  return { order, from: met };
}

/** Of the nodes that are met last, the first in the topology. */
function farthest({ order, from }, rank) {
  const steps = new Map();
  for (const node of order) steps.set(node, from.get(node) === null ? 0 : steps.get(from.get(node)) + 1);
  const most = steps.get(order.at(-1));
  return order.filter((node) => steps.get(node) === most).reduce((a, b) => (rank.get(b) < rank.get(a) ? b : a));
}

/** The longest of the shortest ways, exact in a tree, of each part of the lab; hosts in the order of the topology. */
export function spines({ nodes, near }) {
  const rank = new Map(nodes.map((node, index) => [node, index]));
  const seen = new Set();
  const found = [];
  for (const node of nodes) {
    if (seen.has(node)) continue;
    const part = spread(near, [node]).order;
    part.forEach((one) => seen.add(one));
    const there = spread(near, [farthest(spread(near, [node]), rank)]);
    const way = [];
    for (let at = farthest(there, rank); at !== null; at = there.from.get(at)) way.push(at);
    found.push(rank.get(way[0]) <= rank.get(way.at(-1)) ? way : way.reverse());
  }
  return found;
}

/** Each spine node with what hangs under it. */
function columns(graph) {
  const made = [];
  for (const way of spines(graph)) {
    const owner = new Map(way.map((node) => [node, node]));
    const hanging = new Map(way.map((node) => [node, []]));
    const { order, from } = spread(graph.near, way);
    for (const node of order.slice(way.length)) {
      const top = owner.get(from.get(node));
      owner.set(node, top);
      hanging.get(top).push(node);
    }
    way.forEach((node, index) => made.push({ node, under: hanging.get(node), first: index === 0 }));
  }
  return made;
}

/** Places for everything within `width`: `places` has the centre of each node. */
export function layOut(graph, room) {
  const stand = columns(graph);
  const full = graph.nodes.length <= FULL.nodes && stand.every(({ under }) => under.length <= FULL.under);
  const level = full ? 'full' : 'compact';
  const zoom = !full && graph.nodes.length <= LARGE.nodes ? LARGE.zoom : 1;
  const width = room / zoom;
  const size = SIZES[level];
  const cell = (node) => size[kindOf(node)];
  const units = stand.map(({ node, under, first }) => {
    const across = Math.max(1, Math.min(under.length, Math.floor(Math.sqrt(under.length * 2)), Math.floor(width / (size.host[0] + size.gap)) || 1));
    const rows = Math.ceil(under.length / across);
    const wide = Math.max(cell(node)[0], under.length ? across * (size.host[0] + size.gap) - size.gap : 0);
    return { node, under, across, wide, high: size.host[1] + rows * (size.host[1] + size.row), first };
  });
  const lines = [];
  let line = null;
  for (const unit of units) {
    const more = line === null ? 0 : line.wide + size.gap + unit.wide;
    // What is almost as wide as the room is drawn a little smaller rather than in two rows.
    if (line === null || more > width * (level === 'full' ? 1.08 : 1)) {
      line = { units: [unit], wide: unit.wide };
      lines.push(line);
    } else {
      line.units.push(unit);
      line.wide = more;
    }
  }
  const wide = Math.max(width, ...lines.map((one) => one.wide + 4));
  const places = new Map();
  let top = 4;
  lines.forEach(({ units: row, wide: used }, number) => {
    const alone = lines.length === 1;
    const gap = row.length > 1 && level === 'full' ? Math.min(size.gap * 2.4, size.gap + (wide - 8 - used) / (row.length - 1)) : size.gap;
    const long = used + (gap - size.gap) * (row.length - 1);
    let at = alone ? (wide - long) / 2 : 4;
    for (const unit of row) {
      const x = at + unit.wide / 2;
      const middle = number % 2 === 1 ? wide - x : x;
      places.set(unit.node, [middle, top + size.host[1] / 2]);
      unit.under.forEach((node, index) => {
        const inRow = Math.min(unit.across, unit.under.length - Math.floor(index / unit.across) * unit.across);
        const shift = ((index % unit.across) - (inRow - 1) / 2) * (size.host[0] + size.gap);
        places.set(node, [middle + shift, top + size.host[1] * 1.5 + size.row + Math.floor(index / unit.across) * (size.host[1] + size.row)]);
      });
      at += unit.wide + gap;
    }
    top += Math.max(...row.map((unit) => unit.high)) + size.row;
  });
  return { level, places, zoom, width: wide, height: top - size.row + (level === 'full' ? 28 : 4) };
}
