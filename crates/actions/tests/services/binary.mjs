// Reserves, uploads and finds a cache with hand-made Protocol Buffers.
import assert from 'node:assert/strict';

const text = (number, value) => Buffer.concat([Buffer.from([number << 3 | 2, value.length]), Buffer.from(value)]);
const call = async (method, message) => {
  const response = await fetch(`${process.env.ACTIONS_RESULTS_URL}twirp/github.actions.results.api.v1.CacheService/${method}`, {
    method: 'POST', body: message,
    headers: { authorization: `Bearer ${process.env.ACTIONS_RUNTIME_TOKEN}`, 'content-type': 'application/protobuf' },
  });
  const body = Buffer.from(await response.arrayBuffer());
  assert.equal(response.status, 200, body.toString());
  assert.equal(response.headers.get('content-type'), 'application/protobuf');
  return body;
};
// `ok` is field 1; a URL that follows is field 2 with a length of two bytes.
const url = body => {
  assert.deepEqual([...body.subarray(0, 3)], [0x08, 0x01, 0x12]);
  const length = (body[3] & 0x7f) | (body[4] << 7);
  return body.subarray(5, 5 + length).toString();
};
const entry = Buffer.concat([text(2, 'key'), text(3, 'version')]);
const upload = url(await call('CreateCacheEntry', entry));
for (const [id, content] of [['b', 'world'], ['a', 'hello ']]) {
  const name = encodeURIComponent(Buffer.from(id).toString('base64'));
  assert.equal((await fetch(`${upload}&comp=block&blockid=${name}`, { method: 'PUT', body: content })).status, 201);
}
const list = ids => `<BlockList>${ids.map(id => `<Latest>${Buffer.from(id).toString('base64')}</Latest>`).join('')}</BlockList>`;
const bad = await fetch(`${upload}&comp=blocklist`, { method: 'PUT', body: list(['a', 'z']) });
assert.deepEqual([bad.status, bad.headers.get('x-ms-error-code')], [400, 'InvalidBlockList']);
assert.equal((await fetch(`${upload}&comp=blocklist`, { method: 'PUT', body: list(['a', 'b']) })).status, 201);
await call('FinalizeCacheEntryUpload', Buffer.concat([text(2, 'key'), Buffer.from([0x18, 11]), text(4, 'version')]));
const download = url(await call('GetCacheEntryDownloadURL', Buffer.concat([text(2, 'k'), text(3, 'ke'), text(4, 'version')])));
assert.equal(await (await fetch(download)).text(), 'hello world');
const part = await fetch(download, { headers: { range: 'bytes=6-' } });
assert.deepEqual([part.status, part.headers.get('content-range'), await part.text()], [206, 'bytes 6-10/11', 'world']);
const head = await fetch(download, { method: 'HEAD' });
assert.equal(head.headers.get('content-length'), '11');
assert.equal((await call('GetCacheEntryDownloadURL', Buffer.concat([text(2, 'other'), text(4, 'version')]))).length, 0);
