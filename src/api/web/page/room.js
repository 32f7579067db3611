// A video call of those who have the same link. Each pair has a call of its own; whoever's session has the lesser id
// calls, so that two never call each other at once.

import { open } from './media.js';
import { Quality } from './quality.js';
import { signal } from './session.js';

/** Each sends its picture to every other. */
const MEMBERS_MAX = 4;
const QUALITY_MS = 2000;
const RETRY_MS = 2500;
const RETRIES_MAX = 5;

const $ = (id) => document.getElementById(id);

/** One stay in a room, from entering to leaving. */
export class Stay {
  #name;
  #client;
  #media;
  #room;
  /** By session: the call, the picture, how often it was tried. */
  #peers = new Map();
  #timer;
  #isOver = false;
  #onEnd;

  constructor(name, { withCamera, onlyRelay }, onEnd) {
    this.#name = name;
    this.#onEnd = onEnd;
    this.#begin(withCamera, onlyRelay).catch((error) => this.#fail(error));
  }

  /** Leaves; ending calls tells the others. */
  leave(why = '') {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    for (const session of [...this.#peers.keys()]) this.#remove(session);
    this.#room?.leave().catch(() => {});
    this.#client?.close();
    this.#media?.end();
    this.#onEnd(why);
  }

  /** @returns {boolean} whether it is silent now */
  toggle(kind) {
    const tracks = this.#media?.stream.getTracks().filter((track) => track.kind === kind) ?? [];
    for (const track of tracks) track.enabled = !track.enabled;
    return tracks.length > 0 && !tracks[0].enabled;
  }

  async #begin(withCamera, onlyRelay) {
    say('Connecting…');
    this.#client = signal(onlyRelay ? { iceTransportPolicy: 'relay' } : {});
    this.#client.on('incoming', (call) => this.#answer(call));
    this.#client.on('state', (state) => state === 'reconnecting' && say('The connection to the server is gone; trying again…'));
    this.#client.on('connected', () => this.#describe());
    this.#client.on('closed', ({ code, reason }) => this.leave(code === 1000 ? '' : `The server closed the connection: ${reason || code}.`));
    const [media] = await Promise.all([open(withCamera, () => this.#client.user ?? ''), this.#client.ready]);
    if (this.#isOver) return media.end();
    this.#media = media;
    this.#showOwn();
    this.#room = await this.#client.join(this.#name, {});
    if (this.#others().length >= MEMBERS_MAX) return this.leave(`There are ${MEMBERS_MAX} people in this room already.`);
    this.#room.on('change', ({ left }) => {
      left.forEach((session) => this.#remove(session));
      this.#callOthers();
    });
    this.#callOthers();
    this.#timer = setInterval(() => this.#measure(), QUALITY_MS);
    return undefined;
  }

  #others() {
    return [...(this.#room?.members.keys() ?? [])].filter((session) => session !== this.#client.session);
  }

  #callOthers() {
    for (const session of this.#others()) {
      if (this.#client.session < session && !this.#peers.has(session)) this.#call(session);
    }
    this.#describe();
  }

  async #call(session, tries = 0) {
    const peer = { tries };
    this.#peers.set(session, peer);
    try {
      const call = await this.#client.call({ session }, { stream: this.#media.stream });
      this.#keep(session, call);
    } catch (error) {
      this.#again(session, peer, error.message);
    }
  }

  async #answer(call) {
    const { session } = call.peer;
    // Who is invited by the link is in the room, or about to be seen there.
    const isMember = () => this.#room?.members.has(session);
    for (let wait = 0; wait < 20 && !isMember() && !this.#isOver; wait += 1) await pause(100);
    if (!isMember() || this.#isOver || this.#peers.size >= MEMBERS_MAX) return call.reject('declined', 'device').catch(() => {});
    this.#keep(session, call);
    return call.answer({ stream: this.#media.stream }).catch(() => {});
  }

  #keep(session, call) {
    const peer = { ...this.#peers.get(session), call };
    this.#peers.get(session)?.tile?.remove();
    peer.tile = tile(call.peer.user ?? this.#room.members.get(session)?.user ?? 'Guest');
    this.#peers.set(session, peer);
    const watch = () => {
      if (call.connection && !peer.quality) peer.quality = new Quality(call.connection);
      this.#describe();
    };
    call.on('stream', (stream) => play(peer.tile.querySelector('video'), stream));
    if (call.remoteStream) play(peer.tile.querySelector('video'), call.remoteStream);
    call.on('state', watch);
    call.on('ended', ({ reason, by }) => {
      peer.tile.remove();
      if (this.#isOver || this.#peers.get(session) !== peer) return;
      if (by === 'remote' && reason === 'user') this.#remove(session);
      else this.#again(session, peer, words(reason));
    });
    watch();
  }

  /** Whoever calls tries again; who is called waits. */
  #again(session, peer, why) {
    const isCaller = this.#client.session < session;
    if (!isCaller || this.#isOver) {
      this.#peers.delete(session);
      this.#describe();
      return;
    }
    if (peer.tries >= RETRIES_MAX) {
      say(`No call comes about: ${why}`);
      return;
    }
    say(`That did not work (${why}); trying again…`);
    setTimeout(() => {
      if (!this.#isOver && this.#room.members.has(session)) this.#call(session, peer.tries + 1);
      else this.#peers.delete(session);
    }, RETRY_MS);
  }

  #remove(session) {
    const peer = this.#peers.get(session);
    this.#peers.delete(session);
    peer?.tile?.remove();
    peer?.call?.hangup().catch(() => {});
    this.#describe();
  }

  #describe() {
    if (this.#isOver) return;
    const states = [...this.#peers.values()].map(({ call }) => call?.state);
    const talking = states.filter((state) => state === 'connected').length;
    $('room').dataset.state = talking ? 'connected' : 'waiting';
    $('invite').hidden = this.#peers.size > 0;
    $('quality').hidden = talking === 0;
    if (!this.#room) return;
    if (talking) say(talking === 1 ? 'You are connected.' : `You are connected with ${talking} others.`);
    else if (states.includes('reconnecting')) say('The picture is gone; looking for another way…');
    else if (states.length) say('Somebody is here. Connecting…');
    else say('Waiting for somebody to open the link.');
  }

  async #measure() {
    const peer = [...this.#peers.values()].find(({ call, quality }) => quality && call.state === 'connected');
    const found = await peer?.quality.read().catch(() => undefined);
    if (!found) return;
    const grade = document.createElement('strong');
    grade.dataset.state = found.state;
    grade.textContent = found.words;
    const parts = found.parts.map((text) => Object.assign(document.createElement('span'), { textContent: text }));
    $('quality').replaceChildren(grade, ...parts);
  }

  #showOwn() {
    const { stream, isDrawn, why } = this.#media;
    const own = $('own');
    own.classList.toggle('mirrored', !isDrawn);
    own.querySelector('video').srcObject = stream;
    own.querySelector('figcaption').textContent = why ? `You. ${why}` : 'You';
    own.querySelector('figcaption').title = why ?? '';
    $('mute').disabled = stream.getAudioTracks().length === 0;
    $('camera').disabled = stream.getVideoTracks().length === 0;
  }

  #fail(error) {
    this.leave(words(error.code ?? error.message, error.message));
  }
}

/** @param {string} reason of an end or an error of the protocol */
function words(reason, message) {
  const known = {
    'forbidden': 'Your token does not allow this: it needs grants for rooms and calls.',
    'peer-offline': 'the other side is gone',
    'ice-failed': 'no way between the two was found',
    'ice-timeout': 'no way between the two was found in time',
    'media-failed': 'the other side could not start its media',
    'declined': 'the other side declined',
    'timeout': 'nobody answered',
    'rate-limited': 'Too many calls in a short time; wait a moment.',
    'limit-exceeded': 'As many calls or members as allowed.',
    'unauthorized': 'The server does not take the token; log in again.',
  };
  return known[reason] ?? message ?? reason;
}

function say(text) {
  if ($('room-status').textContent !== text) $('room-status').textContent = text;
}

function tile(caption) {
  const figure = $('tile').content.firstElementChild.cloneNode(true);
  figure.querySelector('figcaption').textContent = caption;
  figure.querySelector('video').setAttribute('aria-label', `Video of ${caption}`);
  $('tiles').prepend(figure);
  return figure;
}

/** Browsers may play sound only after a touch: then the picture plays alone until there is one. */
async function play(video, stream) {
  video.srcObject = stream;
  try {
    await video.play();
  } catch (error) {
    if (error.name !== 'NotAllowedError') return;
    video.muted = true;
    await video.play().catch(() => {});
    $('sound').hidden = false;
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
