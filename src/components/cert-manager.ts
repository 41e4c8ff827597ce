import {certManagerNamespace} from '../platforms/kubernetes/names.ts'
import {renderValues} from '../templates.ts'
import type {Release} from './release.ts'

/** Issues the certificates of Vault, before there is a Vault that could. */
export const certManagerRelease = (): Release => ({
  name: 'cert-manager',
  title: 'cert-manager',
  namespace: certManagerNamespace,
  chart: 'cert-manager',
  values: renderValues('cert-manager.yaml', {name: 'cert-manager', namespace: certManagerNamespace}),
})
