import {secretsOperatorNamespace} from '../platforms/kubernetes/names.ts'
import {renderValues} from '../templates.ts'
import type {Release} from './release.ts'

/** Writes what Vault issues into Secrets, and renews it there. */
export const secretsOperatorRelease = (): Release => ({
  name: 'vault-secrets-operator',
  title: 'Vault Secrets Operator',
  namespace: secretsOperatorNamespace,
  chart: 'vault-secrets-operator',
  values: renderValues('secrets-operator.yaml', {name: 'vault-secrets-operator'}),
})
