import {randomBytes} from 'node:crypto'
import type {Fleet} from '../clusters.ts'
import type {Cluster} from '../platforms/platform.ts'
import type {Plan} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {askNode, downloadSnapshot, inspectSnapshot} from '../tools/vault-raft.ts'
import {type Marker, markerIn, markerPath, type Note, noteFile, sharesIn} from '../trust/drill.ts'
import {registry} from '../trust/register.ts'
import {mounted} from '../trust/pki.ts'
import {nobodyLeads, nodesNow} from './vault.ts'

/** A cluster's Vault as a file, with a marker in it that a drill reads back. `taken` gets the note that is written beside it. */
export const vaultSnapshot = (
  {file: {fleet}}: Pick<Fleet, 'file'>,
  cluster: Cluster,
  out: string,
  {files}: Pick<Tools, 'files'>,
  taken: (note: Note) => void,
): Plan => {
  const {name, vault} = cluster
  const marker: Marker = {id: randomBytes(8).toString('hex'), at: new Date().toISOString(), fleet: fleet.fleet, cluster: name}
  let isTaken = false
  return {
    command: `vault snapshot ${name} --out ${out}`,
    title: `Snapshot of Vault on ${name}.`,
    steps: [
      mounted(vault, `register of ${name}, for the drill marker`, registry, 'kv'),
      {
        title: `drill marker ${marker.id} in Vault of ${name}`,
        done: async () => ((await markerIn(vault))?.id === marker.id ? true : 'not yet'),
        apply: async () => void (await vault.write(markerPath, marker)),
      },
      {
        title: `snapshot in ${out}, whole, for nobody else to read`,
        done: async () => (isTaken ? true : 'not taken yet'),
        async apply(tell) {
          // any other would only say who leads
          const {all, leader} = await nodesNow(cluster)
          if (!leader) throw nobodyLeads(cluster, all)
          const snapshot = await downloadSnapshot(leader)
          const {sha256, bytes, index} = await inspectSnapshot(`the snapshot of ${name}`, snapshot)
          tell(`${bytes} bytes, every file in it matches its sum`)
          const seal = (await askNode(vault))?.seal
          const note: Note = {
            schema: 'lkeobs/vault-snapshot-note/v1',
            ...marker,
            seal: seal?.type ?? cluster.seal,
            ...(seal?.type === 'shamir' && {shares: sharesIn(seal)}),
            version: seal?.version ?? '',
            sha256,
            bytes,
            index,
          }
          // the note last: it names the sum of the file it is about
          await files.write(out, snapshot)
          await files.write(noteFile(out), `${JSON.stringify(note, undefined, 2)}\n`)
          isTaken = true
          taken(note)
        },
      },
    ],
  }
}
