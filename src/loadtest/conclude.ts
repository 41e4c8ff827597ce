import type {Files} from '../tools/files.ts'
import {compare, type Measured} from './compare.ts'
import {judged} from './knee.ts'
import type {LoadTest} from './result.ts'
import {storedRuns} from './stored.ts'

/** Judges a run against the commitments and the newest alike one, keeps it beside the fleet file, and writes its page or summary (.md). */
export const conclude = async (
  measured: Measured,
  {files, fleetFile, report}: {readonly files: Files; readonly fleetFile: string; readonly report: string | undefined},
): Promise<LoadTest> => {
  const runs = storedRuns(files, fleetFile)
  const baseline = await runs.baselineFor(measured)
  const run = judged(measured, baseline)
  await runs.save(run)
  if (report === undefined) return run
  const comparison = baseline && compare(baseline, run)
  const content = report.endsWith('.md')
    ? (await import('./report/markdown.ts')).loadTestMarkdown(run, comparison)
    : (await import('./report/page.ts')).loadTestPage(run, comparison)
  await files.write(report, content, 0o644)
  return run
}
