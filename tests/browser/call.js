// One call between two Chromium processes. The plan comes as JSON in the only argument, the findings go to standard
// output as JSON; tests/interop/browser.rs judges them.
//
// plan: { executable, home, screenshots, sides: [{ iceServers, iceTransportPolicy }, …], seconds? }
// With seconds the call goes on for so long, and what each side has received is found too.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const plan = JSON.parse(process.argv[2]);
const LIMIT_MS = 60_000;

// A page from a loopback host is a secure context, which getUserMedia asks for.
const html = await readFile(new URL('page.html', import.meta.url));
const web = createServer((_, response) => response.setHeader('content-type', 'text/html').end(html));
await new Promise((ready) => web.listen(0, '127.0.0.1', ready));

const browsers = [];
try {
  const [caller, callee] = await Promise.all(plan.sides.map(open));
  const offer = await caller.evaluate(() => makeOffer());
  const answer = await callee.evaluate((offer) => makeAnswer(offer), offer);
  await caller.evaluate((answer) => takeAnswer(answer), answer);
  await Promise.all([caller, callee].map((page) => page.evaluate((limit) => connected(limit), LIMIT_MS)));
  const echoes = await caller.evaluate((limit) => echo(limit), LIMIT_MS);
  const sides = await Promise.all([caller, callee].map((page) => page.evaluate((limit) => observe(limit), LIMIT_MS)));
  await caller.screenshot({ path: `${plan.screenshots}/caller.png` });
  await callee.screenshot({ path: `${plan.screenshots}/callee.png` });
  const seconds = plan.seconds ?? 0;
  const received = await Promise.all([caller, callee].map((page) => page.evaluate((s) => received(s), seconds)));
  console.log(JSON.stringify({ version: browsers[0].version(), echoes, sides, received }));
} finally {
  await Promise.all(browsers.map((browser) => browser.close()));
  web.close();
}

async function open(side) {
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
  browsers.push(browser);
  const page = await browser.newPage({ viewport: { width: 700, height: 300 } });
  page.on('pageerror', (error) => console.error(error));
  page.on('console', (message) => console.error(message.text()));
  await page.goto(`http://127.0.0.1:${web.address().port}/`);
  await page.evaluate((side) => prepare(side), side);
  return page;
}
