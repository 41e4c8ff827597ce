import {count, dim, duration, mark, nextCommands, printable, table} from '../output.ts'
import type {CanaryResult, Verification} from './verify.ts'

/** The way of one canary, up to where it ended. */
const wayOf = ({ok, store, acceptedMs, lastHop}: CanaryResult): string => {
  if (acceptedMs === undefined) return `agent ${mark.not}`
  const agent = `agent ${duration(acceptedMs)}`
  if (ok) return `${agent} → gateway → ${store}`
  return lastHop === 'agent' ? `${agent} → gateway ${mark.not}` : `${agent} → gateway → ${store} ${mark.not}`
}

const whyOf = ({lastHop, reason}: CanaryResult): string =>
  dim(printable(`        ${lastHop === 'none' ? '' : `last counted by the ${lastHop}: `}${reason}`, {lines: true}))

/** The table people look at: one line a canary, and one more for what is known of a missing one. */
export const verificationText = ({run, ok, canaries}: Verification): string => {
  const rows = canaries.map((canary) => [
    canary.edge,
    canary.signal,
    wayOf(canary),
    canary.latencyMs === undefined ? '' : `${duration(canary.latencyMs)}  ${mark.so}`,
  ])
  const [header = '', ...lines] = table(['edge', 'signal', 'path', 'queryable'], rows).split('\n')
  const explained = canaries.flatMap((canary, index) => [lines[index] ?? '', ...(canary.ok ? [] : [whyOf(canary)])])
  const edges = new Set(canaries.map(({edge}) => edge)).size
  const back = canaries.filter((canary) => canary.ok).length
  const summary = `${count(edges, 'edge')}, ${count(canaries.length, 'canary', 'canaries')}, ${back} read back.   run ${run}`
  const letters = canaries.flatMap(({deadLetter}) => (deadLetter === undefined ? [] : [`lkeobs dead-letters show ${deadLetter}`]))
  const next = ok ? [] : [nextCommands([...letters, 'lkeobs status', 'lkeobs explain LKO-2001'])]
  return [header, ...explained, summary, ...next].join('\n')
}

// XML 1.0 has no place for control characters
export const escaped = (text: string): string =>
  text
    .replaceAll(/\p{Cc}/gu, ' ')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')

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
