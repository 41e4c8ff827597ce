import {gunzipSync} from 'node:zlib'
import {LkeobsError} from '../errors.ts'
import {revealed} from '../secret.ts'
import type {Kube, KubeObject, KubeTarget} from './kube/kube.ts'
import {refusal} from './kube/refusal.ts'
import {type Shell, typed} from './shell.ts'
import type {ProgramName} from '../programs/catalogue.ts'

/** A chart: a packaged file, or a name with the repository it is in (`https://…`, or `oci://…` that ends with the name). */
export type ChartSource = {readonly file: string} | PublishedChart
export type PublishedChart = {readonly name: string; readonly repository: string; readonly version: string}

/** What a chart says of itself. */
export type ChartFacts = {readonly version: string; readonly appVersion?: string; readonly kubeVersion?: string}

export type ReleaseWish = {
  readonly name: string
  readonly namespace: string
  readonly chart: ChartSource
  readonly values: object
  /** Where `render` writes the same values: what a dry run prints. */
  readonly file: string
}

/** helm, for writing and rendering; what is installed is read from the release's Secret (`releasesIn`). */
export type Helm = {
  /**
   * `helm upgrade --install`. Throws LKO-3108 (not admitted), LKO-3109 (a field is someone else's), LKO-3110 (the name, or an
   * object, is another release's), LKO-3113 (no such chart) and LKO-3114 (the cluster is too old for the chart).
   */
  upgrade(release: ReleaseWish, options?: {readonly force?: boolean}): Promise<void>
  /** The manifest (YAML) the release would have: `helm template`. Needs no cluster. */
  template(release: ReleaseWish, kubeVersion: string): Promise<string>
  /** What is not there is gone already. */
  uninstall(release: {readonly name: string; readonly namespace: string}): Promise<void>
  /** Puts the packaged chart into a folder that is there. */
  pull(chart: PublishedChart, folder: string): Promise<void>
  /** What the chart says of itself: `helm show chart`. */
  facts(chart: ChartSource): Promise<ChartFacts>
}

/** Without a target only `template`, `pull` and `facts` can be asked. */
export type OpenHelm = (target: KubeTarget | undefined) => Helm

/** A release as its newest Secret tells of it. */
export type InstalledRelease = {
  readonly name: string
  readonly namespace: string
  readonly revision: number
  /** `deployed`, `failed`, `pending-install`, `pending-upgrade`, … A pending one belongs to a helm that works, or was killed. */
  readonly status: string
  readonly chart: {readonly name: string; readonly version: string; readonly appVersion: string | undefined}
  /** What was given, without the chart's defaults. */
  readonly values: Readonly<Record<string, unknown>>
  readonly manifest: string
  readonly secretName: string
}

const upgradeMs = 6 * 60_000
const otherMs = 5 * 60_000

/** What helm takes from the environment and ours must not differ in: another driver, another cluster, another user. */
const environment = {HELM_DRIVER: 'secret', HELM_KUBEAPISERVER: '', HELM_KUBETOKEN: '', HELM_KUBEASUSER: '', HELM_KUBEASGROUPS: ''}

const chartArgs = (chart: ChartSource): readonly string[] => {
  if ('file' in chart) return [chart.file]
  const {name, repository, version} = chart
  return repository.startsWith('oci://') ? [repository, '--version', version] : [name, '--repo', repository, '--version', version]
}
const clusterArgs = ({context, kubeconfig}: KubeTarget): readonly string[] => [
  '--kube-context',
  context,
  ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]),
]

/** `extra` is what a person need not type. */
const upgradeArgs = (
  target: KubeTarget,
  {name, namespace, chart}: ReleaseWish,
  {force, extra, file}: {readonly force: boolean | undefined; readonly extra: readonly string[]; readonly file: string},
): readonly string[] => [
  'upgrade',
  '--install',
  name,
  ...chartArgs(chart),
  '--namespace',
  namespace,
  ...clusterArgs(target),
  ...(force === true ? ['--force-conflicts'] : []),
  ...extra,
  '-f',
  file,
]
const uninstallArgs = (target: KubeTarget, {name, namespace}: {readonly name: string; readonly namespace: string}): readonly string[] => [
  'uninstall',
  name,
  '--namespace',
  namespace,
  ...clusterArgs(target),
  '--ignore-not-found',
]
const pullArgs = (chart: ChartSource, folder: string): readonly string[] => ['pull', ...chartArgs(chart), '--destination', folder]

/** The writes, as a person would type them. */
export const helmLines = {
  upgrade: (target: KubeTarget, release: ReleaseWish, {force}: {readonly force?: boolean} = {}): string =>
    typed({file: 'helm', args: upgradeArgs(target, release, {force, extra: [], file: release.file})}),
  uninstall: (target: KubeTarget, release: {readonly name: string; readonly namespace: string}): string =>
    typed({file: 'helm', args: uninstallArgs(target, release)}),
  pull: (chart: ChartSource, folder: string): string => typed({file: 'helm', args: pullArgs(chart, folder)}),
  /** What is installed, in a namespace or in all of them. */
  list: (target: KubeTarget, namespace?: string): string =>
    typed({file: 'helm', args: ['list', ...(namespace === undefined ? ['-A'] : ['--namespace', namespace]), ...clusterArgs(target)]}),
}

const taken = /cannot re-use a name|invalid ownership metadata|cannot be imported into the current release/
const noChart =
  /is not a valid chart repository or cannot be reached|chart ".*" (version ".*" )?not found|failed to perform "|non-absolute URLs should be|path ".*" not found|failed to (fetch|download)|no such file or directory|improper constraint|could not (retrieve|find) (list|protocol)/

const tooOld = /requires kubeVersion: .* which is incompatible with Kubernetes/

/** Three scalars at the margin of Chart.yaml. */
const factsIn = (text: string): ChartFacts => {
  const said = (key: string) => new RegExp(`^${key}: *['"]?([^'"\\n]*?)['"]? *$`, 'm').exec(text)?.[1]
  const [version = '', appVersion, kubeVersion] = ['version', 'appVersion', 'kubeVersion'].map(said)
  return {version, ...(appVersion !== undefined && {appVersion}), ...(kubeVersion !== undefined && {kubeVersion})}
}

const needsCluster = (target: KubeTarget | undefined): KubeTarget => {
  if (target === undefined) throw new Error('this helm was opened without a cluster')
  return target
}

const errorIn = (text: string): string => {
  const at = text.search(/^Error: /m)
  return (at < 0 ? text : text.slice(at + 'Error: '.length)).trim()
}

export const createHelm =
  ({shell, program}: {readonly shell: Shell; readonly program: (name: ProgramName) => Promise<string>}): OpenHelm =>
  (target) => {
    const run = async (
      args: readonly string[],
      {about, input, timeoutMs = otherMs}: {readonly about: string; readonly input?: string; readonly timeoutMs?: number},
    ): Promise<string> => {
      const said: string[] = []
      const file = await program('helm')
      try {
        return await shell.run({
          file,
          args,
          env: environment,
          timeoutMs,
          onLine: (line) => void said.push(line),
          ...(input !== undefined && {input}),
        })
      } catch (error) {
        if (!(error instanceof LkeobsError) || error.code !== 'LKO-4003') throw error
        const text = said.join('\n')
        if (taken.test(text))
          throw new LkeobsError('LKO-3110', `${about}: ${errorIn(text)}`, {next: target ? [helmLines.list(target)] : []})
        if (tooOld.test(text)) throw new LkeobsError('LKO-3114', `${about}: ${errorIn(text).split('\n')[0] ?? ''}`)
        const refused = target && refusal(target, text, [about])
        // a chart's server can be unreachable as a cluster can
        if (noChart.test(text) && (refused === undefined || refused.code === 'LKO-3102'))
          throw new LkeobsError('LKO-3113', `${about}: ${errorIn(text)}`)
        throw refused ?? error
      }
    }
    return {
      async upgrade(release, {force} = {}) {
        // without --reset-values helm keeps what was given before where nothing is given now
        const extra = ['--reset-values', '--history-max', '3', '--timeout', '5m']
        await run(upgradeArgs(needsCluster(target), release, {force, extra, file: '-'}), {
          about: `release ${release.name}`,
          input: revealed(release.values),
          timeoutMs: upgradeMs,
        })
      },
      template: ({name, namespace, chart, values}, kubeVersion) =>
        run(
          [
            'template',
            name,
            ...chartArgs(chart),
            '--namespace',
            namespace,
            '--kube-version',
            kubeVersion,
            '--include-crds',
            '--skip-tests',
            '-f',
            '-',
          ],
          {about: `release ${name}`, input: revealed(values)},
        ),
      async uninstall(release) {
        await run(uninstallArgs(needsCluster(target), release), {about: `release ${release.name}`})
      },
      async pull(chart, folder) {
        await run(pullArgs(chart, folder), {about: `chart ${chart.name} ${chart.version}`})
      },
      async facts(chart) {
        const about = 'file' in chart ? `chart ${chart.file}` : `chart ${chart.name} ${chart.version}`
        return factsIn(await run(['show', 'chart', ...chartArgs(chart)], {about}))
      },
    }
  }

/** Renders; writes are only recorded. */
export const dryHelm =
  (open: OpenHelm, record: (line: string) => void): OpenHelm =>
  (target) => ({
    ...open(target),
    async upgrade(release, options) {
      record(helmLines.upgrade(needsCluster(target), release, options))
    },
    async uninstall(release) {
      record(helmLines.uninstall(needsCluster(target), release))
    },
    async pull(chart, folder) {
      record(helmLines.pull(chart, folder))
    },
  })

type ReleaseSecret = KubeObject & {readonly data?: {readonly release?: string}}
type Stored = {
  readonly name: string
  readonly namespace: string
  readonly version: number
  readonly info: {readonly status: string}
  readonly chart: {readonly metadata: {readonly name: string; readonly version: string; readonly appVersion?: string}}
  readonly config?: Readonly<Record<string, unknown>> | null
  readonly manifest: string
}

/** Helm keeps JSON, compressed, as base64; and a Secret is base64 once more. */
const decode = ({data, metadata: {name: secretName}}: ReleaseSecret): InstalledRelease => {
  const packed = Buffer.from(Buffer.from(data?.release ?? '', 'base64').toString(), 'base64')
  const {name, namespace, version: revision, info, chart, config, manifest} = JSON.parse(gunzipSync(packed).toString()) as Stored
  const {name: chartName, version, appVersion} = chart.metadata
  return {
    name,
    namespace,
    revision,
    status: info.status,
    chart: {name: chartName, version, appVersion},
    values: config ?? {},
    manifest,
    secretName,
  }
}

/** What Helm has installed in a namespace, the newest revision of each release. */
export const releasesIn = async (kube: Kube, namespace: string, name?: string): Promise<readonly InstalledRelease[]> => {
  // earlier revisions are as large as the newest, and would all be sent
  const labels = ['owner=helm', 'status!=superseded', ...(name === undefined ? [] : [`name=${name}`])].join(',')
  const secrets = await kube.list<ReleaseSecret>({apiVersion: 'v1', kind: 'Secret'}, {namespace, labels})
  const revisionOf = ({metadata}: ReleaseSecret) => Number(metadata.labels?.['version'] ?? 0)
  const byName = Object.groupBy(secrets, ({metadata}) => metadata.labels?.['name'] ?? '')
  return Object.values(byName)
    .map((group = []) => group.toSorted((a, b) => revisionOf(b) - revisionOf(a)))
    .flatMap(([newest]) => (newest === undefined ? [] : [decode(newest)]))
    .toSorted((a, b) => a.name.localeCompare(b.name))
}
