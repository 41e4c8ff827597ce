import {describe, expect, test} from 'vitest'
import {exporterOf, kindOf, shownBy, signalsOf} from '../../src/destinations/index.ts'
import {withDestination, addEdge, newLabFleet, withoutDestination} from '../../src/fleet/edit.ts'
import {parseFleet} from '../../src/fleet/load.ts'

const lab = newLabFleet({edges: 1})
// the collector that has an exporter for every kind
const withText = (destinations: string) => `${lab}collector: {build: upstream}\ndestinations:\n${destinations}`
const splunk = `splunk: {endpoint: 'https://splunk.example:8088'}`
const problems = (destinations: string): string => {
  try {
    parseFleet(withText(destinations), 'lkeobs.yaml')
    return ''
  } catch (error) {
    return (error as Error).message.replaceAll(/lkeobs\.yaml:\d+:\d+ | \(line \d+\)/g, '')
  }
}

test('a destination has the settings of its kind, and its usual signals', () => {
  const {destinations} = parseFleet(
    withText(`  - {name: corp, ${splunk}}\n  - {name: eu, otlp: {endpoint: 'http://eu:4318', protocol: http}}\n`),
    'x',
  )
  expect(destinations.map((one) => [kindOf(one).kind.name, exporterOf(one), signalsOf(one).join(' ')])).toEqual([
    ['splunk', 'splunk_hec/corp', 'logs'],
    ['otlp', 'otlp_http/eu', 'metrics logs traces'],
  ])
  expect(destinations[0]).toMatchObject({where: {}, scrub: [], queue: {}})
})

test('those that show a certificate are looked at where they do', async () => {
  const {destinations} = parseFleet(
    withText(
      `  - {name: corp, ${splunk}}\n  - {name: dd, datadog: {site: datadoghq.eu}}\n  - {name: eu, otlp: {endpoint: 'https://eu'}}\n  - {name: plain, otlp: {endpoint: 'http://plain'}}\n`,
    ),
    'x',
  )
  const sightings = shownBy(destinations, {served: async (at) => `certificate of ${at}`})
  expect(sightings.map(({which, at}) => `${which} ${at}`)).toEqual(['corp splunk.example:8088', 'dd api.datadoghq.eu:443', 'eu eu:4317'])
})

describe('what is no destination is named by its place', () => {
  test.for([
    ['of no kind', '  - {name: a}', 'destinations.0: expected one of splunk, datadog, otlp, got none'],
    ['of two', `  - {name: a, ${splunk}, datadog: {}}`, 'destinations.0: expected one of splunk, datadog, otlp, got more'],
    [
      'a token in the file',
      `  - {name: a, splunk: {endpoint: 'https://s', token: x}}`,
      'destinations.0.splunk.token: Unrecognized key: "token"; valid here: endpoint, index, source, sourcetype, ca',
    ],
    [
      'a password in the address',
      `  - {name: a, splunk: {endpoint: 'https://u:p@s'}}`,
      'destinations.0.splunk.endpoint: expected an address without a password; secrets are kept in Vault',
    ],
    [
      'no address',
      `  - {name: a, splunk: {endpoint: splunk.example}}`,
      'destinations.0.splunk.endpoint: expected an address that begins with https:// or http://, got "splunk.example"',
    ],
    ['the name of a store', `  - {name: loki, ${splunk}}`, 'destinations.0.name: loki is the name of something else in the gateway'],
    [
      'the name of a feed',
      `  - {name: a-feed, ${splunk}}`,
      'destinations.0.name: a name that ends with -feed belongs to a part of another destination',
    ],
    ['two of a name', `  - {name: a, ${splunk}}\n  - {name: a, datadog: {}}`, 'destinations.1.name: a is the name of another destination'],
    [
      'nothing to scrub',
      `  - {name: a, ${splunk}, scrub: [emails]}`,
      'destinations.0.scrub.0: expected email, ipv4, card, bearer, key:ATTRIBUTE or /EXPRESSION/, got "emails"',
    ],
    [
      'an expression that looks around',
      `  - {name: a, ${splunk}, scrub: ['/a(?=b)/']}`,
      'destinations.0.scrub.0: expected an expression of RE2, which does not look around or back, got /a(?=b)/',
    ],
    [
      'an expression that matches nothing',
      `  - {name: a, ${splunk}, scrub: ['/x*/']}`,
      'destinations.0.scrub.0: expected an expression that does not match nothing, got /x*/',
    ],
    [
      'too small a queue',
      `  - {name: a, ${splunk}, queue: {items: 10}}`,
      'destinations.0.queue.items: expected at least 1000, got number 10',
    ],
  ] as const)('%s', ([, text, message]) => {
    expect(problems(`${text}\n`)).toBe(message)
  })
})

test('a destination takes a port of the hub, after those it had', () => {
  const moved = withText(`  - {name: a, ${splunk}}\n`).replace('ports: 14400', 'ports: 14321')
  expect(() => parseFleet(moved, 'lkeobs.yaml')).toThrow(/the ports 14321 to 14330 overlap 14300 to 14321 of hub/)
  expect(parseFleet(moved.replace('ports: 14321', 'ports: 14322'), 'x').edges).toHaveLength(1)
})

describe('edits keep every other byte', () => {
  const input = {
    name: 'corp',
    otlp: {endpoint: 'https://otlp.example:4317', header: 'authorization'},
    signals: ['logs' as const],
    where: {edge: ['edge-1']},
  }

  test('added at the end, and taken out again', () => {
    const added = withDestination(lab, input)
    expect(added).toBe(
      `${lab}destinations:\n  - name: corp\n    otlp: {endpoint: https://otlp.example:4317, header: authorization}\n    signals: [logs]\n    where: {edge: [edge-1]}\n`,
    )
    expect(withoutDestination(added, 'corp')).toBe(`${lab}destinations: []\n`)
    expect(withoutDestination(lab, 'corp')).toBe(lab)
  })

  test('one among others, with their comments', () => {
    const text = withText(`  # the first\n  - {name: a, ${splunk}} # of theirs\n`)
    const added = withDestination(text, input)
    expect(added.startsWith(text)).toBe(true)
    expect(withoutDestination(added, 'corp')).toBe(text)
    expect(withoutDestination(added, 'a').split('\n')).not.toContain('  - {name: a')
    const edge = {name: 'edge-9', platform: {local: {ports: 15_000}}}
    expect(parseFleet(addEdge(added, edge), 'x').destinations).toHaveLength(2)
  })

  test('changed in its place', () => {
    const text = withText(`  # the first\n  - {name: corp, ${splunk}}\n  # the second\n  - {name: b, ${splunk}} # of theirs\n`)
    const changed = withDestination(text, input)
    expect(parseFleet(changed, 'x').destinations.map(({name}) => name)).toEqual(['corp', 'b'])
    expect(changed.split('\n').filter((line) => !text.split('\n').includes(line))).toEqual([
      '  - name: corp',
      '    otlp: {endpoint: https://otlp.example:4317, header: authorization}',
      '    signals: [logs]',
      '    where: {edge: [edge-1]}',
    ])
    expect(changed).toContain('  # the first\n  - name: corp\n')
    expect(changed).toContain(`  # the second\n  - {name: b, ${splunk}} # of theirs\n`)
    expect(withDestination(changed, input)).toBe(changed)
    const flow = `${lab}destinations: [{name: corp, ${splunk}}, {name: b, ${splunk}}]\n`
    expect(withDestination(flow, input)).toBe(
      flow.replace(
        /\{name: corp, .*?\}\}/,
        '{name: corp, otlp: {endpoint: https://otlp.example:4317, header: authorization}, signals: [logs], where: {edge: [edge-1]}}',
      ),
    )
  })

  test('a file in JSON stays one', () => {
    const json = JSON.stringify({apiVersion: 'lkeobs/v1', fleet: 'f', hub: {name: 'h', platform: {kubernetes: {context: 'c'}}}})
    expect(JSON.parse(withDestination(json, input))).toMatchObject({destinations: [input]})
  })
})

test('Datadog needs the collector of the publisher', () => {
  const text = (collector: string, platform = '{local: {ports: 14300}}') =>
    `apiVersion: lkeobs/v1\nfleet: a\nhub: {name: hub, platform: ${platform}, endpoint: 'a:1'}\n${collector}destinations: [{name: dd, datadog: {}}]\n`
  const kubernetes = '{kubernetes: {context: hub}}'
  const image = `collector: {image: 'registry.example/otelcol@sha256:${'0'.repeat(64)}'}\n`
  expect(() => parseFleet(text(''), 'x')).toThrow('dd needs the collector of the publisher, `collector: {build: upstream}`')
  expect(() => parseFleet(text(image, kubernetes), 'x')).toThrow('dd needs the collector of the publisher')
  expect(parseFleet(text('collector: {build: upstream}\n'), 'x').destinations).toHaveLength(1)
  expect(parseFleet(text('', kubernetes), 'x').destinations).toHaveLength(1)
})

test('our build runs on Kubernetes from an image, which is named by its digest', () => {
  const text = (collector: string) =>
    `apiVersion: lkeobs/v1\nfleet: a\nhub: {name: hub, platform: {kubernetes: {context: hub}}}\ncollector: ${collector}\n`
  expect(() => parseFleet(text('{build: lkeobs}'), 'x')).toThrow('collector.image: missing')
  expect(() => parseFleet(text('{image: registry.example/otelcol:latest}'), 'x')).toThrow('expected an image with its digest')
  expect(() => parseFleet(text(`{build: upstream, image: 'r.example/o@sha256:${'0'.repeat(64)}'}`), 'x')).toThrow(
    'the image of its publisher',
  )
})
