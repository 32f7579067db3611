// Opens the built-in page in Chromium, as the plan in the only argument says, and prints what it shows as JSON;
// tests/interop/page.rs judges it.
//
// plan: { executable, home, screenshots, url, token?, room? }

import { chromium } from 'playwright-core';

const plan = JSON.parse(process.argv[2]);
const LIMIT_MS = 90_000;
const WIDTHS = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };

const complaints = [];
const browser = await chromium.launch({
  executablePath: plan.executable,
  env: { ...process.env, HOME: plan.home },
  args: [
    '--no-sandbox',
    '--allow-loopback-in-peer-connection',
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
  ],
});
try {
  const context = await browser.newContext({ viewport: WIDTHS.desktop });
  await context.addInitScript(() => addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
    console.error(`policy violated: ${violatedDirective} ${blockedURI}`)));
  const findings = plan.room ? await call(context) : await check(context);
  console.log(JSON.stringify({ ...findings, complaints }));
} finally {
  await browser.close();
}

async function check(context) {
  const page = await open(context, plan.url);
  if (plan.token) await logIn(page);
  await page.waitForSelector('#verdict:not([data-state=running])', { timeout: LIMIT_MS });
  // The server looks at itself afterwards, for who may see it.
  await page.waitForFunction(() => {
    const doctor = document.querySelector('#doctor');
    return doctor.hidden || doctor.dataset.state !== 'running';
  }, undefined, { timeout: LIMIT_MS });
  await pictures(page, 'check');
  return page.evaluate(() => {
    const text = (element, selector) => element.querySelector(selector)?.textContent.trim() ?? '';
    const rows = [...document.querySelectorAll('#groups .group')].flatMap((group) => [...group.querySelectorAll('.row')].map((row) => ({
      group: text(group, 'h2'),
      name: text(row, 'strong'),
      url: text(row, 'code'),
      state: row.dataset.state,
      says: text(row, '.state'),
      wrong: text(row, '.wrong'),
      remedy: text(row, '.remedy'),
      figures: Object.fromEntries([...row.querySelectorAll('dd')].map((figure) => [figure.dataset.figure, figure.textContent])),
    })));
    const verdict = document.querySelector('#verdict');
    const doctor = [...document.querySelectorAll('.finding')].map((line) => ({
      level: line.dataset.level, name: text(line, 'strong'), fact: text(line, '.fact'), mend: text(line, '.remedy'),
      isSeen: line.checkVisibility(),
    }));
    const about = document.querySelector('#doctor').hidden ? null : text(document, '#doctor-about');
    return { about, doctor, verdict: { state: verdict.dataset.state, title: text(verdict, 'strong'), text: text(verdict, 'p') }, rows };
  });
}

/** What somebody without a token sees, a wrong one, and then the right one. */
async function logIn(page) {
  await page.waitForSelector('#token');
  await pictures(page, 'login');
  for (const token of ['not-a.real.token', plan.token]) {
    await page.fill('#token', token);
    await page.click('#login-form button');
    if (token === plan.token) return;
    await page.waitForFunction(() => document.querySelector('#login-fault').textContent);
    // The browser's own words about the refusal, which was asked for.
    complaints.splice(0, complaints.length, ...complaints.filter((words) => !/status of 401/.test(words)));
  }
}

/** Two tabs of one browser that meet by a link. */
async function call(context) {
  const first = await open(context, `${plan.url}#call`);
  await first.waitForSelector('#lobby:not([hidden])');
  await pictures(first, 'lobby');
  if (plan.room.onlyRelay) await first.check('#only-relay');
  if (!plan.room.camera) await first.uncheck('#with-camera');
  await first.click('#enter');
  await first.waitForSelector('#invite:not([hidden])', { timeout: LIMIT_MS });
  await first.waitForFunction(() => /Waiting/.test(document.querySelector('#room-status').textContent), undefined, { timeout: LIMIT_MS });
  await pictures(first, 'waiting');
  const second = await open(context, await first.inputValue('#link'));
  await second.waitForSelector('#lobby:not([hidden])');
  if (!plan.room.camera) await second.uncheck('#with-camera');
  await second.click('#enter');
  const tabs = [first, second];
  for (const tab of tabs) await tab.waitForSelector('#room[data-state=connected]', { timeout: LIMIT_MS });
  const sides = [];
  for (const tab of tabs) {
    await tab.bringToFront();
    sides.push(await tab.evaluate(observe, LIMIT_MS));
  }
  await pictures(second, 'call');
  // Muting, and what it says of itself.
  const pressed = [];
  for (const id of ['mute', 'camera']) {
    if (await second.isDisabled(`#${id}`)) continue;
    await second.click(`#${id}`);
    pressed.push(`${id} ${await second.getAttribute(`#${id}`, 'aria-pressed')}`);
  }
  await second.click('#leave');
  await second.waitForSelector('#lobby:not([hidden])', { timeout: LIMIT_MS });
  await first.waitForFunction(() => /Waiting/.test(document.querySelector('#room-status').textContent), undefined, { timeout: LIMIT_MS });
  const tiles = await first.locator('.tile').count();
  return { sides, pressed, tiles };
}

/** In the page: frames of the other side's video until there are enough, and the line about the connection. */
async function observe(limit) {
  const end = performance.now() + limit;
  const video = document.querySelector('.tile:not(.own) video');
  const frames = () => video.getVideoPlaybackQuality().totalVideoFrames;
  const line = () => document.querySelector('#quality').innerText;
  while ((frames() < 30 || !/\d/.test(line())) && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 100));
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [64, 48];
  const pen = canvas.getContext('2d');
  pen.drawImage(video, 0, 0, 64, 48);
  const { data } = pen.getImageData(0, 0, 64, 48);
  const colours = new Set();
  for (let at = 0; at < data.length; at += 4) colours.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
  return { frames: frames(), width: video.videoWidth, colours: colours.size, quality: line(), status: document.querySelector('#room-status').textContent };
}

async function open(context, url) {
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    console.error(message.text());
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  await page.goto(url);
  return page;
}

/** For who wants to look; and nothing may be wider than the screen. */
async function pictures(page, name) {
  for (const [kind, size] of Object.entries(WIDTHS)) {
    await page.setViewportSize(size);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${plan.screenshots}/${name}-${kind}-${colorScheme}.png`, fullPage: true });
    }
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > size.width) complaints.push(`${name} is ${width} pixels wide on a screen of ${size.width}`);
  }
  await page.setViewportSize(WIDTHS.desktop);
}
