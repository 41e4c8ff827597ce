import type {KubeObject} from '../../tools/kube/kube.ts'
import type {ComponentState} from '../platform.ts'
import {namespaceOf} from './names.ts'
import {rolledOut} from './rollout.ts'
import type {Site} from './site.ts'

const kinds = ['Deployment', 'StatefulSet', 'DaemonSet'] as const

/** The workload of each component, and whether it is rolled out. */
export const inspected = async ({kube}: Site, components: readonly string[]): Promise<readonly ComponentState[]> => {
  const homes = [...new Set(components.map(namespaceOf))]
  const all: KubeObject[] = (
    await Promise.all(homes.flatMap((home) => kinds.map((kind) => kube.list({apiVersion: 'apps/v1', kind}, {namespace: home}))))
  ).flat()
  return components.map((component) => {
    const own = all.filter(
      ({metadata: {name, namespace, labels}}) =>
        namespace === namespaceOf(component) && (name === component || labels?.['app.kubernetes.io/instance'] === component),
    )
    const states = own.map(rolledOut).filter((state) => state !== true)
    return {component, state: own.length === 0 ? 'not installed' : (states[0] ?? 'ready')}
  })
}
