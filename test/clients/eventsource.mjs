// test/clients/eventsource.mjs URL: the npm package eventsource on a stream of the bridge, as a
// program uses it that keeps flags up to date. Tells of each request, and of all that comes.

import { createHash } from 'node:crypto';
import { EventSource } from 'eventsource';
import { listen, tell } from './lines.mjs';

const types = ['snapshot', 'message'];
for (const object of ['flag', 'segment'])
	for (const action of ['created', 'updated', 'enabled', 'disabled', 'archived', 'restored', 'purged'])
		types.push(`${object}_${action}`);

async function fetchAndTell(url, init) {
	tell('request', { last_event_id: init.headers['Last-Event-ID'] ?? null });
	const response = await fetch(url, init);
	tell('response', { status: response.status, type: response.headers.get('content-type') });
	return response;
}

// Of a snapshot what a test compares, which may be large.
function digest({ flags, segments, ...rest }) {
	const texts = createHash('md5');
	for (const flag of flags)
		texts.update(flag.description ?? '');
	return {
		...rest,
		flags: flags.map((flag) => flag.key),
		segments: segments.map((segment) => segment.key),
		texts: texts.digest('hex'),
	};
}

const source = new EventSource(process.argv[2], { fetch: fetchAndTell });
source.onopen = () => tell('open');
source.onerror = () => tell('error', { state: source.readyState });
for (const type of types)
	source.addEventListener(type, (event) => {
		const data = JSON.parse(event.data);
		tell('event', {
			type: event.type,
			id: event.lastEventId,
			bytes: event.data.length,
			data: type === 'snapshot' ? digest(data) : data,
		});
	});
listen(() => {});
