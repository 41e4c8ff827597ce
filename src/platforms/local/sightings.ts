import path from 'node:path'
import type {Tools} from '../../tools/index.ts'
import type {Sighting} from '../platform.ts'
import type {LocalCluster} from './index.ts'

type Kind = Sighting['kind']

/** What a component finds in this file. */
export const held = ({stateFolder}: LocalCluster, {files}: Pick<Tools, 'files'>, kind: Kind, file: string): Sighting => ({
  kind,
  seen: 'mounted',
  at: path.relative(path.dirname(stateFolder), file),
  read: () => files.read(file),
})

/** What whoever connects there is shown. */
export const served = ({tls}: Pick<Tools, 'tls'>, kind: Kind, at: string, which?: string): Sighting => ({
  kind,
  seen: 'served',
  at,
  ...(which !== undefined && {which}),
  read: () => tls.served(at),
})
