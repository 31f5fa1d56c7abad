// The page follows a watch: it is told when there is something new, reads it, and draws it again.

import { attention, card } from './causes.js';
import { badge, count, el, settled, span, states } from './dom.js';
import { picture } from './picture.js';
import { timeline } from './timeline.js';

const most = 20; // notices of what is left
const again = 10e3; // without events
const silence = 50e3; // events come every 20 seconds at least

const $ = (id) => document.getElementById(id);
const view = { status: null, tag: '', text: '', state: '', chosen: '' };
let source = null;
let heard = 0; // when an event came
let read = 0; // when the status was read, and good
let failed = '';

async function load() {
  try {
    const answer = await fetch('status.json', { headers: view.tag ? { 'If-None-Match': view.tag } : {}, signal: AbortSignal.timeout(again) });
    if (answer.status === 200) {
      view.tag = answer.headers.get('ETag');
      view.status = await answer.json();
    } else if (answer.status !== 304) {
      throw new Error((await answer.text()).trim());
    }
    read = Date.now();
    failed = '';
    if (answer.status === 200) draw();
  } catch (e) {
    failed = e.message;
  }
  tell();
}

function listen() {
  source?.close();
  source = new EventSource('events');
  source.addEventListener('status', (e) => {
    heard = Date.now();
    if (e.data !== view.tag) load();
    tell();
  });
}

const live = () => source?.readyState === EventSource.OPEN && Date.now() - heard < silence;

// follow polls where there are no events, and tries to get some.
function follow() {
  if (document.hidden || live()) return;
  if (source?.readyState !== EventSource.CONNECTING) listen();
  load();
}

// matches are the bindings that the filter lets through.
function matches() {
  const text = view.text.toLowerCase();
  return view.status.bindings.filter((b) => (!view.state || b.state === view.state) && (!text ||
    [b.name, b.state, b.identity, b.reason, ...b.trust, ...b.targets.flatMap((t) => [t.host, t.name])].some((s) => s?.toLowerCase().includes(text))));
}

function draw() {
  const { status } = view;
  const now = new Date();
  const found = matches();
  const chosen = status.bindings.find((b) => b.name === view.chosen);
  $('project').textContent = status.project || 'certwright';
  $('about').textContent = 'certwright ' + status.watch.version;
  $('notices').replaceChildren(...notices(status));
  $('states').replaceChildren(...chips(status));
  $('attention').replaceChildren(...attention(found, view.chosen, choose));
  $('picture').replaceChildren(...picture(status, found, view.chosen, choose, $('picture').clientWidth, now));
  $('chosen').replaceChildren(...(chosen && settled(chosen.state) ? [card(chosen)] : []));
  $('expiry').replaceChildren(...timeline(status, found, now));
  if (found.length === 0 && status.bindings.length > 0) $('picture').replaceChildren(el('p', { class: 'dim' }, 'No binding matches the filter.'));
  const open = status.bindings.filter((b) => !settled(b.state)).length;
  const blind = status.watch.trouble === 'pass';
  const verdict = blind ? 'The last pass could not look' : open > 0 ? count(open, 'binding needs attention', 'bindings need attention') : status.converged ? 'All is settled' : 'Not converged';
  $('verdict').textContent = verdict;
  $('verdict').className = blind || open > 0 ? 'Failed' : status.converged ? 'Ready' : 'Stale';
  document.title = verdict + ' – ' + (status.project || 'certwright');
}

function notices(status) {
  const trouble = {
    pass: 'The last pass could not look at everything: an earlier one saw what is shown here, and it may be so no more. The log of watch says why.',
    spec: 'tls.yaml cannot be used, and the last good one stays in force. The log of watch says why.',
    steps: 'Some steps of the last pass failed.',
  }[status.watch.trouble];
  const out = trouble ? [el('p', { class: 'notice Stale' }, trouble)] : [];
  for (const c of status.cas) {
    if (c.reason) out.push(el('p', { class: 'notice Failed' }, el('b', {}, 'CA ' + c.name), ': ' + c.reason));
    if (c.generations.length < 2) continue;
    out.push(el('div', { class: 'notice Progressing' }, el('b', {}, 'CA ' + c.name + ': a rollover is in progress'),
      el('ul', {}, c.generations.map((g) => el('li', {}, el('span', { class: 'generation ' + (['active', 'next', 'retiring'].includes(g.state) ? g.state : '') }, g.state),
        ' generation ' + g.id + ', key ' + g.keyId.slice(0, 12) + (g.notAfter ? ', until ' + g.notAfter.slice(0, 10) : ''))))));
  }
  const left = beside(status);
  for (const r of left.slice(0, most)) {
    out.push(el('div', { class: 'notice ' + r.state }, el('p', {}, el('b', {}, r.subject), ': ' + r.reason), r.hint && el('p', { class: 'hint' }, r.hint)));
  }
  if (left.length > most) out.push(el('p', { class: 'dim' }, 'and ' + count(left.length - most, 'more', 'more') + ': status says which'));
  if (status.swarm?.reason) out.push(el('p', { class: 'notice Stale' }, el('b', {}, 'The Swarm’s own CA'), ': ' + status.swarm.reason));
  return out;
}

// beside is what is left that has no place of its own on the page.
function beside(status) {
  const named = new Set([...status.bindings.map((b) => 'binding/' + b.name), ...status.cas.map((c) => 'ca/' + c.name)]);
  return status.left.filter((r) => !named.has(r.subject) && !r.subject.startsWith('swarm/'));
}

function chips(status) {
  const by = Map.groupBy(status.bindings, (b) => b.state);
  return [...by.keys()].sort((a, b) => states.indexOf(a) - states.indexOf(b)).map((s) => el('button', {
    class: 'chip', 'aria-pressed': String(view.state === s), click: () => {
      view.state = view.state === s ? '' : s;
      draw();
    },
  }, el('b', {}, by.get(s).length.toLocaleString('en')), badge(s)));
}

function choose(name) {
  view.chosen = view.chosen === name ? '' : name;
  draw();
  $('chosen').scrollIntoView({ block: 'nearest' });
}

// tell says how new what is shown is.
function tell() {
  const looked = view.status?.watch.looked;
  const late = looked && Date.now() - new Date(looked) > (2 * view.status.watch.intervalSeconds + 60) * 1e3;
  let text = looked ? 'looked ' + span(Date.now() - new Date(looked)) + ' ago' : 'no pass has looked at everything yet';
  if (failed) text = read ? 'no answer for ' + span(Date.now() - read) + ': ' + failed : failed;
  $('live').textContent = text + (live() ? ', live' : failed ? '' : ', asking every ' + span(again));
  $('live').className = failed || late ? 'Stale' : live() ? 'Ready' : '';
}

let drawing = 0;
const soon = () => {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => view.status && draw());
};
$('filter').addEventListener('input', () => {
  view.text = $('filter').value.trim();
  soon();
});
addEventListener('resize', soon);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) source?.close(); // a browser has six connections for all pages of a host
  else follow();
});
setInterval(tell, 1e3);
setInterval(follow, again);
setInterval(soon, 60e3); // what is said of ends grows old
load();
listen();
