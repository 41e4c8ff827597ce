import type {Result} from '../command.ts'
import {count, duration, mark, nextCommands, table} from '../output.ts'
import type {RootPhase} from '../platforms/local/root-rotation.ts'
import type {Failed, Outcome} from '../steps/step.ts'
import {type Propagation, propagationOf, type Rotated} from '../trust/rotation.ts'
import type {PageWish} from '../verify/proof/page.ts'
import type {Proven} from '../verify/proof/proving.ts'

/** Of `certs rotate`: what became of it. */
type Ended = {
  readonly rotated: readonly Rotated[]
  readonly steps: readonly Outcome[]
  /** Left out where all went well. */
  readonly failed?: readonly Failed[]
  readonly proven: Proven
  /** Of the hub's root CA, where that is what was exchanged. */
  readonly root?: {readonly hub: string; readonly phase: RootPhase} | undefined
}

const short = (serial: string): string => (serial === '' ? 'none' : `${serial.slice(0, 12).toLowerCase()}…`)
const nameOf = ({cluster, node, pod}: Rotated): string => [cluster, node, pod].filter((part) => part !== undefined).join(' ')

const leaves = (rotated: readonly Rotated[]): string =>
  rotated.some(({node}) => node !== undefined) ? count(rotated.length, 'certificate') : count(rotated.length, 'leaf', 'leaves')

const rotatedText = (rotated: readonly Rotated[], {p50, p95, max}: Propagation): readonly string[] => [
  table(
    ['cluster', 'serial before', 'now', 'in use after'],
    rotated.map((one) => [`${mark.so} ${nameOf(one)}`, short(one.before), short(one.after), duration(one.propagationMs)]),
  ),
  `${leaves(rotated)} in use on the wire.   p50 ${duration(p50)}, p95 ${duration(p95)}, slowest ${duration(max)}`,
]

const failedLine = ({member, step, code, message}: Failed): string => `${member ?? step}   ${code} ${message}`
const failedText = (failed: readonly Failed[]): readonly string[] => failed.map((one) => `${mark.not} ${failedLine(one)}`)

/** The document of `certs rotate`, and what of it a person looks at. */
export const rotationResult = ({rotated, steps, failed = [], proven, root}: Ended): Result & {readonly ok: boolean} => {
  const propagationMs = propagationOf(rotated)
  const ok = proven.ok && failed.length === 0
  const seen = [...(rotated.length > 0 ? rotatedText(rotated, propagationMs) : []), ...failedText(failed)].join('\n')
  const next = failed.length > 0 || root ? [] : [nextCommands(['lkeobs certs status', 'lkeobs verify --all'])]
  return {
    ok,
    schema: 'lkeobs/rotation/v1',
    data: {
      ok,
      ...proven.proof,
      ...(root ? {root: true, phase: root.phase} : {propagationMs, rotated}),
      failed: failed.map(({member, ...rest}) => ({...(member !== undefined && {cluster: member}), ...rest})),
      steps,
    },
    text: [root ? rootPhaseText(root.hub, root.phase) : seen, ...(root ? failedText(failed) : []), ...proven.text, ...next]
      .filter((part) => part !== '')
      .join('\n\n'),
  }
}

/** What the page of a proof says of it. */
export const pageOf = (title: string, rotated: readonly Rotated[], failed: readonly Failed[]): PageWish => {
  const {p50, p95, max} = propagationOf(rotated)
  return {
    title,
    ...(rotated.length > 0 && {figures: {'p50 in use': duration(p50), p95: duration(p95), slowest: duration(max)}}),
    failed: failed.map(failedLine),
  }
}

const phases: Readonly<Record<RootPhase, string>> = {
  none: 'one root CA is trusted, and none is being exchanged',
  'trust-both': 'trust both: a second root CA is trusted beside the one that signs',
  reissue: 'reissue: the second root CA signs, and the first is still trusted',
  retire: 'retire: only the new root CA is trusted, and not everybody has been told yet',
}

export const rootPhaseText = (hub: string, phase: RootPhase): string =>
  [
    `${hub}: ${phases[phase]}.`,
    nextCommands(
      phase === 'none'
        ? ['lkeobs certs status']
        : ['lkeobs certs rotate --root', ...(phase === 'retire' ? [] : ['lkeobs certs rotate --root --rollback'])],
    ),
  ].join('\n')
