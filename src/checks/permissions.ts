import type {Role} from '../platforms/kubernetes/objects.ts'
import {identityOf} from '../platforms/kubernetes/identity.ts'
import {certManagerNamespace, namespace, nodeNamespace, secretsOperatorNamespace} from '../platforms/kubernetes/names.ts'
import type {Access, KubeTarget} from '../tools/kube/kube.ts'
import {kubectl} from '../tools/kube/kubectl.ts'
import {atMost, type Check, failed, ok, warning} from './check.ts'
import type {Subject} from './cluster.ts'

/** What decides which permissions are needed; controllers only where lkeobs is to install them. */
export type PermissionWish = {
  readonly role: Role
  readonly certManager: boolean
  readonly installsCertManager: boolean
  readonly secretsOperator: boolean
  readonly installsSecretsOperator: boolean
  readonly instrumentation: boolean
}

const look = ['get', 'list'] as const
const put = ['get', 'create', 'patch'] as const
/** As helm does with what a chart brings: an upgrade also removes what is no longer in it. */
const keep = ['get', 'list', 'create', 'patch', 'delete'] as const

/** `deployments.apps`, `pods/exec`, `configmaps` */
const of = (words: string, verbs: readonly string[], at?: string): readonly Access[] =>
  words.split(' ').flatMap((word) => {
    const [path = '', ...group] = word.split('.')
    const [resource = '', subresource] = path.split('/')
    const what = {
      group: group.join('.'),
      resource,
      ...(subresource !== undefined && {subresource}),
      ...(at !== undefined && {namespace: at}),
    }
    return verbs.map((verb) => ({...what, verb}))
  })

/** In each namespace of ours: what charts bring, what helm and lkeobs keep, and what is read to tell how it goes. */
const inNamespace = (at: string): readonly Access[] => [
  ...of('configmaps serviceaccounts services', keep, at),
  ...of('secrets', [...keep, 'update'], at),
  ...of('deployments.apps statefulsets.apps daemonsets.apps', keep, at),
  ...of('roles.rbac.authorization.k8s.io rolebindings.rbac.authorization.k8s.io', keep, at),
  ...of('networkpolicies.networking.k8s.io', keep, at),
  ...of('pods', [...look, 'patch'], at),
  ...of('pods/log', ['get'], at),
  ...of('events persistentvolumeclaims replicasets.apps', look, at),
]

/** A socket is opened with GET; newer API servers want the right to create as well. */
const intoPods = (at: string): readonly Access[] => of('pods/portforward pods/exec', ['get', 'create'], at)

/** To look into its agents' pods, which asks for a container beside them: where no Vault agent stands there already. */
const intoAgents = of('pods/ephemeralcontainers', ['patch'], nodeNamespace)

const certManagerKinds = 'issuers.cert-manager.io certificates.cert-manager.io certificaterequests.cert-manager.io'
const secretsOperatorKinds =
  'vaultconnections.secrets.hashicorp.com vaultauths.secrets.hashicorp.com vaultdynamicsecrets.secrets.hashicorp.com'
const instrumentationKinds = 'instrumentations.opentelemetry.io'

/** What makes load for a test is a Job; `edge leave` lists them. */
const generators = of('jobs.batch', ['get', 'create', 'patch', 'delete'], namespace)

/** What `edge leave` looks for in each namespace, and removes with it. */
const emptied = (at: string): readonly Access[] => [
  ...of('jobs.batch cronjobs.batch', ['list'], at),
  ...of('pods persistentvolumeclaims', ['delete'], at),
]

/** What it takes to leave, beside all that: others' objects are looked for before a kind goes. */
const left = (wish: PermissionWish): readonly Access[] => {
  const {certManager, installsCertManager, secretsOperator, installsSecretsOperator, instrumentation} = wish
  const when = (condition: boolean, ...some: readonly (readonly Access[])[]) => (condition ? some.flat() : [])
  const asked = (words: string, home: string) => [
    ...of(words, ['delete'], home),
    ...[namespace, nodeNamespace].flatMap((at) => of(words, ['list'], at)),
  ]
  return [
    ...of('namespaces', ['delete']),
    ...of('customresourcedefinitions.apiextensions.k8s.io', ['list']),
    ...when(
      installsCertManager || installsSecretsOperator || instrumentation,
      of('customresourcedefinitions.apiextensions.k8s.io', ['delete']),
    ),
    ...[namespace, nodeNamespace].flatMap(emptied),
    ...when(certManager, asked(certManagerKinds, namespace)),
    ...when(installsCertManager, emptied(certManagerNamespace), of('*.cert-manager.io *.acme.cert-manager.io', ['list'])),
    ...when(secretsOperator, asked(secretsOperatorKinds, nodeNamespace)),
    ...when(installsSecretsOperator, emptied(secretsOperatorNamespace), of('*.secrets.hashicorp.com', ['list'])),
    ...when(instrumentation, asked(instrumentationKinds, namespace), of('*.opentelemetry.io', ['list'])),
  ]
}

/** Every permission that bringing this cluster up takes, keeping it, and leaving with it. */
export const needed = (wish: PermissionWish): readonly Access[] => {
  const {role, certManager, installsCertManager, secretsOperator, installsSecretsOperator, instrumentation} = wish
  const when = (condition: boolean, ...some: readonly (readonly Access[])[]) => (condition ? some.flat() : [])
  const collectorAt = role === 'hub' ? namespace : nodeNamespace
  const cluster = 'clusterroles.rbac.authorization.k8s.io clusterrolebindings.rbac.authorization.k8s.io'
  const webhooks = 'validatingwebhookconfigurations.admissionregistration.k8s.io mutatingwebhookconfigurations.admissionregistration.k8s.io'
  return [
    ...of('namespaces', put),
    ...of(cluster, ['get', 'create', 'patch', 'delete']),
    ...of('customresourcedefinitions.apiextensions.k8s.io', ['get']),
    ...when(
      installsCertManager || installsSecretsOperator || instrumentation,
      of('customresourcedefinitions.apiextensions.k8s.io', ['create', 'patch']),
    ),
    ...when(installsCertManager || instrumentation, of(webhooks, ['get', 'create', 'patch', 'delete'])),
    ...inNamespace(namespace),
    ...intoPods(namespace),
    ...when(role === 'hub', of('poddisruptionbudgets.policy horizontalpodautoscalers.autoscaling', keep, namespace)),
    // whether there are GPUs is seen by the nodes
    ...when(role === 'edge', inNamespace(nodeNamespace), intoPods(nodeNamespace), of('nodes', ['list'])),
    ...when(installsCertManager, inNamespace(certManagerNamespace)),
    ...when(installsSecretsOperator, inNamespace(secretsOperatorNamespace)),
    ...when(certManager, of(certManagerKinds, put, namespace), of('certificates/status.cert-manager.io', ['patch'], namespace)),
    ...when(secretsOperator, of(secretsOperatorKinds, put, collectorAt)),
    ...when(instrumentation, of(instrumentationKinds, put, namespace)),
    ...when(role === 'edge' && secretsOperator, intoAgents),
    ...when(role === 'edge', generators, left(wish)),
  ]
}

/** Who lacks these may bind and grant only what it has itself. */
const grants: readonly Access[] = of('clusterroles.rbac.authorization.k8s.io', ['bind', 'escalate'])

const resourceOf = ({group = '', resource, subresource}: Access): string =>
  `${resource}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`

/** The question as kubectl asks it. */
const canI = (target: KubeTarget, {verb, group = '', resource, subresource, namespace: at}: Access): string =>
  kubectl(
    target,
    'auth',
    'can-i',
    verb,
    group === '' ? resource : `${resource}.${group}`,
    ...(subresource === undefined ? [] : [`--subresource=${subresource}`]),
    ...(at === undefined ? [] : ['-n', at]),
  )

const joined = (words: Iterable<string>): string => [...new Set(words)].join(', ')

type Missing = {readonly line: string; readonly first: Access}

/** What is missing, together what has the same places and verbs: `in lkeobs: create, patch secrets, services`. */
export const missingOf = (missing: readonly Access[]): readonly Missing[] => {
  const byResource = [...Map.groupBy(missing, resourceOf)].map(([resource, all]) => {
    const places = joined(all.map((one) => one.namespace ?? ''))
    return {resource, all, key: `${places === '' ? 'in the whole cluster' : `in ${places}`}: ${joined(all.map(({verb}) => verb))}`}
  })
  return [...Map.groupBy(byResource, ({key}) => key)].flatMap(([key, group]) => {
    const all = group.flatMap((one) => one.all)
    // what changes something says more than what only looks
    const first = all.find(({verb}) => verb === 'create') ?? all[0]
    return first ? [{line: `${key} ${joined(group.map(({resource}) => resource))}`, first}] : []
  })
}

/** Enough to be quick, few enough for the API server not to queue them. */
const atOnce = 16
const shownQuestions = 3

export const permissions: Check<Subject> = {
  id: 'permissions',
  about: 'the user of the context may do all that is needed',
  of: 'kubernetes',
  needs: ['api-server'],
  async run({site, platform}) {
    const {kube, role} = site
    const {certManager, secretsOperator, instrumentation = false} = platform
    // who may not see whether they are there is asked as if they were not
    const foreign = await identityOf(site)
      .foreign()
      .catch(() => new Set<string>())
    const wish = {
      role,
      certManager,
      installsCertManager: certManager && !foreign.has('cert-manager'),
      secretsOperator,
      installsSecretsOperator: secretsOperator && !foreign.has('vault-secrets-operator'),
      instrumentation,
    }
    const lacking = async (all: readonly Access[]) => {
      const may = await atMost(atOnce, all, (access) => kube.may(access))
      return all.filter((_, index) => may[index] !== true)
    }
    const all = needed(wish)
    const [missing, mayNotGrant] = await Promise.all([lacking(all), lacking(grants)])
    if (missing.length === 0 && mayNotGrant.length === 0) return ok(`all ${all.length}`)
    if (missing.length === 0)
      return warning(
        'It may not bind or escalate cluster roles: roles of charts are made only if it has every permission in them itself.',
        mayNotGrant.map((access) => canI(kube.target, access)),
      )
    const groups = missingOf(missing)
    return failed('LKO-3103', [`${missing.length} of ${all.length} permissions are missing:`, ...groups.map(({line}) => line)].join('\n'), [
      ...groups.slice(0, shownQuestions).map(({first}) => canI(kube.target, first)),
      kubectl(kube.target, 'auth', 'can-i', '--list', '-n', namespace),
    ])
  },
}
