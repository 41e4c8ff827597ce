import type {Api} from './api.ts'
import type {Kind} from './kube.ts'

type Resource = {readonly name: string; readonly kind: string; readonly namespaced: boolean}

const basePath = (apiVersion: string): string => (apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`)

/** Tells the path of objects of a kind; undefined where the API server does not know the kind. */
export const createDiscovery = (api: Api) => {
  const known = new Map<string, readonly Resource[]>()
  /** Where objects of this kind are; asked again for a kind that was not there before, because an operator may have brought it. */
  const resourceOf = async ({apiVersion, kind}: Kind): Promise<Resource | undefined> => {
    const find = (resources: readonly Resource[] | undefined) =>
      resources?.find((resource) => resource.kind === kind && !resource.name.includes('/'))
    const found = find(known.get(apiVersion))
    if (found) return found
    const {resources = []} = (await api.get<{readonly resources?: readonly Resource[]}>(basePath(apiVersion))) ?? {}
    known.set(apiVersion, resources)
    return find(resources)
  }
  return async (kind: Kind, namespace: string | undefined): Promise<string | undefined> => {
    const resource = await resourceOf(kind)
    if (resource === undefined) return undefined
    const within = resource.namespaced && namespace !== undefined ? `/namespaces/${namespace}` : ''
    return `${basePath(kind.apiVersion)}${within}/${resource.name}`
  }
}
