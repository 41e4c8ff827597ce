import type {Step, Tell} from '../../steps/step.ts'
import type {Kube, KubeObject, Ref} from '../../tools/kube/kube.ts'
import {pausedPods, terminal} from './diagnosis/index.ts'
import {conflictError, judge} from './drift/judge.ts'
import {marked} from './drift/mark.ts'
import {fieldManager} from './names.ts'
import {rolledOut} from './rollout.ts'
import type {Site} from './site.ts'

export const refOf = ({apiVersion, kind, metadata: {name, namespace}}: KubeObject): Ref => ({
  apiVersion,
  kind,
  name,
  ...(namespace !== undefined && {namespace}),
})

const named = ({kind, metadata: {name}}: KubeObject): string => `${kind} ${name}`

/** What is said of an object that is not as wished; `true` when it is, and does what it is for. */
type Finding = {readonly wish: KubeObject; readonly seen: true | string; readonly differs: boolean; readonly byHand: boolean}

/** `recorded` where the wishes are known to have been applied. */
type How = {readonly recorded?: boolean}

const find = async (kube: Kube, wish: KubeObject, own: readonly string[], how: How): Promise<Finding> => {
  const live = await kube.read(refOf(wish))
  if (live === undefined) return {wish, seen: `${named(wish)} is not there`, differs: true, byHand: false}
  const verdict = judge(wish, live, own, how)
  if (verdict.state === 'foreign') throw conflictError(refOf(wish), verdict.difference, kube.target)
  if (verdict.state === 'different') {
    const [first] = verdict.differences
    return {wish, seen: `${named(wish)}: ${first?.path ?? 'a field'} differs`, differs: true, byHand: verdict.byHand}
  }
  const ready = rolledOut(live)
  return {wish, seen: ready === true ? true : `${named(wish)}: ${ready}`, differs: false, byHand: false}
}

const atOnce = 8

/** What is so of these objects, asked for a few at a time. */
export const findings = async (
  kube: Kube,
  wishes: readonly KubeObject[],
  own: readonly string[],
  how: How = {},
): Promise<readonly Finding[]> => {
  const all: Finding[] = []
  for (let at = 0; at < wishes.length; at += atOnce)
    all.push(...(await Promise.all(wishes.slice(at, at + atOnce).map((wish) => find(kube, wish, own, how)))))
  return all
}

/** The first thing that is not so. */
export const firstOf = (all: readonly Finding[]): true | string => {
  const not = all.filter(({seen}) => seen !== true)
  const [first] = not
  if (first === undefined || first.seen === true) return true
  return not.length === 1 ? first.seen : `${first.seen} (and ${not.length - 1} more)`
}

/** Applies what is not as wished. What a person took over by hand is taken back and told; what is someone else's is left to them (LKO-3109). */
export const put = async (
  {kube, file}: Pick<Site, 'kube' | 'file'>,
  wishes: readonly KubeObject[],
  name: string,
  tell: Tell = () => undefined,
): Promise<void> => {
  const differing = (await findings(kube, wishes, [fieldManager])).filter(({differs}) => differs)
  for (const force of [false, true]) {
    const these = differing.filter(({byHand}) => byHand === force)
    if (force) for (const {seen} of these) tell(`changed by hand, put back: ${seen}`, 'lasting')
    const objects = these.map(({wish}) => wish)
    if (objects.length > 0) await kube.apply(objects, {file: file(name), force})
  }
}

/** Waiting for objects to become right. */
export const waiting = (kube: Kube, objects: () => Promise<readonly KubeObject[]>) => {
  let since = new Date()
  const refs = async () => (await objects()).map(refOf)
  return {
    /** From now on. Pods that wait out a pause after what a person may have mended meanwhile are made anew at once. */
    async begin(tell: Tell): Promise<void> {
      since = new Date()
      for (const pod of await pausedPods(kube, await refs())) {
        tell(`Pod ${pod.name} was waiting before its next try: made anew`)
        await kube.remove(pod)
      }
    },
    /** Throws as soon as one can no longer become right by itself. */
    async watch(): Promise<void> {
      const error = await terminal(kube, await refs(), since)
      if (error) throw error
    },
  }
}

type Wish = readonly KubeObject[] | (() => Promise<readonly KubeObject[]>)

/** These objects are there as wished, and do what they are for. What a person changed by hand is put back; what another tool applies is left to it (LKO-3109). */
export const applied = (
  site: Pick<Site, 'kube' | 'file'>,
  title: string,
  file: string,
  wished: Wish,
  {patienceMs = 60_000}: {readonly patienceMs?: number} = {},
): Step => {
  const {kube} = site
  const plain = async () => (typeof wished === 'function' ? wished() : wished)
  const objects = async () => (await plain()).map((object) => marked(object))
  const wait = waiting(kube, objects)
  return {
    title,
    patienceMs,
    done: async () => firstOf(await findings(kube, await objects(), [fieldManager])),
    async apply(tell) {
      await wait.begin(tell)
      await put(site, await objects(), file, tell)
    },
    watch: wait.watch,
    wish: async () => ({file: site.file(file), objects: await plain()}),
  }
}
