import http from 'node:http'
import {setTimeout as sleep} from 'node:timers/promises'
import {recordText} from './sinks.ts'

const service = 'lkeobs-load'
export const loadQuery = `{service_name="${service}"}`

export type Load = {
  /** The id of the record that was made last; the first is the one after `after`. */
  readonly made: number
  /** Requests that nobody accepted, each offered again until somebody did. */
  readonly again: number
  /** Makes no more, and ends when all are accepted. */
  stop(): Promise<void>
}

const attributes = [{key: 'service.name', value: {stringValue: service}}]

/** Log records of which no two are alike, by OTLP over HTTP, as many a second; each request again until it is accepted. */
export const startLoad = (base: string, perSecond: number, {perRequest = 250, after = 0} = {}): Load => {
  const {hostname, port} = new URL(base)
  const agent = new http.Agent({keepAlive: true, maxSockets: 8})
  const post = (body: string): Promise<boolean> =>
    new Promise((resolve) => {
      const headers = {'content-type': 'application/json', 'content-length': Buffer.byteLength(body)}
      const request = http.request({hostname, port, path: '/v1/logs', method: 'POST', agent, headers}, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode === 200))
      })
      request.on('error', () => resolve(false))
      request.end(body)
    })
  let made = after
  let again = 0
  let isOver = false
  const underWay = new Set<Promise<void>>()
  const offer = async (body: string): Promise<void> => {
    while (!(await post(body))) {
      again++
      await sleep(300)
    }
  }
  const making = (async () => {
    const startMs = Date.now()
    for (let round = 0; ; round++) {
      await sleep(Math.max(0, startMs + (round * perRequest * 1000) / perSecond - Date.now()))
      if (isOver) return
      const now = Date.now()
      const logRecords = Array.from({length: perRequest}, () => {
        const text = `${recordText(++made, now)} GET /items/${(made * 7919) % 100_003} 200 ${(made * 104_729) % 65_536}`
        return {timeUnixNano: `${now}${String(made % 1_000_000).padStart(6, '0')}`, severityNumber: 9, body: {stringValue: text}}
      })
      const sending = offer(JSON.stringify({resourceLogs: [{resource: {attributes}, scopeLogs: [{logRecords}]}]}))
      underWay.add(sending)
      void sending.finally(() => underWay.delete(sending))
      if (underWay.size > 64) await Promise.race(underWay)
    }
  })()
  return {
    get made() {
      return made
    },
    get again() {
      return again
    },
    async stop() {
      isOver = true
      await making
      await Promise.all(underWay)
      agent.destroy()
    },
  }
}
