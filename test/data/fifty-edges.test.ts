import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, expect, test} from 'vitest'
import {figures} from '../support/bulk.ts'
import {type DataLab, openDataLab} from '../support/data-lab.ts'

// asked for by LKEOBS_DATA_EDGES=50 alone: it takes some 200 MB of memory an edge
const edges = Number(process.env['LKEOBS_DATA_EDGES'] ?? 0)

let lab: DataLab | undefined

beforeAll(async () => {
  if (edges > 0) lab = await openDataLab({edges})
})
afterAll(async () => {
  await lab?.close()
})

type Rotated = {readonly proof?: {readonly lost: object; readonly refused: object; readonly sent: object}}
const none = {metrics: 0, logs: 0, traces: 0}

test.runIf(edges > 0)(
  `all certificates of ${edges} edges are rotated under numbered traffic`,
  async () => {
    const fleet = lab as DataLab
    const memory = JSON.parse((await fleet.done('lab', 'status', '--json')).stdout) as {readonly residentBytes: number}
    let oldest = 0
    const over = new AbortController()
    const watching = (async () => {
      for (; !over.signal.aborted; await sleep(1000)) {
        const queues = (await fleet.queues('hub', 'gateway')) ?? []
        oldest = Math.max(
          oldest,
          ...queues.flatMap(({sinks}) => sinks.flatMap((sink) => sink.edges.map(({oldestSeconds}) => oldestSeconds ?? 0))),
        )
      }
    })()
    const rotated = await fleet.run('certs', 'rotate', '--all', '--prove', '--yes', '--json')
    over.abort()
    await watching
    const {proof} = JSON.parse(rotated.stdout) as Rotated
    figures('rotation', {
      edges,
      residentBytes: memory.residentBytes,
      seconds: rotated.ms / 1000,
      oldestSeconds: oldest,
      lost: proof?.lost,
      sent: proof?.sent,
    })
    expect(rotated.code, rotated.stderr).toBe(0)
    expect(proof).toMatchObject({lost: none, refused: none})
    expect(rotated.ms).toBeLessThan(120_000)
  },
  1_800_000,
)
