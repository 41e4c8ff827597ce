import {describe, expect, test} from 'vitest'
import {applied} from '../../src/platforms/kubernetes/applied.ts'
import {canary, configMap, namespaces} from '../../src/platforms/kubernetes/objects.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import {eventually} from '../lab/cli.ts'
import {type Server, useServer} from './server.ts'
import {carriedOut, failureOf, siteOn} from './site.ts'

const identity = {fleet: 'acme', cluster: 'edge-1', role: 'edge', certManager: false, secretsOperator: false} as const
const stepOn = (at: Server, objects: readonly KubeObject[]) => applied(siteOn(at), 'objects', 'objects.yaml', objects, {patienceMs: 5000})
const server = useServer(async (at) => {
  await carriedOut(stepOn(at, namespaces(identity)))
  // no pod is admitted before its service account is there, which nobody makes here
  for (const namespace of ['lkeobs', 'lkeobs-node']) await at.kubectl('-n', namespace, 'create', 'serviceaccount', 'default')
})

const file = (name: string) => configMap({name, namespace: 'lkeobs', data: {'one.json': '{}\n'}})
const rules = [{apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['configmaps']}]

/** What admits takes a moment to count. */
const refused = (at: Server, name: string) =>
  eventually(
    `${name} is refused`,
    async () => (await at.sh(`kubectl -n lkeobs create configmap ${name} --dry-run=server`)).code !== 0,
    20_000,
  )

describe('who refuses an object is named', () => {
  test('a webhook that does not answer', async () => {
    const webhook = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: {name: 'guard'},
      webhooks: [
        {
          name: 'guard.example.com',
          clientConfig: {url: 'https://127.0.0.1:1/'},
          failurePolicy: 'Fail',
          sideEffects: 'None',
          timeoutSeconds: 2,
          admissionReviewVersions: ['v1'],
          matchConditions: [{name: 'one', expression: "object.metadata.name.startsWith('webhook')"}],
          rules,
        },
      ],
    }
    await server().kubectlWith([webhook], 'apply', '-f', '-')
    await refused(server(), 'webhook')
    const error = await failureOf(stepOn(server(), file('webhook')))
    expect(error).toMatchObject({code: 'LKO-3108', oclif: {exit: 5}})
    expect(error.message).toContain('failed calling webhook "guard.example.com"')
    await server().kubectl('delete', 'validatingwebhookconfiguration', 'guard')
    await eventually(
      'the webhook is gone',
      async () => (await server().sh('kubectl -n lkeobs create configmap webhook --dry-run=server')).code === 0,
      20_000,
    )
    const [outcome] = await carriedOut(stepOn(server(), file('webhook')))
    expect(outcome?.state).toBe('done')
  })

  test('a policy, with its message', async () => {
    const policies = [
      {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicy',
        metadata: {name: 'owned'},
        spec: {
          failurePolicy: 'Fail',
          matchConstraints: {resourceRules: rules},
          matchConditions: [{name: 'one', expression: "object.metadata.name.startsWith('policy')"}],
          validations: [{expression: "'owner' in object.metadata.labels", message: 'say whose it is in the label owner'}],
        },
      },
      {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicyBinding',
        metadata: {name: 'owned'},
        spec: {policyName: 'owned', validationActions: ['Deny']},
      },
    ]
    await server().kubectlWith(policies, 'apply', '-f', '-')
    await refused(server(), 'policy')
    const error = await failureOf(stepOn(server(), [...file('policy'), ...file('allowed')]))
    expect(error).toMatchObject({code: 'LKO-3108'})
    expect(error.message).toContain(
      "ValidatingAdmissionPolicy 'owned' with binding 'owned' denied request: say whose it is in the label owner",
    )
    // what is admitted beside it stays
    expect(await siteOn(server()).kube.read({apiVersion: 'v1', kind: 'ConfigMap', name: 'allowed', namespace: 'lkeobs'})).toBeDefined()
  })

  test('a quota', async () => {
    const hard = {'count/services': '0'}
    await server().kubectlWith(
      [{apiVersion: 'v1', kind: 'ResourceQuota', metadata: {name: 'none', namespace: 'lkeobs'}, spec: {hard}}],
      'apply',
      '-f',
      '-',
    )
    // a controller would count
    await server().request('PATCH', '/api/v1/namespaces/lkeobs/resourcequotas/none/status', {status: {hard, used: {'count/services': '0'}}})
    const service: KubeObject = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {name: 'one', namespace: 'lkeobs'},
      spec: {ports: [{port: 80, protocol: 'TCP', targetPort: 80}]},
    }
    await eventually(
      'the quota counts',
      async () => (await server().sh('kubectl -n lkeobs create service clusterip one --tcp=80 --dry-run=server')).code !== 0,
      20_000,
    )
    const error = await failureOf(stepOn(server(), [service]))
    expect(error).toMatchObject({code: 'LKO-3108'})
    expect(error.message).toContain('exceeded quota: none')
  })
})

describe('pod security', () => {
  const pod = (namespace: string): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {name: 'reader', namespace},
    spec: {
      hostNetwork: true,
      containers: [{name: 'one', image: 'none.example/none:1', volumeMounts: [{name: 'logs', mountPath: '/logs'}]}],
      volumes: [{name: 'logs', hostPath: {path: '/var/log'}}],
    },
  })

  test('a pod that reads the files of its node is refused in our namespace', async () => {
    const error = await failureOf(stepOn(server(), [pod('lkeobs')]))
    expect(error).toMatchObject({code: 'LKO-3108'})
    expect(error.message).toMatch(/violates PodSecurity "restricted:latest": host namespaces/)
  })

  test('and admitted in that of node agents', async () => {
    const {status} = await server().request('POST', '/api/v1/namespaces/lkeobs-node/pods', pod('lkeobs-node'))
    expect(status).toBe(201)
  })

  test('the pod that canaries are sent from is as strict as its namespace wants it', async () => {
    const [deployment] = canary({tag: '2.7.2'})
    if (!deployment) throw new Error('no object')
    const {template} = deployment['spec'] as {readonly template: {readonly metadata: object; readonly spec: object}}
    const body = {apiVersion: 'v1', kind: 'Pod', metadata: {name: 'canary', ...template.metadata}, spec: template.spec}
    const {status, body: answer} = await server().request('POST', '/api/v1/namespaces/lkeobs/pods', body)
    expect(status, JSON.stringify(answer)).toBe(201)
  })
})
