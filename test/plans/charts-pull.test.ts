import {execFile} from 'node:child_process'
import {mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {createServer} from 'node:http'
import type {AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {promisify} from 'node:util'
import {expect, onTestFinished, test} from 'vitest'
import {allCharts} from '../../src/components/charts.ts'
import {chartsPull} from '../../src/plans/charts-pull.ts'
import {programPath} from '../../src/programs/locate.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {run} from '../../src/steps/run.ts'
import {createFiles} from '../../src/tools/files.ts'
import type {PublishedChart} from '../../src/tools/helm.ts'
import {createTools, dryTools} from '../../src/tools/index.ts'
import {fakeWorld} from '../support/fake-world.ts'

const helm = await programPath('helm').catch(() => undefined)
const tools = createTools({yes: false})

const temporary = (): string => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-charts-'))
  onTestFinished(() => rmSync(folder, {recursive: true}))
  return folder
}

/** A repository with one chart, as a web server has it. */
const served = async (program: string): Promise<{readonly chart: PublishedChart; readonly asked: string[]}> => {
  const folder = temporary()
  mkdirSync(path.join(folder, 'tiny'))
  writeFileSync(path.join(folder, 'tiny/Chart.yaml'), 'apiVersion: v2\nname: tiny\nversion: 1.2.3\nappVersion: "4.5.6"\n')
  await promisify(execFile)(program, ['package', 'tiny'], {cwd: folder})
  await promisify(execFile)(program, ['repo', 'index', '.'], {cwd: folder})
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    response.end(readFileSync(path.join(folder, request.url ?? '')))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return {chart: {name: 'tiny', version: '1.2.3', repository: `http://127.0.0.1:${(server.address() as AddressInfo).port}`}, asked}
}

test.skipIf(helm === undefined)('a chart is fetched from its repository once', async () => {
  const {chart, asked} = await served(helm ?? '')
  const folder = path.join(temporary(), 'charts')
  const states = async () => (await run(chartsPull(folder, tools, [chart]), 'silent')).map(({state}) => state)
  expect(await states()).toEqual(['done', 'done'])
  expect(readdirSync(folder)).toEqual(['tiny-1.2.3.tgz'])
  expect(asked).toEqual(['/index.yaml', '/tiny-1.2.3.tgz'])
  expect(await states()).toEqual(['already so', 'already so'])
  expect(asked).toHaveLength(2)
  expect(await tools.helm(undefined).facts({file: path.join(folder, 'tiny-1.2.3.tgz')})).toEqual({version: '1.2.3', appVersion: '4.5.6'})
})

test.skipIf(helm === undefined)('a repository that is not there stops its own charts only', async () => {
  const {chart} = await served(helm ?? '')
  const folder = temporary()
  const lost = {name: 'lost', version: '1.0.0', repository: 'http://127.0.0.1:9'}
  const none = {...chart, version: '9.9.9'}
  const error: unknown = await run(chartsPull(folder, tools, [lost, none, chart]), 'silent').catch((thrown: unknown) => thrown)
  // whichever was answered first
  for (const line of [/^lost 1\.0\.0: LKO-3113 .*refused/m, /^tiny 9\.9\.9: LKO-3113 .*not found/m])
    expect(error).toMatchObject({code: 'LKO-3113', message: expect.stringMatching(line)})
  expect(readdirSync(folder)).toEqual(['tiny-1.2.3.tgz'])
})

test('every pinned chart is fetched that is not there', async () => {
  const {tools: fakes, files, transcript} = fakeWorld()
  const folder = path.resolve('charts')
  const [first, ...others] = allCharts()
  files.set(path.join(folder, `${first?.name}-${first?.version}.tgz`), '')
  const pulled: string[] = []
  const fake = {
    ...fakes.helm(undefined),
    pull: async ({name, version}: PublishedChart, into: string) =>
      void files.set(path.join(into, `${name}-${version}.tgz`), pulled.push(name).toString()),
  }
  await run(chartsPull(folder, {files: fakes.files, helm: () => fake}), 'silent')
  expect(pulled.toSorted()).toEqual(others.map(({name}) => name))
  expect(transcript).toEqual([])
})

test('a dry run says what would be fetched', async () => {
  const recorder = createRecorder()
  const dry = dryTools({...tools, files: createFiles()}, recorder.record)
  const previews = await preview(chartsPull('/nowhere/charts', dry, allCharts().slice(0, 2)), recorder)
  expect(previews.flatMap(({writes}) => writes)).toEqual([
    expect.stringMatching(/^mkdir -p /),
    'helm pull oci://quay.io/jetstack/charts/cert-manager --version v1.21.1 --destination /nowhere/charts',
    'helm pull dcgm-exporter --repo https://nvidia.github.io/dcgm-exporter/helm-charts --version 4.8.2 --destination /nowhere/charts',
  ])
})
