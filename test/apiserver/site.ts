import {existsSync, readFileSync} from 'node:fs'
import path from 'node:path'
import {expect} from 'vitest'
import {parseAllDocuments} from 'yaml'
import {needed, type PermissionWish} from '../../src/checks/permissions.ts'
import {LkeobsError} from '../../src/errors.ts'
import {rolledOut} from '../../src/platforms/kubernetes/rollout.ts'
import type {Site, Ways} from '../../src/platforms/kubernetes/site.ts'
import {run} from '../../src/steps/run.ts'
import type {Outcome, Step} from '../../src/steps/step.ts'
import {createTools} from '../../src/tools/index.ts'
import type {Kind, KubeObject} from '../../src/tools/kube/kube.ts'
import {eventually} from '../lab/cli.ts'
import type {Server, User} from './server.ts'

/** The server as lkeobs sees a cluster. */
export const siteOn = (
  server: Server,
  {user = 'admin', role = 'hub', ways = {}}: {readonly user?: User; readonly role?: Site['role']; readonly ways?: Ways} = {},
): Site => {
  const tools = createTools({yes: true})
  const target = server.target(user)
  return {
    cluster: role === 'hub' ? 'hub' : 'edge-1',
    role,
    fleet: 'acme',
    kube: tools.kube(target),
    helm: tools.helm(target),
    tools,
    ways,
    file: (name) => `${role}/${name}`,
  }
}

export const carriedOut = (...steps: readonly Step[]): Promise<readonly Outcome[]> =>
  run({command: 'hub init', title: 'test', steps}, 'silent')

/** The error that a step ends with. */
export const failureOf = async (...steps: readonly Step[]): Promise<LkeobsError> => {
  const error: unknown = await carriedOut(...steps).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof LkeobsError) return error
  throw error instanceof Error ? error : new Error('the step did not fail')
}

/** An object as it is kept; fails where there is none. */
export const live = async <T extends KubeObject>({kube}: Pick<Site, 'kube'>, kind: Kind, name: string, namespace?: string): Promise<T> => {
  const found = await kube.read<T>({...kind, name, ...(namespace !== undefined && {namespace})})
  expect(found, `${kind.kind} ${name}`).toBeDefined()
  return found as T
}

const charts = path.resolve(import.meta.dirname, '../../../shared/charts')

/** Why there are no definitions of the kinds that charts bring; undefined where there are. */
export const noDefinitions: string | undefined = existsSync(charts) ? undefined : 'no definitions of custom kinds beside the repository'

const definitions = [
  'cert-manager/crds/cert-manager.io.yaml',
  ...['vaultauths', 'vaultconnections', 'vaultdynamicsecrets'].map(
    (kind) => `vault-secrets-operator/crds/secrets.hashicorp.com_${kind}.yaml`,
  ),
  'opentelemetry-operator/crds/opentelemetry.io_instrumentations.yaml',
]
const definitionsPath = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

/** The custom kinds that lkeobs makes objects of, defined as the charts define them. */
export const define = async (server: Server): Promise<void> => {
  if (noDefinitions !== undefined) return
  const objects = definitions.flatMap((file) =>
    parseAllDocuments(readFileSync(path.join(charts, file), 'utf8')).map((document) => document.toJS() as KubeObject),
  )
  await Promise.all(
    objects.map(async (object) => {
      const {status, body} = await server.request('POST', definitionsPath, object)
      if (status !== 201) throw new Error(JSON.stringify(body))
    }),
  )
  const established = async (): Promise<boolean> => {
    const {body} = await server.request('GET', definitionsPath)
    return (body as {items: KubeObject[]}).items.map(rolledOut).every((is) => is === true)
  }
  await eventually('the custom kinds are established', established, 30_000)
}

/** Gives `permitted` what `doctor` says is needed, anywhere, and nothing else. */
export const permit = async (server: Server, wish: PermissionWish): Promise<void> => {
  const rules = needed(wish).map(({verb, group = '', resource, subresource}) => ({
    apiGroups: [group],
    resources: [subresource === undefined ? resource : `${resource}/${subresource}`],
    verbs: [verb],
  }))
  const role = {apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: {name: 'permitted'}, rules}
  await server.kubectlWith([role], 'create', '-f', '-')
  await server.kubectl('create', 'clusterrolebinding', 'permitted', '--clusterrole=permitted', '--user=permitted')
}
