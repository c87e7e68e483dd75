// Asks the `docker` on the PATH what the toolkit of docker's actions asks for them, in the order of set-up, build and bake.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';

const require = createRequire(`${process.env.TOOLKIT}/`);
const load = async path => await import(pathToFileURL(require.resolve(`@docker/actions-toolkit/lib/${path}.js`)).href);
const {Docker} = await load('docker/docker');
const {Buildx} = await load('buildx/buildx');
const {Builder} = await load('buildx/builder');
const {Build} = await load('buildx/build');
const {Bake} = await load('buildx/bake');
const {ImageTools} = await load('buildx/imagetools');
const {BuildKit} = await load('buildkit/buildkit');
const {Exec} = await load('exec');

const registry = process.env.REGISTRY;
const buildx = new Buildx();
const builder = new Builder({buildx});
const run = async (...args) => {
  const {command, args: all} = await buildx.getCommand(args);
  return await Exec.getExecOutput(command, all, {ignoreReturnCode: true, silent: true});
};

// setup-buildx-action
assert.equal(await Docker.isAvailable(), true);
assert.equal(await Docker.isDaemonRunning(), true);
assert.equal(await Docker.context(), 'default');
assert.equal((await Docker.contextInspect('default')).Name, 'default');
await Docker.printVersion();
await Docker.printInfo();
assert.equal(await buildx.isStandalone(), false);
assert.equal(await buildx.isAvailable(), true);
assert.equal(await buildx.versionSatisfies('>=0.13.0'), true);
const flags = '--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host';
const made = await run('create', '--name', 'one', '--driver', 'docker-container', '--buildkitd-flags', flags, '--use');
assert.equal(made.stdout.trim(), 'one');
assert.equal((await run('inspect', '--bootstrap', '--builder', 'one')).exitCode, 0);
assert.deepEqual([await builder.exists('one'), await builder.exists('two')], [true, false]);
const inspected = await builder.inspect('one');
assert.deepEqual([inspected.name, inspected.driver, inspected.nodes[0].status], ['one', 'docker-container', 'running']);
assert.equal((await builder.inspect()).name, 'one');
const kit = new BuildKit({buildx});
assert.match(await kit.getVersion(inspected.nodes[0]), /^v\d+\.\d+/);
assert.equal(await kit.versionSatisfies('one', '>=0.11.0'), true);

// build-push-action
fs.writeFileSync('Dockerfile', 'FROM scratch\nCOPY Dockerfile /\n');
const build = new Build({buildx});
const image = `${registry}/me/app`;
const built = await run(
  'build', '--file', 'Dockerfile', '--iidfile', build.getImageIDFilePath(), '--metadata-file', build.getMetadataFilePath(),
  '--platform', 'linux/amd64,linux/arm64', '--attest', 'type=provenance,mode=max,builder-id=https://github.com/o/r/actions/runs/1',
  '--attest', 'type=sbom', '--cache-from', 'type=gha', '--cache-to', 'type=gha,mode=max', '--tag', `${image}:1`, '--tag', `${image}:2`,
  '--push', '--builder', 'one', '.');
assert.equal(built.exitCode, 0, built.stderr);
const metadata = build.resolveMetadata();
assert.equal(build.resolveDigest(metadata), build.resolveImageID());
assert.equal(metadata['image.name'], `${image}:1,${image}:2`);
fs.writeFileSync('Bad', 'FROM scratch\nCOPY nothing /\n');
const bad = await run('build', '--file', 'Bad', '.');
assert.equal(bad.exitCode, 1);
assert.match(Buildx.getErrorMessage(bad.stderr), /^failed to solve: .*"\/nothing": not found$/);
await Docker.pull(`${image}:1`, false);

const tools = new ImageTools({buildx});
const manifest = await tools.inspectManifest({name: `${image}:1`});
assert.equal(manifest.digest, build.resolveDigest(metadata));
assert.deepEqual(manifest.manifests.map(one => one.platform.architecture), ['amd64', 'arm64']);
assert.deepEqual(Object.keys(await tools.inspectImage({name: `${image}:1`})), ['linux/amd64', 'linux/arm64']);
await assert.rejects(tools.inspectManifest({name: `${registry}/me/none:1`}), error => ImageTools.isManifestUnknownError(error.message));
const copied = await tools.create({sources: [`${image}:1`], tags: [`${image}:3`, `${registry}/me/other:3`], silent: true});
assert.deepEqual([copied.digest, copied.imageNames], [manifest.digest, [`${image}:3`, `${registry}/me/other:3`]]);
const part = await tools.create({sources: [`${image}:1`], tags: [`${image}:4`], platforms: ['linux/arm64'], silent: true});
const left = await tools.inspectManifest({name: `${image}:4`});
assert.deepEqual([left.digest, left.manifests.map(one => one.platform.architecture)], [part.digest, ['arm64']]);
assert.equal(await tools.create({sources: [`${image}:1`], tags: [`${image}:5`], dryRun: true, silent: true}), undefined);

// bake-action
fs.writeFileSync('docker-bake.hcl', `
group "default" {
  targets = ["app", "tool"]
}
target "app" {
  tags = ["${registry}/me/baked:1"]
  output = ["type=registry"]
}
target "tool" {
  contexts = { base = "target:app" }
  dockerfile-inline = "FROM base\\nLABEL x=y"
  secret = ["id=t,env=T"]
}
`);
const bake = new Bake({buildx});
const asked = {files: ['docker-bake.hcl'], targets: ['default'], overrides: ['*.labels.z=1'], provenance: 'mode=min,inline-only=true'};
const definition = await bake.getDefinition(asked, {silent: true});
assert.deepEqual(Object.keys(definition.target), ['app', 'tool']);
assert.deepEqual([definition.target.app.labels, definition.target.tool.secret], [{z: '1'}, [{id: 't', env: 'T'}]]);
await assert.rejects(bake.getDefinition({files: ['docker-bake.hcl'], targets: ['none']}, {silent: true}), /failed to find target none/);
const baked = await run('bake', '--file', 'docker-bake.hcl', '--metadata-file', bake.getMetadataFilePath(), '--builder', 'one', 'app', 'tool');
assert.equal(baked.exitCode, 0, baked.stderr);
assert.deepEqual(Object.keys(bake.resolveMetadata()), ['app', 'tool']);
assert.equal((await run('rm', 'one')).exitCode, 0);
console.log('all asked');
