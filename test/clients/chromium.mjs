// test/clients/chromium.mjs: Debian's Chromium, driven by playwright-core.
//
// CHROMIUM names another one. Chromium's own sandbox needs rights that a container or a user
// without a home may not have, and all that it opens here is ours: it goes without.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

// A headless browser. What it writes goes to a directory that is gone after end().
export async function startChromium() {
	const home = mkdtempSync(join(tmpdir(), 'ff-chromium-'));
	const browser = await chromium.launch({
		executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
		args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--no-proxy-server'],
		env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
	});
	return {
		browser,
		async end() {
			await browser.close();
			rmSync(home, { recursive: true, force: true });
		},
	};
}
