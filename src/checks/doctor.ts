import type {Fleet} from '../clusters.ts'
import {bold, count, dim, mark, nextCommands} from '../output.ts'
import {siteOf} from '../platforms/kubernetes/cluster.ts'
import type {Site, Ways} from '../platforms/kubernetes/site.ts'
import {stateFolderOf} from '../platforms/local/index.ts'
import type {Cluster} from '../platforms/platform.ts'
import {agentBudget, gatewayBudget, outageOf} from '../collector/budget.ts'
import {signals} from '../collector/config.ts'
import {collectorOf} from '../status/collectors.ts'
import type {Tools} from '../tools/index.ts'
import type {KubeObject} from '../tools/kube/kube.ts'
import {atMost, type Finding, meaningless, runChecks} from './check.ts'
import {kubernetesChecks, type Subject} from './cluster.ts'
import {uidOf} from '../platforms/kubernetes/identity.ts'
import {localChecks} from './local.ts'
import {machineChecks} from './machine.ts'
import type {DataPath} from './data-path.ts'
import {edgeWishes, hubWishes, quantity} from './wishes.ts'

export type ClusterReport = {
  readonly name: string
  readonly role: 'hub' | 'edge'
  /** Where it is: a context, or this machine. */
  readonly at: string
  readonly checks: readonly Finding[]
}
export type DoctorReport = {
  readonly fleet: string
  readonly ok: boolean
  readonly machine: {readonly checks: readonly Finding[]}
  readonly clusters: readonly ClusterReport[]
}

type Node = KubeObject & {readonly status?: {readonly allocatable?: Readonly<Record<string, string>>}}

/** The queues of an agent are on its node's disk, whose size says more than nothing of what is free of it. */
const smallestNode = async ({kube}: Site) => {
  const nodes = await kube.list<Node>({apiVersion: 'v1', kind: 'Node'})
  const sizes = nodes.map(({status}) => quantity(status?.allocatable?.['ephemeral-storage'])).filter((size) => size > 0)
  return sizes.length === 0 ? undefined : {bytes: Math.min(...sizes), what: 'the smallest disk of a node has'}
}

/** What its collector queues, and where. */
const dataPathOf = ({file}: Fleet, cluster: Cluster, tools: Tools, site?: Site): DataPath => {
  const {name, role} = cluster
  const edge = file.fleet.edges.find((one) => role === 'edge' && one.name === name)
  const needed = role === 'hub' ? gatewayBudget(file.fleet).bytes : agentBudget(file.fleet, edge)
  const volume = file.fleet.hub.platform.kubernetes?.gateway.queue
  const folder = stateFolderOf(file.folder)
  return {
    need: {outageSeconds: outageOf(file.fleet, edge?.outage), bytes: signals.reduce((sum, signal) => sum + needed[signal], 0)},
    room: async () =>
      site === undefined
        ? {bytes: await tools.files.free(folder), what: 'the disk has free'}
        : role === 'hub'
          ? {bytes: quantity(volume), what: 'the volume of a gateway has'}
          : smallestNode(site),
    collector: () => collectorOf(cluster),
    upgrade:
      site === undefined
        ? ['lkeobs lab up']
        : ['lkeobs images push', role === 'hub' ? 'lkeobs hub upgrade' : `lkeobs edge upgrade ${name}`],
  }
}

/** The cluster as the checks look at it; undefined where it is not on Kubernetes. */
const subjectOf = (fleet: Fleet, cluster: Cluster, tools: Tools, ways: Ways, uids: Subject['uids']): Subject | undefined => {
  const {file} = fleet
  const {name, role} = cluster
  const {hub, edges} = file.fleet
  const withPath = (subject: Subject): Subject => ({...subject, dataPath: dataPathOf(fleet, cluster, tools, subject.site)})
  const site = (platform: Parameters<typeof siteOf>[3]) => siteOf(file, name, role, platform, tools, ways)
  if (role === 'hub') {
    const {kubernetes} = hub.platform
    return kubernetes && withPath({site: site(kubernetes), platform: kubernetes, wishes: hubWishes(kubernetes, hub.vault.replicas), uids})
  }
  const kubernetes = edges.find((edge) => edge.name === name)?.platform.kubernetes
  return kubernetes && withPath({site: site(kubernetes), platform: kubernetes, wishes: edgeWishes(kubernetes), uids})
}

/** Clusters that are looked at side by side; within each, its checks are. */
const atOnce = 8

/** One that does not answer says so itself. */
const uidsOf = async (subjects: readonly Subject[]): Promise<ReadonlyMap<string, string | undefined>> =>
  new Map(await atMost(atOnce, subjects, async ({site}) => [site.cluster, await uidOf(site.kube).catch(() => undefined)] as const))

/** Looks at these clusters of the fleet, and at this machine. Whatever is found, everything is looked at. */
export const doctor = async (fleet: Fleet, clusters: readonly Cluster[], tools: Tools, ways: Ways = {}): Promise<DoctorReport> => {
  const subjects: readonly Subject[] = clusters.flatMap((cluster) => subjectOf(fleet, cluster, tools, ways, () => uids()) ?? [])
  let known: ReturnType<Subject['uids']> | undefined
  const uids = () => (known ??= uidsOf(subjects))
  const programs = [...new Set(clusters.flatMap((cluster) => cluster.programs))]
  const [machine, reports] = await Promise.all([
    runChecks(machineChecks, {programs, tools}),
    atMost(atOnce, clusters, async (cluster): Promise<ClusterReport> => {
      const {name, role} = cluster
      const subject = subjects.find(({site}) => site.cluster === name)
      const at = subject ? `context ${subject.site.kube.target.context}` : 'this machine'
      const checks = subject
        ? runChecks(kubernetesChecks, subject)
        : runChecks(localChecks, {cluster, folder: fleet.file.folder, tools, dataPath: dataPathOf(fleet, cluster, tools)})
      return {name, role, at, checks: await checks}
    }),
  ])
  const all = [machine, ...reports.map(({checks}) => checks)].flat()
  return {
    fleet: fleet.file.fleet.fleet,
    ok: all.every(({state}) => state !== 'failed'),
    machine: {checks: machine},
    clusters: reports,
  }
}

const marks = {ok: mark.so, warning: mark.soon, failed: mark.not, skipped: mark.skipped} as const

const findingLines = (finding: Finding, widest: number): readonly string[] => {
  const {state, about} = finding
  const line = (more: string) => `  ${marks[state]} ${more === '' ? about : `${about.padEnd(widest)}   ${dim(more)}`}`
  if (finding.state === 'ok') return [line(finding.fact ?? '')]
  if (finding.state === 'skipped') return [line(finding.why)]
  const code = finding.code === undefined ? '' : `${bold(finding.code)}  `
  const why = finding.why.split('\n').map((text, index) => `      ${index === 0 ? code : ''}${text}`)
  return [line(''), ...why, ...finding.next.map((command) => `    ${nextCommands([command])}`)]
}

const isIdle = (finding: Finding): finding is Finding & {readonly state: 'skipped'} =>
  finding.state === 'skipped' && finding.why.startsWith(meaningless)

const section = (title: string, checks: readonly Finding[]): readonly string[] => {
  const widest = Math.max(...checks.map(({about}) => about.length))
  const idle = checks.filter(isIdle)
  // one sentence for all that wait for the same thing
  const groups = [...Map.groupBy(idle, (finding) => finding.why)].map(
    ([why, {length}]) => `  ${mark.skipped} ${count(length, 'more check')} ${length === 1 ? 'says' : 'say'} ${why.replace('says ', '')}`,
  )
  const shown = checks.filter((finding) => !isIdle(finding))
  return [title, ...shown.flatMap((finding) => findingLines(finding, widest)), ...groups, '']
}

/** Grouped by cluster; what is not so with its reason and what to type, and at the end what comes next. */
export const doctorText = ({fleet, ok, machine, clusters}: DoctorReport): string => {
  const all = [...machine.checks, ...clusters.flatMap(({checks}) => checks)]
  const of = (state: Finding['state']) => all.filter((finding) => finding.state === state).length
  const counts = [
    `${of('ok')} so`,
    ...(of('failed') > 0 ? [`${of('failed')} not`] : []),
    ...(of('warning') > 0 ? [count(of('warning'), 'warning')] : []),
    ...(of('skipped') > 0 ? [`${of('skipped')} skipped`] : []),
  ]
  const next = ok ? [...new Set(all.flatMap((finding) => (finding.state === 'ok' ? (finding.next ?? []) : [])))] : []
  return [
    ...section(bold('this machine'), machine.checks),
    ...clusters.flatMap(({name, role, at, checks}) => section(`${bold(name)}   ${role} of ${fleet}, ${at}`, checks)),
    `${count(clusters.length, 'cluster')}, ${count(all.length, 'check')}: ${counts.join(', ')}.`,
    ...(next.length > 0 ? [nextCommands(next)] : []),
  ].join('\n')
}
