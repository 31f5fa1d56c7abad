// When things end: a bar from now to the end, the soonest first. Lives differ a hundredfold, so the scale is logarithmic.

import { count, day, el, until } from './dom.js';

const most = 20; // beside the CAs
const oneDay = 864e5;
const ticks = [[1, '1 day'], [7, '1 week'], [30, '1 month'], [365, '1 year'], [3650, '10 years']];

function ends(status, matched) {
  const wanted = new Set(matched.map((b) => b.identity));
  const all = matched.length === status.bindings.length;
  const rows = [];
  for (const c of all ? status.cas : []) {
    for (const g of c.generations) {
      rows.push({ name: c.name, kind: c.generations.length > 1 ? `CA, ${g.state} generation ${g.id}` : 'CA', end: g.notAfter, ca: true });
    }
  }
  for (const i of status.identities) {
    if (i.notAfter && (all || wanted.has(i.name))) rows.push({ name: i.name, kind: 'identity', end: i.notAfter, renew: i.renewAt });
  }
  for (const b of matched) {
    for (const t of b.targets) { // what is served as wanted ends with its identity
      if (t.notAfter && t.servedSerial !== t.wantedSerial) rows.push({ name: t.name, kind: 'served for ' + b.name, end: t.notAfter, old: true });
    }
  }
  return rows.filter((r) => r.end).sort((a, b) => new Date(a.end) - new Date(b.end));
}

// timeline draws the ends of a status, of what belongs to the bindings that matched.
export function timeline(status, matched, now) {
  const all = ends(status, matched);
  if (all.length === 0) return [];
  let room = most;
  const rows = all.filter((r) => r.ca || room-- > 0);
  const days = (moment) => Math.max(0, (new Date(moment) - now) / oneDay);
  const longest = Math.max(2, days(rows.at(-1).end));
  const at = (d) => (100 * Math.log1p(d)) / Math.log1p(longest);
  const track = (r) => {
    const late = r.renew && new Date(r.renew) < now - 36e5; // an hour is enough to renew in
    const tone = new Date(r.end) < now ? 'Expired' : late || r.old ? 'Stale' : '';
    const bar = el('i', { class: 'bar ' + tone });
    bar.style.width = at(days(r.end)) + '%';
    const mark = r.renew && el('i', { class: 'renew', title: 'renews ' + r.renew });
    if (mark) mark.style.left = at(days(r.renew)) + '%';
    return el('li', { class: tone, title: r.end },
      el('span', { class: 'who' }, el('b', {}, r.name), ' ', el('small', {}, r.kind)),
      el('span', { class: 'track' }, bar, mark),
      el('span', { class: 'when' }, until(r.end, now), el('small', {}, r.renew ? ' renews ' + until(r.renew, now) : ' ' + day(r.end))));
  };
  const axis = el('div', { class: 'axis', 'aria-hidden': 'true' }, el('span', {}, 'now'));
  for (const [d, name] of ticks.filter(([d]) => d < longest * 0.8)) {
    const tick = el('span', {}, name);
    tick.style.left = at(d) + '%';
    axis.append(tick);
  }
  return [
    el('h2', {}, 'Expiry'),
    el('div', { class: 'card' }, axis, el('ol', { class: 'ends' }, rows.map(track))),
    all.length > rows.length && el('p', { class: 'dim' }, 'and ' + count(all.length - rows.length, 'identity that ends', 'identities that end') + ' later'),
  ].filter(Boolean);
}
