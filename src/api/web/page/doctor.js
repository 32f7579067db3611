// What the server finds when it looks at itself, in the words of `iceway doctor`.

import { ask } from './session.js';

const STATES = { ok: 'good', hint: 'absent', skipped: 'absent', warning: 'fair', failure: 'bad' };

const $ = (id) => document.getElementById(id);
let checks = [];

/** Empties the place for it. */
export function clear() {
  checks = [];
  $('doctor').hidden = true;
}

/** Has the server look at itself, and shows what it finds. */
export async function examine() {
  $('doctor').hidden = false;
  $('doctor-wrong').replaceChildren();
  $('doctor-rest').hidden = true;
  $('doctor-about').textContent = 'The server looks at itself…';
  $('doctor').dataset.state = 'running';
  let told;
  try {
    told = await ask('/v1/doctor');
  } catch (error) {
    $('doctor').dataset.state = 'absent';
    $('doctor-about').textContent = [error.message, error.detail].filter(Boolean).join(' ');
    return;
  }
  checks = told.checks;
  const isWrong = ({ level }) => level === 'warning' || level === 'failure';
  const [wrong, rest] = [checks.filter(isWrong), checks.filter((check) => !isWrong(check))];
  // What does not work comes first.
  wrong.sort((one, other) => (one.level === 'failure' ? 0 : 1) - (other.level === 'failure' ? 0 : 1));
  const { failure, warning } = told.counts;
  const found = [number(failure, 'failure'), number(warning, 'warning')].filter(Boolean).join(', ') || 'Nothing is wrong';
  $('doctor-about').textContent = `${found}: that is what ${told.about.split(' · ').slice(0, 2).join(' finds on ')}.`;
  $('doctor').dataset.state = failure ? 'bad' : warning ? 'fair' : 'good';
  $('doctor-wrong').replaceChildren(...wrong.map(line));
  $('doctor-others').replaceChildren(...rest.map(line));
  $('doctor-rest').hidden = rest.length === 0;
  $('doctor-count').textContent = `${number(rest.length, 'other line')}: fine, hints, and what was not looked at`;
}

/** The lines as text, as long as there are any. */
export function lines() {
  return checks.map(({ level, section, name, fact, mend }) => [`[${level}] ${section}: ${name}`, fact, mend].filter(Boolean).join(' | '));
}

function line({ section, name, level, fact, mend }) {
  const element = $('finding').content.firstElementChild.cloneNode(true);
  const set = (selector, text) => { element.querySelector(selector).textContent = text ?? ''; };
  element.dataset.state = STATES[level] ?? 'absent';
  element.dataset.level = level;
  set('strong', name);
  set('.state', section);
  set('.fact', fact);
  set('.remedy', mend);
  return element;
}

function number(count, word) {
  return count ? `${count} ${word}${count === 1 ? '' : 's'}` : '';
}
