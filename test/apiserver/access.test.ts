import {createServer} from 'node:net'
import {once} from 'node:events'
import type {AddressInfo} from 'node:net'
import {describe, expect, test} from 'vitest'
import type {LkeobsError} from '../../src/errors.ts'
import {applied} from '../../src/platforms/kubernetes/applied.ts'
import {identityOf} from '../../src/platforms/kubernetes/identity.ts'
import {configMap, namespaces} from '../../src/platforms/kubernetes/objects.ts'
import type {Site} from '../../src/platforms/kubernetes/site.ts'
import type {FleetCertificates} from '../../src/status/certificates.ts'
import {createTools} from '../../src/tools/index.ts'
import {document, lkeobs} from '../lab/cli.ts'
import {fleetFolder} from './fleet.ts'
import {type Server, useServer} from './server.ts'
import {carriedOut, failureOf, siteOn} from './site.ts'

type Failure = {error: {code: string; exit: number; message: string; next: string[]}}

const identity = {fleet: 'acme', cluster: 'hub', role: 'hub', certManager: false, secretsOperator: false} as const
const file = configMap({name: 'one', namespace: 'lkeobs', data: {a: 'b'}})

/** What is checked before anything is changed, as its error. */
const refusalOf = async (site: Site): Promise<LkeobsError> =>
  failureOf({title: 'checked', done: async () => 'not yet', apply: async () => identityOf(site).checked()})

const at = (site: Site, context: string, kubeconfig?: string): Site => ({
  ...site,
  kube: createTools({yes: true}).kube({context, kubeconfig: kubeconfig ?? site.kube.target.kubeconfig ?? ''}),
})

/** Asked of a server that accepts connections and says nothing; takes ten seconds, beside the other tests. */
let silent: Promise<{readonly error: LkeobsError; readonly ms: number}> | undefined
const hang = async ({folder, sh}: Server, site: Site): Promise<void> => {
  const listening = createServer().listen(0, '127.0.0.1')
  await once(listening, 'listening')
  listening.unref()
  const {port} = listening.address() as AddressInfo
  await sh(`sed 's#https://127.0.0.1:[0-9]*#https://127.0.0.1:${port}#' ${folder}/kubeconfig >${folder}/silent`)
  const started = Date.now()
  silent = refusalOf(at(site, 'admin', `${folder}/silent`)).then((error) => ({error, ms: Date.now() - started}))
  silent.catch(() => undefined)
}

const server = useServer(async (one) => {
  await hang(one, siteOn(one))
  await carriedOut(applied(siteOn(one), 'namespaces', 'namespaces.yaml', namespaces(identity)))
})

describe('a user without rights', () => {
  test('certificates that may not be looked at are rows, and those of an edge that says nothing are waited for once', async () => {
    const folder = await fleetFolder({server: server(), user: 'limited', edge: {kubeconfig: `${server().folder}/silent`}})
    const ended = await lkeobs(folder, ['certs', 'status', '--json'])
    expect(ended.code, ended.stderr).toBe(7)
    expect(ended.ms).toBeLessThan(25_000)
    const {certificates} = document<FleetCertificates>(ended)
    const unread = (name: string) => certificates.filter(({cluster, state}) => cluster === name && state === 'unknown')
    expect(certificates.filter(({state}) => state !== 'unknown')).toEqual([])
    expect(new Set(unread('hub').map(({kind}) => kind))).toEqual(new Set(['leaf', 'gateway', 'vault', 'root', 'issuer', 'trusted']))
    expect(unread('hub').find(({kind}) => kind === 'root')?.why).toMatch(/^LKO-3103 .*cannot get resource "secrets"/)
    expect(new Set(unread('edge-1').map(({kind}) => kind))).toEqual(new Set(['leaf', 'vault', 'root', 'hub-ca', 'issuer']))
    expect(unread('edge-1').find(({kind}) => kind === 'root')?.why).toMatch(/no answer within 10 s/)
  })

  test('who may not look is told what is missing, and nothing is written', async () => {
    const folder = await fleetFolder({server: server(), user: 'limited'})
    const written = await server().writes('limited', async () => {
      const ended = await lkeobs(folder, ['hub', 'init', '--json', '--yes'])
      expect(ended.code).toBe(4)
      const {error} = document<Failure>(ended)
      expect(error).toMatchObject({code: 'LKO-3103', exit: 4})
      expect(error.message).toContain('User "limited" cannot get resource "namespaces"')
      expect(await server().typed(error.next[0])).toMatch(/^(Warning: .*\n)?no\n/)
    })
    expect(written).toEqual([])
  })

  test('doctor says all that is missing, and asks only', async () => {
    const folder = await fleetFolder({server: server(), user: 'limited'})
    const written = await server().writes('limited', async () => {
      const ended = await lkeobs(folder, ['doctor', '--hub', '--json'])
      expect(ended.code, ended.stderr).toBe(4)
      const {clusters} = document<{clusters: {checks: {id: string; state: string; code?: string; why?: string}[]}[]}>(ended)
      const found = clusters[0]?.checks.find(({id}) => id === 'permissions')
      expect(found).toMatchObject({state: 'failed', code: 'LKO-3103'})
      expect(found?.why).toMatch(/in the whole cluster: .*create.* namespaces/)
    })
    expect(written).toEqual([])
  })

  test('who may look and not write is told which write', async () => {
    const readers = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: {name: 'readers'},
      rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['get', 'list']}],
    }
    await server().kubectlWith([readers], 'apply', '-f', '-')
    await server().kubectl('create', 'clusterrolebinding', 'readers', '--clusterrole=readers', '--user=reader')
    const error = await failureOf(applied(siteOn(server(), {user: 'reader'}), 'files', 'files.yaml', file))
    expect(error).toMatchObject({code: 'LKO-3103', oclif: {exit: 4}})
    expect(error.message).toContain('User "reader" cannot patch resource "configmaps" in API group "" in the namespace "lkeobs"')
    expect(await server().typed(error.next[0])).toBe('no\n')
  })

  test('whom the cluster does not know is told so', async () => {
    const {folder, kubeconfig} = server()
    await server().sh(`sed 's/"token":"[0-9a-f]*"/"token":"none"/g' ${kubeconfig} >${folder}/stranger`)
    const error = await refusalOf(at(siteOn(server()), 'admin', `${folder}/stranger`))
    expect(error).toMatchObject({code: 'LKO-3103', oclif: {exit: 4}})
    expect(error.message).toContain('401')
  })
})

test('a context that is not there: those that are, and the one that was meant', async () => {
  const error = await refusalOf(at(siteOn(server()), 'admim'))
  expect(error).toMatchObject({code: 'LKO-3101', oclif: {exit: 4}})
  expect(error.message).toContain('admin, limited, reader, permitted, person, controller, edge')
  expect(error.message).toContain('Did you mean admin?')
})

test.for([
  ['role', 'edge'],
  ['cluster', 'edge-9'],
  ['fleet', 'other'],
] as const)('a cluster of another %s is left alone', async ([key, value]) => {
  const annotate = (said: string) => server().kubectl('annotate', '--overwrite', 'namespace', 'lkeobs', `lkeobs.io/${key}=${said}`)
  await annotate(value)
  const error = await refusalOf(siteOn(server()))
  expect(error).toMatchObject({code: 'LKO-3112', oclif: {exit: 4}})
  expect(error.message).toContain(value)
  expect(await server().typed(error.next[0])).toContain(`lkeobs.io/${key}: ${value}`)
  await annotate(identity[key])
  await identityOf(siteOn(server())).checked()
})

describe('an API server that', () => {
  test('says nothing is given up', async () => {
    const {error, ms} = (await silent) ?? {}
    expect(error).toMatchObject({code: 'LKO-3102', oclif: {exit: 4}})
    expect(error?.message).toContain('no answer within 10 s')
    expect(ms).toBeLessThan(20_000)
  })

  // the last one: nothing is left of it
  test('was stopped is named at once', async () => {
    server().signal('SIGKILL')
    const ended = await lkeobs(await fleetFolder({server: server()}), ['hub', 'init', '--json', '--yes'])
    expect(ended.code).toBe(4)
    const {error} = document<Failure>(ended)
    expect(error).toMatchObject({code: 'LKO-3102', exit: 4})
    expect(error.message).toContain('ECONNREFUSED')
    expect(await server().typed(error.next[0])).toMatch(/connection .* refused/)
    expect(ended.ms).toBeLessThan(10_000)
    // so are those told who come by kubectl and helm
    const {kube, helm} = siteOn(server())
    await expect(kube.apply(file, {file: 'one.yaml'})).rejects.toMatchObject({code: 'LKO-3102'})
    await expect(helm.uninstall({name: 'one', namespace: 'lkeobs'})).rejects.toMatchObject({code: 'LKO-3102'})
  })
})
