import {z} from 'zod'
import {LkeobsError} from '../errors.ts'
import type {Secret} from '../secret.ts'
import type {Http} from './http.ts'

const signal = z.enum(['metrics', 'logs', 'traces'])
const amount = z.number().nonnegative()
const byReason = z
  .record(z.string(), amount)
  .nullish()
  .transform((reasons) => reasons ?? {})

const edgeSchema = z.object({
  edge: z.string(),
  accepted: amount.default(0),
  stored: amount.default(0),
  repaired: byReason,
  takenOut: byReason,
  dropped: byReason,
  refused: byReason,
  waitingItems: amount,
  waitingBytes: amount.default(0),
  oldestSeconds: amount.nullish().transform((seconds) => seconds ?? null),
  headFailingSeconds: amount.default(0),
  lastError: z.string().default(''),
  /** Items of replayed dead letters that still wait; left out by a collector that does not tell them apart. */
  replaying: amount.optional(),
})

const stateSchema = z.object({
  queues: z
    .array(
      z.object({
        component: z.string(),
        signal,
        capacityBytes: amount,
        diskBytes: amount,
        lostItems: amount.default(0),
        lostBytes: amount.default(0),
        sinks: z
          .array(
            z.object({
              name: z.string(),
              exporter: z.string().default(''),
              deadLetters: z
                .object({count: amount.default(0), bytes: amount.default(0), maxBytes: amount.default(0), evicted: amount.default(0)})
                .prefault({}),
              edges: z
                .array(edgeSchema)
                .nullish()
                .transform((edges) => edges ?? []),
            }),
          )
          .nullish()
          .transform((sinks) => sinks ?? []),
      }),
    )
    .nullish()
    .transform((queues) => queues ?? []),
})

const letterSchema = z.object({
  id: z.string().min(1),
  signal,
  sink: z.string(),
  edge: z.string(),
  reason: z.string(),
  detail: z.string().default(''),
  time: z.iso.datetime({offset: true}),
  bytes: amount.default(0),
  workload: z.string().default(''),
  /** The dead letter this one was before it was replayed. */
  replayOf: z.string().optional(),
})

const pageSchema = z.object({
  deadLetters: z
    .array(letterSchema)
    .nullish()
    .transform((letters) => letters ?? []),
  total: amount,
  next: z
    .string()
    .nullish()
    .transform((next) => (next === undefined || next === '' ? null : next)),
})

/** The queues of one collector process, as it tells them. */
export type QueueState = z.infer<typeof stateSchema>
export type QueueOfSignal = QueueState['queues'][number]
export type SinkState = QueueOfSignal['sinks'][number]
export type EdgeState = SinkState['edges'][number]
export type DeadLetter = z.infer<typeof letterSchema>
export type DeadLetterPage = z.infer<typeof pageSchema>

/** A dead letter with the item itself: OTLP/JSON, with its resource and scope. */
export type OpenedDeadLetter = DeadLetter & {readonly item: unknown}

/** Which dead letters are meant; everything that is given has to match. */
export type DeadLetterFilter = {
  readonly signal?: string | undefined
  readonly sink?: string | undefined
  readonly edge?: string | undefined
  readonly reason?: string | undefined
}

/** The queues and dead letters of one collector process. */
export type QueueAdmin = {
  readonly cluster: string
  /** `gateway`, or the name of a pod. */
  readonly process: string
  /** Undefined where nobody answers: the collector does not run, or has no queue of ours. */
  state(): Promise<QueueState | undefined>
  /** One page, the oldest first; undefined where the one it should follow is gone. Throws LKO-2013 where it does not answer. */
  deadLetters(filter: DeadLetterFilter & {readonly limit?: number; readonly after?: string}): Promise<DeadLetterPage | undefined>
  /** Undefined where there is none with this id. */
  deadLetter(id: string): Promise<OpenedDeadLetter | undefined>
  /** Puts these into the queue of their sink again and says how many; those that are gone do not count. */
  replay(ids: readonly string[]): Promise<number>
  /** Deletes these and says how many; those that are gone do not count. */
  drop(ids: readonly string[]): Promise<number>
}

export type QueueAdminAddress = {
  readonly cluster: string
  readonly process: string
  /** `host:port` */
  readonly address: string
  readonly token?: Secret | undefined
}

// a page of letters and a replay of a thousand take their time on a busy disk
const patientMs = 60_000

/** What a refusal says, or all of it. */
const errorIn = (body: string): string => /^\s*\{"error":"((?:[^"\\]|\\.)*)"/.exec(body)?.[1] ?? body.trim().slice(0, 500)

/** The HTTP administration of a collector's queues. */
export const openQueueAdmin = (http: Http, {cluster, process, address, token}: QueueAdminAddress): QueueAdmin => {
  const base = `http://${address}/v1`
  const who = `${process} on ${cluster}`
  const failed = (why: string) =>
    new LkeobsError('LKO-2013', `The queue administration of ${who} at ${address} ${why}.`, {next: ['lkeobs status']})
  const parsed = <T>(schema: z.ZodType<T>, text: string): T => {
    let answer: unknown
    try {
      answer = JSON.parse(text)
    } catch {
      throw failed('answered something that is not JSON')
    }
    const result = schema.safeParse(answer)
    if (result.success) return result.data
    const [issue] = result.error.issues
    throw failed(`answered in another shape than this version of lkeobs knows (${issue?.path.join('.')}: ${issue?.message})`)
  }
  const ask = async (path: string) => {
    const answer = await http.get(`${base}/${path}`, patientMs, token)
    if (answer === undefined) throw failed('does not answer')
    return answer
  }
  const refusal = ({status, body}: {readonly status: number; readonly body: string}) => failed(`refused: ${status} ${errorIn(body)}`)
  const change = async (what: 'replay' | 'drop', ids: readonly string[]): Promise<number> => {
    const answer = await http.post(`${base}/dead-letters/${what}`, {ids}, {timeoutMs: patientMs, token})
    if (answer === undefined) throw failed('does not answer')
    if (answer.status !== 200) throw refusal(answer)
    return what === 'replay'
      ? parsed(z.object({replayed: amount}), answer.body).replayed
      : parsed(z.object({dropped: amount}), answer.body).dropped
  }
  return {
    cluster,
    process,
    async state() {
      const answer = await http.get(`${base}/state`, undefined, token)
      // whoever else listens there is no queue of ours
      if (answer === undefined || answer.status === 404) return undefined
      if (answer.status !== 200) throw refusal(answer)
      return parsed(stateSchema, answer.body)
    },
    async deadLetters({limit = 1000, after, ...filter}) {
      const wanted = Object.entries({...filter, after, limit: String(limit)}).filter(
        (entry): entry is [string, string] => entry[1] !== undefined,
      )
      const answer = await ask(`dead-letters?${new URLSearchParams(wanted).toString()}`)
      if (answer.status === 410) return undefined
      if (answer.status !== 200) throw refusal(answer)
      return parsed(pageSchema, answer.body)
    },
    async deadLetter(id) {
      const answer = await ask(`dead-letters/${encodeURIComponent(id)}`)
      if (answer.status === 404) return undefined
      if (answer.status !== 200) throw refusal(answer)
      return parsed(letterSchema.extend({item: z.unknown()}), answer.body)
    },
    replay: (ids) => change('replay', ids),
    drop: (ids) => change('drop', ids),
  }
}
