import {Secret} from '../secret.ts'
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
