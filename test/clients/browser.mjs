// test/clients/browser.mjs BRIDGE: Chromium on a page whose text follows a flag by the stream.
// Tells each text that the page shows, each time that it is loaded, and each request for the
// stream. The lines "open seven" and "close one" try how many streams a page can have of the bridge.

import { startChromium } from './chromium.mjs';
import { listen, tell } from './lines.mjs';
import { startSite } from './site.mjs';

const bridge = process.argv[2];
const { browser, end } = await startChromium();

// In the page, beside its own script: tells what a person would see change.
function watchTexts() {
	const told = {};
	const look = () => {
		for (const element of document.querySelectorAll('b[id]')) {
			const text = element.textContent;
			if (text !== '' && told[element.id] !== text) {
				told[element.id] = text;
				globalThis.tellText(element.id, text);
			}
		}
	};
	new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true });
}

async function openPage() {
	const page = await browser.newPage();
	page.on('framenavigated', (frame) => tell('page', { url: frame.url() }));
	page.on('pageerror', (error) => tell('failure', { text: String(error) }));
	await page.exposeFunction('tellText', (id, text) => tell('text', { id, text }));
	await page.addInitScript(watchTexts);
	await page.goto(await startSite(bridge, (last) => tell('request', { last_event_id: last })));
}

// A page of the bridge's own origin, for there is no other that may read its answers.
async function openSeven() {
	const page = await browser.newPage();
	await page.goto(new URL('/healthz', bridge).href);
	await page.evaluate(() => {
		globalThis.sources = Array.from({ length: 7 }, (_, i) => new EventSource(`/stream?keys=k${i}`));
		globalThis.states = () => globalThis.sources.map((source) => source.readyState).sort().join(' ');
	});
	await page.waitForFunction(() => globalThis.states() === '0 1 1 1 1 1 1');
	tell('six');
	return page;
}

async function closeOne(page) {
	await page.evaluate(() => globalThis.sources.find((source) => source.readyState === 1).close());
	await page.waitForFunction(() => globalThis.states() === '1 1 1 1 1 1 2');
	tell('seventh');
}

let seven;
listen(
	async (line) => {
		if (line === 'open seven')
			seven = await openSeven();
		else if (line === 'close one')
			await closeOne(seven);
	},
	async () => {
		await end();
		process.exit(0);
	},
);
await openPage();
