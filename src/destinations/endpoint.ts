import {z} from 'zod'

const problemOf = (text: string): string | undefined => {
  const url = URL.parse(text)
  const got = `got ${JSON.stringify(text)}`
  if (url === null || !['http:', 'https:'].includes(url.protocol)) return `expected an address that begins with https:// or http://, ${got}`
  if (url.username !== '' || url.password !== '') return 'expected an address without a password; secrets are kept in Vault'
  return url.search === '' && url.hash === '' ? undefined : `expected an address without ? and #, ${got}`
}

/** An address of somebody else's, by its scheme plain or with TLS. */
export const address = z
  .string()
  .superRefine((text, context) => {
    const message = problemOf(text)
    if (message !== undefined) context.addIssue({code: 'custom', message})
  })
  // a refinement does not reach the JSON Schema
  .meta({pattern: '^https?://'})

/** A certificate that anybody may read. */
export const certificate = z.string().regex(/-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----/, {
  error: 'expected a certificate as PEM, from -----BEGIN CERTIFICATE----- to its end',
})

const portOf = ({port, protocol}: URL, usual: number | undefined): number =>
  port === '' ? (usual ?? (protocol === 'https:' ? 443 : 80)) : Number(port)

/** `host:port` of an address; `usual` is the port where it names none. */
export const hostPort = (text: string, usual?: number): string => {
  const url = new URL(text)
  return `${url.hostname}:${portOf(url, usual)}`
}

export const hasTls = (text: string): boolean => text.startsWith('https:')
