import {expect, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {parseFleet} from '../../src/fleet/load.ts'

const lines = [
  'apiVersion: lkeobs/v1',
  'fleet: held',
  'hub:',
  '  name: hub',
  '  platform: {kubernetes: {context: hub}}',
  '  vault:',
  '    seal: shamir',
  '    threshold: 2',
  '    holders:',
  '      - {name: ada, key: keys/ada.asc, role: platform}',
  '      - {name: bea, key: keys/bea.asc}',
  '      - {name: cem, key: keys/cem.asc}',
  '    custodian: {name: kay, key: keys/kay.asc}',
]
const withLines = (changes: Readonly<Record<number, string>>): string => lines.map((line, at) => changes[at + 1] ?? line).join('\n')
const wrongIn = (text: string): string => {
  try {
    parseFleet(text, 'f')
  } catch (error) {
    if (error instanceof LkeobsError) return error.message.replaceAll('f:', '')
  }
  return ''
}

test('three holders, two of whom open Vault, and a custodian', () => {
  const {vault} = parseFleet(lines.join('\n'), 'f').hub
  expect(vault).toMatchObject({seal: 'shamir', threshold: 2, custodian: {name: 'kay'}})
  expect(vault.holders?.map(({name}) => name)).toEqual(['ada', 'bea', 'cem'])
})

test.for<readonly [changes: Readonly<Record<number, string>>, wrong: string]>([
  [{8: '    threshold: 1'}, '8:16 hub.vault.threshold: expected at least 2, got number 1: nobody may open Vault alone'],
  [{8: '    threshold: 4'}, '8:16 hub.vault.threshold: expected at most 3, the number of holders, got number 4'],
  [{8: ''}, '7:5 hub.vault.threshold: missing; a Vault with seal shamir needs it'],
  [{12: ''}, '10:7 hub.vault.holders: expected 3 to 255 holders, got 2'],
  [
    {12: '      - {name: ada, key: keys/cem.asc}'},
    '12:16 hub.vault.holders.2.name: ada is the name of another holder; nobody holds two shares (line 10)',
  ],
  [
    {12: '      - {name: cem, key: keys/ada.asc}'},
    '12:26 hub.vault.holders.2.key: keys/ada.asc is the key of another holder; nobody holds two shares (line 10)',
  ],
  [
    {13: '    custodian: {name: bea, key: keys/kay.asc}'},
    '13:23 hub.vault.custodian.name: bea is the name of a holder; the custodian holds no share (line 11)',
  ],
  [
    {13: '    custodian: {name: kay, key: keys/bea.asc}'},
    '13:33 hub.vault.custodian.key: keys/bea.asc is the key of a holder; the custodian holds no share (line 11)',
  ],
  [{13: ''}, '7:5 hub.vault.custodian: missing; a Vault with seal shamir needs it'],
])('%j', ([changes, wrong]) => {
  expect(wrongIn(withLines(changes))).toBe(wrong)
})

test('a Vault that unseals itself has no holders', () => {
  expect(wrongIn(withLines({7: '    seal: static'})).split('\n')).toEqual([
    '8:16 hub.vault.threshold: only a Vault with seal shamir has it; the seal is static',
    '10:7 hub.vault.holders: only a Vault with seal shamir has it; the seal is static',
    '13:16 hub.vault.custodian: only a Vault with seal shamir has it; the seal is static',
  ])
})
