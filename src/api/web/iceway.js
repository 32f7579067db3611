// Calls through an iceway server: the signaling protocol rtc-signal.v1 and perfect negotiation over it. One module
// without dependencies; its types are in iceway.d.ts, its guide in examples/README.md.

const PROTOCOL = 'rtc-signal.v1';
const ACK_FRAMES = 16;
const ACK_MS = 2_000;
const CANDIDATES_MS = 75;
/** Requests without an answer; the server remembers as many answers. */
const REQUESTS_MAX = 128;
/** For frames of a call that the server could not take just now. */
const TRIES_MAX = 4;
/** Frames of a call that is not answered yet. */
const EARLY_FRAMES_MAX = 128;
/** From the attempt to connect to the welcome. */
const WELCOME_MS = 10_000;
/** For an answer when there is reason to doubt that the socket lives. */
const PROBE_MS = 3_000;
const TICK_MS = 5_000;
/** A tick this late means that the machine slept. */
const SLEPT_MS = 15_000;
/** A connection that lived so long lets the next attempts begin without a pause. */
const STABLE_MS = 10_000;
const RING_SECONDS_MAX = 180;
/** How long a call may be without media while both sides can talk about it. */
const MEDIA_MS = 45_000;
/** Between two attempts to get media back. */
const MEND_MS = 8_000;
/** Requests that mean nothing, or the wrong thing, to a session that has not seen what came before them. */
const BOUND_TO_SESSION = new Set(['ice-candidate', 'renegotiate', 'call-ringing', 'auth-refresh', 'join', 'presence']);

export function connect(options) {
  return new Iceway(options);
}

/** A refused request. */
export class SignalError extends Error {
  constructor({ code, message, retryable = false, retryAfter, details }) {
    super(message ?? code);
    this.name = 'SignalError';
    Object.assign(this, { code, retryable, retryAfter, details });
  }
}

class Emitter {
  #listeners = new Map();

  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
    this.#listeners.get(event).add(listener);
    return () => this.off(event, listener);
  }

  once(event, listener) {
    const off = this.on(event, (...values) => { off(); listener(...values); });
    return off;
  }

  off(event, listener) {
    this.#listeners.get(event)?.delete(listener);
  }

  /** Returns whether anybody listens. A listener that throws is reported and harms nobody else. */
  emit(event, ...values) {
    const listeners = [...(this.#listeners.get(event) ?? [])];
    for (const listener of listeners) {
      try { listener(...values); } catch (error) { (globalThis.reportError ?? console.error)(error); }
    }
    return listeners.length > 0;
  }
}

export class Iceway extends Emitter {
  state = 'connecting';
  features = [];
  limits = {};
  iceServers = [];
  clockOffset = 0;
  calls = new Map();
  rooms = new Map();
  presence = new Map();

  #options;
  #url;
  #socket;
  #isWelcome = false;
  /** Counts attempts to connect: what an older one was still waiting for is ignored. */
  #run = 0;
  #failures = 0;
  #pauseMs = 0;
  #welcomedAt = 0;
  #token;
  #resume;
  #hello;
  #heartbeat = { interval: 25, timeout: 10 };
  #heardAt = 0;
  /** When the socket is given up unless something comes. */
  #deadAt = Infinity;
  #tickedAt = Date.now();
  #refreshAt = Infinity;
  #iceEndsAt = Infinity;
  #seq = 0;
  #acked = 0;
  #ids = 0;
  /** Requests without an answer, in the order in which they were made. */
  #requests = new Map();
  #receipts = new Map();
  #watched;
  #status;
  #timers = {};
  #stopListening;

  constructor(options = {}) {
    super();
    this.#options = options;
    this.#url = new URL(options.url ?? '/v1/signal', import.meta.url);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
    this.ready = new Promise((resolve, reject) => {
      this.once('connected', () => resolve(this));
      this.once('closed', (why) => reject(new SignalError({ code: 'closed', message: why.reason })));
    });
    this.ready.catch(() => {});
    this.#listen();
    this.#open();
  }

  now() {
    return Date.now() + this.clockOffset;
  }

  async call(to, options = {}) {
    if (this.#iceEndsAt < Date.now() + 60_000) await this.refreshIceServers();
    const call = new Call(this, { id: randomId(), to, options });
    this.calls.set(call.id, call);
    return call._offer();
  }

  async join(id, state) {
    const room = this.rooms.get(id) ?? new Room(this, id);
    this.rooms.set(id, room);
    try { await room._join(state); } catch (error) { this.rooms.delete(id); throw error; }
    return room;
  }

  async message(to, data, { receipt } = {}) {
    const { id, reply } = this.#ask('message', { to, data, ...(receipt && { receipt: true }) });
    if (receipt) {
      if (this.#receipts.size >= REQUESTS_MAX) this.#receipts.delete(this.#receipts.keys().next().value);
      this.#receipts.set(id, receipt);
    }
    await reply;
    return { id };
  }

  async watch(users) {
    this.#watched = users;
    for (const user of this.presence.keys()) if (!users.includes(user)) this.presence.delete(user);
    await this.request('presence', { watch: users });
  }

  async setStatus(status) {
    this.#status = status;
    await this.request('presence', { set: status });
  }

  async refreshIceServers() {
    this.#takeIceServers(await this.request('ice-servers'), 'refresh');
    return this.iceServers;
  }

  async upgrade(room, sfu, call) {
    await this.request('call-upgrade', { room, sfu, ...(call && { call: call.id }) });
  }

  /** Is answered, or fails; a lost connection only delays that. */
  request(type, fields) {
    return this.#ask(type, fields).reply;
  }

  close() {
    if (this.closed) return;
    // What rings here may ring elsewhere; it is not declined by closing a page.
    for (const call of this.calls.values()) if (call.direction === 'outgoing' || call.state !== 'ringing') call.hangup();
    if (this.#isWelcome) this.#send({ type: 'bye' });
    this.#stop(1000, 'closed by this side');
  }

  on(event, listener) {
    const off = super.on(event, listener);
    // Somebody may have called before anybody listened.
    if (event === 'incoming') queueMicrotask(() => { for (const call of this.calls.values()) call._announce(); });
    return off;
  }

  get _rtc() {
    return this.#options.rtc;
  }

  get _mediaTimeout() {
    return this.#options.mediaTimeoutMs ?? MEDIA_MS;
  }

  // --- The connection.

  async #open() {
    clearTimeout(this.#timers.retry);
    const run = ++this.#run;
    const url = new URL(this.#url);
    const { ticket, WebSocket = globalThis.WebSocket } = this.#options;
    try {
      if (ticket) url.searchParams.set('ticket', await ticket());
      else await this.#freshToken();
    } catch (error) {
      if (run === this.#run) { this.emit('error', error); this.#retry(); }
      return;
    }
    if (run !== this.#run || this.closed) return;
    this.#hello = undefined;
    const socket = this.#socket = new WebSocket(url, PROTOCOL);
    this.#expect(WELCOME_MS);
    socket.onopen = () => socket === this.#socket && this.#sayHello();
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#disconnected(code, reason);
  }

  /** A token is kept while it is good, so that reconnecting does not need whoever makes them. */
  async #freshToken() {
    const { token } = this.#options;
    if (typeof token !== 'function') {
      this.#token = { value: token, endsAt: Infinity, isFresh: true };
    } else if (!this.#token || this.#token.endsAt < Date.now() + 10_000) {
      this.#token = { value: await token(), endsAt: Infinity, isFresh: true };
    } else {
      this.#token.isFresh = false;
    }
  }

  #sayHello() {
    const { device, caps = ['trickle', 'batch-ice'], ua = 'iceway.js/1', ticket } = this.#options;
    this.#hello = { id: `c${++this.#ids}`, at: Date.now() };
    const resume = this.#resume && { ...this.#resume, seq: this.#seq };
    const token = ticket ? undefined : this.#token.value;
    this.#send({ id: this.#hello.id, type: 'hello', v: 1, token, device, caps, ua, resume });
  }

  #welcome(frame) {
    this.#alive();
    const resumed = frame.resumed === true;
    const isReset = !resumed && this.session !== undefined;
    const isAnother = isReset && this.session !== frame.session;
    if (!resumed) this.#seq = this.#acked = 0;
    const now = Date.now();
    this.session = frame.session;
    this.user = frame.user ?? this.user;
    this.features = frame.features ?? this.features;
    this.limits = frame.limits ?? this.limits;
    this.clockOffset = Math.round(frame.serverTime - (this.#hello.at + now) / 2) || 0;
    this.#resume = frame.resumeToken && { session: frame.session, token: frame.resumeToken, epoch: frame.epoch };
    this.#heartbeat = frame.heartbeat ?? this.#heartbeat;
    this.#welcomedAt = now;
    this.#pauseMs = 0;
    this.#tokenEndsIn(frame.tokenExpiresIn);
    if (frame.iceServers) this.#takeIceServers(frame, 'welcome');
    if (isAnother) this.#dropBound();
    this.#setState('connected');
    const { reason, session, user } = frame;
    this.emit('connected', { resumed, reason, session, user });
    if (this.closed) return;
    if (isReset) this.#restore(frame.snapshot ?? {});
    this.#isWelcome = true;
    for (const request of this.#requests.values()) this.#sendRequest(request);
    for (const call of this.calls.values()) call._signalingBack();
  }

  /** What was asked of the lost session and is not to be asked of this one. */
  #dropBound() {
    for (const [id, { frame, isSent, reject }] of this.#requests) {
      if (!BOUND_TO_SESSION.has(frame.type) && !(frame.type === 'message' && isSent)) continue;
      this.#requests.delete(id);
      reject(new SignalError({ code: 'session-lost', message: 'the session was lost', retryable: true }));
    }
  }

  /** Brings a new session to where the lost one was. Goes out before requests that are still waiting. */
  #restore({ calls = [], presence = [] }) {
    const waiting = [...this.#requests];
    this.#requests.clear();
    for (const room of this.rooms.values()) room._join(room.state).catch((error) => this.emit('error', error));
    if (this.#watched || this.#status) {
      this.request('presence', { watch: this.#watched, set: this.#status }).catch((error) => this.emit('error', error));
    }
    for (const request of waiting) this.#requests.set(...request);
    for (const entry of presence) this.#takePresence(entry);
    for (const call of [...this.calls.values()]) call._restore(calls.find((entry) => (entry.call ?? entry.id) === call.id));
  }

  #disconnected(code, reason) {
    const lived = this.#isWelcome;
    const isUnreachable = this.#hello === undefined;
    this.#detach();
    const isStale = code === 4401 && !this.#token?.isFresh && typeof this.#options.token === 'function';
    if (code >= 4400 && !isStale) return this.#stop(code, reason);
    if (code >= 4200) this.#resume = this.#token = undefined;
    if (lived && Date.now() - this.#welcomedAt > STABLE_MS) this.#failures = 0;
    if (isUnreachable) this.emit('error', new SignalError({ code: 'unreachable', message: `no connection to ${this.#url.host}`, retryable: true }));
    this.#retry();
  }

  /** Gives the socket up without waiting for it, and begins anew. */
  #reconnect() {
    const socket = this.#socket;
    const wasWelcome = this.#isWelcome;
    this.#detach();
    try { socket?.close(); } catch { /* It may still be connecting. */ }
    if (wasWelcome && Date.now() - this.#welcomedAt > STABLE_MS) this.#failures = 0;
    this.#retry();
  }

  #detach() {
    this.#socket = undefined;
    this.#isWelcome = false;
    this.#run++;
    this.#alive();
    for (const name of ['ack', 'drain']) { clearTimeout(this.#timers[name]); this.#timers[name] = undefined; }
  }

  #retry() {
    if (this.closed) return;
    const n = this.#failures++;
    const pause = Math.min(300 * n * n, 7_000) + Math.random() * Math.min(300 * (n + 1), 1_000);
    this.#setState(this.session ? 'reconnecting' : 'connecting');
    clearTimeout(this.#timers.retry);
    this.#timers.retry = setTimeout(() => this.#open(), Math.max(pause, this.#pauseMs));
  }

  #stop(code, reason) {
    const socket = this.#socket;
    this.#detach();
    this.closed = { code, reason: reason || `close code ${code}` };
    try { socket?.close(1000); } catch { /* It may still be connecting. */ }
    clearTimeout(this.#timers.retry);
    clearInterval(this.#timers.tick);
    this.#stopListening();
    for (const call of [...this.calls.values()]) call._end('closed', 'local');
    for (const { reject } of this.#requests.values()) reject(new SignalError({ code: 'closed', message: this.closed.reason }));
    this.#requests.clear();
    this.#setState('closed');
    this.emit('closed', this.closed);
  }

  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit('state', state);
  }

  // --- Whether anybody is there.

  #listen() {
    this.#timers.tick = setInterval(() => this.#tick(), TICK_MS);
    const page = new AbortController();
    this.#stopListening = () => page.abort();
    const listen = (target, event, listener) => target?.addEventListener?.(event, listener, { signal: page.signal });
    const { window, document, navigator } = globalThis;
    const network = () => {
      this.#wake();
      for (const call of this.calls.values()) call._networkChanged();
    };
    listen(window, 'online', network);
    listen(navigator?.connection, 'change', network);
    listen(window, 'pageshow', () => this.#wake());
    listen(document, 'visibilitychange', () => document.visibilityState === 'visible' && this.#wake());
    // A page that may come back from the browser's cache keeps its session for as long as the server does.
    listen(window, 'pagehide', ({ persisted }) => persisted || this.close());
  }

  #tick() {
    const now = Date.now();
    const slept = now - this.#tickedAt > SLEPT_MS;
    this.#tickedAt = now;
    for (const call of this.calls.values()) call._measure();
    if (slept) return this.#wake();
    if (!this.#isWelcome) return;
    if (now >= this.#refreshAt) this.#refreshToken();
    if (now - this.#heardAt >= this.#heartbeat.interval * 1_000 - TICK_MS / 2) this.#probe(this.#heartbeat.timeout * 1_000);
  }

  /** The machine slept or the network changed: no pause, and no trust in the socket. */
  #wake() {
    if (this.closed) return;
    if (this.#isWelcome) return this.#probe(PROBE_MS);
    this.#failures = 0;
    if (!this.#socket) this.#open();
  }

  /** Whatever comes within the limit will do. */
  #probe(limit) {
    const deadAt = Date.now() + limit;
    if (deadAt >= this.#deadAt) return;
    this.#send({ type: 'ping', t: Math.round(performance.now()) });
    this.#expect(limit);
  }

  #expect(limit) {
    this.#alive();
    this.#deadAt = Date.now() + limit;
    this.#timers.dead = setTimeout(() => this.#reconnect(), limit);
  }

  #alive() {
    clearTimeout(this.#timers.dead);
    this.#deadAt = Infinity;
  }

  // --- Frames.

  #send(frame) {
    if (this.#seq > this.#acked && frame.type !== 'hello') {
      this.#acked = frame.ack = this.#seq;
      clearTimeout(this.#timers.ack);
      this.#timers.ack = undefined;
    }
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  #ask(type, fields) {
    const id = `c${++this.#ids}`;
    const frame = { id, type, ...fields };
    const refuse = (code, message, retryable) => ({ id, reply: Promise.reject(new SignalError({ code, message, retryable })) });
    if (this.closed) return refuse('closed', this.closed.reason);
    if (this.#requests.size >= REQUESTS_MAX) return refuse('limit-exceeded', 'too many unanswered requests', true);
    // The server closes for good what sends more than this; `ack` comes on top.
    const bytes = new TextEncoder().encode(JSON.stringify(frame)).length + 32;
    if (bytes > this.limits.maxFrame) return refuse('too-large', `a frame of ${bytes} bytes, at most ${this.limits.maxFrame} are taken`);
    const reply = new Promise((resolve, reject) => {
      const request = { frame, resolve, reject, isSent: false };
      this.#requests.set(id, request);
      if (this.#isWelcome) this.#sendRequest(request);
    });
    return { id, reply };
  }

  #sendRequest(request) {
    request.isSent = true;
    this.#send({ ...request.frame });
  }

  #acknowledge() {
    if (this.#seq - this.#acked >= ACK_FRAMES) return this.#send({ type: 'ack' });
    this.#timers.ack ??= setTimeout(() => this.#send({ type: 'ack' }), ACK_MS);
  }

  #receive(text) {
    this.#heardAt = Date.now();
    if (this.#isWelcome) this.#alive();
    let frame;
    try { frame = JSON.parse(text); } catch { return this.#reconnect(); }
    if (frame.seq !== undefined) {
      if (frame.seq <= this.#seq) return;
      // Nothing is ever left out of a connection; if it seems so, resuming brings it.
      if (frame.seq > this.#seq + 1) return this.#reconnect();
      this.#seq = frame.seq;
      this.#acknowledge();
    }
    if (frame.re !== undefined) this.#answered(frame);
    else this.#told(frame);
  }

  #answered(frame) {
    if (frame.re === this.#hello?.id) {
      if (frame.type === 'welcome') return this.#welcome(frame);
      // The close code that follows says whether to go on.
      this.#pauseMs = (frame.retryAfter ?? 0) * 1_000;
      return void this.emit('error', new SignalError(frame));
    }
    const request = this.#requests.get(frame.re);
    if (!request) return;
    this.#requests.delete(frame.re);
    if (frame.type === 'error') request.reject(new SignalError(frame));
    else request.resolve(frame);
  }

  #told(frame) {
    switch (frame.type) {
      case 'pong': this.rtt = Math.round(performance.now() - frame.t); break;
      case 'call-offer': this.#called(frame); break;
      case 'message': this.emit('message', frame); break;
      case 'room-event': this.rooms.get(frame.room)?._changed(frame); break;
      case 'presence': this.#takePresence(frame); break;
      case 'receipt':
        this.#receipts.get(frame.id)?.(frame.session);
        this.emit('receipt', frame);
        break;
      case 'ice-servers': this.#takeIceServers(frame, frame.reason); break;
      case 'token-expiring': this.#refreshToken(); break;
      case 'draining':
        this.emit('draining', frame);
        this.#timers.drain = setTimeout(() => this.#reconnect(), Math.random() * (frame.jitter ?? 0) * 1_000);
        break;
      case 'call-upgrade': this.emit('upgrade', frame); break;
      case 'error': this.emit('error', new SignalError(frame)); break;
      default: this.calls.get(frame.call)?._told(frame);
    }
  }

  #called(frame) {
    // An offer that was waiting for a new session may be one that the old session had.
    if (this.calls.has(frame.call)) return;
    const crossed = [...this.calls.values()].find((call) => call._isCrossedBy(frame));
    if (crossed && (crossed.isGlare || frame.call < crossed.id)) return void crossed._adopt(frame);
    const call = new Call(this, { id: frame.call, frame });
    this.calls.set(call.id, call);
    // The lesser id wins: this one is about to be cancelled, unless the server has refused ours.
    if (crossed) call._hold(crossed);
    else call._announce();
  }

  #takePresence({ user, status, devices }) {
    const presence = { user, status, devices };
    this.presence.set(user, { status, devices });
    this.emit('presence', presence);
  }

  #takeIceServers({ iceServers, iceTtl }, reason) {
    this.iceServers = iceServers ?? [];
    this.#iceEndsAt = iceTtl ? Date.now() + iceTtl * 1_000 : Infinity;
    for (const call of this.calls.values()) call._takeIceServers(reason !== 'welcome');
    this.emit('iceServers', this.iceServers, reason);
  }

  #tokenEndsIn(seconds) {
    if (!this.#token || seconds === undefined || seconds === null) return;
    this.#token.endsAt = Date.now() + seconds * 1_000;
    this.#refreshAt = this.#token.endsAt - Math.max(Math.min(seconds * 200, 120_000), 5_000);
  }

  async #refreshToken() {
    const { token } = this.#options;
    this.#refreshAt = Infinity;
    if (typeof token !== 'function') return;
    try {
      const value = await token();
      const reply = await this.request('auth-refresh', { token: value });
      this.#token = { value, endsAt: Infinity };
      this.#tokenEndsIn(reply.tokenExpiresIn);
    } catch (error) {
      // Tried again until the server gives up on it.
      this.#refreshAt = Date.now() + 2 * TICK_MS;
      this.emit('error', error);
    }
  }

  /** Takes back what was not sent of a call. Returns whether the offer was among it. */
  _unsend(call) {
    let tookOffer = false;
    for (const [id, { frame, isSent, resolve }] of this.#requests) {
      if (frame.call !== call || isSent) continue;
      this.#requests.delete(id);
      resolve({});
      tookOffer ||= frame.type === 'call-offer';
    }
    return tookOffer;
  }
}

export class Call extends Emitter {
  state;
  #client;
  #to;
  #options;
  /** Of an incoming call: the description to answer. */
  #offer;
  #polite;
  /** Descriptions are exchanged by `renegotiate` from now on. */
  #isEstablished = false;
  #isMaking = false;
  #isIgnoring = false;
  #isSettingAnswer = false;
  #isRestarting = false;
  #preparing;
  #early = [];
  #candidates = [];
  #isLast = false;
  #isAnnounced = false;
  #isHeld = false;
  #peerState = 'back';
  #wasConnected = false;
  #lostAt = 0;
  #ownsStream = false;
  #timers = {};

  constructor(client, { id, to, options, frame }) {
    super();
    this.#client = client;
    this.id = id;
    this.#to = to;
    this.#options = options ?? {};
    this.direction = frame ? 'incoming' : 'outgoing';
    this.state = frame ? 'ringing' : 'calling';
    this.peer = frame?.from ?? { ...to };
    this.media = frame?.media ?? [];
    this.attrs = frame?.attrs;
    this.#offer = frame?.data;
    this.#polite = frame?.polite ?? Boolean(frame);
    if (frame?.expiresAt) this.#ringFor(frame.expiresAt - client.now());
  }

  async answer(options = {}) {
    if (this.direction !== 'incoming' || this.state !== 'ringing' || this.connection) throw new Error('nothing to answer');
    try {
      await this.#prepare({ media: this.media.filter((kind) => kind === 'audio' || kind === 'video'), ...options });
      await this.#answerOffer();
    } catch (error) {
      // The other side must not ring on because this one has no camera.
      if (!this.ended) this.reject('media-failed', 'device');
      throw error;
    }
    return this;
  }

  async reject(reason = 'declined', scope = 'user') {
    if (this.ended) return;
    if (this.direction === 'outgoing' || this.state !== 'ringing') return this.hangup(reason);
    this._end(reason, 'local');
    await this.#request('call-reject', { reason, scope }).catch(() => {});
  }

  async hangup(reason = 'user') {
    if (this.ended) return;
    if (this.direction === 'incoming' && this.state === 'ringing') return this.reject(reason === 'user' ? 'declined' : reason);
    const { relayed } = this;
    const wasNeverOffered = this.#client._unsend(this.id) || !this.connection;
    this._end(reason, 'local');
    if (!wasNeverOffered) await this.#request('call-hangup', { reason, relayed }).catch(() => {});
  }

  restartIce() {
    this.#mend(0, true);
  }

  // --- Beginning and end.

  async _offer() {
    const { ttl } = this.#options;
    try {
      this.#preparing = this.#prepare(this.#options);
      await this.#preparing;
      const kinds = this.connection.getTransceivers().map(({ sender, receiver }) => (sender.track ?? receiver.track).kind);
      this.media = [...new Set(kinds)];
      if (!this.#offer) await this.connection.setLocalDescription();
      // The other side may have called meanwhile, and this call may have become that one.
      if (this.#offer) return this;
      this.#ringFor((ttl ?? RING_SECONDS_MAX) * 1_000);
      await this.#sendOffer();
    } catch (error) {
      this._end(codeOf(error), error instanceof SignalError ? 'server' : 'local');
      throw error;
    }
    return this;
  }

  async #sendOffer() {
    const { ttl, grant } = this.#options;
    try {
      const data = this.connection.localDescription;
      await this.#request('call-offer', { to: this.#to, media: this.media, ttl, grant, data });
    } catch (error) {
      // The other side's offer is on its way and becomes this call.
      if (error.code !== 'glare') throw error;
      this.isGlare = this.direction === 'outgoing';
    }
  }

  async #answerOffer() {
    const { connection } = this;
    await connection.setRemoteDescription(this.#offer);
    for (const frame of this.#early.splice(0)) this._told(frame);
    await connection.setLocalDescription();
    this.#establish();
    try {
      await this.#request('call-answer', { data: connection.localDescription });
    } catch (error) {
      this._end(codeOf(error), 'server');
      throw error;
    }
  }

  /** Connection and media, before anything is negotiated. */
  async #prepare({ media = ['audio', 'video'], stream, prepare }) {
    this.#ownsStream = !stream;
    stream ??= await capture(media);
    this.localStream = stream;
    if (this.ended) { this.#release(); throw new SignalError({ code: this.ended.reason }); }
    const connection = new RTCPeerConnection({ ...this.#client._rtc, iceServers: this.#client.iceServers });
    this.connection = connection;
    connection.onnegotiationneeded = () => this.#negotiate();
    connection.onicecandidate = ({ candidate }) => this.#candidate(candidate);
    connection.onconnectionstatechange = () => this.#mediaChanged();
    connection.ontrack = ({ track, streams: [stream = this.remoteStream ?? new MediaStream()] }) => {
      if (!stream.getTracks().includes(track)) stream.addTrack(track);
      this.remoteStream = stream;
      this.emit('stream', stream);
    };
    for (const track of stream?.getTracks() ?? []) connection.addTrack(track, stream);
    prepare?.(connection);
  }

  #establish() {
    clearTimeout(this.#timers.ring);
    this.#isEstablished = true;
    this.#lostAt = Date.now();
    this.#setState('connecting');
    this.#mend(2 * MEND_MS);
  }

  /** The server says when it is over; this is for when the server can't be heard. */
  #ringFor(ms) {
    clearTimeout(this.#timers.ring);
    this.#timers.ring = setTimeout(() => {
      if (this.direction === 'outgoing') this.hangup('timeout');
      else this._end('timeout', 'server');
    }, ms + 5_000);
  }

  _announce() {
    if (this.ended || this.state !== 'ringing' || this.#isAnnounced || this.#isHeld) return;
    this.#isAnnounced = this.#client.emit('incoming', this);
    if (this.#isAnnounced) this.#request('call-ringing').catch(() => {});
  }

  /** Until what becomes of this side's own call is known. */
  _hold(own) {
    this.#isHeld = true;
    own.once('ended', () => {
      this.#isHeld = false;
      this._announce();
    });
  }

  _end(reason, by) {
    if (this.ended) return;
    const wasRinging = this.direction === 'incoming' && this.state === 'ringing';
    this.ended = { reason, by };
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.connection?.close();
    this.#release();
    this.#client._unsend(this.id);
    this.#client.calls.delete(this.id);
    this.#setState('ended', this.ended);
    if (wasRinging && by !== 'local') this.#client.emit('cancelled', this, reason);
  }

  #release() {
    if (this.#ownsStream) for (const track of this.localStream?.getTracks() ?? []) track.stop();
  }

  #setState(state, ...values) {
    if (this.state === state) return;
    this.state = state;
    this.emit('state', state);
    this.emit(state, ...values);
  }

  /** What the server could not take just now is said again, unless it is for the application to decide. */
  async #request(type, fields, tries = 0) {
    try {
      return await this.#client.request(type, { call: this.id, ...fields });
    } catch (error) {
      const isOver = (this.ended && type !== 'call-hangup') || tries >= TRIES_MAX;
      if (!error.retryable || error.code === 'session-lost' || type === 'call-offer' || isOver) throw error;
      await new Promise((resolve) => setTimeout(resolve, (error.retryAfter ?? 1) * 1_000));
      return this.#request(type, fields, tries + 1);
    }
  }

  #report = (error) => {
    if (this.ended || error.code === 'session-lost') return;
    if (error.code === 'call-ended' || error.code === 'no-such-call') this._end(error.code, 'server');
    else this.emit('error', error);
  };

  // --- Both called each other at once.

  _isCrossedBy({ from }) {
    const isCallee = this.#to?.user === from.user || this.#to?.session === from.session;
    return this.direction === 'outgoing' && !this.#isEstablished && isCallee;
  }

  /** The other side's offer won: this call becomes that one, with the media it has. */
  async _adopt(frame) {
    const { calls } = this.#client;
    this.#client._unsend(this.id);
    calls.delete(this.id);
    this.id = frame.call;
    calls.set(this.id, this);
    this.direction = 'incoming';
    this.isGlare = false;
    this.peer = frame.from;
    this.attrs = frame.attrs;
    this.#polite = frame.polite ?? true;
    this.#offer = frame.data;
    this.#candidates = [];
    try {
      await this.#preparing;
      // Setting the other's description rolls back this one's own.
      await this.#answerOffer();
    } catch (error) {
      this.#report(error);
      this.reject('media-failed', 'device');
    }
  }

  // --- Perfect negotiation.

  async #negotiate() {
    if (!this.#isEstablished || this.ended) return;
    const { connection } = this;
    const restart = this.#isRestarting;
    try {
      this.#isMaking = true;
      this.#isRestarting = false;
      await connection.setLocalDescription();
      this.#describe(restart);
    } catch (error) {
      this.#report(error);
    } finally {
      this.#isMaking = false;
    }
  }

  #describe(restart = false) {
    if (this.ended) return;
    this.#request('renegotiate', { restart, data: this.connection.localDescription }).catch(this.#report);
  }

  /** An offer or its answer may have been lost with a session. The same offer may be answered twice; another may not
   *  fit, since the other side may have taken this one. */
  #describeAgain() {
    if (this.#isEstablished && this.connection.signalingState === 'have-local-offer') this.#describe(true);
  }

  async #described(description) {
    const { connection } = this;
    const isOffer = description.type === 'offer';
    const isReady = !this.#isMaking && (connection.signalingState === 'stable' || this.#isSettingAnswer);
    this.#isIgnoring = !this.#polite && isOffer && !isReady;
    // An answer may come twice, after its offer went twice.
    if (this.#isIgnoring || (!isOffer && connection.signalingState !== 'have-local-offer')) return;
    try {
      this.#isSettingAnswer = !isOffer;
      await connection.setRemoteDescription(description);
    } finally {
      this.#isSettingAnswer = false;
    }
    for (const frame of this.#early.splice(0)) this._told(frame);
    if (!isOffer) return;
    await connection.setLocalDescription();
    this.#describe();
  }

  #candidate(candidate) {
    if (candidate?.candidate) this.#candidates.push(candidate.toJSON());
    this.#isLast ||= !candidate;
    this.#timers.candidates ??= setTimeout(() => {
      this.#timers.candidates = undefined;
      const candidates = this.#candidates.splice(0);
      const end = this.#isLast;
      this.#isLast = false;
      if (candidates.length || end) this.#request('ice-candidate', { candidates, end }).catch(this.#report);
    }, CANDIDATES_MS);
  }

  async #addCandidates({ candidates = [], end }) {
    for (const candidate of candidates) {
      try {
        await this.connection.addIceCandidate(candidate);
      } catch (error) {
        // Those of a description that was ignored, or that an ICE restart has made void, belong nowhere.
        const isCurrent = this.connection.remoteDescription?.sdp.includes(`a=ice-ufrag:${candidate.usernameFragment}`);
        if (!this.#isIgnoring && isCurrent) this.#report(error);
      }
    }
    if (end) await this.connection.addIceCandidate().catch(() => {});
  }

  // --- What the other side and the server say.

  _told(frame) {
    const needsDescription = frame.type === 'ice-candidate' || frame.data?.type === 'offer';
    if (needsDescription && !this.connection?.remoteDescription) {
      if (this.#early.length < EARLY_FRAMES_MAX) this.#early.push(frame);
      return;
    }
    switch (frame.type) {
      case 'call-ringing': if (this.state === 'calling') this.#setState('ringing'); break;
      case 'call-answer': this.#answered(frame).catch(this.#report); break;
      case 'call-reject': this._end(frame.reason ?? 'declined', 'remote'); break;
      case 'call-hangup': this._end(frame.reason ?? 'user', 'remote'); break;
      case 'call-cancelled':
        if (frame.reason === 'glare' && this.direction === 'outgoing') this.isGlare = true;
        else this._end(frame.reason, 'server');
        break;
      case 'ice-candidate': this.#addCandidates(frame).catch(this.#report); break;
      case 'renegotiate': this.#described(frame.data).catch(this.#report); break;
      case 'call-peer': this.#peerIs(frame); break;
    }
  }

  async #answered({ from, data }) {
    if (this.#isEstablished || this.direction !== 'outgoing') return;
    this.peer = from ?? this.peer;
    this.#establish();
    await this.connection.setRemoteDescription(data);
    for (const frame of this.#early.splice(0)) this._told(frame);
  }

  #peerIs({ state, session }) {
    this.#peerState = state;
    if (state === 'back') {
      if (session) this.peer = { ...this.peer, session };
      this.#describeAgain();
      this.#mend(this.#polite ? MEND_MS / 4 : 0);
    }
    this.emit('peer', state);
  }

  /** The session was lost and there is a new one; `entry` is the call as the server knows it, if it does. */
  async _restore(entry) {
    if (!this.#isEstablished && entry?.state !== 'active') {
      if (this.direction === 'outgoing' && this.connection?.localDescription && !this.isGlare) {
        this.#sendOffer().catch((error) => {
          // Answered meanwhile, and the answer went to the lost session.
          if (error.code === 'duplicate') return this._restore({ state: 'active' });
          this._end(codeOf(error), 'server');
        });
      }
      return;
    }
    if (!this.connection) return this._end('answered-elsewhere', 'server');
    try {
      const { peer } = await this.#request('call-rejoin');
      this.peer = { ...this.peer, ...peer };
      if (!this.#isEstablished) this.#establish();
      this.#describeAgain();
      this.#mend(0, true);
    } catch (error) {
      this._end(codeOf(error), 'server');
    }
  }

  // --- Keeping media alive.

  #mediaChanged() {
    const { connectionState } = this.connection;
    if (connectionState === 'connected') {
      clearTimeout(this.#timers.mend);
      this.#wasConnected = true;
      this.#setState('connected');
      this._measure();
    } else if (connectionState === 'disconnected' || connectionState === 'failed') {
      if (this.state === 'connected') this.#lostAt = Date.now();
      if (this.#wasConnected) this.#setState('reconnecting');
      // Short silences heal by themselves. Both sides see a failure: the one that called is first, the other helps out.
      this.#mend((connectionState === 'failed' ? 0 : MEND_MS / 2) + (this.#polite ? MEND_MS / 4 : 0));
    }
  }

  /** After a while, begins ICE anew if there is no media (or in any case), and comes back to see whether it helped. */
  #mend(delay, always = false) {
    if (!this.#isEstablished || this.ended) return;
    clearTimeout(this.#timers.mend);
    this.#timers.mend = setTimeout(() => {
      const { connection } = this;
      if (connection.connectionState === 'connected' && !always) return;
      const canTalk = this.#client.state === 'connected' && this.#peerState !== 'away';
      if (!canTalk) this.#lostAt = Date.now();
      if (connection.connectionState !== 'connected' && Date.now() - this.#lostAt > this.#client._mediaTimeout) {
        return void this.hangup(this.#wasConnected ? 'ice-failed' : 'ice-timeout');
      }
      const canRestart = canTalk && connection.signalingState === 'stable';
      if (canRestart) {
        this.#isRestarting = true;
        connection.restartIce();
      }
      this.#mend(canRestart ? MEND_MS : MEND_MS / 8, always && !canRestart);
    }, delay);
  }

  _networkChanged() {
    this.#mend(this.#polite ? MEND_MS / 4 : MEND_MS / 16, true);
  }

  _signalingBack() {
    if (this.connection && this.connection.connectionState !== 'connected') this.#mend(this.#polite ? MEND_MS / 4 : 0);
  }

  async _takeIceServers(restart) {
    const { connection } = this;
    if (!connection) return;
    try {
      connection.setConfiguration({ ...connection.getConfiguration(), iceServers: this.#client.iceServers });
      // What is relayed goes on with the old credential, which ends: only gathering anew uses the new one.
      if (restart && (await this.#pair())?.local?.candidateType === 'relay') this.#mend(0, true);
    } catch (error) {
      this.#report(error);
    }
  }

  async _measure() {
    if (this.state !== 'connected') return;
    const pair = await this.#pair();
    if (pair) this.relayed = pair.local?.candidateType === 'relay' || pair.remote?.candidateType === 'relay';
  }

  /** The candidates in use. */
  async #pair() {
    const stats = await this.connection.getStats();
    let used;
    stats.forEach((entry) => {
      if (entry.type === 'transport') used = stats.get(entry.selectedCandidatePairId) ?? used;
      else if (entry.type === 'candidate-pair' && entry.selected) used ??= entry;
    });
    return used && { local: stats.get(used.localCandidateId), remote: stats.get(used.remoteCandidateId) };
  }
}

export class Room extends Emitter {
  members = new Map();
  #client;
  #version = -1;

  constructor(client, id) {
    super();
    this.#client = client;
    this.id = id;
  }

  setState(state) {
    return this._join(state);
  }

  message(data) {
    return this.#client.message({ room: this.id }, data);
  }

  async leave() {
    this.#client.rooms.delete(this.id);
    await this.#client.request('leave', { room: this.id });
  }

  async _join(state) {
    this.state = state;
    const { room } = await this.#client.request('join', { room: this.id, state });
    this.#version = room.ver;
    this.#replace(room.members);
  }

  _changed({ ver, snapshot, members, joined = [], left = [], changed = [] }) {
    if (!snapshot && ver <= this.#version) return;
    this.#version = ver;
    if (snapshot) return this.#replace(members);
    for (const member of [...joined, ...changed]) this.members.set(member.session, member);
    for (const session of left) this.members.delete(session);
    this.emit('change', { joined, left, changed });
  }

  #replace(members) {
    const old = this.members;
    this.members = new Map(members.map((member) => [member.session, member]));
    const joined = members.filter(({ session }) => !old.has(session));
    const left = [...old.keys()].filter((session) => !this.members.has(session));
    this.emit('change', { joined, left, changed: members.filter(({ session }) => old.has(session)) });
  }
}

async function capture(media) {
  if (!Array.isArray(media)) return navigator.mediaDevices.getUserMedia(media);
  const [audio, video] = ['audio', 'video'].map((kind) => media.includes(kind));
  return audio || video ? navigator.mediaDevices.getUserMedia({ audio, video }) : undefined;
}

/** Errors of the browser are about media. */
function codeOf(error) {
  return error instanceof SignalError ? error.code : 'media-failed';
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `c_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
