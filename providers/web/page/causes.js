// What is behind the state of a binding: a card for each.

import { badge, count, el, gravity, settled } from './dom.js';

const most = 20;
const whole = 4; // the rest is brief

const short = (hex) => (hex.length > 12 ? hex.slice(0, 12) + '…' : hex);

function target(t) {
  let says = 'not known what it serves';
  if (t.servedSerial && t.servedSerial === t.wantedSerial) says = 'serves what is wanted, ' + short(t.servedSerial);
  else if (t.servedSerial) says = 'serves ' + short(t.servedSerial) + (t.wantedSerial ? ', not ' + short(t.wantedSerial) : '');
  return [el('dt', {}, t.host === 'local' ? t.name : t.host + ': ' + t.name), el('dd', {}, says)];
}

// card tells of one binding: the causes, or the targets where there is nothing to be caused. A brief one leaves them out until
// its name is clicked.
export function card(b, brief, choose) {
  const facts = b.causes
    ? [...b.causes.layers.map((l) => [el('dt', {}, l.name), el('dd', {}, l.text)]), [el('dt', {}, 'next'), el('dd', {}, b.causes.next)]]
    : b.targets.map(target);
  return el('article', { class: 'card' },
    el('h3', {}, badge(b.state), choose ? el('button', { class: 'name', click: () => choose(b.name) }, b.name) : b.name),
    b.reason && el('p', { class: 'reason' }, b.reason),
    b.hint && el('p', { class: 'hint' }, b.hint),
    !brief && facts.length > 0 && el('dl', {}, facts));
}

// attention shows the bindings that are not settled, the gravest first.
export function attention(bindings, chosen, choose) {
  const all = bindings.filter((b) => !settled(b.state)).sort((a, b) => gravity(a.state) - gravity(b.state));
  if (all.length === 0) return [];
  return [
    el('h2', {}, 'Needs attention'),
    el('div', { class: 'cards' }, all.slice(0, most).map((b, i) => card(b, i >= whole && b.name !== chosen, choose))),
    all.length > most && el('p', { class: 'dim' }, 'and ' + count(all.length - most, 'more', 'more') + ': the filter brings them up'),
  ].filter(Boolean);
}
