// Pages in browsers of their own, told what to do line by line: one JSON object per line of standard input, one answer
// with the same id per line of standard output. tests/interop/calls_support.rs is the other end.
//
//   { id, open: name, browser: "chromium" | "firefox", url, home, netns? }   a browser with calls.html at this origin
//   { id, page: name, call: function, arguments: […] }                       a function of calls.html
//   { id, page: name, screenshot: path }
//
// Ends with its standard input.

import { chmod, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const html = await readFile(new URL('calls.html', import.meta.url), 'utf8');
const pages = new Map();
const browsers = [];

for await (const line of createInterface({ input: process.stdin })) {
  const { id, ...request } = JSON.parse(line);
  answer(request).then(
    (value) => console.log(JSON.stringify({ id, value: value ?? null })),
    (error) => console.log(JSON.stringify({ id, error: String(error.message ?? error) })),
  );
}
await Promise.allSettled(browsers.map((browser) => browser.close()));
process.exit();

async function answer(request) {
  if (request.open) return open(request);
  const page = pages.get(request.page);
  if (request.screenshot) return void await page.screenshot({ path: request.screenshot });
  return page.evaluate(({ call, values }) => globalThis[call](...values), { call: request.call, values: request.arguments });
}

async function open({ open: name, browser, url, ...rest }) {
  const page = await (browser === 'firefox' ? firefox(rest) : chromium(rest, url));
  pages.set(name, page);
  page.on('pageerror', (error) => console.error(`${name}: ${error}`));
  page.on('console', (message) => console.error(`${name}: ${message.text()}`));
  await serve(page, browser);
  await page.goto(new URL('/calls.html', url).href);
  await page.waitForFunction(() => globalThis.isReady === true);
}

async function chromium({ home, netns }, url) {
  const { chromium } = await import('playwright-core');
  const browser = await chromium.launch({
    executablePath: netns ? await within(netns, home) : '/usr/bin/chromium',
    env: { ...process.env, HOME: home },
    args: [
      // The page does not come over the network, so Chromium can't know that its server is as near as it is.
      '--disable-features=LocalNetworkAccessChecks',
      '--no-sandbox', '--allow-loopback-in-peer-connection', '--use-fake-device-for-media-stream',
      '--use-fake-ui-for-media-stream', `--unsafely-treat-insecure-origin-as-secure=${new URL(url).origin}`,
    ],
  });
  browsers.push(browser);
  return browser.newPage({ viewport: { width: 700, height: 300 } });
}

async function firefox({ home }) {
  const { default: puppeteer } = await import('puppeteer-core');
  const browser = await puppeteer.launch({
    browser: 'firefox', executablePath: '/usr/bin/firefox-esr', headless: true, env: { ...process.env, HOME: home },
    extraPrefsFirefox: {
      'media.peerconnection.ice.loopback': true, 'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true, 'media.autoplay.default': 0,
    },
  });
  browsers.push(browser);
  return browser.newPage();
}

/** The page comes from here, everything else of its origin from the server. */
async function serve(page, browser) {
  const file = { status: 200, contentType: 'text/html', body: html };
  if (browser === 'firefox') {
    await page.setRequestInterception(true);
    page.on('request', (request) => (request.url().endsWith('/calls.html') ? request.respond(file) : request.continue()));
  } else {
    await page.route('**/calls.html', (route) => route.fulfill(file));
  }
}

/** A program that runs Chromium in this network namespace. */
async function within(netns, home) {
  const path = join(await mkdtemp(join(home, 'chromium-')), 'run');
  await writeFile(path, `#!/bin/sh\nexec ip netns exec ${netns} /usr/bin/chromium "$@"\n`);
  await chmod(path, 0o755);
  return path;
}
