// The page: which view is shown, and what its buttons do.

import { report, run } from './check.js';
import { Stay } from './room.js';
import { Refused, enter, isLoginNeeded, isTrial, token } from './session.js';
import { refusal } from './words.js';

const NAME = /^[A-Za-z0-9._-]{1,64}$/;
/** 72 random bits: the name is the key to the room. */
const NAME_BYTES = 9;
const COPIED_MS = 2000;

const $ = (id) => document.getElementById(id);
let stay;
let checked = false;

addEventListener('hashchange', show);
$('again').onclick = check;
$('report').onclick = ({ target }) => copy(report(), target);
$('copy').onclick = ({ target }) => copy($('link').value, target);
$('link').onfocus = ({ target }) => target.select();
$('mute').onclick = ({ currentTarget }) => press(currentTarget, 'audio');
$('camera').onclick = ({ currentTarget }) => press(currentTarget, 'video');
$('leave').onclick = () => { location.hash = '#call'; };
$('sound').onclick = ({ currentTarget }) => {
  for (const video of document.querySelectorAll('.tile:not(.own) video')) video.muted = false;
  currentTarget.hidden = true;
};
$('login-form').onsubmit = async (event) => {
  event.preventDefault();
  enter($('token').value.trim());
  checked = false;
  show();
};
$('lobby-form').onsubmit = async (event) => {
  event.preventDefault();
  const place = where();
  if (place.room) return enterRoom(place.room, $('only-relay').checked);
  location.hash = `#room=${randomName()}${$('only-relay').checked ? '&relay' : ''}`;
  return enterRoom(where().room, $('only-relay').checked);
};
document.querySelector('.skip').onclick = (event) => {
  event.preventDefault();
  $('main').focus();
};
addEventListener('pagehide', () => stay?.leave());

$('where').textContent = location.host;
// Elsewhere this address is another machine.
if (isTrial) $('link-label').textContent = 'Open this link in a second tab';
show();

/** The view that the address names: `#room=name&relay`, `#call`, or the checks. */
function where() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const room = parameters.get('room');
  if (room !== null && NAME.test(room)) return { view: 'call', room, onlyRelay: parameters.has('relay') };
  return { view: parameters.has('call') ? 'call' : 'check' };
}

function show() {
  const { view, room, onlyRelay } = where();
  if (stay && stay.room !== room) stay.leave();
  const isOut = isLoginNeeded();
  $('login').hidden = !isOut;
  $('check').hidden = isOut || view !== 'check';
  $('call').hidden = isOut || view !== 'call';
  mark($('to-check'), view === 'check');
  mark($('to-call'), view === 'call');
  document.title = view === 'check' ? 'Connection check · iceway' : 'Video call · iceway';
  if (isOut) return;
  if (view === 'check' && !checked) check();
  if (view === 'call' && !stay) lobby(room, onlyRelay);
}

async function check() {
  checked = true;
  try {
    await run();
  } catch (error) {
    if (askAgain(error)) return;
    $('verdict').dataset.state = 'bad';
    $('verdict-title').textContent = 'The checks could not begin';
    $('verdict-text').textContent = error instanceof Refused ? refusal(error) : `The server does not answer (${error.message}).`;
  }
}

function lobby(room, onlyRelay) {
  $('lobby').hidden = false;
  $('room').hidden = true;
  $('enter').textContent = room ? 'Join the call' : 'Make a room';
  $('lobby-text').textContent = room ? `You are invited to the room ${room}.`
    : 'Make a room, open its link in a second tab or on another device, and see the two of them talk.';
  if (room) $('only-relay').checked = onlyRelay;
}

async function enterRoom(room, onlyRelay) {
  $('lobby-fault').textContent = '';
  try {
    await token();
  } catch (error) {
    if (!askAgain(error)) $('lobby-fault').textContent = error instanceof Refused ? refusal(error) : error.message;
    return;
  }
  $('lobby').hidden = true;
  $('room').hidden = false;
  $('link').value = new URL(`#room=${room}${onlyRelay ? '&relay' : ''}`, location.href).href;
  for (const name of ['mute', 'camera']) $(name).setAttribute('aria-pressed', 'false');
  stay = new Stay(room, { withCamera: $('with-camera').checked, onlyRelay }, (why) => {
    stay = undefined;
    $('lobby-fault').textContent = why;
    show();
  });
  stay.room = room;
  $('room-title').focus();
}

/** Lets somebody log in whose token is not taken. */
function askAgain(error) {
  if (!(error instanceof Refused) || error.status !== 401 || isTrial) return false;
  enter('');
  $('login-fault').textContent = refusal(error);
  show();
  $('token').focus();
  return true;
}

function press(button, kind) {
  button.setAttribute('aria-pressed', String(stay?.toggle(kind) ?? false));
}

function mark(link, isHere) {
  if (isHere) link.setAttribute('aria-current', 'page');
  else link.removeAttribute('aria-current');
}

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'Press Ctrl+C';
  }
  setTimeout(() => { button.textContent = before; }, COPIED_MS);
}

function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(NAME_BYTES));
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_');
}
