// What the findings of checks.js mean, and what to do about them.

const FOUND = { ipv4: 'IPv4', ipv6: 'IPv6', name: 'by name' };
const OVER = { udp: 'UDP', tcp: 'TCP', tls: 'TLS' };
/** From here on talking is work, and video is small. */
const RTT_FAIR_MS = 300;
const RATE_FAIR = 700_000;
/** A refusal comes at once, a silent firewall lets one wait. */
const REFUSED_MS = 4000;

/** @returns {string} such as `Relay over TCP, IPv4` */
export function title(way) {
  if (way.missing === 'certificate') return `Relay over ${OVER[way.transport]}`;
  return way.kind === 'stun' ? `Own address, ${FOUND[way.found]}` : `Relay over ${OVER[way.transport]}, ${FOUND[way.found]}`;
}

/**
 * Judges what was found of one way.
 * @param {{kind: string, transport: string, found: string, url?: string, missing?: string}} way
 * @param {{gathered?: object, looped?: object}} findings
 * @param {string} [seen] the address that the server sees this browser at
 * @returns {{state: 'good'|'fair'|'bad'|'absent', says: string, wrong?: string, remedy?: string}}
 */
export function judge(way, { gathered, looped }, seen) {
  if (way.missing) return absent(way);
  if (isSameAddress(way, gathered)) return { state: 'good', says: 'answers: there is no NAT between' };
  if (!gathered.candidate) return bad(...why(way, gathered));
  if (way.kind === 'stun') return { state: 'good', says: `sees you as ${plain(gathered.candidate.address)}` };
  const relay = plain(gathered.candidate.address);
  const misplaced = isPrivate(relay) && !(isPrivate(hostOf(way.url)) && (!seen || isPrivate(seen)));
  const remedy = 'Set relay.external to the public address of the server (--relay-external PUBLIC-IP).';
  if (misplaced && !looped.connected) {
    return bad('wrong address', `The relay hands out ${relay}, which only its own network can reach.`, remedy);
  }
  if (!looped.connected) {
    return bad('no data', `The relay gave the address ${relay}, but nothing comes back through it.`,
      'Let UDP to the relay ports (relay.port_min to relay.port_max) through the firewall of the server. Behind a NAT, '
      + 'check that relay.external is its public address.');
  }
  if (misplaced) {
    return { state: 'fair', says: 'works from here alone',
      wrong: `The relay hands out ${relay}: two clients of this server reach each other, others do not reach them.`, remedy };
  }
  if (looped.rtt > RTT_FAIR_MS || !(looped.rate >= RATE_FAIR)) {
    return { state: 'fair', says: 'works, slowly',
      wrong: looped.rtt > RTT_FAIR_MS ? 'The way is long: people will talk over each other.' : 'There is room for sound, hardly for video.',
      remedy: 'Try another network. If it is slow everywhere, a node nearer to the clients helps.' };
  }
  return { state: 'good', says: 'works' };
}

/** The sentence above all, from every judged way. */
export function verdict(rows, signaling) {
  const relays = rows.filter(({ way }) => way.kind === 'turn' && !way.missing);
  const working = relays.filter(({ judged }) => judged.state === 'good' || judged.state === 'fair');
  const broken = rows.filter(({ judged }) => judged.state === 'bad');
  const over = [...new Set(working.map(({ way }) => OVER[way.transport]))];
  if (working.length === 0) {
    return { state: 'bad', title: 'Calls cannot be relayed',
      text: relays.length ? 'No way to the relay works from here. The first red line below says what to mend first.' : 'This server offers no way to the relay: see listen.udp and listen.tcp.' };
  }
  if (signaling.state === 'bad') {
    return { state: 'bad', title: 'The relay works, signaling does not', text: 'Clients reach the relay, but cannot find each other: see the first line.' };
  }
  const uneven = rows.filter(({ judged }) => judged.state === 'fair');
  if (broken.length > 0 || uneven.length > 0) {
    const count = broken.length + uneven.length;
    return { state: 'fair', title: 'Calls get through',
      text: `Over ${list(over)}. ${count === 1 ? 'One way needs' : `${count} ways need`} attention: others, on other networks, may depend on it.` };
  }
  const tls = rows.some(({ way }) => way.missing === 'certificate');
  return { state: 'good', title: tls ? 'Calls get through' : 'Everything works',
    text: tls ? `Over ${list(over)}. Networks that let only HTTPS through need TLS, which wants a certificate.`
      : `Calls get through over ${list(over)}, also where a firewall is strict.` };
}

/** What an answer of the API that is none means. */
export function refusal({ status, code, title, detail }) {
  const said = [title, detail].filter(Boolean).join(' ');
  const hints = {
    grant_missing: 'The token needs the grant turn.use, in the claim that jwt.grants_claim names.',
    tokens_not_taken: 'Set jwt.issuer, or switch the page off with page.enabled.',
    no_uri: 'Set node.host or node.uris, or listen on an address that clients reach.',
    origin_refused: 'Open the page under 127.0.0.1 or localhost on that machine, or set up jwt.issuer and log in.',
  };
  return [said || `The server answered ${status}.`, hints[code]].filter(Boolean).join(' ');
}

/** Of ways that fail at once in one family while the other works: the browser has no such network. */
export function unreachable(way) {
  return { state: 'absent', says: 'not from here', wrong: `The network you are in has no ${FOUND[way.found]}; others may.`, remedy: '' };
}

/** Browsers leave out what they have already: then all there is to see is that gathering ended well. */
function isSameAddress(way, { candidate, errors, own, late }) {
  const isOfFamily = (address) => way.found === 'name' || address.includes(':') === (way.found === 'ipv6');
  return way.kind === 'stun' && !candidate && !late && errors.length === 0 && own.some(isOfFamily);
}

function absent(way) {
  const reasons = {
    address: [`The server has no ${FOUND[way.found]} address that clients could use.`, ''],
    certificate: ['The server has no certificate.',
      'Set tls.certificate and tls.private_key: networks that let only HTTPS through can then be reached.'],
    listener: [`The server does not listen for ${OVER[way.transport]} there.`, `Set listen.${way.transport} if clients should come this way.`],
  };
  const [wrong, remedy] = reasons[way.missing] ?? ['', ''];
  return { state: 'absent', says: 'not offered', wrong, remedy };
}

function why(way, { errors, ms, late }) {
  const last = errors.at(-1);
  const port = `port ${portOf(way.url)} of ${hostOf(way.url)}`;
  const over = OVER[way.transport];
  if (last && errors.every(({ code, text }) => code === 701 && /lookup/i.test(text))) {
    return ['name not found', `The name ${hostOf(way.url)} leads to no address.`, 'Check the DNS records of the name, or node.host if it is mistyped.'];
  }
  const refused = errors.find(({ code }) => code >= 300 && code < 700);
  if (refused) return answered(refused);
  if (last?.code === 0) return ['not possible', 'The browser refuses to try.', last.text];
  if (way.transport === 'udp') {
    return ['blocked', `Nothing comes back from ${port} over UDP.`,
      'Does the server listen there (listen.udp)? Let UDP to that port through its firewall; some offices and hotels block UDP on their side, and the other ways serve there.' + misnamed(way)];
  }
  if (!late && ms < REFUSED_MS && way.transport === 'tcp' && way.found === 'name') {
    return ['no connection', `No connection to ${port} comes about.`, 'Does the name lead to the server (DNS), and does it listen there (listen.tcp)?'];
  }
  if (!late && ms < REFUSED_MS && way.transport === 'tcp') {
    return ['refused', `The connection to ${port} is refused.`, 'Does the server listen there (listen.tcp)? A firewall that rejects looks the same.'];
  }
  if (!late && ms < REFUSED_MS) {
    return ['no TLS', `No TLS connection comes about with ${port}.`, way.found === 'name'
      ? 'The name must lead to the server (DNS), and the certificate be valid for it and of an authority that browsers trust; if both are so, nothing listens there (listen.tls).'
      : 'Browsers want a certificate for the name they ask for: set node.host to the name in it.'];
  }
  return ['blocked', `No answer from ${port} over ${over}.`, `Let TCP to that port through the firewall of the server (listen.${way.transport}).${misnamed(way)}`];
}

/** Nobody but the operator knows whether an announced address is the right one. */
function misnamed(way) {
  const host = hostOf(way.url);
  return way.found === 'name' || host === plain(location.hostname) ? ''
    : ` If ${host} is not the public address of the server, relay.external is wrong.`;
}

/** What a TURN server says no with (RFC 8656). */
function answered({ code, text }) {
  const known = {
    401: ['refused (401)', 'The server does not know this credential.',
      'Its secret is another one, it was revoked, or the clock of a server is wrong. All nodes need the same secrets.'],
    403: ['forbidden (403)', 'The server forbids this address or peer.', 'See peers.allow and peers.deny.'],
    486: ['quota reached (486)', 'This user has as many allocations as allowed.', 'End other calls, or raise the limits of limits.* and the quota class.'],
    508: ['full (508)', 'The relay has no room left, or is draining.', 'Widen relay.port_min to relay.port_max, or add a node.'],
  };
  return known[code] ?? [`refused (${code})`, `The server answers ${code}${text ? `: ${text}` : ''}.`, 'The log of the server says why, at the level debug.'];
}

function bad(says, wrong, remedy) {
  return { state: 'bad', says, wrong, remedy };
}

/** An address without brackets. */
export function plain(address) {
  return (address ?? '').replace(/^\[|\]$/g, '');
}

function hostOf(url) {
  const rest = url.slice(url.indexOf(':') + 1).split('?')[0];
  return plain(rest.replace(/:\d+$/, ''));
}

function portOf(url) {
  return /:(\d+)(\?|$)/.exec(url.slice(url.indexOf(':') + 1))?.[1] ?? (url.startsWith('turns') ? '5349' : '3478');
}

/** Addresses that only a network of one's own can reach; names are not. */
function isPrivate(host) {
  const numbers = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(host)?.slice(1).map(Number);
  if (!numbers) return host === '::1' || host === 'localhost' || /^(fe[89ab]|f[cd])[0-9a-f]*:/i.test(host);
  const [a, b] = numbers;
  return a === 10 || a === 127 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 169 && b === 254)
    || (a === 100 && b >= 64 && b < 128);
}

function list(words) {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
