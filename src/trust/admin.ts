/** The administrator of a Vault that initialises itself. */
export const adminUsername = 'lkeobs'
export const adminPolicyName = 'lkeobs-admin'
export const adminPolicy = 'path "*" {capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]}'
