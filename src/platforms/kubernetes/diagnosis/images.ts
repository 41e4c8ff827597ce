import {eventsOf, latest, newest, oldest} from './events.ts'
import {type Finder, firstOf, podFault} from './fault.ts'
import {containerOf, podName, startOf, statusesOf} from './pod.ts'

const transientSeconds = 20

/** LKO-3104 */
export const notPulled: Finder = (scene, work) =>
  firstOf(work.pods, (pod) =>
    firstOf(statusesOf(pod), (status) => {
      const {reason = '', message = ''} = status.state?.waiting ?? {}
      if (
        !/^(ImagePullBackOff|ErrImagePull|InvalidImageName|ErrImageNeverPull|ImageInspectError|RegistryUnavailable|SignatureValidationFailed)$/.test(
          reason,
        )
      )
        return undefined
      const image = containerOf(pod, status.name)?.image ?? status.image ?? 'its image'
      const failures = eventsOf(scene, pod, /^(Failed|InspectFailed|ErrImageNeverPull|BackOff)$/).filter(({message: text}) =>
        /image|pull/i.test(text),
      )
      const said = latest(failures.filter(({message: text}) => text.includes(`Failed to pull image "${image}"`)))
      const words = registryWords(/ErrImagePull: |rpc error|failed to/i.test(message) ? message : (said?.message ?? message)) || reason
      // the first refusal may still be a hiccup, unless it says that it is none
      if (reason === 'ErrImagePull' && !isDefinite(words)) return undefined
      // while it backs off nobody asks the registry
      const start = startOf(pod)
      const span = {first: oldest(failures, start), last: newest(failures.filter(({message: text}) => !/back-?off/i.test(text))) || start}
      if (!scene.isRipe(span, isHiccup(words) ? transientSeconds : 0)) return undefined
      return podFault(scene, work, pod, 'LKO-3104', `${podName(pod)} cannot get ${image}: ${words}`)
    }),
  )

const isDefinite = (words: string): boolean =>
  /not found|does not exist|denied|unauthorized|forbidden|no such host|connection refused|invalid reference|no match for platform/i.test(
    words,
  ) && !isHiccup(words)

const isHiccup = (words: string): boolean =>
  /time[d]? ?out|deadline exceeded|too many requests|unexpected status[^:]*: 5\d\d|\bEOF\b|reset by peer|qps exceeded|temporary failure|server misbehaving|unavailable/i.test(
    words,
  )

/** What the registry said, without the names of everybody who passed it on. */
const registryWords = (message: string): string =>
  message
    .replace(/^Back-off pulling image "[^"]*"(: )?/, '')
    .replace(/^Failed to pull image "[^"]*": /, '')
    .replace(/^ErrImagePull: /, '')
    .replace(/^rpc error: code = \w+ desc = /, '')
    .replace(/^failed to pull and unpack image "[^"]*": /, '')
    .replace(/^failed to resolve (image|reference "[^"]*"): /, '')
