import {randomBytes} from 'node:crypto'
import {environment} from '../collector/config.ts'
import {LkeobsError} from '../errors.ts'
import type {Destination} from '../fleet/schema.ts'
import {Secret} from '../secret.ts'
import type {Step} from '../steps/step.ts'
import type {Vault} from '../tools/vault.ts'
import {registry} from '../trust/register.ts'
import {kindOf} from './index.ts'
import type {Secrets} from './kind.ts'

const pathOf = (name: string): string => `${registry}/destinations/${name}`

/** What the gateway reads its destinations' secrets from: its own environment, and no file. */
export type Environment = {
  /** Changes whenever a secret does. */
  readonly version: string
  readonly values: Readonly<Record<string, Secret>>
}

/** The variable that a secret is in. */
export const variableOf = (destination: string, secret: string): string =>
  `LKEOBS_DESTINATION_${destination}_${secret}`.toUpperCase().replaceAll('-', '_')

/** The same, inside the collector's configuration. */
export const inEnvironment = (destination: string) => (secret: string) => environment(variableOf(destination, secret))

/** What is kept of a destination: its secrets, and a word that changes with them. */
type Kept = {readonly version: string; readonly secrets: Secrets}

const keptOf = async (vault: Vault, name: string): Promise<Kept | undefined> => {
  const found = await vault.read<Record<string, string>>(pathOf(name))
  if (found === undefined) return undefined
  const {version = '', ...secrets} = found
  return {version, secrets: Object.fromEntries(Object.entries(secrets).map(([secret, value]) => [secret, new Secret(value)]))}
}

/** The secrets that a destination needs and Vault has. */
export const secretsKept = async (vault: Vault, destination: Destination): Promise<Secrets> => {
  const {kind, settings} = kindOf(destination)
  const kept = await keptOf(vault, destination.name)
  return Object.fromEntries(Object.entries(kept?.secrets ?? {}).filter(([secret]) => kind.needs(settings).includes(secret)))
}

/** What the gateway is given. Throws LKO-7115 where Vault lacks a secret. */
export const environmentFor = async (vault: Vault, destinations: readonly Destination[]): Promise<Environment> => {
  const all = await Promise.all(
    destinations.map(async (destination) => {
      const {kind, settings} = kindOf(destination)
      const needed = kind.needs(settings)
      if (needed.length === 0) return {version: '', values: {}}
      const {version, secrets} = (await keptOf(vault, destination.name)) ?? {version: '', secrets: {}}
      const missing = needed.find((secret) => secrets[secret] === undefined)
      if (missing !== undefined)
        throw new LkeobsError(
          'LKO-7115',
          `${destination.name} needs its ${missing}; ${vault.address} has none at ${pathOf(destination.name)}.`,
          {
            next: [`lkeobs dest add ${kind.name} ${destination.name} --${missing}-file FILE`],
          },
        )
      return {
        version,
        values: Object.fromEntries(
          needed.flatMap((secret) => {
            const value = secrets[secret]
            return value ? [[variableOf(destination.name, secret), value]] : []
          }),
        ),
      }
    }),
  )
  return {
    version: all.map(({version}) => version).join(' '),
    values: Object.assign({}, ...all.map(({values}) => values)) as Environment['values'],
  }
}

const same = (one: Secrets, other: Secrets): boolean =>
  Object.keys(one).length === Object.keys(other).length &&
  Object.entries(one).every(([name, secret]) => other[name]?.reveal() === secret.reveal())

/** The Vault of the hub has these secrets of the destination, and no others. */
export const secretsWritten = (vault: Vault, name: string, secrets: Secrets): Step => ({
  title: `secrets of ${name} in Vault`,
  async done() {
    if (Object.keys(secrets).length === 0) return true
    const kept = await keptOf(vault, name)
    return kept === undefined ? 'there are none' : same(kept.secrets, secrets) ? true : 'they are others'
  },
  apply: async () =>
    void (await vault.write(pathOf(name), {
      ...secrets, // not a secret, but no dry run names a word that nobody has
      version: new Secret(randomBytes(4).toString('hex')),
    })),
})

/** Whether these are the ones that Vault has. */
export const areKept = async (vault: Vault, name: string, secrets: Secrets): Promise<boolean> =>
  (await secretsWritten(vault, name, secrets).done()) === true

export const secretsForgotten = (vault: Vault, name: string): Step => ({
  title: `no secret of ${name} in Vault`,
  done: async () => ((await vault.read(pathOf(name))) === undefined ? true : 'it is there'),
  apply: () => vault.remove(pathOf(name)),
})
