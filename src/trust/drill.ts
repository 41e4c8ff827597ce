import {LkeobsError} from '../errors.ts'
import type {Vault} from '../tools/vault.ts'
import {registry} from './register.ts'

/** How many shares open a Vault, and of how many. */
export type Shares = {readonly threshold: number; readonly of: number}

export const sharesText = ({threshold, of}: Shares): string => `any ${threshold} of ${of} shares`

export const sharesIn = ({t = 0, n = 0}: {readonly t?: number; readonly n?: number}): Shares => ({threshold: t, of: n})

/** What `vault snapshot` writes before it takes the snapshot, and a drill reads back. Nothing secret. */
export type Marker = {readonly id: string; readonly at: string; readonly fleet: string; readonly cluster: string}

export const markerPath = `${registry}/drill`

/** Undefined where none was ever written, or nobody may read. */
export const markerIn = async (vault: Vault): Promise<Marker | undefined> => {
  try {
    return await vault.read<Marker>(markerPath)
  } catch (error) {
    if (error instanceof LkeobsError) return undefined
    throw error
  }
}

/** The note beside a snapshot, `FILE.json`: of what it is, and what a drill has to find in it. Nothing secret. */
export type Note = Marker & {
  readonly schema: 'lkeobs/vault-snapshot-note/v1'
  readonly seal: string
  /** Of a Vault that holders open. */
  readonly shares?: Shares
  readonly version: string
  readonly sha256: string
  readonly bytes: number
  readonly index: number
}

export const noteFile = (snapshot: string): string => `${snapshot}.json`

/** Throws LKO-5203 where the snapshot is of another cluster, as its note or its marker says. */
export const checkOrigin = (found: Pick<Marker, 'fleet' | 'cluster'>, wished: Pick<Marker, 'fleet' | 'cluster'>, file: string): void => {
  if (found.cluster === wished.cluster && found.fleet === wished.fleet) return
  throw new LkeobsError(
    'LKO-5203',
    `${file} is of ${found.cluster} of the fleet ${found.fleet}, not of ${wished.cluster} of the fleet ${wished.fleet}.`,
    {next: found.fleet === wished.fleet ? [`lkeobs vault restore ${file} ${found.cluster} --drill`] : []},
  )
}
