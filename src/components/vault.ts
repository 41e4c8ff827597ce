import {relative} from 'node:path'
import {adminPolicy, adminPolicyName, adminUsername} from '../trust/admin.ts'
import {namespace, ports} from '../platforms/kubernetes/names.ts'
import type {Place} from '../platforms/platform.ts'
import {render, renderValues} from '../templates.ts'
import {sealStanza, type SealWish} from '../trust/seal.ts'
import {imageOf} from './charts.ts'
import type {Component} from './component.ts'
import type {Release} from './release.ts'
import {type Disk, disk, jsonForTpl} from './values.ts'

type Node = {
  readonly name: string
  readonly at: Place
  /** The other nodes' places; the first node of a cluster joins nobody. */
  readonly joins: readonly Place[]
  /** Files shared by the cluster's nodes. */
  readonly ca: string
  /** Left out where holders unseal it. */
  readonly self?: {readonly seal: SealWish; readonly adminPassword: string} | undefined
}

const request = (path: string, data: object) => ({operation: 'update', path, data})

/**
 * What the first node does to itself when it starts for the first time: one administrator who logs in with a
 * password. There is no root token to keep, and no moment in which one could be lost.
 */
export const initialize = (adminPassword: string) => [
  {
    administrator: {
      request: [
        {userpass: request('sys/auth/userpass', {type: 'userpass'})},
        {policy: request(`sys/policies/acl/${adminPolicyName}`, {policy: adminPolicy})},
        {
          user: request(`auth/userpass/users/${adminUsername}`, {
            password: {eval_type: 'string', eval_source: 'file', path: adminPassword},
            token_policies: [adminPolicyName],
            token_ttl: '15m',
          }),
        },
      ],
    },
  },
]

/**
 * The audit devices of a Vault that holders unseal: OpenBao takes them from its configuration alone. The same on every node,
 * since whichever leads makes them its own; two, since Vault stops answering when the only one cannot be written.
 */
export const auditDevices = (file: string) => [
  {file: {'lkeobs-file': {description: 'audit log', options: {file_path: file, mode: '0600'}}}},
  {file: {'lkeobs-log': {description: 'audit log, in what the process logs', options: {file_path: 'stdout'}}}},
]

/** One node of a cluster's Vault (OpenBao, Raft, TLS, sealed by a key in a file or by the hub, or unsealed by holders). */
export const vaultNode = ({name, at, joins, ca, self}: Node): Component => {
  const tls = at.file('tls.pem')
  const {seal, ...configuration} = render('vault.yaml', {
    node: name,
    data: at.file('data'),
    api: {listen: at.address('api'), url: `https://${at.address('api')}`},
    cluster: {listen: at.address('cluster'), url: `https://${at.address('cluster')}`},
    tls: {certificate: tls, key: tls, ca},
    seal: self ? sealStanza(self.seal) : {},
    peers: joins.map((peer) => ({address: `https://${peer.address('api')}`})),
  })
  // a path of its own folder, in which it runs
  const sealed = self ? {seal, ...(joins.length === 0 && {initialize: initialize(self.adminPassword)})} : {audit: auditDevices('audit.log')}
  return {
    name,
    title: `Vault node ${name}`,
    program: 'openbao',
    args: ['server', `-config=${at.file('vault.json')}`],
    files: {'vault.json': `${JSON.stringify({...configuration, ...sealed}, undefined, 2)}\n`},
    // killed after it had made its Raft log and before its barrier: nothing was in it yet
    cutOff: {says: 'cluster already has state', remove: 'data'},
    // it reads what opens its seal when it starts; its certificate when it is told to, too
    restartOn: self?.seal.type === 'transit' ? [self.seal.token, self.seal.ca].map((file) => relative(at.folder, file)) : [],
    url: `https://${at.address('api')}`,
    async ready({files, vault}) {
      const pem = async () => (await files.read(ca)) ?? ''
      const seen = await vault({address: `https://${at.address('api')}`, ca: pem}).sealStatus()
      return seen === undefined ? 'not answering yet' : true
    },
  }
}

/** Vault's pods on Kubernetes. */
export const vaultPodLabels = {'app.kubernetes.io/name': 'openbao', 'app.kubernetes.io/instance': 'vault', component: 'server'} as const

/** Where a node finds what it is given. */
export const vaultPaths = {
  data: '/openbao/data',
  tls: '/openbao/tls',
  handed: (secret: string) => `/openbao/handed/${secret}`,
} as const

const self = '/openbao/self'

/**
 * A node reads its certificate again on SIGHUP only, and whoever renews it has no way to say so. So the node's own container
 * looks whether its kubelet has brought another, and tells it.
 */
const reloadOnRenewal = `sum() { sha256sum <${vaultPaths.tls}/tls.crt; }
seen=$(sum)
while sleep 10; do
  now=$(sum)
  if [ "$now" != "$seen" ] && kill -HUP $(pidof bao); then seen=$now; fi
done`

export type VaultWish = Disk & {
  readonly replicas: number
  /** Whether holders are needed after every start: then no node is started anew before a person does it. */
  readonly isHeld?: boolean
  /** The configuration of every node, complete. `HOSTNAME` in it becomes the pod's name. */
  readonly config: object
  /** The ConfigMap with what a node is told alone, by its pod's name: `vault-0.json`. Every node needs its key, `{}` at least. */
  readonly selfConfigMap: string
  /** The Secret with `tls.crt`, `tls.key` and `ca.crt`. */
  readonly tlsSecret: string
  /** Secrets with the files that `config` names. */
  readonly handedSecrets: readonly string[]
}

/** A folder in every node, from a ConfigMap or a Secret. */
const folder = (name: string, mountPath: string, source: object) => ({
  volume: {name, ...source},
  mount: {name, mountPath, readOnly: !('emptyDir' in source)},
})

const secret = (secretName: string) => ({secret: {secretName, defaultMode: 0o440}})

/**
 * The Vault of a cluster on Kubernetes: nodes are ready when they are unsealed, and restarted one by one when `config` changes;
 * by a person, where holders unseal them.
 */
export const vaultRelease = (wish: VaultWish): Release => {
  const folders = [
    // the chart's start writes the configuration here
    folder('tmp', '/tmp', {emptyDir: {medium: 'Memory', sizeLimit: '8Mi'}}),
    folder('self', self, {configMap: {name: wish.selfConfigMap}}),
    folder('tls', vaultPaths.tls, secret(wish.tlsSecret)),
    ...wish.handedSecrets.map((name) => folder(name, vaultPaths.handed(name), secret(name))),
  ]
  return {
    name: 'vault',
    title: 'Vault',
    namespace,
    chart: 'openbao',
    values: renderValues('vault.yaml', {
      name: 'vault',
      image: {...imageOf('openbao'), pullPolicy: 'IfNotPresent'},
      extraArgs: `-config=${self}/\${HOSTNAME}.json`,
      env: {BAO_CACERT: `${vaultPaths.tls}/ca.crt`},
      port: ports.vault,
      spread: [
        {
          maxSkew: 1,
          topologyKey: 'kubernetes.io/hostname',
          whenUnsatisfiable: 'ScheduleAnyway',
          labelSelector: {matchLabels: vaultPodLabels},
        },
      ],
      volumes: folders.map(({volume}) => volume),
      volumeMounts: folders.map(({mount}) => mount),
      disk: disk(wish),
      replicas: wish.replicas,
      // not $(HOSTNAME), which the chart declares only after this one: it would stay as it is
      apiAddr: `https://$(BAO_K8S_POD_NAME).vault-internal:${ports.vault}`,
      // its ends closed: Kubernetes waits for the hook until all of them are
      postStart: ['/bin/sh', '-c', `{ ${reloadOnRenewal}; } </dev/null >/dev/null 2>&1 &`],
      // of a single node, it would only keep Kubernetes from draining where it is
      budget: wish.replicas > 1,
      update: wish.isHeld === true ? 'OnDelete' : 'RollingUpdate',
      // as text: whether it is an object, the chart asks of the configuration beside it
      config: jsonForTpl(wish.config),
    }),
  }
}
