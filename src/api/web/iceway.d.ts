/** Types of `/iceway.js`. */

/** Opens a connection to an iceway server and keeps it. Returns at once; `ready` resolves with the first welcome. */
export function connect(options?: ConnectOptions): Iceway;

export interface ConnectOptions {
  /** The signaling endpoint, absolute or relative to this module. Default: `/v1/signal` where this module came from. */
  url?: string | URL;
  /**
   * A JWT, or how to get a fresh one: called before the first hello, when the old one has run out, and before it does.
   * With a mere string the session ends with the token.
   */
  token?: string | (() => string | Promise<string>);
  /** How to get a single-use ticket (`POST /v1/signal/tickets`), called before each connection. Instead of `token`. */
  ticket?: () => string | Promise<string>;
  /** Names this device: a newer session of the same device replaces the older one (4409). Default: none. */
  device?: string;
  /** For every connection made, beside the ICE servers: `iceTransportPolicy`, `bundlePolicy`, … */
  rtc?: Omit<RTCConfiguration, 'iceServers'>;
  /** Capabilities told to the server. */
  caps?: string[];
  /** Told to the server as the client's name and version. */
  ua?: string;
  /** How long a call may be without media, while both sides are there, before it is hung up. Default 45 000. */
  mediaTimeoutMs?: number;
  /** Another implementation of WebSocket, for use outside of browsers. */
  WebSocket?: new (url: string | URL, protocols?: string | string[]) => WebSocket;
}

/** `reconnecting` comes after the first welcome, `closed` is final. */
export type State = 'connecting' | 'connected' | 'reconnecting' | 'closed';

/** Why it is closed: a close code of 4400 or more, or 1000 after `close()`. */
export interface Closed {
  code: number;
  reason: string;
}

export interface ClientEvents {
  state: [state: State];
  /** Welcomed: `resumed` tells whether nothing was missed. */
  connected: [welcome: { resumed: boolean; reason?: string; session: string; user: string }];
  closed: [why: Closed];
  /** Somebody calls. The device rings by being told; answer or reject it. */
  incoming: [call: Call];
  /** An incoming call ended before it was answered here: `answered-elsewhere`, `caller-hangup`, `timeout`, … */
  cancelled: [call: Call, reason: string];
  message: [message: Message];
  receipt: [receipt: { id: string; session: string }];
  presence: [presence: { user: string; status: Status | 'offline'; devices: number }];
  /** Fresh ICE servers; connections of calls have them already. */
  iceServers: [servers: RTCIceServer[], reason: 'refresh' | 'drain' | 'revoked' | 'welcome'];
  /** The node is about to end; the client reconnects by itself. */
  draining: [frame: { reconnectWithin: number; jitter: number }];
  /** Somebody suggests to go on in a media server. */
  upgrade: [upgrade: { room: string; call?: string; from?: Party; sfu: unknown }];
  /** What went wrong without a promise to say it: a token callback, a refused refresh, a candidate. */
  error: [error: Error];
}

export type Status = 'online' | 'away' | 'dnd';
export type Role = 'user' | 'sfu' | 'backend' | 'recorder' | 'admin';

export interface Party {
  user: string;
  session: string;
  device?: string;
}

/** Whom something is for. */
export type To = { user: string } | { session: string } | { room: string } | { role: 'sfu'; room: string };

export interface Message {
  from: Party;
  room?: string;
  data: unknown;
}

declare class Emitter<Events extends { [Name in keyof Events]: unknown[] }> {
  /** Returns how to stop listening. */
  on<Name extends keyof Events>(event: Name, listener: (...values: Events[Name]) => void): () => void;
  once<Name extends keyof Events>(event: Name, listener: (...values: Events[Name]) => void): () => void;
  off<Name extends keyof Events>(event: Name, listener: (...values: Events[Name]) => void): void;
}

export class Iceway extends Emitter<ClientEvents> {
  constructor(options?: ConnectOptions);
  readonly state: State;
  /** Resolves with the first welcome, rejects if it is closed before. */
  readonly ready: Promise<this>;
  readonly session?: string;
  readonly user?: string;
  readonly features: string[];
  readonly limits: Record<string, number>;
  /** Fresh ICE servers, for connections of your own. */
  readonly iceServers: RTCIceServer[];
  /** Calls that are not over, by id. */
  readonly calls: ReadonlyMap<string, Call>;
  readonly rooms: ReadonlyMap<string, Room>;
  readonly presence: ReadonlyMap<string, { status: Status | 'offline'; devices: number }>;
  /** Milliseconds to the server and back, once measured. */
  readonly rtt?: number;
  /** Milliseconds that the server's clock is ahead. */
  readonly clockOffset: number;
  /** Why it is closed. */
  readonly closed?: Closed;

  /** The server's time, in milliseconds since the Unix epoch. */
  now(): number;
  /** Calls somebody. Resolves when the server has taken the offer; the call goes on by its events. */
  call(to: To, options?: CallOptions): Promise<Call>;
  /** Joins a room, and again after a lost session. */
  join(room: string, state?: unknown): Promise<Room>;
  /**
   * Sends `data`. Resolves with the id of the message when the server has taken it. `receipt`: called for each session
   * that has got it.
   */
  message(to: To, data: unknown, options?: { receipt?: (session: string) => void }): Promise<{ id: string }>;
  /** All users to watch from now on; how each is comes by `presence`. */
  watch(users: string[]): Promise<void>;
  /** How this session is. */
  setStatus(status: Status): Promise<void>;
  /** Asks for fresh ICE servers; calls get them too. */
  refreshIceServers(): Promise<RTCIceServer[]>;
  /** Suggests to go on in a media server. */
  upgrade(room: string, sfu: unknown, call?: Call): Promise<void>;
  /** Any request of the protocol; sent again after a resume until it is answered. */
  request(type: string, fields?: object): Promise<Reply>;
  /** Hangs up, says goodbye, and stays closed. */
  close(): void;
}

export interface Reply {
  re: string;
  type: string;
  [field: string]: unknown;
}

export interface MediaOptions {
  /** What to send: kinds, or constraints of getUserMedia. Default: audio and video; of an answer, what is offered. */
  media?: Array<'audio' | 'video'> | MediaStreamConstraints;
  /** What to send, made by you; it is not stopped at the end. */
  stream?: MediaStream;
  /** Called with the connection before anything is negotiated: for data channels, transceivers, codecs. */
  prepare?: (connection: RTCPeerConnection) => void;
}

export interface CallOptions extends MediaOptions {
  /** Seconds it may ring. Default: the server's, 60. */
  ttl?: number;
  /** A right to call, signed by your backend. */
  grant?: string;
}

/**
 * `calling` → `ringing` → `connecting` → `connected` ⇄ `reconnecting`, then `ended`. An incoming call begins as
 * `ringing`.
 */
export type CallState = 'calling' | 'ringing' | 'connecting' | 'connected' | 'reconnecting' | 'ended';

export interface Ended {
  /** `user`, `busy`, `declined`, `timeout`, `answered-elsewhere`, `media-failed`, `ice-failed`, `ice-timeout`, … */
  reason: string;
  by: 'local' | 'remote' | 'server';
}

export interface CallEvents {
  state: [state: CallState];
  ringing: [];
  connecting: [];
  connected: [];
  /** Media is gone; ICE is being restarted. */
  reconnecting: [];
  ended: [why: Ended];
  /** The other side's media; again when there is more of it. */
  stream: [stream: MediaStream];
  /** The other side's socket is gone (media may flow on), back, or lost for good. */
  peer: [state: 'away' | 'back' | 'lost'];
  error: [error: Error];
}

export class Call extends Emitter<CallEvents> {
  private constructor();
  /** Changes when both called each other at once: the two become one call. */
  readonly id: string;
  readonly direction: 'incoming' | 'outgoing';
  readonly state: CallState;
  /** The other side; of an outgoing call without its session until somebody answers. */
  readonly peer: Partial<Party> & { room?: string };
  /** Kinds that were offered. */
  readonly media: string[];
  /** What the backend said of the caller, if it said anything. */
  readonly attrs?: Record<string, unknown>;
  readonly localStream?: MediaStream;
  readonly remoteStream?: MediaStream;
  /** From the answer on; tracks and channels added later are negotiated by themselves. */
  readonly connection?: RTCPeerConnection;
  /** Whether media goes through a relay, once known. */
  readonly relayed?: boolean;
  readonly ended?: Ended;

  answer(options?: MediaOptions): Promise<this>;
  /** `scope` `device`: the user's other devices ring on. */
  reject(reason?: string, scope?: 'user' | 'device'): Promise<void>;
  hangup(reason?: string): Promise<void>;
  /** Begins ICE anew. Done by itself when media fails and when the network changes. */
  restartIce(): void;
}

export interface Member {
  session: string;
  user: string;
  device?: string;
  role: Role;
  state?: unknown;
}

export interface RoomEvents {
  /** Who came, went (by session), or has a new state; all of it after a lost session. */
  change: [change: { joined: Member[]; left: string[]; changed: Member[] }];
}

export class Room extends Emitter<RoomEvents> {
  private constructor();
  readonly id: string;
  /** By session. */
  readonly members: ReadonlyMap<string, Member>;
  /** What other members see of this one. */
  setState(state: unknown): Promise<void>;
  message(data: unknown): Promise<{ id: string }>;
  leave(): Promise<void>;
}

/** A refused request. */
export class SignalError extends Error {
  /** `forbidden`, `peer-offline`, `rate-limited`, …; made here: `closed`, `session-lost`, `unreachable`. */
  readonly code: string;
  /** Whether the same may succeed later. */
  readonly retryable: boolean;
  /** Seconds until then. */
  readonly retryAfter?: number;
  readonly details?: Record<string, unknown>;
}
