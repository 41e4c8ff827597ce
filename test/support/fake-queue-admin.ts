import type {Answer, Http} from '../../src/tools/http.ts'

export type FakeLetter = {
  readonly id: string
  readonly signal: 'metrics' | 'logs' | 'traces'
  readonly sink: string
  readonly edge: string
  readonly reason: string
  readonly detail?: string
  readonly time: string
  readonly bytes?: number
  readonly workload?: string
  readonly item?: unknown
}

type FakeEdge = {
  edge: string
  accepted?: number
  stored?: number
  takenOut?: Record<string, number>
  dropped?: Record<string, number>
  repaired?: Record<string, number>
  refused?: Record<string, number>
  waitingItems: number
  waitingBytes?: number
  oldestSeconds?: number | null
  headFailingSeconds?: number
  lastError?: string
}

export type FakeQueue = {
  component: string
  signal: string
  capacityBytes: number
  diskBytes: number
  lostItems?: number
  sinks: {name: string; exporter: string; deadLetters?: object; edges: FakeEdge[]}[]
}

/** A queue with one sink and one edge. */
export const queueOf = (signal: string, sink: string, exporter: string, edge: FakeEdge, more: Partial<FakeQueue> = {}): FakeQueue => ({
  component: 'durable_queue/stores',
  signal,
  capacityBytes: 1_000_000_000,
  diskBytes: 1_000_000,
  sinks: [{name: sink, exporter, deadLetters: {count: 0, bytes: 0, maxBytes: 268_435_456, evicted: 0}, edges: [edge]}],
  ...more,
})

const json = (body: object, status = 200): Answer => ({status, body: JSON.stringify(body)})

/**
 * Queue administrations that speak as the collector's extension does, by `host:port`. What is replayed is stored at the next look,
 * unless `refusesAgain` says otherwise; with `holds` it goes on waiting.
 */
export const fakeQueueAdmins = () => {
  type Process = {
    letters: FakeLetter[]
    queues: FakeQueue[]
    token: string | undefined
    refusesAgain: (letter: FakeLetter) => boolean
    holds: boolean
    pageSize: number
    readonly calls: string[]
  }
  const processes = new Map<string, Process>()
  const edgeOf = (process: Process, letter: FakeLetter) => {
    const sinks = process.queues
      .filter(({signal}) => signal === letter.signal)
      .flatMap(({sinks: all}) => all.filter(({name}) => name === letter.sink))
    return sinks.flatMap(({edges}) => edges.filter(({edge}) => edge === letter.edge))[0]
  }
  const answer = (url: string, shown: string | undefined, body?: object): Answer | undefined => {
    const {host, pathname, searchParams} = new URL(url)
    const process = processes.get(host)
    if (!process) return undefined
    process.calls.push(`${body ? 'POST' : 'GET'} ${pathname}`)
    if (process.token !== undefined && shown !== process.token) return json({error: 'a token is needed'}, 401)
    if (pathname === '/v1/state') return json({queues: process.queues})
    if (pathname === '/v1/dead-letters') {
      const matching = process.letters.filter((letter) =>
        (['signal', 'sink', 'edge', 'reason'] as const).every(
          (key) => searchParams.get(key) === null || searchParams.get(key) === letter[key],
        ),
      )
      const after = searchParams.get('after')
      const from = after === null ? 0 : matching.findIndex(({id}) => id === after) + 1
      const page = matching.slice(from, from + Math.min(process.pageSize, Number(searchParams.get('limit') ?? 1000)))
      const isLast = from + page.length >= matching.length
      return json({
        deadLetters: page.map((letter) => ({...letter, item: undefined})),
        total: matching.length,
        next: isLast ? null : page.at(-1)?.id,
      })
    }
    const {ids = []} = (body ?? {}) as {ids?: readonly string[]}
    const chosen = process.letters.filter(({id}) => ids.includes(id))
    if (pathname === '/v1/dead-letters/drop' || pathname === '/v1/dead-letters/replay') {
      process.letters = process.letters.filter(({id}) => !ids.includes(id))
      if (pathname.endsWith('drop')) return json({dropped: chosen.length})
      for (const letter of chosen) {
        const edge = edgeOf(process, letter)
        if (process.holds) {
          if (edge) edge.waitingItems += 1
        } else if (process.refusesAgain(letter)) process.letters.push({...letter, id: `${letter.id}-again`, time: new Date().toISOString()})
        else if (edge) edge.stored = (edge.stored ?? 0) + 1
      }
      return json({replayed: chosen.length})
    }
    const id = pathname.replace('/v1/dead-letters/', '')
    const letter = process.letters.find((one) => one.id === id)
    return letter ? json(letter) : json({error: 'there is none'}, 404)
  }
  return {
    /** One more collector process with queues. */
    add(
      address: string,
      {letters = [], queues = [], token}: {letters?: readonly FakeLetter[]; queues?: readonly FakeQueue[]; token?: string} = {},
    ) {
      const process: Process = {
        letters: [...letters],
        queues: structuredClone([...queues]),
        token,
        refusesAgain: () => false,
        holds: false,
        pageSize: 1000,
        calls: [],
      }
      processes.set(address, process)
      return process
    },
    /** The administrations, and whatever else answers. */
    http: (others: Partial<Http> = {}): Http => ({
      get: async (url, timeoutMs, token) => answer(url, token?.reveal()) ?? (await others.get?.(url, timeoutMs, token)),
      post: async (url, body, options) => answer(url, options?.token?.reveal(), body) ?? (await others.post?.(url, body, options)),
    }),
  }
}
