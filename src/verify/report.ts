import {count, duration, mark, nextCommands, table} from '../output.ts'
import type {CanaryResult, Verification} from './verify.ts'

/** The way of one canary: the hops that counted it, and where it ended. */
const wayOf = ({ok, store, acceptedMs, lastHop, reason}: CanaryResult): string => {
  const agent = acceptedMs === undefined ? `agent ${mark.not}` : `agent ${duration(acceptedMs)}`
  if (ok) return `${agent} → gateway → ${store}`
  if (lastHop === 'none') return `${agent} ${reason}`
  return lastHop === 'agent' ? `${agent} → gateway ${mark.not} ${reason}` : `${agent} → gateway → ${store} ${mark.not} ${reason}`
}

/** The table people look at: one line a canary. */
export const verificationText = ({run, ok, canaries}: Verification): string => {
  const rows = canaries.map((canary) => [
    canary.edge,
    canary.signal,
    wayOf(canary),
    canary.latencyMs === undefined ? '' : `${duration(canary.latencyMs)}  ${mark.so}`,
  ])
  const edges = new Set(canaries.map(({edge}) => edge)).size
  const back = canaries.filter((canary) => canary.ok).length
  const summary = `${count(edges, 'edge')}, ${canaries.length} canaries, ${back} read back.   run ${run}`
  const next = ok ? [] : ['lkeobs status', 'lkeobs lab status', 'lkeobs explain LKO-2001']
  return [table(['edge', 'signal', 'path', 'queryable'], rows), summary, ...(next.length > 0 ? [nextCommands(next)] : [])].join('\n')
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

/** The same for CI systems: one test case a canary. */
export const verificationJunit = ({run, canaries}: Verification): string => {
  const failures = canaries.filter(({ok}) => !ok).length
  const cases = canaries.map(({edge, signal, store, ok, latencyMs, lastHop, reason}) => {
    const head = `    <testcase classname="${escaped(edge)}" name="${signal} to ${store}" time="${((latencyMs ?? 0) / 1000).toFixed(3)}"`
    return ok ? `${head}/>` : `${head}>\n      <failure message="${escaped(`last hop ${lastHop}: ${reason}`)}"/>\n    </testcase>`
  })
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites><testsuite name="lkeobs verify ${run}" tests="${canaries.length}" failures="${failures}">`,
    ...cases,
    '</testsuite></testsuites>',
    '',
  ].join('\n')
}
