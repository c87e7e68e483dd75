// Drives the JavaScript client: typed calls, an informer, watches, patches, a custom resource.
import * as k8s from '@kubernetes/client-node';
import assert from 'node:assert';

// Progress goes to stderr, so that a run which ends late says where.
const begun = Date.now();
const step = (text) => console.error(`${((Date.now() - begun) / 1000).toFixed(2)}s ${text}`);

const config = new k8s.KubeConfig();
config.loadFromFile(process.argv[2]);
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

step('namespace');
await core.createNamespace({ body: { metadata: { name: 'js' } } });
step('informer');
const informer = k8s.makeInformer(config, '/api/v1/namespaces/js/pods', () => core.listNamespacedPod({ namespace: 'js' }));
const running = new Promise((resolve, reject) => {
  const up = new Set();
  const look = (pod) => {
    step(`informer: ${pod.metadata.name} ${pod.metadata.resourceVersion} ${pod.status?.phase}`);
    if (pod.status?.phase === 'Running') up.add(pod.metadata.name);
    if (up.size === 2) resolve();
  };
  informer.on('add', look);
  informer.on('update', look);
  informer.on('error', reject);
});
await informer.start();
step('deployment');
const labels = { app: 'web' };
await apps.createNamespacedDeployment({ namespace: 'js', body: { metadata: { name: 'web' }, spec: { replicas: 2, selector: { matchLabels: labels },
  template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'image:1' }] } } } } });
step('two running pods are awaited');
await running;
await informer.stop();

step('patches');
const merge = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch);
const patched = await apps.patchNamespacedDeployment({ name: 'web', namespace: 'js', body: { spec: { replicas: 1 } } }, merge);
assert.equal(patched.spec.replicas, 1);
const json = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch);
await apps.patchNamespacedDeployment({ name: 'web', namespace: 'js', body: [{ op: 'replace', path: '/spec/replicas', value: 3 }] }, json);
assert.equal((await apps.readNamespacedDeploymentScale({ name: 'web', namespace: 'js' })).spec.replicas, 3);

const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm', namespace: 'js' }, data: { a: '1' } };
await objects.create(map);
await objects.patch({ ...map, data: { b: '2' } }, undefined, undefined, 'js', true, k8s.PatchStrategy.ServerSideApply);
assert.deepEqual((await objects.read(map)).data, { a: '1', b: '2' });
await assert.rejects(objects.create(map), (error) => error.code === 409);

// From the version that was read on: whatever happens to the object after that is told, however late the watch begins.
step('watch a map that is deleted');
const { metadata: { resourceVersion } } = await objects.read(map);
const watch = new k8s.Watch(config);
const deleted = {};
deleted.promise = new Promise((resolve, reject) => Object.assign(deleted, { resolve, reject }));
const seen = [];
const controller = await watch.watch('/api/v1/namespaces/js/configmaps', { fieldSelector: 'metadata.name=m', resourceVersion },
  (type, object) => {
    seen.push(`${type} ${object.metadata?.resourceVersion ?? JSON.stringify(object)}`);
    step(`event ${seen.at(-1)}`);
    if (type === 'DELETED') deleted.resolve();
  },
  (error) => deleted.reject(error ?? new Error(`the watch ended after ${seen.length} events: ${seen}`)));
await objects.delete(map);
step('deleted, its event is awaited');
await deleted.promise;
controller.abort();
assert.deepEqual(seen.map((event) => event.split(' ')[0]), ['DELETED']);

step('access review and the end of the namespace');
const yes = await config.makeApiClient(k8s.AuthorizationV1Api).createSelfSubjectAccessReview({ body: { spec: { resourceAttributes: { verb: 'get', resource: 'pods' } } } });
assert.equal(yes.status.allowed, true);
await core.deleteNamespace({ name: 'js' });
console.log('done');
process.exit(0);
