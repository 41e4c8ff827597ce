import {count, duration, mark, nextCommands, table} from '../output.ts'
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
