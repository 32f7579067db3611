// The view of the checks: runs them, shows what comes of it.

import { gather, loop } from './checks.js';
import { clear, examine, lines } from './doctor.js';
import { ask, signal } from './session.js';
import { judge, plain, title, unreachable, verdict } from './words.js';

const SIGNALING_MS = 8000;
/** A credential that ends sooner is replaced before checking. */
const CREDENTIAL_LEFT_MS = 120_000;
const GROUPS = [
  ['signal', 'Signaling', 'Over this, clients find each other.'],
  ['stun', 'Own address (STUN)', 'With this, two clients often reach each other directly.'],
  ['udp', 'Relay over UDP', 'The best way: what is lost holds nothing up.'],
  ['tcp', 'Relay over TCP', 'For networks that block UDP.'],
  ['tls', 'Relay over TLS', 'For networks that let only encrypted TCP through, such as HTTPS.'],
];

const $ = (id) => document.getElementById(id);
let credential;
let results = [];
let running = false;

/** Tries everything once. Rejects with what the API refused. */
export async function run() {
  if (running) return;
  running = true;
  $('again').disabled = true;
  $('to-room').hidden = true;
  show($('verdict'), 'running');
  $('verdict-title').textContent = 'Checking…';
  $('verdict-text').textContent = '';
  $('groups').replaceChildren();
  clear();
  try {
    await tryAll();
  } finally {
    running = false;
    $('again').disabled = false;
  }
}

/** Everything that was found, for who asks for help. */
export function report() {
  const rows = results.map(({ name, url, judged, figures }) =>
    [`[${judged.state}] ${name}: ${judged.says}`, url, figures, judged.wrong, judged.remedy].filter(Boolean).join(' | '));
  return [`${$('verdict-title').textContent} ${$('verdict-text').textContent}`, ...rows, ...lines(), navigator.userAgent].join('\n');
}

async function tryAll() {
  const [{ ways, doctor }, servers] = await Promise.all([ask('/v1/turn/ways'), credentials()]);
  const lists = new Map(GROUPS.map(([id, name, about]) => [id, group(id, name, about)]));
  const first = row(lists.get('signal'), 'WebSocket', new URL('/v1/signal', location.href).href.replace(/^http/, 'ws'));
  // Without a certificate there is no TLS at all: that is said once.
  const isTold = (way, index) => way.missing !== 'certificate' || ways.findIndex(({ missing }) => missing === 'certificate') === index;
  const rows = ways.filter((way, index) => isTold(way, index) && !(way.transport === 'tls' && way.missing === 'address')).map((way) => {
    const list = lists.get(way.kind === 'stun' ? 'stun' : way.transport);
    return { way, ...row(list, label(way), way.url ?? ''), judged: undefined };
  });
  for (const list of lists.values()) list.parentElement.hidden = list.childElementCount === 0;
  for (const one of rows.filter(({ way }) => way.missing)) settle(one, judge(one.way, {}));
  const signaling = trySignaling(first);
  const present = rows.filter(({ way }) => !way.missing);
  await Promise.all(present.map(async (one) => {
    one.gathered = await gather(one.way, servers);
    if (one.gathered.candidate) one.figure('candidate', milliseconds(one.gathered.ms));
    else if (one.way.kind === 'stun' && !one.gathered.late) one.figure('candidate', milliseconds(one.gathered.ms));
    else if (one.gathered.late) settle(one, judge(one.way, one));
  }));
  for (const one of present.filter(({ judged, gathered }) => !judged && !gathered.candidate)) {
    settle(one, isElsewhere(one.way.found, present) ? unreachable(one.way) : judge(one.way, one));
  }
  const seen = plain(present.find(({ way, gathered }) => way.kind === 'stun' && gathered.candidate)?.gathered.candidate.address);
  // One after the other, so that none takes throughput from another.
  for (const one of present.filter(({ gathered }) => gathered.candidate)) {
    if (one.way.kind === 'turn') await measure(one, servers);
    settle(one, judge(one.way, one, seen));
  }
  const judged = await signaling;
  results = [{ name: 'Signaling', url: '', judged, figures: first.figures() },
    ...rows.map(({ way, judged, figures }) => ({ name: title(way), url: way.url, judged, figures: figures() }))];
  const { state, title: headline, text } = verdict(rows, judged);
  show($('verdict'), state);
  $('to-room').hidden = state === 'bad';
  $('verdict-title').textContent = headline;
  $('verdict-text').textContent = text;
  // Last: it sends packets too, and would take throughput from the others.
  if (doctor) await examine();
}

/** Whether every way of this family failed at once, and not those of the other. */
function isElsewhere(family, rows) {
  const [own, others] = [rows.filter(({ way }) => way.found === family), rows.filter(({ way }) => way.found !== family)];
  const isQuick = ({ gathered }) => !gathered.candidate && !gathered.late && gathered.own.length === 0;
  const isRefusal = ({ gathered }) => gathered.errors.some(({ code }) => code !== 701);
  return family !== 'name' && own.every(isQuick) && !own.some(isRefusal) && others.some(({ gathered }) => gathered.candidate);
}

async function measure(one, servers) {
  show(one.element, 'running');
  one.says('sending…');
  one.looped = await loop(one.way, servers);
  // Once more: a browser that is busy misses a deadline now and then.
  if (!one.looped.connected) one.looped = await loop(one.way, servers);
  if (!one.looped.connected) return;
  one.figure('rtt', milliseconds(one.looped.rtt));
  one.figure('rate', bits(one.looped.rate));
}

async function trySignaling(row) {
  const begun = performance.now();
  const client = signal();
  let judged;
  let closed;
  client.on('closed', (why) => { closed = why; });
  try {
    await within(SIGNALING_MS, client.ready);
    row.figure('candidate', milliseconds(performance.now() - begun));
    const asked = performance.now();
    await client.request('presence', { watch: [] });
    row.figure('rtt', milliseconds(client.rtt ?? performance.now() - asked));
    judged = { state: 'good', says: 'works' };
  } catch (error) {
    judged = { state: 'bad', says: 'no connection', ...explain(error, closed) };
  }
  client.close();
  settle(row, judged);
  return judged;
}

function explain(error, closed) {
  const refused = {
    4401: 'The server does not take the token. Log in again, or see jwt.issuer and jwt.audience.',
    4403: 'The token does not allow a session: see its grants, and signal.origins for the origin of this page.',
    4490: 'There are as many sessions as allowed: close some, or raise the limit.',
  };
  if (closed && refused[closed.code]) return { wrong: `The connection was closed (${closed.code}).`, remedy: refused[closed.code] };
  const wrong = closed ? `The connection was closed (${closed.code} ${closed.reason}).` : `No session came about (${error.message}).`;
  return { wrong, remedy: 'A proxy in front of the server must pass WebSocket upgrades of /v1/signal on, and keep them open.' };
}

async function credentials() {
  if (!credential || credential.until < Date.now() + CREDENTIAL_LEFT_MS) {
    const answer = await ask('/v1/ice-servers');
    const { username, credential: password } = answer.iceServers.find((server) => server.username);
    credential = { username, password, until: Date.now() + answer.ttl * 1000 };
  }
  return credential;
}

function label(way) {
  if (way.missing === 'certificate') return 'IPv4 and IPv6';
  return { ipv4: 'IPv4', ipv6: 'IPv6', name: 'By its name' }[way.found];
}

function group(id, name, about) {
  const section = document.createElement('section');
  section.className = 'group';
  section.setAttribute('aria-labelledby', `group-${id}`);
  const heading = document.createElement('h2');
  heading.id = `group-${id}`;
  heading.textContent = name;
  const words = document.createElement('p');
  words.className = 'about';
  words.textContent = about;
  const list = document.createElement('ul');
  list.className = 'rows';
  section.append(heading, words, list);
  $('groups').append(section);
  return list;
}

function row(list, name, url) {
  const element = $('row').content.firstElementChild.cloneNode(true);
  element.querySelector('strong').textContent = name;
  element.querySelector('code').textContent = url;
  const says = (text) => { element.querySelector('.state').textContent = text; };
  const shown = {};
  const figure = (which, text) => {
    shown[which] = text;
    element.querySelector(`[data-figure=${which}]`).textContent = text;
  };
  says('trying…');
  show(element, 'running');
  list.append(element);
  const stun = list.parentElement.querySelector('#group-stun');
  const signal = list.parentElement.querySelector('#group-signal');
  if (signal) element.querySelector('dt').textContent = 'connected';
  if (stun) element.querySelector('dt').textContent = 'answer';
  for (const which of stun ? ['rtt', 'rate'] : signal ? ['rate'] : []) {
    element.querySelector(`[data-figure=${which}]`).parentElement.remove();
  }
  const figures = () => Object.entries(shown).map(([which, text]) => `${which} ${text}`).join(', ');
  return { element, says, figure, figures };
}

function settle(one, judged) {
  one.judged = judged;
  show(one.element, judged.state);
  one.says(judged.says);
  const advice = one.element.querySelector('.advice');
  advice.hidden = !judged.wrong;
  advice.querySelector('.wrong').textContent = judged.wrong ?? '';
  advice.querySelector('.remedy').textContent = judged.remedy ?? '';
}

function show(element, state) {
  element.dataset.state = state;
}

function milliseconds(ms) {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function bits(rate) {
  if (rate === undefined) return '–';
  return rate >= 1e6 ? `${(rate / 1e6).toFixed(rate < 1e7 ? 1 : 0)} Mbit/s` : `${Math.round(rate / 1e3)} kbit/s`;
}

function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer in time')), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
