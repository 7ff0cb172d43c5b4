// test/clients/lines.mjs: how these programs talk to a test: one JSON object a line, with what
// happened and the milliseconds since the program began.

import { createInterface } from 'node:readline';
import { performance } from 'node:perf_hooks';

export function tell(what, more = {}) {
	process.stdout.write(`${JSON.stringify({ what, ms: performance.now(), ...more })}\n`);
}

// Calls f for each line of the test, but for the last one: "end", or none where the test is gone.
export function listen(f, end = () => process.exit(0)) {
	const lines = createInterface({ input: process.stdin });
	lines.on('line', (line) => (line === 'end' ? lines.close() : f(line)));
	lines.on('close', end);
}
