// The picture: CAs, identities and bindings, with lines between them. Wide, they stand in columns and lines run to the right;
// on a phone they stand below each other, and lines run down.

import { day, el, settled, states, svg, until } from './dom.js';
import { depth, grow } from './tree.js';

const row = 54;
const height = 44;
const narrow = 640;

function says(n, now) {
  switch (n.kind) {
    case 'ca': {
      if (!n.of) return '';
      const active = n.of.generations.find((g) => g.state === 'active');
      if (!active) return n.of.reason || 'not made yet';
      return n.of.generations.length > 1 ? 'rollover in progress' : 'until ' + day(active.notAfter);
    }
    case 'identity':
      if (!n.of.notAfter) return n.of.reason || 'not issued';
      return 'ends ' + until(n.of.notAfter, now);
    case 'binding':
      return n.of.state;
  }
  return n.says;
}

function tone(n, now) {
  switch (n.kind) {
    case 'ca': {
      if (n.of?.reason) return 'Failed';
      return n.of?.generations.length > 1 ? 'Progressing' : '';
    }
    case 'identity':
      if (n.of.notAfter && new Date(n.of.notAfter) < now) return 'Expired';
      return n.of.reason ? 'Stale' : '';
    case 'binding':
      return states.includes(n.of.state) ? n.of.state : 'Failed';
  }
  return '';
}

// place gives every node its x and y, and returns how high all of it is.
function place(roots, width) {
  const cas = Math.max(1, depth(roots));
  const columns = cas + 2;
  const small = width < narrow;
  const size = small ? 0 : Math.min(250, (width - (columns - 1) * 44) / columns);
  let line = 0;
  const walk = (n, level, indent) => {
    n.level = { ca: level, identity: cas, binding: cas + 1, more: level }[n.kind];
    if (small) {
      Object.assign(n, { x: indent * 18, y: line++ * row, width: width - indent * 18 });
      n.children.forEach((c) => walk(c, level + 1, indent + 1));
      return;
    }
    Object.assign(n, { x: n.level * ((width - size) / (columns - 1)), width: size });
    n.children.forEach((c) => walk(c, n.kind === 'identity' ? cas + 1 : c.kind === 'ca' ? level + 1 : cas, 0));
    n.y = n.children.length ? n.children[0].y : line++ * row; // beside its first: a tall picture begins at its top
  };
  roots.forEach((n) => walk(n, 0, 0));
  return line * row;
}

// line runs from one node to another: out of its side, or on a phone out of its bottom, and around one corner or two.
function line(from, to, small) {
  const y = to.y + height / 2;
  const start = from.y + height / 2;
  const middle = to.x - 22;
  const d = small ? `M${from.x + 9} ${from.y + height}V${y - 6}q0 6 6 6H${to.x}`
    : y === start ? `M${from.x + from.width} ${y}H${to.x}`
      : `M${from.x + from.width} ${start}H${middle - 8}q8 0 8 8V${y - 8}q0 8 8 8H${to.x}`;
  const unsettled = to.kind === 'binding' && !settled(to.of.state);
  return svg('path', { d, class: (to.trust ? 'trust ' : '') + (unsettled ? 'line ' + tone(to) : 'line') });
}

// picture draws a status with the bindings that matched. choose is called with a binding that is clicked.
export function picture(status, matched, chosen, choose, width, now) {
  const roots = grow(status, matched);
  if (roots.length === 0) return [];
  const small = width < narrow;
  const high = place(roots, width);
  const lines = svg('svg', { width, height: high, 'aria-hidden': 'true' });
  const box = el('div', { class: small ? 'map small' : 'map' }, lines);
  box.style.height = high + 'px';
  const draw = (n) => {
    const text = says(n, now);
    const node = el(n.kind === 'binding' ? 'button' : 'div',
      { class: ['node', n.kind, tone(n, now), n.kind === 'binding' && n.name === chosen && 'chosen'].filter(Boolean).join(' '), title: n.of?.reason || n.name, click: n.kind === 'binding' && (() => choose(n.name)) },
      el('span', { class: 'name' }, n.name), el('span', { class: 'says' }, text));
    Object.assign(node.style, { left: n.x + 'px', top: n.y + 'px', width: n.width + 'px', height: height + 'px' });
    box.append(node);
    for (const c of n.children) {
      lines.append(line(n, c, small));
      draw(c);
    }
  };
  roots.forEach(draw);
  return [el('h2', {}, 'CAs, identities, bindings'), box];
}
