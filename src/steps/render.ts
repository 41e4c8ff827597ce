import path from 'node:path'
import {chartOf} from '../components/charts.ts'
import {LkeobsError} from '../errors.ts'
import {count, mark} from '../output.ts'
import type {Cluster} from '../platforms/platform.ts'
import {manifestOf, toYaml} from '../templates.ts'
import type {Files} from '../tools/files.ts'
import {helmLines} from '../tools/helm.ts'
import {dryTools, type Tools} from '../tools/index.ts'
import {lines} from '../tools/kube/kubectl.ts'
import {flatten, type Plan, type Step, type Wish} from './step.ts'

/** What is brought to a cluster, in order; a step whose work is in no file only has its title. */
type Entry = {readonly title: string; readonly wish?: Wish}

/** The files of one cluster, and where they are: `edges/edge-1`. */
export type Rendered = {readonly folder: string; readonly files: ReadonlyMap<string, string>}

/**
 * Tools for what is to be written to files: nothing is on any cluster but Vaults that are founded, so that the files say the
 * same whatever is there, and where Vault ran once no node would ever found a second one. Only the address that edges dial
 * is asked for, and only where the fleet file does not name it.
 */
export const renderTools = (tools: Tools): Tools => {
  const dry = dryTools(tools, () => undefined)
  return {
    ...dry,
    kube: (target) => ({
      ...dry.kube(target),
      read: async (ref) => (ref.kind === 'Service' ? tools.kube(target).read(ref) : undefined),
      list: async () => [],
    }),
    vault: (target) => ({
      ...dry.vault(target),
      sealStatus: async () => ({type: 'static', initialized: true, sealed: false, version: ''}),
    }),
  }
}

/** The third interpreter of a plan: what its steps hand to kubectl and helm for a cluster, as files. */
export const render = async (plan: Plan, {name: cluster, site}: Pick<Cluster, 'name' | 'site'>): Promise<Rendered> => {
  const context = site?.kube.target.context ?? ''
  const entries: Entry[] = []
  for (const step of flatten(plan.steps)) entries.push(await entryOf(step))
  const brought = onceEach(entries.flatMap(({wish}) => (wish ? [wish] : [])).filter((wish) => contentOf(wish) !== ''))
  const [first] = brought
  if (!first) return {folder: '', files: new Map()}
  const folder = path.dirname(first.file)
  return {
    folder,
    files: new Map([
      [`${folder}/${indexFile}`, indexOf(plan, cluster, brought)],
      [`${folder}/${scriptFile}`, scriptOf(plan, {cluster, context, folder}, entries)],
      ...brought.map((wish) => [wish.file, contentOf(wish)] as const),
    ]),
  }
}

const indexFile = 'index.yaml'
const scriptFile = 'install.sh'

const entryOf = async ({title, wish}: Step): Promise<Entry> => {
  try {
    return wish ? {title, wish: await wish()} : {title}
  } catch (error) {
    if (!(error instanceof LkeobsError)) throw error
    const missing = 'The fleet file does not say what edges dial, and the cluster cannot be asked: name it there, hub.endpoint: HOST:PORT.'
    throw new LkeobsError(error.code, `${error.message}\n${missing}`, {next: error.next.slice(0, -1), cause: error})
  }
}

/** A step that is taken twice brings the same file again. */
const onceEach = (wishes: readonly Wish[]): readonly Wish[] => [...new Map(wishes.map((wish) => [wish.file, wish])).values()]

/** Secrets are made on the cluster and are in no file. */
const contentOf = (wish: Wish): string =>
  'release' in wish
    ? toYaml(wish.release.values)
    : wish.objects
        .filter(({kind}) => kind !== 'Secret')
        .map((object) => toYaml(object))
        .join('---\n')

type Index = {readonly steps: readonly ({readonly manifests: string} | {readonly release: string; readonly values: string})[]}

/** For whatever installs the files in our stead: every release and every manifest, in order. */
const indexOf = ({command}: Plan, cluster: string, wishes: readonly Wish[]): string => {
  const steps = wishes.map((wish) => {
    const only = wish.only === undefined ? {} : {only: wish.only}
    const file = path.basename(wish.file)
    if (!('release' in wish)) return {manifests: file, ...only}
    const {name, namespace, chart} = wish.release
    const {repository, version} = chartOf(chart)
    return {release: name, namespace, chart, repository, version, values: file, ...only}
  })
  return `# What ${cluster} is brought, in this order. Written by lkeobs; the next render replaces it.\n${toYaml({cluster, command: `lkeobs ${command}`, steps})}`
}

/** The same as commands, between the steps that are in no file. */
const scriptOf = (
  {command}: Plan,
  {cluster, context, folder}: {readonly cluster: string; readonly context: string; readonly folder: string},
  entries: readonly Entry[],
): string => {
  const seen = new Set<string>()
  const told = entries.flatMap(({title, wish}) => {
    if (!wish || contentOf(wish) === '') return [`# not in a file: ${title}`]
    if (seen.has(wish.file)) return []
    seen.add(wish.file)
    return ['', `# ${title}${wish.only === undefined ? '' : `; only ${wish.only}`}`, lineOf(wish, context), '']
  })
  const head = [
    '#!/bin/sh',
    `# What ${cluster} is brought, as a person would type it. Written by lkeobs; the next render replaces it.`,
    `# Secrets, certificates and what Vault keeps are in no file: lkeobs ${command} makes them, and has to have run once.`,
    'set -eu',
    `cd "$(dirname "$0")/${path.relative(folder, '.')}"`,
  ]
  const text = [...head, '', ...told].join('\n')
  return `${text.replaceAll(/\n{3,}/g, '\n\n').trimEnd()}\n`
}

const lineOf = (wish: Wish, context: string): string => {
  const {file} = wish
  if (!('release' in wish)) return lines.apply({context}, {file})
  const {name, namespace, chart, values} = wish.release
  const {repository, version} = chartOf(chart)
  return helmLines.upgrade({context}, {name, namespace, values, file, chart: {name: chart, repository, version}})
}

/** What became of a file. */
export type RenderedFile = {readonly file: string; readonly state: 'written' | 'unchanged' | 'removed'}

/** Brings the files to a folder, and removes those that an earlier render wrote there and this one does not. */
export const writeRendered = async (files: Files, out: string, {folder, files: wished}: Rendered): Promise<readonly RenderedFile[]> => {
  const all: RenderedFile[] = []
  const stale = (await earlier(files, path.join(out, folder, indexFile))).map((name) => `${folder}/${name}`)
  for (const [file, content] of wished) {
    const isSame = (await files.read(path.join(out, file))) === content
    if (!isSame) await files.write(path.join(out, file), content, path.basename(file) === scriptFile ? 0o755 : 0o644)
    all.push({file, state: isSame ? 'unchanged' : 'written'})
  }
  for (const file of stale) {
    if (wished.has(file) || !(await files.exists(path.join(out, file)))) continue
    await files.remove(path.join(out, file))
    all.push({file, state: 'removed'})
  }
  return all
}

/** The files that the last render has left, by its index: names in its own folder, whatever else somebody wrote there. */
const earlier = async (files: Files, index: string): Promise<readonly string[]> => {
  const text = await files.read(index)
  if (text === undefined || !text.startsWith('# What ')) return []
  const [found] = manifestOf<Partial<Index>>(text)
  return (found?.steps ?? [])
    .map((step) => ('manifests' in step ? step.manifests : step.values))
    .filter((name) => /^[a-z0-9][\w.-]*\.yaml$/.test(name))
}

export const renderedText = (out: string, cluster: string, all: readonly RenderedFile[], isDry: boolean): string => {
  if (all.length === 0) return `Nothing of ${cluster} is handed to kubectl or helm: there is nothing to render.`
  const shown = {written: mark.so, unchanged: mark.so, removed: mark.skipped}
  const sums = (['written', 'unchanged', 'removed'] as const)
    .map((state) => ({state, n: all.filter((one) => one.state === state).length}))
    .filter(({n}) => n > 0)
  return [
    ...all.map(({file, state}) => `  ${shown[state]} ${file.padEnd(48)} ${state}`),
    '',
    `${count(all.length, 'file')} below ${out}: ${sums.map(({state, n}) => `${n} ${state}`).join(', ')}.${isDry ? ' Dry run: nothing was written.' : ''}`,
  ].join('\n')
}
