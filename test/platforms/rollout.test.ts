import {expect, test} from 'vitest'
import {rolledOut} from '../../src/platforms/kubernetes/rollout.ts'

const live = (kind: string, fields: object, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind,
  metadata: {name: 'it', namespace: 'lkeobs', generation: 2, ...metadata},
  ...fields,
})
const of3 = (status: object, spec: object = {}) => ({spec: {replicas: 3, ...spec}, status: {observedGeneration: 2, ...status}})
const nodes = (status: object, spec: object = {}) => ({
  spec,
  status: {observedGeneration: 2, desiredNumberScheduled: 3, currentNumberScheduled: 3, ...status},
})
const condition = (type: string, status: string, more: object = {}) => ({status: {conditions: [{type, status, ...more}]}})
const pending = (storageClassName?: string) => ({spec: {storageClassName}, status: {phase: 'Pending'}})
const scaled = {
  managedFields: [
    {manager: 'kube-controller-manager', operation: 'Update', subresource: 'scale', fieldsV1: {'f:spec': {'f:replicas': {}}}},
  ],
}
const all = {replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3}

test.for<readonly [string, string, object, object, true | string]>([
  ['Deployment', 'all there', of3(all), {}, true],
  ['Deployment', 'just applied', {spec: {replicas: 3}}, {}, 'its change is not seen yet'],
  ['Deployment', 'as it was before', of3({...all, observedGeneration: 1}), {}, 'its change is not seen yet'],
  ['Deployment', 'without pods', of3({}), {}, '0 of 3 pods made'],
  ['Deployment', 'half replaced', of3({...all, replicas: 4, updatedReplicas: 2}), {}, '2 of 3 pods updated'],
  ['Deployment', 'not ready', of3({...all, availableReplicas: 1}), {}, '1 of 3 pods ready'],
  ['Deployment', 'old ones left', of3({...all, replicas: 4}), {}, '1 old pod not gone yet'],
  ['Deployment', 'none wished', of3({}, {replicas: 0}), {}, true],
  ['StatefulSet', 'all there', of3(all), {}, true],
  ['StatefulSet', 'made one by one', of3({replicas: 1, updatedReplicas: 1, readyReplicas: 1}), {}, '1 of 3 pods made'],
  ['StatefulSet', 'half replaced', of3({...all, updatedReplicas: 1}), {}, '1 of 3 pods updated'],
  ['StatefulSet', 'not ready', of3({...all, availableReplicas: 2}), {}, '2 of 3 pods ready'],
  ['StatefulSet', 'updated by others', of3({...all, updatedReplicas: 0}, {updateStrategy: {type: 'OnDelete'}}), {}, true],
  ['StatefulSet', 'updated in part', of3({...all, updatedReplicas: 1}, {updateStrategy: {rollingUpdate: {partition: 2}}}), {}, true],
  ['StatefulSet', 'autoscaled, one more wished', of3({...all, replicas: 3}, {replicas: 4}), scaled, true],
  ['StatefulSet', 'autoscaled, one more made', of3({...all, replicas: 4, updatedReplicas: 4}, {replicas: 4}), scaled, '3 of 4 pods ready'],
  ['DaemonSet', 'all there', nodes({updatedNumberScheduled: 3, numberAvailable: 3}), {}, true],
  ['DaemonSet', 'half replaced', nodes({updatedNumberScheduled: 1, numberAvailable: 2}), {}, '1 of 3 pods updated'],
  ['DaemonSet', 'refused', nodes({currentNumberScheduled: 0}), {}, '0 of 3 pods made'],
  ['DaemonSet', 'not ready', nodes({updatedNumberScheduled: 3, numberAvailable: 2}), {}, '2 of 3 pods ready'],
  ['DaemonSet', 'for no node', nodes({desiredNumberScheduled: 0}), {}, true],
  ['Job', 'complete', condition('Complete', 'True'), {}, true],
  ['Job', 'at work', {status: {active: 1}}, {}, '0 of 1 pod done'],
  [
    'Job',
    'failed',
    condition('Failed', 'True', {message: 'Job has reached the specified backoff limit'}),
    {},
    'failed: Job has reached the specified backoff limit',
  ],
  ['Certificate', 'issued', condition('Ready', 'True', {observedGeneration: 2}), {}, true],
  ['Certificate', 'issued as it was before', condition('Ready', 'True', {observedGeneration: 1}), {}, 'not ready yet'],
  [
    'Certificate',
    'refused',
    condition('Ready', 'False', {reason: 'DoesNotExist', message: 'Issuing certificate as Secret does not exist'}),
    {},
    'not ready: Issuing certificate as Secret does not exist',
  ],
  ['Issuer', 'new', {}, {}, 'not ready yet'],
  ['ClusterIssuer', 'ready', condition('Ready', 'True'), {}, true],
  ['CertificateRequest', 'waiting', condition('Ready', 'False', {reason: 'Pending'}), {}, 'not ready: Pending'],
  ['PersistentVolumeClaim', 'bound', {status: {phase: 'Bound'}}, {}, true],
  ['PersistentVolumeClaim', 'waiting for its pod', pending('local-path'), {}, true],
  [
    'PersistentVolumeClaim',
    'being made',
    pending('local-path'),
    {annotations: {'volume.kubernetes.io/selected-node': 'edge'}},
    'no volume yet',
  ],
  ['PersistentVolumeClaim', 'for a volume made before', pending(''), {}, 'no volume yet'],
  ['PersistentVolumeClaim', 'without class', pending(), {}, 'no storage class'],
  ['PersistentVolumeClaim', 'lost', {status: {phase: 'Lost'}}, {}, 'its volume is lost'],
  ['Service', 'inside', {spec: {type: 'ClusterIP'}}, {}, true],
  ['Service', 'without address', {spec: {type: 'LoadBalancer'}, status: {loadBalancer: {}}}, {}, 'no address yet'],
  ['Service', 'with a name', {spec: {type: 'LoadBalancer'}, status: {loadBalancer: {ingress: [{hostname: 'x.example.com'}]}}}, {}, true],
  ['ConfigMap', 'there', {data: {}}, {}, true],
  ['HorizontalPodAutoscaler', 'new', {spec: {minReplicas: 2}, status: {currentReplicas: 1}}, {}, '1 of 2 pods asked for'],
  ['HorizontalPodAutoscaler', 'grown', {spec: {minReplicas: 2}, status: {currentReplicas: 2}}, {}, true],
  ['ConfigMap', 'going', {}, {deletionTimestamp: '2026-11-23T15:12:18Z'}, 'being deleted'],
  [
    'ConfigMap',
    'held',
    {},
    {deletionTimestamp: '2026-11-23T15:12:18Z', finalizers: ['example.com/hold']},
    'being deleted, held by finalizer example.com/hold',
  ],
])('%s %s', ([kind, , fields, metadata, expected]) => {
  expect(rolledOut(live(kind, fields, metadata))).toBe(expected)
})
