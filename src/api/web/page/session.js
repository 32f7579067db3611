// Who uses the page: the login token, and what the server is asked with it.

import { connect } from '/iceway.js';

/** Until then a token is as good as new. */
const FRESH_MS = 60_000;
const KEPT = 'iceway-token';

/** Whether the server hands out tokens to this page: a bare start, on the same machine. */
export const isTrial = document.documentElement.dataset.access === 'trial';

let entered = isTrial ? '' : sessionStorage.getItem(KEPT) ?? '';
let trial = { token: '', until: 0 };
const guest = `guest-${Array.from(crypto.getRandomValues(new Uint8Array(3)), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;

/** What the server refused. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.title ?? `The server answered ${status}.`);
    Object.assign(this, problem, { status });
  }
}

/** Whether somebody has to log in first. */
export function isLoginNeeded() {
  return !isTrial && !entered;
}

/** Takes a token that somebody entered, or forgets it. */
export function enter(token) {
  entered = token;
  if (token) sessionStorage.setItem(KEPT, token);
  else sessionStorage.removeItem(KEPT);
}

/** @returns {Promise<string>} */
export async function token() {
  if (!isTrial) return entered;
  if (Date.now() + FRESH_MS > trial.until) {
    const answer = await read(await fetch(`/v1/trial/token?user=${guest}`, { cache: 'no-store' }));
    trial = { token: answer.token, until: Date.now() + answer.expiresIn * 1000 };
  }
  return trial.token;
}

/** Reads something of the API. */
export async function ask(path) {
  return read(await fetch(path, { cache: 'no-store', headers: { authorization: `Bearer ${await token()}` } }));
}

/** A connection to the signaling relay. */
export function signal(rtc = {}) {
  return connect({ token, rtc, ua: 'iceway-page' });
}

async function read(response) {
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}
