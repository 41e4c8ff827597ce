import {describe, expect, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {addEdge, newLabFleet, withCollectorImage, withLabEdges, withoutEdge} from '../../src/fleet/edit.ts'
import {parseFleet} from '../../src/fleet/load.ts'

const edge = {name: 'edge-9', platform: {local: {ports: 20_000}}}
const hub = `# mine
apiVersion:   lkeobs/v1     # spaced  oddly
fleet: "lab"

hub: {  name: hub, platform: { local: {ports: 14300}},
  endpoint: h:1 }   # the hub
`

/** What was put in, provided that everything around it is as before. */
const inserted = (before: string, after: string): string => {
  const start = [...before].findIndex((letter, at) => letter !== after[at])
  const head = start === -1 ? before.length : start
  const tail = before.slice(head)
  expect(after.slice(0, head) + after.slice(after.length - tail.length)).toBe(before)
  return after.slice(head, after.length - tail.length)
}

describe('an edge is added, and every other byte stays', () => {
  test.for<readonly [what: string, text: string, added: string]>([
    ['no list yet', hub, 'edges:\n  - name: edge-9\n    platform: {local: {ports: 20000}}\n'],
    ['no newline at the end', hub.trimEnd(), '\nedges:\n  - name: edge-9\n    platform: {local: {ports: 20000}}\n'],
    ['a marker at the end', `---\n${hub}...\n`, 'edges:\n  - name: edge-9\n    platform: {local: {ports: 20000}}\n'],
    [
      'comments below the last edge',
      `${hub}edges:   # all\n  - name: a   # A\n    platform: {local: {ports: 15000}} # P\n    # logs: [/x]\n\n    # more\n\n# end\n`,
      '  - name: edge-9\n    platform: {local: {ports: 20000}}\n',
    ],
    [
      'items at the margin',
      `${hub}edges:\n- platform:\n    local:\n      ports: 15000   # P\n  name: a\n\n\n`,
      '- name: edge-9\n  platform: {local: {ports: 20000}}\n',
    ],
    [
      'the list first',
      `edges:\n    - {name: a, platform: {local: {ports: 15000}}} # a\n\n# next\n${hub}`,
      '    - name: edge-9\n      platform: {local: {ports: 20000}}\n',
    ],
    [
      'a list in brackets',
      `${hub}edges: [ {name: a, platform: {local: {ports: 15000}}}, ] # x\n`,
      ', {name: edge-9, platform: {local: {ports: 20000}}}',
    ],
    ['brackets with a comment in them', `${hub}edges: [ # none\n  ]\n`, '{name: edge-9, platform: {local: {ports: 20000}}}'],
    [
      'CRLF',
      `${hub}edges:\n  - name: a\n    platform: {local: {ports: 15000}}\n    # deep\n`.replaceAll('\n', '\r\n'),
      '  - name: edge-9\r\n    platform: {local: {ports: 20000}}\r\n',
    ],
    [
      'JSON',
      '{"apiVersion":"lkeobs/v1","fleet":"lab","hub":{"name":"hub","platform":{"local":{"ports":14300}},"endpoint":"h:1"}}\n',
      ', "edges": [{"name":"edge-9","platform":{"local":{"ports":20000}}}]',
    ],
  ])('%s', ([, text, added]) => {
    const result = addEdge(text, edge)
    expect(result).toHaveLength(text.length + added.length)
    expect(result).toContain(added)
    expect(result.replace(added, '')).toBe(text)
    const {edges} = parseFleet(text, 'x')
    expect(parseFleet(result, 'x').edges).toEqual([...edges, {...edge, logs: [], vault: {seal: 'static'}}])
  })

  test('an empty list gives way', () => {
    const added = '  - name: edge-9\n    platform: {local: {ports: 20000}}\n'
    expect(addEdge(`${hub}edges: [] # none yet\n# end\n`, edge)).toBe(`${hub}edges: # none yet\n${added}# end\n`)
    expect(addEdge(`${hub}"edges":  [ ]`, edge)).toBe(`${hub}"edges":\n${added}`)
    expect(addEdge(`edges: []\n${hub}`, edge)).toBe(`edges:\n${added}${hub}`)
  })
})

test('everything an edge may have is written, each key on its line', () => {
  const text = addEdge(hub, {...edge, logs: ['/var/log/app/*.log', '/a b/#c'], vault: {seal: 'static'}})
  expect(inserted(hub, text)).toBe(
    'edges:\n  - name: edge-9\n    platform: {local: {ports: 20000}}\n    logs: [/var/log/app/*.log, /a b/#c]\n    vault: {seal: static}\n',
  )
})

test('an edge that does not fit is refused', () => {
  const text = addEdge(hub, edge)
  expect(() => addEdge(text, edge)).toThrow('edges.1.name: edge-9 is the name of another edge (line 8)')
  expect(() => addEdge(hub, {...edge, platform: {local: {ports: 14_310}}})).toThrow('overlap 14300 to 14321 of hub')
  expect(() => addEdge('- a', edge)).toThrow(LkeobsError)
})

test.for([0, 1, 50])('a new lab of %d edges', (edges) => {
  const text = newLabFleet({edges})
  const fleet = parseFleet(text, 'lkeobs.yaml')
  expect(fleet.hub).toEqual({
    name: 'hub',
    platform: {local: {ports: 14_300}},
    endpoint: '127.0.0.1:14300',
    vault: {replicas: 3, seal: 'static'},
  })
  expect(fleet.edges.map(({name}) => name)).toEqual(Array.from({length: edges}, (_, at) => `edge-${at + 1}`))
  expect(fleet.edges.map(({platform}) => platform.local?.ports)).toEqual(Array.from({length: edges}, (_, at) => 14_400 + 10 * at))
  expect(text).toMatch(/^# .*\n/)
  expect(text).toContain('so this seal is for a lab')
})

describe('a lab grows', () => {
  test('to as many edges as wished, once', () => {
    const one = newLabFleet({edges: 1})
    const three = withLabEdges(one, 3)
    expect(three).toBe(newLabFleet({edges: 3}))
    expect(withLabEdges(three, 3)).toBe(three)
    expect(withLabEdges(three, 1)).toBe(three)
    expect(withLabEdges(hub, 0)).toBe(hub)
  })

  test('around the names and ports that are taken', () => {
    const text = `${hub.replace('14300', '14415')}edges:\n  - name: edge-2 # keep\n    platform: {local: {ports: 14445}}\n  - name: b\n    platform: {local: {ports: 14400}}\n`
    expect(inserted(text, withLabEdges(text, 5))).toBe(
      [
        '  - name: edge-1\n    platform: {local: {ports: 14515}}\n',
        '  - name: edge-3\n    platform: {local: {ports: 14525}}\n',
        '  - name: edge-4\n    platform: {local: {ports: 14535}}\n',
      ].join(''),
    )
  })
})

describe('an edge is taken out', () => {
  const platform = (ports: number) => `platform: {local: {ports: ${ports}}}`
  const item = (name: string, ports: number) => `  - name: ${name} # its own\n    ${platform(ports)}\n    # of its own, too\n`

  test.for([
    [
      'the first',
      'a',
      `${hub}# all\nedges:\n  # a\n${item('a', 20_000)}  # b\n${item('b', 20_010)}# end\n`,
      `${hub}# all\nedges:\n  # a\n  # b\n${item('b', 20_010)}# end\n`,
    ],
    ['the last', 'b', `${hub}edges:\n${item('a', 20_000)}\n${item('b', 20_010)}`, `${hub}edges:\n${item('a', 20_000)}\n`],
    ['the only one', 'a', `${hub}edges: # all\n${item('a', 20_000)}# end\n`, `${hub}edges: [] # all\n# end\n`],
    ['without indent', 'a', `edges:\n- name: a\n  ${platform(20_000)}\n${hub}`, `edges: []\n${hub}`],
    [
      'in brackets',
      'b',
      `${hub}edges: [{name: a, ${platform(20_000)}}, {name: b, ${platform(20_010)}}] # all\n`,
      `${hub}edges: [{name: a, ${platform(20_000)}}] # all\n`,
    ],
    [
      'first in brackets',
      'a',
      `${hub}edges: [{name: a, ${platform(20_000)}}, {name: b, ${platform(20_010)}}]\n`,
      `${hub}edges: [{name: b, ${platform(20_010)}}]\n`,
    ],
    ['nobody', 'c', `${hub}edges:\n${item('a', 20_000)}`, `${hub}edges:\n${item('a', 20_000)}`],
  ] as const)('%s', ([, name, text, left]) => {
    expect(withoutEdge(text, name)).toBe(left)
    const windows = text.replaceAll('\n', '\r\n')
    expect(withoutEdge(windows, name)).toBe(left.replaceAll('\n', '\r\n'))
  })

  test('what was added is taken out again, wherever it was put', () => {
    for (const text of [newLabFleet({edges: 0}), newLabFleet({edges: 2}), `${hub}edges: []`])
      expect(parseFleet(withoutEdge(addEdge(text, edge), edge.name), 'lkeobs.yaml')).toEqual(parseFleet(text, 'lkeobs.yaml'))
  })
})

describe('the image of the collector is pinned, and every other byte stays', () => {
  const [old, image] = ['0a', '1b'].map((byte) => `registry.example:5000/team/otelcol@sha256:${byte.repeat(32)}`) as [string, string]
  const json = '{"apiVersion":"lkeobs/v1","fleet":"lab","hub":{"name":"hub","platform":{"local":{"ports":14300}},"endpoint":"h:1"}'

  test.for<readonly [what: string, before: string, after: string]>([
    ['no key yet', hub, `${hub}collector:\n  image: ${image}\n`],
    ['no newline at the end', hub.trimEnd(), `${hub.trimEnd()}\ncollector:\n  image: ${image}\n`],
    [
      'a block without an image',
      `collector:   # ours\n    registry: registry.example/a # R\n    # deep\n# next\n${hub}`,
      `collector:   # ours\n    registry: registry.example/a # R\n    # deep\n    image: ${image}\n# next\n${hub}`,
    ],
    [
      'another image, quoted',
      `${hub}collector:\n  image:  "${old}"   # pinned\n  pullSecret: pull\n`,
      `${hub}collector:\n  image:  ${image}   # pinned\n  pullSecret: pull\n`,
    ],
    [
      'brackets without an image',
      `${hub}collector: {registry: registry.example/a} # x\n`,
      `${hub}collector: {registry: registry.example/a, image: ${image}} # x\n`,
    ],
    ['brackets with another image', `${hub}collector: {image: '${old}'}\n`, `${hub}collector: {image: ${image}}\n`],
    ['empty brackets', `${hub}collector: {}\n`, `${hub}collector: {image: ${image}}\n`],
    [
      'CRLF',
      `${hub}collector:\n  registry: registry.example/a\n`.replaceAll('\n', '\r\n'),
      `${hub}collector:\n  registry: registry.example/a\n  image: ${image}\n`.replaceAll('\n', '\r\n'),
    ],
    ['JSON', `${json}}\n`, `${json}, "collector": {"image": "${image}"}}\n`],
    ['JSON with another image', `${json},"collector":{"image":"${old}"}}\n`, `${json},"collector":{"image":"${image}"}}\n`],
  ])('%s', ([, before, after]) => {
    expect(withCollectorImage(before, image)).toBe(after)
    expect(withCollectorImage(after, image)).toBe(after)
    expect(parseFleet(after, 'x').collector.image).toBe(image)
  })

  test.for(['registry.example/otelcol', 'registry.example/otelcol:1', 'otelcol@sha256:1', 'registry.example/a: b'])(
    '%s is refused',
    (wrong) => expect(() => withCollectorImage(hub, wrong)).toThrow('collector.image: expected an image with its digest'),
  )
})
