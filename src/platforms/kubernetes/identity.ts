import {LkeobsError} from '../../errors.ts'
import type {Step} from '../../steps/step.ts'
import type {Kube} from '../../tools/kube/kube.ts'
import {kubectl} from '../../tools/kube/kubectl.ts'
import {certManagerNamespace, namespace, secretsOperatorNamespace} from './names.ts'
import {notEverywhere, type Site} from './site.ts'

/** Controllers that a cluster may have from elsewhere; those are used as they are. */
const controllers = {
  'cert-manager': {namespace: certManagerNamespace, crd: 'certificates.cert-manager.io'},
  'vault-secrets-operator': {namespace: secretsOperatorNamespace, crd: 'vaultdynamicsecrets.secrets.hashicorp.com'},
} as const
export type Controller = keyof typeof controllers

const ours = 'app.kubernetes.io/managed-by'

/** The only thing about a cluster that never changes and that no two have in common. */
export const uidOf = async (kube: Kube): Promise<string | undefined> =>
  (await kube.read({apiVersion: 'v1', kind: 'Namespace', name: 'kube-system'}))?.metadata['uid'] as string | undefined

/** Which cluster of which fleet this is, and what on it is somebody else's. */
export const identityOf = ({kube, fleet, cluster, role}: Site) => {
  const isForeign = async (name: Controller): Promise<boolean> => {
    const {namespace: at, crd} = controllers[name]
    const [definition, home] = await Promise.all([
      kube.read({apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', name: crd}),
      kube.read({apiVersion: 'v1', kind: 'Namespace', name: at}),
    ])
    return definition !== undefined && home?.metadata.labels?.[ours] !== 'lkeobs'
  }
  /** What of these the cluster has from elsewhere. */
  const foreign = async (): Promise<ReadonlySet<Controller>> => {
    const names = Object.keys(controllers) as Controller[]
    const verdicts = await Promise.all(names.map(isForeign))
    return new Set(names.filter((_, index) => verdicts[index]))
  }
  return {
    foreign,
    /** The step, unless the cluster has this controller from elsewhere. */
    unlessThere: (name: Controller, step: Step): Step => ({
      ...notEverywhere(step, `where there is no ${name} from elsewhere`),
      done: async () => ((await isForeign(name)) ? true : step.done()),
    }),
    /** The cluster answers, and is not another one of this or another fleet. Throws LKO-3101, LKO-3102, LKO-3112. */
    async checked(): Promise<void> {
      await kube.version()
      const live = await kube.read({apiVersion: 'v1', kind: 'Namespace', name: namespace})
      const said = live?.metadata.annotations ?? {}
      const [itsFleet, itself, itsRole] = ['fleet', 'cluster', 'role'].map((key) => said[`lkeobs.io/${key}`])
      if (itsFleet === undefined || (itsFleet === fleet && itself === cluster && itsRole === role)) return
      throw new LkeobsError(
        'LKO-3112',
        `The context ${kube.target.context} leads to ${itself} (${itsRole} of the fleet ${itsFleet}), not to ${cluster} (${role} of ${fleet}).`,
        {next: [kubectl(kube.target, 'get', 'namespace', namespace, '-o', 'yaml')]},
      )
    },
  }
}
