import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {LkeobsError} from '../../errors.ts'
import type {ProgramName} from '../../programs/catalogue.ts'
import {revealed, Secret, secretsIn} from '../../secret.ts'
import type {Shell} from '../shell.ts'
import {openApi, query} from './api.ts'
import {type Condition, isTrue} from './condition.ts'
import {createDiscovery} from './discovery.ts'
import {createExec} from './exec.ts'
import {openForwards} from './forwards.ts'
import type {Clusters, Kind, Kube, KubeObject, KubeTarget, Ref} from './kube.ts'
import {applyArgs, debugArgs, kubectlArgs, nudgeArgs, patchArgs, removeArgs} from './kubectl.ts'
import {asKept, shown, without} from './objects.ts'
import {refusal} from './refusal.ts'

const writeMs = 120_000
const pageSize = 500

type Pod = KubeObject & {readonly status?: {readonly conditions?: readonly Condition[]}}

const isReady = (pod: Pod): boolean => pod.metadata['deletionTimestamp'] === undefined && isTrue(pod, 'Ready')

type Programs = {readonly shell: Shell; readonly program: (name: ProgramName) => Promise<string>}

const openOne = (target: KubeTarget, {shell, program}: Programs): {readonly kube: Kube; readonly end: () => void} => {
  const api = openApi(target)
  const pathOf = createDiscovery(api)

  type List<T> = {readonly items: readonly T[]; readonly metadata: {readonly continue?: string}}
  const list = async <T extends KubeObject>(
    kind: Kind,
    {namespace, labels}: {readonly namespace?: string; readonly labels?: string} = {},
  ) => {
    const at = await pathOf(kind, namespace)
    const found: T[] = []
    let next: string | undefined
    do {
      const page: List<T> | undefined =
        at === undefined ? undefined : await api.get(`${at}${query({limit: pageSize, labelSelector: labels, continue: next})}`)
      // items of a list do not say what they are
      for (const item of page?.items ?? []) found.push({...item, ...kind})
      next = page?.metadata.continue
    } while (next)
    return found
  }

  const forwards = openForwards(api, async (to) => {
    if ('pod' in to) return [to.pod]
    const pods = await list<Pod>({apiVersion: 'v1', kind: 'Pod'}, {namespace: to.namespace, labels: to.labels})
    return pods.filter(isReady).map(({metadata}) => metadata.name)
  })

  /** Runs kubectl; `objects` are what it is about. */
  const write = async (args: readonly string[], objects: readonly KubeObject[], input?: Secret): Promise<void> => {
    const said: string[] = []
    await api.reachable()
    try {
      await shell.run({
        file: await program('kubectl'),
        args: [...kubectlArgs(target), ...args],
        timeoutMs: writeMs,
        mutates: true,
        onLine: (line) => void said.push(line),
        ...(input && {input}),
      })
    } catch (error) {
      if (!(error instanceof LkeobsError) || error.code !== 'LKO-4003') throw error
      const secrets = secretsIn(objects)
      const isDone = ({kind, metadata: {name}}: KubeObject) =>
        said.some((line) => line.startsWith(kind.toLowerCase()) && line.includes(`/${name} `))
      const names = objects.filter((object) => !isDone(object)).map(shown)
      throw refusal(target, without(secrets, said.join('\n')), names) ?? new LkeobsError('LKO-4003', without(secrets, error.message))
    }
  }

  const kube: Kube = {
    target,
    async version() {
      return (await api.get<{readonly gitVersion: string}>('/version'))?.gitVersion ?? ''
    },
    clockAhead: () => api.aheadMs(),
    async read<T extends KubeObject>(ref: Ref) {
      const at = await pathOf(ref, ref.namespace ?? 'default')
      return at === undefined ? undefined : api.get<T>(`${at}/${ref.name}`)
    },
    list,
    async may({verb, group = '', resource, subresource, namespace}) {
      const resourceAttributes = {verb, group, resource, subresource, namespace}
      const {status} = await api.question<{readonly status: {readonly allowed: boolean}}>(
        '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        {apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: {resourceAttributes}},
      )
      return status.allowed
    },
    async log({namespace, pod, container, previous, lines: tailLines}) {
      const text = await api.text(`/api/v1/namespaces/${namespace}/pods/${pod}/log${query({container, previous, tailLines})}`)
      return (text ?? '').split('\n').filter((line, index, all) => line !== '' || index < all.length - 1)
    },
    forward: (to) => forwards.to(to),
    exec: createExec(api, target),
    apply: (objects, {force}) =>
      write(applyArgs(force, '-'), objects, new Secret(objects.map((object) => revealed(asKept(object))).join('\n---\n'))),
    patch: (...what) => write(patchArgs(...what), []),
    async debug(looker) {
      // kubectl opens it by its name, which the stdin of a child cannot be
      const folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-'))
      try {
        const file = path.join(folder, `${looker.container}.json`)
        await writeFile(file, JSON.stringify(looker.spec))
        await write(debugArgs(looker, file), [])
      } finally {
        await rm(folder, {recursive: true, force: true})
      }
    },
    nudge: (pods, annotation) => write(nudgeArgs(pods, annotation), []),
    async remove(ref) {
      try {
        await write(removeArgs(ref), [])
      } catch (error) {
        // what has no kind is not there
        if (!(error instanceof LkeobsError && /doesn't have a resource type/.test(error.message))) throw error
      }
    },
  }
  return {
    kube,
    end() {
      forwards.end()
      api.end()
    },
  }
}

export const createClusters = (programs: Programs): Clusters => {
  const opened = new Map<string, ReturnType<typeof openOne>>()
  return {
    open(target) {
      const key = JSON.stringify([target.context, target.kubeconfig])
      const one = opened.get(key) ?? openOne(target, programs)
      opened.set(key, one)
      return one.kube
    },
    async end() {
      for (const {end} of opened.values()) end()
    },
  }
}
