import {bold, count, dim, mark, nextCommands, table} from '../output.ts'
import type {ReleaseChange} from './compare.ts'
import {isNothing, type OwnChange, type Survey} from './survey.ts'

type How = {readonly diff: boolean; readonly command: string}

/** The survey as a document; the diffs are long, and only there when they are asked for. */
export const upgradeData = (survey: Survey, {diff}: Pick<How, 'diff'>): object => ({
  ...survey,
  changes: !isNothing(survey),
  releases: survey.releases.map((release) => ({
    ...release,
    objects: release.objects.map(({diff: text, ...rest}) => (diff ? {...rest, diff: text} : rest)),
  })),
})

/** What changes, on one screen: releases, then objects of ours, then the rest; the diffs after that. */
export const upgradeText = (survey: Survey, {diff, command}: How): string => {
  const {cluster, releases, unchanged, objects, steps} = survey
  const kept = unchanged.length === 0 ? '' : count(unchanged.length, 'release stays as it is', 'releases stay as they are')
  if (isNothing(survey)) return `Nothing to change on ${cluster}: ${kept === '' ? 'everything is as wished.' : `${kept}.`}`
  const parts = [
    bold(`What an upgrade changes on ${cluster}`),
    ...(releases.length > 0 ? [table(['release', 'chart', 'images', 'objects'], releases.map(rowOf))] : []),
    ...lines(releases.flatMap(remarksOf)),
    ...lines(objects.flatMap(ownLines)),
    ...lines(steps.map(({title, seen}) => `  ${mark.next} ${title}   ${dim(seen)}`)),
    ...(diff ? releases.flatMap((release) => release.objects.map((object) => object.diff)).filter((text) => text !== '') : []),
    [kept === '' ? '' : `${kept}.`, diff || releases.length === 0 ? '' : nextCommands([`lkeobs ${command} --diff --dry-run`])]
      .filter((line) => line !== '')
      .join('\n'),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

/** What is asked before it is done. */
export const upgradeQuestion = ({cluster, releases, objects, steps}: Survey): string => {
  const parts = [
    releases.length > 0 ? count(releases.length, 'release') : '',
    objects.length > 0 ? count(objects.length, 'object') : '',
    steps.length > 0 ? count(steps.length, 'other step') : '',
  ].filter((part) => part !== '')
  return `Change ${parts.join(', ')} on ${cluster}?`
}

const lines = (all: readonly string[]): readonly string[] => (all.length === 0 ? [] : [all.join('\n')])

const step = ({from, to}: {readonly from?: string; readonly to?: string}): string => {
  if (from === to) return to ?? ''
  return from === undefined ? `new ${to ?? ''}` : `${from} → ${to ?? 'gone'}`
}

const rowOf = ({release, state, version, images, objects}: ReleaseChange): readonly string[] => [
  release,
  `${step(version)}${/^(new|deployed)$/.test(state) ? '' : ` (${state})`}`,
  images.map(({image, ...tags}) => `${image.split('/').at(-1)} ${step(tags)}`).join(', ') || dim('same'),
  (['changed', 'added', 'removed', 'relabelled'] as const)
    .map((change) => ({change, n: objects.filter((one) => one.change === change).length}))
    .filter(({n}) => n > 0)
    .map(({change, n}) => `${n} ${change}`)
    .join(', ') || dim('same'),
]

const longest = 48
const short = (value: unknown): string => {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing')
  return text.length > longest || text.includes('\n') ? `${text.split('\n')[0]?.slice(0, longest) ?? ''}…` : text
}

const remarksOf = ({release, state, values, drifted, definitions}: ReleaseChange): readonly string[] => {
  const of = (text: string) => `  ${release}: ${text}`
  const named = (change: string) => definitions.filter((one) => one.change === change).map(({name}) => name)
  const [due, left] = [[...named('added'), ...named('changed')], named('left')]
  return [
    ...values.map(({path, from, to}) => of(from === undefined && to === undefined ? path : `${path} ${short(from)} → ${short(to)}`)),
    ...drifted.map((seen) => of(`${seen}; set right`)),
    ...(state.startsWith('pending-') ? [`  ${mark.soon} ${release}: an earlier helm was interrupted; its record is removed`] : []),
    // helm leaves them alone once they are there
    ...(due.length > 0 && state !== 'new' ? [of(`${count(due.length, 'definition')} brought up to date first: ${due.join(', ')}`)] : []),
    ...(left.length > 0 ? [`  ${mark.soon} ${release}: no longer of this chart, and left where they are: ${left.join(', ')}`] : []),
  ]
}

const ownLines = ({object, change, fields}: OwnChange): readonly string[] => [
  `  ${object} ${change === 'added' ? 'is added' : fields.length === 0 ? 'loses what is no longer wished for' : 'changes'}`,
  ...fields.map(({path, from, to}) => `    ${path} ${short(from)} → ${short(to)}`),
]
