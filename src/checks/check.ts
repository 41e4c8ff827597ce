import {type Code, LkeobsError, messageOf} from '../errors.ts'

/** What a check found. A warning does not make it fail; a check that is skipped says why. */
export type Verdict =
  | {readonly state: 'ok'; readonly fact?: string; readonly next?: readonly string[]}
  | {readonly state: 'warning' | 'failed'; readonly code?: Code; readonly why: string; readonly next: readonly string[]}
  | {readonly state: 'skipped'; readonly why: string}

/** One thing that must be so before anything is changed, as data. It only reads. */
export type Check<Subject> = {
  readonly id: string
  /** What is so when it is: a positive sentence without its end. */
  readonly about: string
  readonly of: 'kubernetes' | 'local' | 'machine'
  /** Checks of the same list without which this one means nothing: it is skipped when one of them is not so. */
  readonly needs?: readonly string[]
  run(subject: Subject): Promise<Verdict>
}

export type Finding = Pick<Check<never>, 'id' | 'about' | 'of'> & Verdict

export const ok = (fact?: string, next?: readonly string[]): Verdict => ({
  state: 'ok',
  ...(fact !== undefined && {fact}),
  ...(next !== undefined && {next}),
})
export const warning = (why: string, next: readonly string[] = []): Verdict => ({state: 'warning', why, next})
export const skipped = (why: string): Verdict => ({state: 'skipped', why})

/** Not so, and no error of the catalogue says it. */
export const not = (why: string, next: readonly string[] = []): Verdict => ({state: 'failed', why, next})

/** In the words of the error that a run would end with. */
export const failed = (code: Code, why: string, next: readonly string[] = []): Verdict => verdictOf(new LkeobsError(code, why, {next}))

const verdictOf = ({code, message, next}: LkeobsError): Verdict => ({state: 'failed', code, why: message, next})

/** What a check threw. Not being permitted to look is no answer to what it asks; permissions are a check of their own. */
const thrown = (error: unknown, isFirst: boolean): Verdict => {
  if (!(error instanceof LkeobsError)) return {state: 'failed', why: messageOf(error), next: []}
  return error.code === 'LKO-3103' && !isFirst ? skipped(`not permitted to look: ${error.message}`) : verdictOf(error)
}

const within = async (work: Promise<Verdict>, timeoutMs: number): Promise<Verdict> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Verdict>((resolve) => {
    timer = setTimeout(() => resolve({state: 'failed', why: `no answer within ${timeoutMs / 1000} s`, next: []}), timeoutMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Begins the reason of a check that is skipped because of another. */
export const meaningless = 'says nothing unless'

/** Runs all of them, each as soon as what it needs is known. Nothing stops at the first that fails. */
export const runChecks = <Subject>(
  checks: readonly Check<Subject>[],
  subject: Subject,
  {timeoutMs = 20_000}: {readonly timeoutMs?: number} = {},
): Promise<readonly Finding[]> => {
  const begun = new Map<string, Promise<Verdict>>()
  const one = async ({needs = [], run}: Check<Subject>): Promise<Verdict> => {
    for (const id of needs) {
      const state = (await begun.get(id))?.state
      const about = checks.find((check) => check.id === id)?.about ?? id
      if (state === 'failed' || state === 'skipped') return skipped(`${meaningless} ${about}`)
    }
    return within(run(subject), timeoutMs).catch((error: unknown) => thrown(error, needs.length === 0))
  }
  // what is needed stands before what needs it
  for (const check of checks) begun.set(check.id, one(check))
  return Promise.all(
    checks.map(async (check) => ({
      id: check.id,
      about: check.about,
      of: check.of,
      ...((await begun.get(check.id)) ?? skipped('not run')),
    })),
  )
}

/** Works on all of them, a few at a time, and answers in their order. */
export const atMost = async <Item, Answer>(
  limit: number,
  items: readonly Item[],
  work: (item: Item) => Promise<Answer>,
): Promise<readonly Answer[]> => {
  const answers: Answer[] = []
  const queue = items.entries()
  const worker = async () => {
    for (const [index, item] of queue) answers[index] = await work(item)
  }
  await Promise.all(Array.from({length: Math.min(limit, items.length)}, worker))
  return answers
}
