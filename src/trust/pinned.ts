import {LkeobsError} from '../errors.ts'
import type {Tools} from '../tools/index.ts'
import {pinOf} from './invite.ts'

/** Where anybody may read the certificates above those of edges. */
const chainPath = 'pki_edge/issuer/default/json'

/**
 * The root CA of a hub that is known by its pin alone. It is asked for over a connection that proves nothing, so nothing secret
 * is sent; what comes back is believed only where its key is the pinned one. Throws LKO-6005 where it is not.
 */
export const pinnedCa = async (
  {unverified}: Pick<Tools, 'unverified'>,
  {vault, pin}: {readonly vault: string; readonly pin: string},
  hub: string,
): Promise<string> => {
  const address = `https://${vault}`
  const body = await unverified(`${address}/v1/${chainPath}`)
  if (body === undefined) throw new LkeobsError('LKO-5001', `${address}: nobody answers as the Vault of ${hub}.`)
  const shown = certificatesIn(body)
  const root = shown.find((pem) => pinOf(pem) === pin)
  if (root !== undefined) return root
  const keys = [...new Set(shown.map((pem) => pinOf(pem).slice(0, 12)))].join('…, ')
  throw new LkeobsError(
    'LKO-6005',
    `${address} shows ${keys === '' ? 'no certificate of a hub' : `the keys ${keys}…`}; the invite names ${pin.slice(0, 12)}… (sha256 of the key of ${hub}'s root CA).`,
    {next: [`lkeobs edge list          (on ${hub}: the pin of its invites is its own)`]},
  )
}

const certificatesIn = (body: string): readonly string[] => {
  try {
    const {data} = JSON.parse(body) as {data: {certificate: string; ca_chain?: readonly string[]}}
    return [data.certificate, ...(data.ca_chain ?? [])].filter((pem) => pinOf(pem) !== '').map((pem) => `${pem.trim()}\n`)
  } catch {
    return []
  }
}
