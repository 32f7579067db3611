// A WebSocket whose other end is the test, for what real sockets can't show at will: lost answers, dead lines, time.

import { mock } from 'node:test';

export class FakeSocket {
  static all = [];
  readyState = 0;
  sent = [];

  constructor(url, protocol) {
    this.url = new URL(url);
    this.protocol = protocol;
    FakeSocket.all.push(this);
  }

  static get last() {
    return FakeSocket.all.at(-1);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
    this.isClosedByClient = true;
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  say(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  end(code, reason = '') {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  /** The last frame of a type. */
  sentLast(type) {
    return this.sent.findLast((frame) => frame.type === type);
  }

  sentAll(type) {
    return this.sent.filter((frame) => frame.type === type);
  }

  /** Opens and welcomes, as the server would. */
  welcome(extra = {}) {
    this.open();
    this.say({ re: this.sentLast('hello').id, ...WELCOME, ...extra });
  }
}

export const WELCOME = {
  type: 'welcome', v: 1, session: 's_1', user: 'u-1', epoch: 'e_1', resumeToken: 'rt_1', resumeTtl: 60,
  heartbeat: { interval: 25, timeout: 10 }, limits: { maxFrame: 65_536 }, features: ['resume'],
  tokenExpiresIn: 840, serverTime: 1_790_000_000_000,
  iceServers: [{ urls: 'turn:t.example', username: 'u', credential: 'c' }], iceTtl: 3_600, iceRefreshIn: 2_880,
};

/** Lets what was promised happen, without letting time pass. */
export async function settle() {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

/** Lets time pass in steps, so that timers set by timers come in order. */
export async function pass(ms) {
  for (let left = ms; left > 0; left -= 100) {
    mock.timers.tick(Math.min(left, 100));
    await settle();
  }
}
