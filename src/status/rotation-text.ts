import {count, duration, mark, nextCommands, table} from '../output.ts'
import type {RootPhase} from '../platforms/local/root-rotation.ts'
import type {Rotated} from '../trust/rotation.ts'

const short = (serial: string): string => `${serial.slice(0, 12).toLowerCase()}…`

/** What of `certs rotate` a person looks at. */
export const rotationText = (
  rotated: readonly Rotated[],
  {p50, p95, max}: {readonly p50: number; readonly p95: number; readonly max: number},
): string =>
  [
    table(
      ['cluster', 'serial before', 'now', 'in use after'],
      rotated.map(({cluster, before, after, propagationMs}) => [
        `${mark.so} ${cluster}`,
        short(before),
        short(after),
        duration(propagationMs),
      ]),
    ),
    `${count(rotated.length, 'leaf', 'leaves')} in use on the wire.   p50 ${duration(p50)}, p95 ${duration(p95)}, slowest ${duration(max)}`,
    nextCommands(['lkeobs certs status', 'lkeobs verify --all']),
  ].join('\n')

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
