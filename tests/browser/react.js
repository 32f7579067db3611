// Two users of examples/react in Chromium: one calls, the other answers, one hangs up. The findings go to standard
// output as JSON; tests/interop/examples.rs judges them.
//
// plan: { executable, home, screenshots, bundle, port, url, users: [{ name, token }, …] }

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const plan = JSON.parse(process.argv[2]);
const LIMIT_MS = 60_000;
const complaints = [];

const bundle = await readFile(plan.bundle);
const web = createServer((request, response) => {
  if (request.url === '/bundle.js') return response.setHeader('content-type', 'text/javascript').end(bundle);
  response.setHeader('content-type', 'text/html');
  return response.end('<!doctype html><html lang=en><title>React</title><link rel=icon href=data:,><body><script type=module src=/bundle.js></script>');
});
// The port of an origin that the server knows.
await new Promise((ready) => web.listen(plan.port, '127.0.0.1', ready));

const browser = await chromium.launch({
  executablePath: plan.executable,
  env: { ...process.env, HOME: plan.home },
  args: ['--no-sandbox', '--allow-loopback-in-peer-connection', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
});
try {
  const [caller, callee] = await Promise.all(plan.users.map(open));
  await caller.getByRole('button', { name: /^Call / }).click({ timeout: LIMIT_MS });
  await callee.getByRole('button', { name: 'Answer' }).click({ timeout: LIMIT_MS });
  const pages = [caller, callee];
  for (const page of pages) await page.getByText('Connected', { exact: true }).waitFor({ timeout: LIMIT_MS });
  const frames = await Promise.all(pages.map((page) => page.evaluate(decoded, LIMIT_MS)));
  await caller.getByRole('button', { name: 'Mute' }).click();
  const muted = await caller.getByRole('button', { name: 'Mute' }).getAttribute('aria-pressed');
  await caller.screenshot({ path: `${plan.screenshots}/react.png` });
  await callee.getByRole('button', { name: 'Hang up' }).click();
  for (const page of pages) await page.getByRole('button', { name: /^Call / }).waitFor({ timeout: LIMIT_MS });
  const ended = await Promise.all(pages.map((page) => page.getByRole('status').textContent()));
  console.log(JSON.stringify({ frames, muted, ended, complaints }));
} finally {
  await browser.close();
  web.close();
}

async function open({ name, token }) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    console.error(message.text());
    if (message.type() === 'error') complaints.push(message.text());
  });
  const peer = plan.users.find((user) => user.name !== name).name;
  const query = new URLSearchParams({ url: plan.url, token, peer });
  await page.goto(`http://127.0.0.1:${web.address().port}/?${query}`);
  return page;
}

/** In the page: how many frames of the other side were shown, once there are enough. */
async function decoded(limit) {
  const end = performance.now() + limit;
  const video = document.querySelector('video:not([aria-label="Your own video"])');
  const frames = () => video.getVideoPlaybackQuality().totalVideoFrames;
  while (frames() < 30 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 100));
  return frames();
}
