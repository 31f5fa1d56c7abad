// The picture's tree: CAs, below them identities and CAs they sign, below those bindings. What is too much for a picture is
// counted in a node of its own.

import { count, gravity, settled } from './dom.js';

const most = 40; // bindings that are all drawn
const few = 24; // of more: those that are not settled, and then as many as this

const reserved = { public: 'Mozilla’s roots', system: 'the host’s roots', '': 'issued by something else' };

// grow returns the roots of the tree of a status, with the bindings that matched.
export function grow(status, matched) {
  const nodes = new Map();
  const roots = [];
  const ca = (name) => {
    if (!nodes.has(name)) {
      const of = status.cas.find((c) => c.name === name);
      const node = { kind: 'ca', name: of ? name : reserved[name] ?? name, of, children: [] };
      nodes.set(name, node);
      (of?.parent ? ca(of.parent).children : roots).push(node);
    }
    return nodes.get(name);
  };
  const grave = [...matched].sort((a, b) => gravity(a.state) - gravity(b.state));
  const drawn = new Set(matched.length > most ? grave.slice(0, few) : matched);
  const by = Map.groupBy(matched.length > most ? grave : matched, (b) => b.identity ?? '');
  const all = matched.length === status.bindings.length;
  if (all) status.cas.forEach((c) => ca(c.name));
  const left = new Map(); // by CA: what is not drawn
  let room = few; // for identities without a binding
  const order = new Map([...by.keys()].map((name, i) => [name, i]));
  const place = (id) => order.get(id.name) ?? Infinity;
  const identities = matched.length > most ? [...status.identities].sort((a, b) => place(a) - place(b) || 0) : status.identities;
  for (const id of identities) {
    const bindings = by.get(id.name) ?? [];
    if (bindings.length === 0 && !all) continue;
    const children = bindings.filter((b) => drawn.has(b)).map((b) => ({ kind: 'binding', name: b.name, of: b, children: [] }));
    if (children.length === 0 && (bindings.length > 0 || room-- <= 0)) {
      const l = left.get(id.ca) ?? { identities: 0, bindings: [] };
      l.identities++;
      l.bindings.push(...bindings);
      left.set(id.ca, l);
      continue;
    }
    const rest = bindings.filter((b) => !drawn.has(b));
    if (rest.length > 0) children.push(more(count(rest.length, 'more binding', 'more bindings'), rest));
    ca(id.ca).children.push({ kind: 'identity', name: id.name, of: id, children });
  }
  for (const [name, l] of left) {
    ca(name).children.push(more(count(l.identities, 'more identity', 'more identities'), l.bindings, l.bindings.length > 0 && 'with ' + count(l.bindings.length, 'binding', 'bindings')));
  }
  const alone = by.get('') ?? [];
  for (const b of alone.filter((b) => drawn.has(b))) {
    ca(b.trust[0] ?? '').children.push({ kind: 'binding', name: b.name, of: b, trust: true, children: [] });
  }
  const rest = alone.filter((b) => !drawn.has(b));
  if (rest.length > 0) ca(rest[0].trust[0] ?? '').children.push(more(count(rest.length, 'more binding', 'more bindings'), rest, 'of trust alone'));
  return roots;
}

function more(name, bindings, also) {
  const states = [...new Set(bindings.map((b) => b.state))].sort((a, b) => gravity(a) - gravity(b));
  const says = [also, states.length === 1 ? 'all ' + states[0] : states.every(settled) && states.length > 0 && 'all settled'];
  return { kind: 'more', name: '+ ' + name, says: says.filter(Boolean).join(', '), children: [] };
}

// depth is how many CAs stand above each other.
export const depth = (nodes) => Math.max(0, ...nodes.filter((n) => n.kind === 'ca').map((n) => 1 + depth(n.children)));
