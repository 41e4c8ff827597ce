import {eventsOf, latest, newest} from './events.ts'
import {describe, fault, type Finder, firstOf} from './fault.ts'
import {created, type Live, nameOf} from './live.ts'
import {podName} from './pod.ts'
import {attempt, type Scene} from './scene.ts'
import {unscheduled} from './scheduling.ts'

/** LKO-3107 */
export const noVolume: Finder = async (scene, {live, pods}) => {
  const names = new Set(pods.flatMap(({spec}) => (spec?.volumes ?? []).map(({persistentVolumeClaim}) => persistentVolumeClaim?.claimName)))
  const claims = live.kind === 'PersistentVolumeClaim' ? [live] : scene.claims.filter(({metadata}) => names.has(metadata.name))
  const [bad] = claims.flatMap((claim) => {
    const words = claimFault(scene, {...claim, apiVersion: 'v1', kind: 'PersistentVolumeClaim'})
    return words === undefined ? [] : [{claim, words}]
  })
  if (bad) {
    const {claim, words} = bad
    const {storageClassName: wanted = ''} = claim.spec ?? {}
    const what = `Claim ${nameOf(claim)} (${wanted === '' ? 'no storage class' : `storage class ${wanted}`}): ${words}`
    return fault(scene, 'LKO-3107', `${what}${await classesOf(scene)}`, ['describe', 'pvc', claim.metadata.name], ['get', 'storageclass'])
  }
  return firstOf(pods, (pod) => {
    const found = unscheduled(scene, pod)
    // a claim that is still being provisioned says so in the same words
    if (!found || !/persistentvolumeclaim "[^"]*" (not found|is being deleted)|available persistent volumes/i.test(found.words))
      return undefined
    return fault(scene, 'LKO-3107', `${podName(pod)}: ${found.words}`, describe(pod), ['get', 'pvc'])
  })
}

const claimFault = (scene: Scene, claim: Live): string | undefined => {
  if (claim.status?.phase === 'Lost') return 'its volume is gone'
  if (claim.status?.phase !== 'Pending') return undefined
  const failure = latest(eventsOf(scene, claim, /^(FailedBinding|ProvisioningFailed)$/))
  // a newer attempt is under way
  if (!failure || newest(eventsOf(scene, claim, /^Provisioning$/)) > failure.last) return undefined
  const isSlow = /DeadlineExceeded|deadline exceeded|timed out|Unavailable|Aborted|connection/i.test(failure.message)
  const span = {first: isSlow ? failure.first : created(claim), last: failure.last}
  return scene.isRipe(span, isSlow ? 25 : 10) ? failure.message : undefined
}

const classesOf = async ({kube}: Scene): Promise<string> => {
  const classes = (await attempt(() => kube.list({apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass'}))) ?? []
  const names = classes.map(({metadata: {name, annotations}}) =>
    annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true' ? `${name} (default)` : name,
  )
  return names.length === 0 ? '' : `\nThe cluster has: ${names.join(', ')}`
}
