import type {Seal} from '../platforms/platform.ts'
import {Secret} from '../secret.ts'
import type {Ask} from '../tools/ask.ts'
import type {VaultTarget} from '../tools/vault.ts'
/** The Vault's files that belong to no single node. */
export const sealKeyFile = 'seal.key'
export const adminPasswordFile = 'admin.password'

/** The administrator of a Vault that initialises itself. */
export const adminUsername = 'lkeobs'
export const adminPolicyName = 'lkeobs-admin'
export const adminPolicy = 'path "*" {capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]}'

/** How the administrator of a cluster's Vault logs in: with the password that was handed to it. */
export const adminLogin = (cluster: {
  read(component: string, file: string): Promise<string | undefined>
}): NonNullable<VaultTarget['login']> => ({
  username: adminUsername,
  async password() {
    const password = await cluster.read('vault', adminPasswordFile)
    if (password === undefined) throw new Error('there is no administrator yet')
    return new Secret(password)
  },
})

/** Names the file or pipe that the administrator's password is read from, for every command. */
export const passwordVariable = 'LKEOBS_VAULT_PASSWORD_FILE'

/** Whether the administrator logs in without anybody's being asked: nobody is asked for a password only to look. */
export const logsInUnasked = (seal: Seal, passwordFile = process.env[passwordVariable]): boolean =>
  seal !== 'shamir' || passwordFile !== undefined

/** How the administrator of a Vault that holders unseal logs in: with a password that is asked for once, and kept nowhere. */
export const askedLogin = (ask: Ask, cluster: string): NonNullable<VaultTarget['login']> => {
  const question = `Password of Vault's administrator on ${cluster}`
  return {username: adminUsername, password: () => ask.password(question, passwordVariable)}
}
