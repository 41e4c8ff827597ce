import {setTimeout as sleep} from 'node:timers/promises'
import {type Signal, signals} from '../collector/config.ts'
import {orElse} from '../errors.ts'
import type {EdgeCluster, Stores} from '../platforms/platform.ts'
import type {Http} from '../tools/http.ts'
import {isBack, newCanary, newRun} from '../verify/verify.ts'

/** A canary that came back: which signal, in which second it was sent, and how long it took until a store returned it. */
export type Heard = {readonly signal: Signal; readonly second: number; readonly ms: number}

const everyMs = 1000
const pollMs = 100
const patientMs = 120_000
/** Of one signal through one edge: where they take long, fewer are sent. */
const atOnce = 5

/** Sends a canary of each signal through each edge once a second, and looks for it until a store returns it. */
export const canariesThrough = (
  http: Http,
  edges: readonly EdgeCluster[],
  stores: Stores,
  wanted: readonly Signal[],
  elapsed: () => number,
) => {
  const heard: Heard[] = []
  const ended = new AbortController()
  const gone = new AbortController()
  const pause = (ms: number) => sleep(ms, undefined, {signal: gone.signal}).catch(() => undefined)
  const under = new Map<string, number>()

  const follow = async (edge: EdgeCluster, signal: Signal): Promise<void> => {
    const run = newRun()
    const canary = newCanary(run)
    const second = elapsed()
    const started = Date.now()
    const accepted = await orElse<true | string>(edge.sendCanary(signal, canary), ({message}) => message)
    if (accepted !== true) return
    for (const end = started + patientMs; Date.now() < end && !gone.signal.aborted; await pause(pollMs)) {
      if (!(await isBack(http, stores, edge.name, signal, {...canary, run}))) continue
      heard.push({signal, second, ms: Date.now() - started})
      return
    }
  }

  const all: Promise<void>[] = []
  const sending = (async () => {
    for (let due = Date.now(); !ended.signal.aborted; due += everyMs) {
      for (const edge of edges) {
        for (const signal of signals.filter((one) => wanted.includes(one))) {
          const key = `${edge.name} ${signal}`
          if ((under.get(key) ?? 0) >= atOnce) continue
          under.set(key, (under.get(key) ?? 0) + 1)
          all.push(follow(edge, signal).finally(() => under.set(key, (under.get(key) ?? 1) - 1)))
        }
      }
      await sleep(Math.max(0, due + everyMs - Date.now()), undefined, {signal: ended.signal}).catch(() => undefined)
    }
  })()

  return {
    heard,
    /** No more are sent. */
    end: () => ended.abort(),
    /** Those under way are let go. */
    async letGo(): Promise<void> {
      ended.abort()
      gone.abort()
      await sending
      await Promise.all(all)
    },
  }
}
