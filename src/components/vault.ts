import {adminPolicy, adminPolicyName, adminUsername} from '../trust/admin.ts'
import type {Place} from '../platforms/platform.ts'
import {render} from '../templates.ts'
import type {Component} from './component.ts'

const sealKeyId = 'lab-1'

type Node = {
  readonly name: string
  readonly at: Place
  /** The other nodes' places; the first node of a cluster joins nobody. */
  readonly joins: readonly Place[]
  /** Files shared by the cluster's nodes. */
  readonly ca: string
  readonly sealKey: string
  readonly adminPassword: string
}

const request = (path: string, data: object) => ({operation: 'update', path, data})

/**
 * What the first node does to itself when it starts for the first time: one administrator who logs in with a
 * password. There is no root token to keep, and no moment in which one could be lost.
 */
const initialize = (adminPassword: string) => [
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

/** One node of a cluster's Vault (OpenBao, Raft, TLS, sealed by a key in a file). */
export const vaultNode = ({name, at, joins, ca, sealKey, adminPassword}: Node): Component => {
  const tls = at.file('tls.pem')
  const configuration = render('vault.yaml', {
    node: name,
    data: at.file('data'),
    api: {listen: at.address('api'), url: `https://${at.address('api')}`},
    cluster: {listen: at.address('cluster'), url: `https://${at.address('cluster')}`},
    tls: {certificate: tls, key: tls, ca},
    seal: {keyId: sealKeyId, key: `file://${sealKey}`},
    peers: joins.map((peer) => ({address: `https://${peer.address('api')}`})),
  })
  const self = joins.length === 0 ? {initialize: initialize(adminPassword)} : {}
  return {
    name,
    title: `Vault node ${name}`,
    program: 'openbao',
    args: ['server', `-config=${at.file('vault.json')}`],
    files: {'vault.json': `${JSON.stringify({...configuration, ...self}, undefined, 2)}\n`},
    // killed after it had made its Raft log and before its barrier: nothing was in it yet
    cutOff: {says: 'cluster already has state', remove: 'data'},
    // it reads its certificate when it starts
    restartOn: ['tls.pem'],
    url: `https://${at.address('api')}`,
    async ready({files, vault}) {
      const pem = async () => (await files.read(ca)) ?? ''
      const seal = await vault({address: `https://${at.address('api')}`, ca: pem}).sealStatus()
      return seal === undefined ? 'not answering yet' : true
    },
  }
}
