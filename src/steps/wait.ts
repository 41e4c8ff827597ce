import {setTimeout as sleep} from 'node:timers/promises'

/** Asks until the answer is `true` or the time is over; the last answer is returned. Polls quickly at first, then once a second. */
export const until = async (
  ask: () => Promise<true | string>,
  {forMs, tell}: {forMs: number; tell?: (line: string) => void},
): Promise<true | string> => {
  const end = Date.now() + forMs
  for (let pause = 50; ; pause = Math.min(pause * 1.5, 1000)) {
    const answer = await ask()
    if (answer === true || Date.now() + pause > end) return answer
    tell?.(answer)
    await sleep(pause)
  }
}
