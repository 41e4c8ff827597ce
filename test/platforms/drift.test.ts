import {describe, expect, test} from 'vitest'
import {drift} from '../../src/platforms/kubernetes/drift/drift.ts'
import {conflictError, judge} from '../../src/platforms/kubernetes/drift/judge.ts'
import {marked} from '../../src/platforms/kubernetes/drift/mark.ts'
import {isByHand, ownersOf} from '../../src/platforms/kubernetes/drift/owners.ts'
import {Secret} from '../../src/secret.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'

const object = (kind: string, fields: object, apiVersion = 'v1', metadata: object = {}): KubeObject => ({
  apiVersion,
  kind,
  metadata: {name: 'it', namespace: 'lkeobs', ...metadata},
  ...fields,
})
const differing = (wish: KubeObject, live: KubeObject) =>
  drift(wish, live).map(({path, wished, found}) => `${path}: ${JSON.stringify(wished)} ≠ ${JSON.stringify(found)}`)

/** As the API server gives back what was applied: with its defaults, its spelling, and without what is empty. */
const applied = object(
  'Deployment',
  {
    spec: {
      replicas: 1,
      minReadySeconds: 0,
      selector: {matchLabels: {app: 'otel'}},
      strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}},
      template: {
        metadata: {labels: {app: 'otel'}, creationTimestamp: null},
        spec: {
          hostNetwork: false,
          automountServiceAccountToken: false,
          nodeSelector: {},
          tolerations: [{key: 'a', operator: 'Exists'}],
          volumes: [{name: 't', emptyDir: {sizeLimit: '1024Mi'}}],
          containers: [
            {
              name: 'otel',
              image: 'busybox',
              command: ['sleep', '900'],
              env: [
                {name: 'A', value: ''},
                {name: 'B', value: '1000m'},
              ],
              securityContext: {privileged: false, allowPrivilegeEscalation: false},
              ports: [{containerPort: 80, name: 'http'}],
              readinessProbe: {tcpSocket: {port: 'http'}, initialDelaySeconds: 0},
              volumeMounts: [{name: 't', mountPath: '/t', readOnly: false}],
              resources: {limits: {memory: '1024Mi', cpu: '1000m'}, requests: {cpu: '0.05', memory: '0.03125Gi'}},
            },
          ],
        },
      },
    },
    status: {},
  },
  'apps/v1',
  {labels: {app: 'otel'}},
)
const template = {
  metadata: {labels: {app: 'otel'}},
  spec: {
    automountServiceAccountToken: false,
    containers: [
      {
        command: ['sleep', '900'],
        env: [{name: 'A'}, {name: 'B', value: '1000m'}],
        image: 'busybox',
        imagePullPolicy: 'IfNotPresent',
        name: 'otel',
        ports: [{containerPort: 80, name: 'http', protocol: 'TCP'}],
        readinessProbe: {failureThreshold: 3, periodSeconds: 10, successThreshold: 1, tcpSocket: {port: 'http'}, timeoutSeconds: 1},
        resources: {limits: {cpu: '1', memory: '1Gi'}, requests: {cpu: '50m', memory: '32Mi'}},
        securityContext: {allowPrivilegeEscalation: false, privileged: false},
        terminationMessagePath: '/dev/termination-log',
        volumeMounts: [{mountPath: '/t', name: 't'}],
      },
    ],
    dnsPolicy: 'ClusterFirst',
    restartPolicy: 'Always',
    securityContext: {},
    tolerations: [{key: 'a', operator: 'Exists'}],
    volumes: [{emptyDir: {sizeLimit: '1Gi'}, name: 't'}],
  },
}
const [container] = template.spec.containers
const fieldsV1 = {
  'f:metadata': {'f:annotations': {'f:lkeobs.io/wish': {}}, 'f:labels': {'f:app': {}}},
  'f:spec': {
    'f:minReadySeconds': {},
    'f:replicas': {},
    'f:selector': {},
    'f:strategy': {'f:rollingUpdate': {'f:maxSurge': {}, 'f:maxUnavailable': {}}},
    'f:template': {
      'f:metadata': {'f:labels': {'f:app': {}}},
      'f:spec': {
        'f:automountServiceAccountToken': {},
        'f:containers': {
          'k:{"name":"otel"}': {
            '.': {},
            'f:command': {},
            'f:env': {
              'k:{"name":"A"}': {'.': {}, 'f:name': {}, 'f:value': {}},
              'k:{"name":"B"}': {'.': {}, 'f:name': {}, 'f:value': {}},
            },
            'f:image': {},
            'f:name': {},
            'f:ports': {'k:{"containerPort":80,"protocol":"TCP"}': {'.': {}, 'f:containerPort': {}, 'f:name': {}}},
            'f:resources': {'f:limits': {'f:cpu': {}, 'f:memory': {}}, 'f:requests': {'f:cpu': {}, 'f:memory': {}}},
          },
        },
        'f:tolerations': {},
        'f:volumes': {'k:{"name":"t"}': {'.': {}, 'f:emptyDir': {'f:sizeLimit': {}}, 'f:name': {}}},
      },
    },
  },
}
const ours = {apiVersion: 'apps/v1', fieldsType: 'FieldsV1', fieldsV1, manager: 'lkeobs', operation: 'Apply', time: '2026-11-23T15:20:03Z'}
const controllers = {
  apiVersion: 'apps/v1',
  fieldsType: 'FieldsV1',
  fieldsV1: {'f:metadata': {'f:annotations': {'f:deployment.kubernetes.io/revision': {}}}, 'f:status': {'f:replicas': {}}},
  manager: 'kube-controller-manager',
  operation: 'Update',
  subresource: 'status',
  time: '2026-11-23T15:20:04Z',
}
const wish = marked(applied)
type Changes = {
  readonly replicas?: number
  readonly spec?: object
  readonly container?: object
  readonly managed?: readonly object[]
  readonly annotations?: object
}
const live = ({replicas = 1, spec = {}, container: changes = {}, managed = [], annotations}: Changes = {}): KubeObject =>
  object(
    'Deployment',
    {
      spec: {
        replicas,
        progressDeadlineSeconds: 600,
        selector: {matchLabels: {app: 'otel'}},
        strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}, type: 'RollingUpdate'},
        template: {...template, spec: {...template.spec, containers: [{...container, ...changes}], ...spec}},
      },
      status: {replicas: 1},
    },
    'apps/v1',
    {
      generation: 1,
      labels: {app: 'otel', 'app.kubernetes.io/managed-by': 'Helm'},
      annotations: annotations ?? {...wish.metadata.annotations, 'deployment.kubernetes.io/revision': '1'},
      managedFields: [ours, controllers, ...managed],
    },
  )
const managed = (manager: string, operation: string, fields: object, more: object = {}) => ({
  manager,
  operation,
  fieldsType: 'FieldsV1',
  fieldsV1: fields,
  time: '2026-11-23T15:30:00Z',
  ...more,
})
/** What is left of our fields when somebody else has taken some: a changed field has one owner. */
const without = (path: readonly string[], fields: object = fieldsV1): object =>
  Object.fromEntries(
    Object.entries(fields)
      .filter(([name]) => path.length > 1 || name !== path[0])
      .map(([name, value]: [string, object]) => [name, name === path[0] ? without(path.slice(1), value) : value]),
  )
const taken = (one: KubeObject, path: readonly string[]): KubeObject => {
  const {managedFields} = one.metadata as {managedFields?: readonly object[]}
  const rest = (managedFields ?? []).map((entry) => (entry === ours ? {...ours, fieldsV1: without(path)} : entry))
  return {...one, metadata: {...one.metadata, managedFields: rest}}
}
const imageFields = {'f:spec': {'f:template': {'f:spec': {'f:containers': {'k:{"name":"otel"}': {'f:image': {}}}}}}}
const imageWay = ['f:spec', 'f:template', 'f:spec', 'f:containers', 'k:{"name":"otel"}', 'f:image']

describe('drift', () => {
  test('what was applied and comes back with defaults and in another spelling is the same', () => {
    expect(differing(applied, live())).toEqual([])
  })

  const spec = (kind: string, wished: object, found: object, apiVersion = 'v1') =>
    [object(kind, wished, apiVersion), object(kind, found, apiVersion)] as const

  test.for<readonly [string, KubeObject, KubeObject]>([
    [
      'ports by number and text',
      ...spec(
        'Service',
        {spec: {ports: [{port: 80, targetPort: '8080'}]}},
        {spec: {ports: [{name: 'x', port: 80, protocol: 'TCP', targetPort: 8080, nodePort: 30_000}]}},
      ),
    ],
    ['cpu as a number', ...spec('ResourceQuota', {spec: {hard: {'limits.cpu': 1}}}, {spec: {hard: {'limits.cpu': '1'}}})],
    ['exponents', ...spec('ResourceQuota', {spec: {hard: {memory: '1e3'}}}, {spec: {hard: {memory: '1k'}}})],
    ['nulls and empties', ...spec('ConfigMap', {data: {}, binaryData: null, immutable: false}, {})],
    ['stringData', ...spec('Secret', {stringData: {a: 'x'}, data: {b: 'eQ=='}}, {data: {a: 'eA==', b: 'eQ=='}, type: 'Opaque'})],
    [
      'secrets',
      ...spec('Secret', {stringData: {a: new Secret('x')}, data: {b: new Secret('eQ==')}}, {data: {a: 'eA==', b: 'eQ=='}, type: 'Opaque'}),
    ],
    ['secrets that are in no Secret', ...spec('Grafana', {spec: {a: new Secret('x'), b: new Secret('')}}, {spec: {a: 'x'}})],
    [
      'durations',
      ...spec(
        'Certificate',
        {spec: {duration: '8760h', renewBefore: '1h30m'}},
        {spec: {duration: '8760h0m0s', renewBefore: '1h30m0s'}},
        'cert-manager.io/v1',
      ),
    ],
    ['a definition', ...spec('CustomResourceDefinition', {spec: {group: 'a'}}, {spec: {group: 'b'}}, 'apiextensions.k8s.io/v1')],
    [
      'an injected CA',
      ...spec(
        'ValidatingWebhookConfiguration',
        {webhooks: [{name: 'w', clientConfig: {caBundle: 'Cg=='}}]},
        {webhooks: [{name: 'w', clientConfig: {caBundle: 'eA=='}}]},
      ),
    ],
    [
      'elements added beside ours',
      ...spec(
        'Pod',
        {spec: {containers: [{name: 'a', image: 'x'}]}},
        {
          spec: {
            containers: [
              {name: 'proxy', image: 'y'},
              {name: 'a', image: 'x'},
            ],
          },
        },
      ),
    ],
    [
      'mounts in another order',
      ...spec(
        'Pod',
        {
          spec: {
            mounts: [
              {name: 'v', mountPath: '/a'},
              {name: 'v', mountPath: '/b'},
            ],
          },
        },
        {
          spec: {
            mounts: [
              {name: 'v', mountPath: '/b'},
              {name: 'v', mountPath: '/a'},
            ],
          },
        },
      ),
    ],
    [
      'a port for each protocol',
      ...spec(
        'Service',
        {spec: {ports: [{port: 53, protocol: 'UDP'}, {port: 53}]}},
        {
          spec: {
            ports: [
              {port: 53, protocol: 'TCP'},
              {port: 53, protocol: 'UDP'},
            ],
          },
        },
      ),
    ],
  ])('%s: no difference', ([, wished, found]) => {
    expect(differing(wished, found)).toEqual([])
  })

  test.for<readonly [string, KubeObject, KubeObject, readonly string[]]>([
    [
      'a quantity',
      ...spec('ResourceQuota', {spec: {hard: {memory: '1Gi'}}}, {spec: {hard: {memory: '1G'}}}),
      ['spec.hard.memory: "1Gi" ≠ "1G"'],
    ],
    ['a text that looks like a quantity', ...spec('ConfigMap', {data: {a: '1000m'}}, {data: {a: '1'}}), ['data.a: "1000m" ≠ "1"']],
    ['a file', ...spec('ConfigMap', {data: {'agent.yaml': 'a'}}, {data: {'agent.yaml': 'b'}}), [`data['agent.yaml']: "a" ≠ "b"`]],
    ['a secret, unnamed', ...spec('Secret', {stringData: {a: 'x'}}, {data: {a: 'eQ=='}}), ['data.a: "‹secret›" ≠ "‹secret›"']],
    [
      'other secrets, unnamed',
      ...spec('Secret', {stringData: {a: new Secret('x')}, data: {b: new Secret('eQ==')}}, {data: {a: 'eQ==', b: 'eA=='}}),
      ['data.b: "‹secret›" ≠ "‹secret›"', 'data.a: "‹secret›" ≠ "‹secret›"'],
    ],
    ['a missing secret', ...spec('Secret', {data: {a: 'eA=='}}, {data: {}}), ['data.a: "‹secret›" ≠ undefined']],
    ['a secret that is in no Secret', ...spec('Grafana', {spec: {a: new Secret('x')}}, {}), ['spec.a: "‹secret›" ≠ undefined']],
    [
      'another one in its place, and in a list',
      ...spec('Grafana', {spec: {a: new Secret('x'), b: [new Secret('y')]}}, {spec: {a: 'z', b: ['z']}}),
      ['spec.a: "‹secret›" ≠ "‹secret›"', 'spec.b: "‹secret›" ≠ "‹secret›"'],
    ],
    [
      'a no whose absence means yes',
      ...spec('ServiceAccount', {automountServiceAccountToken: false}, {}),
      ['automountServiceAccountToken: false ≠ undefined'],
    ],
    [
      'the root user',
      ...spec('Pod', {spec: {securityContext: {runAsUser: 0}}}, {spec: {}}),
      ['spec.securityContext.runAsUser: 0 ≠ undefined'],
    ],
    [
      'an empty class',
      ...spec('PersistentVolumeClaim', {spec: {storageClassName: ''}}, {spec: {storageClassName: 'linode'}}),
      ['spec.storageClassName: "" ≠ "linode"'],
    ],
    [
      'arguments',
      ...spec('Pod', {spec: {containers: [{name: 'a', args: ['x', 'y']}]}}, {spec: {containers: [{name: 'a', args: ['y', 'x']}]}}),
      ['spec.containers[name=a].args: ["x","y"] ≠ ["y","x"]'],
    ],
    [
      'a missing container',
      ...spec('Pod', {spec: {containers: [{name: 'a'}, {name: 'b'}]}}, {spec: {containers: [{name: 'a'}]}}),
      ['spec.containers[name=b]: {"name":"b"} ≠ undefined'],
    ],
    [
      'rules without a key',
      ...spec('Role', {rules: [{verbs: ['get']}]}, {rules: [{verbs: ['get']}, {verbs: ['*']}]}),
      ['rules: [{"verbs":["get"]}] ≠ [{"verbs":["get"]},{"verbs":["*"]}]'],
    ],
    ['a rule', ...spec('Role', {rules: [{verbs: ['get']}]}, {rules: [{verbs: ['*']}]}), ['rules[0].verbs: ["get"] ≠ ["*"]']],
    [
      'a duration',
      ...spec('Certificate', {spec: {duration: '1h'}}, {spec: {duration: '2h0m0s'}}, 'cert-manager.io/v1'),
      ['spec.duration: "1h" ≠ "2h0m0s"'],
    ],
    ['a number', ...spec('Deployment', {spec: {replicas: 0}}, {spec: {}}), ['spec.replicas: 0 ≠ undefined']],
  ])('%s: a difference', ([, wished, found, expected]) => {
    expect(differing(wished, found)).toEqual(expected)
  })

  test('a list that is one value is compared whole, as the fields of its managers tell', () => {
    const tolerations = [...template.spec.tolerations, {key: 'b', operator: 'Exists'}]
    expect(differing(wish, live({spec: {tolerations}})).map((line) => line.split(':')[0])).toEqual(['spec.template.spec.tolerations'])
  })

  test('what is no longer wished for shows in the mark', () => {
    const {metadata} = marked(object('ConfigMap', {data: {a: '1', b: '2'}}))
    const found = object('ConfigMap', {data: {a: '1', b: '2'}}, 'v1', {annotations: metadata.annotations})
    expect(drift(marked(object('ConfigMap', {data: {b: '2', a: '1'}})), found)).toEqual([])
    expect(drift(marked(object('ConfigMap', {data: {a: '1'}})), found).map(({path}) => path)).toEqual([
      "metadata.annotations['lkeobs.io/wish']",
    ])
  })

  test('marking twice changes nothing, and the mark of a Secret tells nothing of its values', () => {
    expect(marked(wish)).toEqual(wish)
    const one = marked(object('Secret', {stringData: {a: 'x'}})).metadata.annotations
    expect(marked(object('Secret', {stringData: {a: 'y'}})).metadata.annotations).toEqual(one)
    expect(marked(object('Secret', {stringData: {b: 'x'}})).metadata.annotations).not.toEqual(one)
  })
})

describe('owners', () => {
  test('of a field, of an element by the key of the server, of a list that is one value', () => {
    const way = (...fields: readonly string[]) => fields.map((field) => ({field}))
    const element = {element: container, label: 'name=otel'}
    const port = {element: {containerPort: 80, name: 'http'}, label: 'name=http'}
    const inContainer = [...way('spec', 'template', 'spec', 'containers'), element]
    const names = (...where: Parameters<typeof ownersOf>[1]) => ownersOf(live(), where).map(({manager}) => manager)
    expect(names(...way('spec', 'replicas'))).toEqual(['lkeobs'])
    expect(names(...way('status', 'replicas'))).toEqual(['kube-controller-manager'])
    expect(names(...inContainer, ...way('image'))).toEqual(['lkeobs'])
    expect(names(...inContainer, ...way('ports'), port, ...way('name'))).toEqual(['lkeobs'])
    expect(names(...inContainer, ...way('imagePullPolicy'))).toEqual([])
    expect(names(...way('spec', 'selector', 'matchLabels', 'app'))).toEqual(['lkeobs'])
    expect(names(...way('spec', 'paused'))).toEqual([])
  })

  test.for([
    ['kubectl', 'Update', true],
    ['kubectl-edit', 'Update', true],
    ['kubectl-client-side-apply', 'Update', true],
    ['kubectl', 'Apply', false],
    ['argocd-controller', 'Update', false],
    ['kube-controller-manager', 'Update', false],
  ] as const)('%s by %s is by hand: %s', ([manager, operation, expected]) => {
    expect(isByHand({manager, operation})).toBe(expected)
  })
})

describe('judge', () => {
  const verdict = (found: KubeObject, own = ['lkeobs'], wished = wish) => {
    const judged = judge(wished, found, own)
    if (judged.state === 'same') return 'same'
    if (judged.state === 'foreign') return `foreign: ${judged.difference.path} of ${judged.difference.owner?.manager ?? 'nobody'}`
    return `different${judged.byHand ? ' by hand' : ''}: ${judged.differences.map(({path}) => path).join(', ')}`
  }

  test('as applied: the same', () => expect(verdict(live())).toBe('same'))

  test('scaled with kubectl: by hand', () => {
    const scaled = live({replicas: 2, managed: [managed('kubectl', 'Update', {'f:spec': {'f:replicas': {}}}, {subresource: 'scale'})]})
    expect(verdict(taken(scaled, ['f:spec', 'f:replicas']))).toBe('different by hand: spec.replicas')
  })

  test('scaled to 0 it has no owner: by hand where this very wish is known to have been applied', () => {
    const chart = {...live({replicas: 0}), metadata: {name: 'it', namespace: 'lkeobs', labels: {app: 'otel'}, managedFields: []}}
    expect(judge(applied, chart, ['helm'])).toMatchObject({state: 'different', byHand: false})
    expect(judge(applied, chart, ['helm'], {recorded: true})).toMatchObject({state: 'different', byHand: true})
  })

  test('scaled by an autoscaler: foreign', () => {
    const scaler = managed('kube-controller-manager', 'Update', {'f:spec': {'f:replicas': {}}}, {subresource: 'scale'})
    expect(verdict(taken(live({replicas: 2, managed: [scaler]}), ['f:spec', 'f:replicas']))).toBe(
      'foreign: spec.replicas of kube-controller-manager',
    )
  })

  test('an image set by hand, or by another tool', () => {
    const set = (manager: string, operation = 'Update') =>
      taken(live({container: {image: 'busybox:1.35'}, managed: [managed(manager, operation, imageFields)]}), imageWay)
    const image = 'spec.template.spec.containers[name=otel].image'
    expect(verdict(set('kubectl-set'))).toBe(`different by hand: ${image}`)
    expect(verdict(set('argocd-controller'))).toBe(`foreign: ${image} of argocd-controller`)
    expect(verdict(set('kubectl', 'Apply'))).toBe(`foreign: ${image} of kubectl`)
    expect(verdict(set('helm'), ['helm', 'lkeobs'])).toBe(`different: ${image}`)
  })

  test('a field that another tool wishes for, too, cannot be changed without it', () => {
    const flux = {...managed('flux', 'Apply', {'f:spec': {'f:replicas': {}}}), time: undefined}
    expect(verdict(live({managed: [flux]}))).toBe('same')
    const more = marked({...applied, spec: {...(applied['spec'] as object), replicas: 3}})
    expect(verdict(live({managed: [flux]}), ['lkeobs'], more)).toBe('foreign: spec.replicas of flux')
  })

  test('a field taken away under the mark of this wish: by hand', () => {
    const cut = live({container: {resources: {requests: {cpu: '50m', memory: '32Mi'}, limits: {cpu: '1'}}}})
    const way = [...imageWay.slice(0, -1), 'f:resources', 'f:limits', 'f:memory']
    expect(verdict(taken(cut, way))).toBe('different by hand: spec.template.spec.containers[name=otel].resources.limits.memory')
  })

  test('a field that is still ours under the mark of this wish was changed by who admitted it: the same', () => {
    expect(verdict(live({container: {image: 'mirror.example.com/busybox:1'}}))).toBe('same')
  })

  test('the same under another mark is ours to apply', () => {
    const annotations = {'lkeobs.io/wish': '0123456789abcdef'}
    expect(verdict(live({container: {image: 'busybox:1.35'}, annotations}))).toBe(
      "different: metadata.annotations['lkeobs.io/wish'], spec.template.spec.containers[name=otel].image",
    )
  })

  test('another value in a Secret is never taken for an admitted one', () => {
    const secret = marked(object('Secret', {stringData: {a: 'x'}}))
    const fields = {'f:metadata': {'f:annotations': {'f:lkeobs.io/wish': {}}}, 'f:data': {'f:a': {}}}
    const metadata = {annotations: secret.metadata.annotations, managedFields: [managed('lkeobs', 'Apply', fields)]}
    expect(verdict(object('Secret', {data: {a: 'eQ=='}}, 'v1', metadata), ['lkeobs'], secret)).toBe('different: data.a')
  })

  test('odd managed fields are no owners', () => {
    const odd = {
      ...live({replicas: 2}),
      metadata: {name: 'it', managedFields: [null, 3, {manager: 3}, {fieldsV1: {'f:spec': {'k:{': {}}}}]},
    }
    expect(verdict(odd)).toMatch(/^different: .*spec\.replicas/)
  })
})

test('a conflict names the field, both values, the manager, and where to look', () => {
  const owner = {manager: 'argocd-controller', operation: 'Update', time: '2026-11-23T15:30:00Z'} as const
  const difference = {path: 'spec.replicas', wished: 3, found: 1, owner, owners: [owner]}
  const ref = {apiVersion: 'apps/v1', kind: 'StatefulSet', namespace: 'lkeobs', name: 'gateway'}
  const error = conflictError(ref, difference, {context: 'it is', kubeconfig: '/k/hub'})
  expect(error.code).toBe('LKO-3109')
  expect(error.message).toBe(
    'spec.replicas of StatefulSet lkeobs/gateway is 1, set by argocd-controller (Update, 2026-11-23T15:30:00Z); wished for is 3.',
  )
  expect(error.next[0]).toBe(
    "kubectl --context 'it is' --kubeconfig /k/hub -n lkeobs get statefulset gateway -o yaml --show-managed-fields",
  )
  expect(conflictError({...ref, apiVersion: 'cert-manager.io/v1', kind: 'Certificate'}, difference).next[0]).toBe(
    'kubectl -n lkeobs get certificate.cert-manager.io gateway -o yaml --show-managed-fields',
  )
})
