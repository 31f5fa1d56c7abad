// Everything on the page is made here, of elements, attributes and texts: no name can become markup.

const space = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === 'function') node.addEventListener(name, value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false && c !== ''));
  return node;
}

// el makes an element; an attribute that is a function listens to the event of that name.
export const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

// svg makes an element of a picture.
export const svg = (name, attributes, ...children) => fill(document.createElementNS(space, name), attributes, children);

// The states, the gravest first, with what they ask for.
export const states = ['Expired', 'Failed', 'Contested', 'Blocked', 'Stale', 'Progressing', 'Waiting', 'Unverified', 'Ready'];

export const settled = (state) => ['Ready', 'Unverified', 'Waiting'].includes(state);

export const gravity = (state) => (states.includes(state) ? states.indexOf(state) : 0);

// badge is a state as a coloured word; the word alone says it, too.
export const badge = (state) => el('span', { class: 'badge ' + (states.includes(state) ? state : 'Failed') }, state);

// count is a number of things in words: count(1, 'binding', 'bindings').
export const count = (n, one, many) => n.toLocaleString('en') + ' ' + (n === 1 ? one : many);

// span is a time between two moments, in milliseconds, as people say it.
export function span(ms) {
  const units = [[365 * 864e5, 'y'], [864e5, 'd'], [36e5, 'h'], [6e4, 'min'], [1e3, 's']];
  const at = units.findIndex(([size]) => Math.abs(ms) >= size);
  if (at < 0) return '0 s';
  const [size, unit] = units[at];
  const n = Math.abs(ms) / size;
  return (n < 10 && unit === 'y' ? n.toFixed(1).replace(/\.0$/, '') : Math.floor(n)) + ' ' + unit;
}

// until says how far away a moment is.
export function until(moment, now) {
  const ms = new Date(moment) - now;
  return ms < 0 ? span(ms) + ' ago' : 'in ' + span(ms);
}

// day is the day of a moment.
export const day = (moment) => moment.slice(0, 10);
