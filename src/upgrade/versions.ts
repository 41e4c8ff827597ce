import type {Release} from '../components/release.ts'
import {LkeobsError} from '../errors.ts'
import type {ChartFacts, InstalledRelease} from '../tools/helm.ts'

/** What is compared before anything is rendered. */
export type Versions = {
  readonly cluster: string
  /** `v1.37.2` */
  readonly kubernetes: string
  readonly release: Pick<Release, 'name' | 'chart'>
  readonly installed: Pick<InstalledRelease, 'chart'> | undefined
  /** Of the chart that is to be installed. */
  readonly pinned: ChartFacts
}

/** `v1.30.0-0` as numbers; undefined where it is no version. */
const numbersIn = (version: string | undefined): readonly [number, number, number] | undefined => {
  const [, major, minor = '0', patch = '0'] = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?/.exec(version ?? '') ?? []
  return major === undefined ? undefined : [Number(major), Number(minor), Number(patch)]
}

/** Whether one version comes before another; no, where one of them is none. */
const isBefore = (one: string | undefined, other: string | undefined): boolean => {
  const [a, b] = [numbersIn(one), numbersIn(other)]
  if (!a || !b) return false
  const [first] = a.flatMap((part, index) => (part === b[index] ? [] : [part - (b[index] ?? 0)]))
  return first !== undefined && first < 0
}

/** Charts are tagged with and without a `v`. */
export const isSameVersion = (one: string, other: string): boolean => one.replace(/^v/, '') === other.replace(/^v/, '')

/** `>= 1.30.0-0`, `^1.25`; undefined where a range has no single lower end, which helm judges itself. */
const lowestOf = (range: string | undefined): string | undefined =>
  range === undefined || range.includes('||') ? undefined : /(?:>=|\^|~)\s*(v?\d[\w.]*)/.exec(range)?.[1]

/** Why these versions cannot follow one another; undefined where they can. */
const obstacle = ({kubernetes, release: {chart}, installed, pinned}: Versions): string | undefined => {
  const lowest = lowestOf(pinned.kubeVersion)
  if (isBefore(kubernetes, lowest))
    return `chart ${chart} ${pinned.version} is for Kubernetes ${pinned.kubeVersion}; the cluster is ${kubernetes}.`
  if (!installed) return undefined
  const {version, appVersion} = installed.chart
  if (isBefore(pinned.version, version)) return `chart ${version} is installed; ${pinned.version} would be a step back.`
  const [from, to] = [numbersIn(appVersion), numbersIn(pinned.appVersion)]
  if (!from || !to || to[0] - from[0] <= 1) return undefined
  return `${appVersion} is installed; ${pinned.appVersion} is more than one major version ahead.`
}

/** Throws LKO-3114 where what is installed cannot become what is wished for. */
export const refuseSkew = (versions: Versions): void => {
  const why = obstacle(versions)
  if (why !== undefined) throw new LkeobsError('LKO-3114', `${versions.release.name} on ${versions.cluster}: ${why}`)
}
