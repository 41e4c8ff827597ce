import type {Step} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import {type KeyPair, splitPem, type X509} from '../../tools/x509.ts'

const rootDays = 3650

export const newRootCa = (x509: X509, cluster: string): Promise<KeyPair> =>
  x509.createCa({commonName: `lkeobs root ${cluster}`, days: rootDays, pathLength: 2})

/**
 * `trust-both`: both are trusted, the old one signs. `reissue`: both are trusted, the new one signs. `retire`: only the new one
 * is trusted, and not everybody has been told yet.
 */
export type RootPhase = 'none' | 'trust-both' | 'reissue' | 'retire'

/** How one root CA takes the place of another. Which phase it is in is read from the files, and from nothing else. */
export type RootRotation = {
  phase(): Promise<RootPhase>
  /** Both are trusted. */
  readonly added: Step
  /** The other one signs. */
  readonly switched: Step
  /** Only the one that signs is trusted. */
  readonly retired: Step
  /** Nothing of the other is left. */
  readonly settled: Step
  /** Back to the one that signed before; to be taken before `retired`. */
  readonly switchedBack: Step
}

type Parts = {
  readonly cluster: string
  readonly files: Tools['files']
  readonly x509: X509
  readonly certificateFile: string
  readonly keyFile: string
  readonly otherKeyFile: string
  readonly retiredFile: string
  /** The one that signs. */
  readonly pair: () => Promise<KeyPair>
}

export const rootRotation = ({cluster, files, x509, certificateFile, keyFile, otherKeyFile, retiredFile, pair}: Parts): RootRotation => {
  const trusted = async () => splitPem((await files.read(certificateFile)) ?? '')
  const phase = async (): Promise<RootPhase> => {
    const [, other] = await trusted()
    if (other === undefined) return (await files.exists(retiredFile)) ? 'retire' : 'none'
    // the key of the older one lies where the only one's does
    return (await files.read(keyFile))?.trim() === (await pair()).key.reveal().trim() ? 'trust-both' : 'reissue'
  }
  /** Written whole, so that who reads it has either the one order or the other. */
  const swap = async () => files.write(certificateFile, (await trusted()).toReversed().join(''))
  return {
    phase,
    added: {
      title: `a second root CA of ${cluster}, trusted beside the first`,
      done: async () => ((await phase()) === 'none' ? 'there is one' : true),
      async apply() {
        const {certificate, key} = await newRootCa(x509, cluster)
        // the certificate last: it says that the key is there
        await files.write(otherKeyFile, key)
        await files.write(certificateFile, [...(await trusted()), certificate].join(''))
      },
    },
    switched: {
      title: `the second root CA of ${cluster} signs`,
      done: async () => ((await phase()) === 'trust-both' ? 'the first does' : true),
      apply: swap,
    },
    switchedBack: {
      title: `the first root CA of ${cluster} signs`,
      done: async () => ((await phase()) === 'reissue' ? 'the second does' : true),
      apply: swap,
    },
    retired: {
      title: `only the root CA of ${cluster} that signs is trusted`,
      done: async () => ((await trusted()).length === 1 ? true : 'both are'),
      async apply() {
        const [kept = '', other = ''] = await trusted()
        // says that this was begun, until everybody has been told
        await files.write(retiredFile, other)
        await files.write(certificateFile, kept)
      },
    },
    settled: {
      title: `nothing of the other root CA of ${cluster} is left`,
      done: async () => ((await files.exists(retiredFile)) || (await files.exists(otherKeyFile)) ? 'what was kept of it' : true),
      async apply() {
        const {key} = await pair()
        await files.write(keyFile, key)
        await files.remove(otherKeyFile)
        await files.remove(retiredFile)
      },
    },
  }
}
