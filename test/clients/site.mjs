// test/clients/site.mjs: a web site with a page of ours, which has the bridge behind it, as a
// reverse proxy would: page and stream have one origin.
//
// Where the bridge isn't there the connection is cut: a browser takes an answer like 502 for the
// end of an EventSource.

import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';

const page = readFileSync(new URL('page.html', import.meta.url));

function proxy(bridge, incoming, outgoing, told) {
	const inner = request(new URL(incoming.url, bridge), {
		method: incoming.method,
		headers: { ...incoming.headers, host: new URL(bridge).host },
		agent: false,
	});
	told(incoming.headers['last-event-id'] ?? null);
	inner.on('response', (answer) => {
		outgoing.writeHead(answer.statusCode, answer.headers);
		outgoing.flushHeaders();
		answer.pipe(outgoing);
		answer.on('error', () => outgoing.destroy());
	});
	inner.on('error', () => outgoing.destroy());
	outgoing.on('close', () => inner.destroy());
	inner.end();
}

// Serves it on a free port; told hears of the Last-Event-ID of each request for the stream.
export function startSite(bridge, told) {
	const server = createServer((incoming, outgoing) => {
		if (incoming.url.startsWith('/stream')) {
			proxy(bridge, incoming, outgoing, told);
			return;
		}
		outgoing.setHeader('Content-Type', 'text/html; charset=utf-8');
		outgoing.end(page);
	});
	return new Promise((resolve) => {
		server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}/`));
	});
}
