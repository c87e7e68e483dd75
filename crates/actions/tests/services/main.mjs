// Calls GitHub's own packages as an action does, and fails where they find something else than on GitHub.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const load = name => import(`${process.env.JUDGE}/node_modules/@actions/${name}`);
const core = await load('core/lib/core.js');
const { DefaultArtifactClient } = await load('artifact/lib/artifact.js');
const cache = await load('cache/lib/cache.js');
const github = await load('github/lib/github.js');
const client = new DefaultArtifactClient();
const note = (name, text) => fs.writeFileSync(path.join(process.env.NOTES, name), text);
const tree = dir => fs.readdirSync(dir, { recursive: true }).filter(name => fs.statSync(path.join(dir, name)).isFile()).sort();
function same(one, other) {
  assert.deepEqual(tree(one), tree(other));
  for (const name of tree(one)) assert(fs.readFileSync(path.join(one, name)).equals(fs.readFileSync(path.join(other, name))), name);
}
async function twirp(method, body) {
  const response = await fetch(`${process.env.ACTIONS_RESULTS_URL}twirp/github.actions.results.api.v1.${method}`, {
    method: 'POST', headers: { authorization: `Bearer ${process.env.ACTIONS_RUNTIME_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}
const ids = () => {
  const claims = JSON.parse(Buffer.from(process.env.ACTIONS_RUNTIME_TOKEN.split('.')[1], 'base64url'));
  const [, run, job] = claims.scp.split(' ').find(part => part.startsWith('Actions.Results:')).split(':');
  return { workflow_run_backend_id: run, workflow_job_run_backend_id: job };
};

const phases = {
  async upload() {
    note('runtime-token', process.env.ACTIONS_RUNTIME_TOKEN);
    const files = tree('out').map(name => path.resolve('out', name));
    const made = await client.uploadArtifact('from-js', files, path.resolve('out'), { retentionDays: 3 });
    assert(made.id > 0 && made.size > 9_000_000 && made.digest.length === 64);
    await assert.rejects(client.uploadArtifact('from-js', files, path.resolve('out')), /409/);
    const { artifacts } = await client.listArtifacts();
    assert.deepEqual(artifacts.map(one => [one.name, one.id, one.size, one.digest]), [['from-js', made.id, made.size, `sha256:${made.digest}`]]);
    // One file as it is.
    await client.uploadArtifact('ignored', [path.resolve('out/a.txt')], path.resolve('out'), { skipArchive: true });
    const { artifact } = await client.getArtifact('a.txt');
    fs.mkdirSync('plain');
    await client.downloadArtifact(artifact.id, { path: 'plain', expectedHash: artifact.digest });
    assert.equal(fs.readFileSync('plain/a.txt', 'utf8'), 'hello\n');
    assert.equal((await client.deleteArtifact('a.txt')).id, artifact.id);
    await assert.rejects(client.getArtifact('a.txt'), /not found/i);
    // Another run's artifacts are not this token's business, nor are uploads that nobody began.
    const other = { ...ids(), workflow_run_backend_id: crypto.randomUUID() };
    assert.equal((await twirp('ArtifactService/ListArtifacts', other)).status, 403);
    assert.equal((await twirp('ArtifactService/FinalizeArtifact', { ...ids(), name: 'nothing', size: '1' })).status, 404);
    assert.equal((await twirp('ArtifactService/CreateArtifact', { ...ids(), name: 'a/b', version: 7 })).status, 400);
    assert.equal((await twirp('ArtifactService/Nonsense', {})).body.code, 'bad_route');
    const begun = await twirp('ArtifactService/CreateArtifact', { ...ids(), name: 'never-finished', version: 7 });
    note('upload-url', begun.body.signed_upload_url);
    // What arrives must be what was announced.
    const wrong = await twirp('ArtifactService/CreateArtifact', { ...ids(), name: 'wrong', version: 7 });
    const put = await fetch(wrong.body.signed_upload_url, { method: 'PUT', headers: { 'x-ms-blob-type': 'BlockBlob' }, body: 'content' });
    assert.equal(put.status, 201);
    const finished = await twirp('ArtifactService/FinalizeArtifact', { ...ids(), name: 'wrong', size: '7', hash: `sha256:${'0'.repeat(64)}` });
    assert.equal(finished.status, 400);
    assert.equal((await client.listArtifacts()).artifacts.length, 1);
  },
  async download() {
    const { artifact } = await client.getArtifact('from-native');
    const found = await client.downloadArtifact(artifact.id, { path: 'again', expectedHash: artifact.digest });
    assert.equal(found.digestMismatch, false);
    same('out', 'again');
  },
  async cache() {
    assert(cache.isFeatureAvailable());
    assert.equal(await cache.restoreCache(['kept'], 'js-1', ['js-']), undefined);
    assert(await cache.saveCache(['kept'], 'js-1') > 0);
    assert.equal(await cache.saveCache(['kept'], 'js-1'), -1);
    fs.rmSync('kept', { recursive: true });
    assert.equal(await cache.restoreCache(['kept'], 'js-2', ['js-'], { lookupOnly: true }), 'js-1');
    assert(!fs.existsSync('kept'));
    assert.equal(await cache.restoreCache(['kept'], 'js-2', ['js-']), 'js-1');
    same('out', 'kept');
    // Other paths are another cache.
    assert.equal(await cache.restoreCache(['out'], 'js-1'), undefined);
  },
  async 'cache-v1'() {
    process.env.GITHUB_SERVER_URL = 'https://github.example.com';
    assert.equal(await cache.restoreCache(['kept'], 'old-1'), undefined);
    assert(await cache.saveCache(['kept'], 'old-1', { uploadChunkSize: 1 << 20 }) > 0);
    assert.equal(await cache.saveCache(['kept'], 'old-1'), -1);
    fs.rmSync('kept', { recursive: true });
    assert.equal(await cache.restoreCache(['kept'], 'old-x', ['old']), 'old-1');
    same('out', 'kept');
  },
  async identity() {
    const token = await core.getIDToken('sts.example.com');
    note('id-token', token);
    const [head, body, signature] = token.split('.');
    const read = part => JSON.parse(Buffer.from(part, 'base64url'));
    const claims = read(body);
    const discovery = await (await fetch(`${claims.iss}/.well-known/openid-configuration`)).json();
    assert.equal(discovery.issuer, claims.iss);
    const { keys } = await (await fetch(discovery.jwks_uri)).json();
    const key = keys.find(key => key.kid === read(head).kid);
    assert.equal(read(head).alg, 'RS256');
    const verifier = crypto.createVerify('RSA-SHA256').update(`${head}.${body}`);
    assert(verifier.verify(crypto.createPublicKey({ key, format: 'jwk' }), signature, 'base64url'));
    assert.equal(claims.aud, 'sts.example.com');
    assert.equal(claims.sub, 'repo:acme/shop:ref:refs/heads/main');
    assert.equal(claims.job_workflow_ref, 'acme/shop/.github/workflows/flow.yml@refs/heads/main');
    assert.equal(claims.sha, process.env.GITHUB_SHA);
    assert.equal(claims.repository_visibility, 'public');
    assert.equal(claims.run_id, process.env.GITHUB_RUN_ID);
    assert(claims.exp > Date.now() / 1000 && claims.exp < Date.now() / 1000 + 3600);
    const plain = JSON.parse(Buffer.from((await core.getIDToken()).split('.')[1], 'base64url'));
    assert.equal(plain.aud, 'https://github.com/acme');
  },
  async 'later-job'() {
    await assert.rejects(core.getIDToken(), /ACTIONS_ID_TOKEN_REQUEST/);
    const { artifacts } = await client.listArtifacts();
    assert.deepEqual(artifacts.map(one => one.name).sort(), ['from-js', 'from-native']);
    assert.equal(await cache.restoreCache(['kept'], 'js-1'), 'js-1');
    // Through the REST API, as across runs.
    const token = process.env.TOKEN ?? `ghs_token_of_job_${JSON.parse(Buffer.from(process.env.ACTIONS_RUNTIME_TOKEN.split('.')[1], 'base64url')).job_id}`;
    const findBy = { token, workflowRunId: Number(process.env.GITHUB_RUN_ID), repositoryOwner: 'acme', repositoryName: 'shop' };
    for (const name of ['from-js', 'from-native']) {
      const { artifact } = await client.getArtifact(name, { findBy });
      const found = await client.downloadArtifact(artifact.id, { path: `rest-${name}`, expectedHash: artifact.digest, findBy });
      assert.equal(found.digestMismatch, false);
      same('kept', `rest-${name}`);
    }
    await assert.rejects(client.deleteArtifact('from-js', { findBy }), /403|not have|Resource/);
    const octokit = github.getOctokit(token);
    const { data } = await octokit.rest.actions.getWorkflowRun({ owner: 'acme', repo: 'shop', run_id: findBy.workflowRunId });
    assert.equal(data.status, 'in_progress');
    assert.equal(github.context.sha, data.head_sha);
  },
  async side() {
    assert.equal(await cache.restoreCache(['kept'], 'js-1'), 'js-1');
    assert(await cache.saveCache(['kept'], 'of-side') > 0);
    assert.equal(await cache.restoreCache(['kept'], 'of-side'), 'of-side');
  },
  async main2() {
    assert.equal(await cache.restoreCache(['kept'], 'of-side'), undefined);
    assert.equal(await cache.restoreCache(['kept'], 'js-', []), 'js-1');
  },
};

try {
  await phases[core.getInput('phase')]();
} catch (error) {
  core.setFailed(error.stack);
}
