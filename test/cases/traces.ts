import {attributes} from '../support/otlp-proto.ts'
import {type Case, hours, noUtf8, numberedAttributes, resource, seconds, span, spansOf} from './case.ts'

const zeroTrace = '0'.repeat(32)
const zeroSpan = '0'.repeat(16)

export const traceCases: readonly Case[] = [
  {
    name: 'trace-id-zero',
    signal: 'traces',
    request: (at) => spansOf(at, span(at, {traceId: zeroTrace})),
    becomes: {deadLetters: {'no-trace-id': 1}},
    always: true,
  },
  {
    name: 'no-ids',
    signal: 'traces',
    request: (at) => spansOf(at, span(at, {traceId: undefined, spanId: undefined})),
    becomes: {deadLetters: {'no-trace-id': 1}},
  },
  {
    name: 'span-id-zero',
    signal: 'traces',
    request: (at) => spansOf(at, span(at, {spanId: zeroSpan}), span(at, {spanId: undefined})),
    becomes: {deadLetters: {'no-span-id': 2}},
    always: true,
  },
  {
    name: 'trace-id-too-short',
    signal: 'traces',
    request: (at) => spansOf(at, span(at, {traceId: 'abcdef'})),
    becomes: {refused: /length|TraceID/i},
  },
  {
    name: 'times-of-every-kind',
    signal: 'traces',
    request: (at) =>
      spansOf(
        at,
        span(at, {endTimeUnixNano: at.now - hours(1)}),
        span(at, {startTimeUnixNano: 0, endTimeUnixNano: 0}),
        span(at, {startTimeUnixNano: at.now + hours(24), endTimeUnixNano: at.now + hours(48)}),
        span(at, {startTimeUnixNano: at.now - hours(30), endTimeUnixNano: at.now}),
      ),
    becomes: {stored: 4},
    always: true,
  },
  {
    name: 'times-in-other-units',
    signal: 'traces',
    request: (at) =>
      spansOf(
        at,
        ...[1000n, 1_000_000n, 1_000_000_000n].map((unit) =>
          span(at, {startTimeUnixNano: at.now / unit, endTimeUnixNano: (at.now + seconds(1)) / unit}),
        ),
      ),
    becomes: [{stored: 3}, {stored: 3, repaired: {'time-unit': 3}}],
  },
  {
    name: 'the-end-of-time',
    signal: 'traces',
    request: (at) =>
      spansOf(
        at,
        span(at, {startTimeUnixNano: at.now, endTimeUnixNano: 2n ** 64n - 1n}),
        span(at, {startTimeUnixNano: 2n ** 63n, endTimeUnixNano: 2n ** 63n + 1n}),
      ),
    becomes: [{stored: 2}, {stored: 1, deadLetters: {'time-ahead': 1}}, {deadLetters: {'time-ahead': 2}}],
  },
  {
    name: 'events-and-links-without-ids',
    signal: 'traces',
    request: (at) =>
      spansOf(
        at,
        span(at, {
          events: [{}, {timeUnixNano: 0, name: ''}, {timeUnixNano: at.now + hours(50), name: 'later', attributes: numberedAttributes(200)}],
          links: [{}, {traceId: zeroTrace, spanId: zeroSpan}, {traceId: 'f'.repeat(32), spanId: 'f'.repeat(16), traceState: ',,,='}],
        }),
      ),
    becomes: {stored: 1},
  },
  {
    name: 'link-with-a-short-id',
    signal: 'traces',
    request: (at) => spansOf(at, span(at, {links: [{traceId: 'ab', spanId: 'cd'}]})),
    becomes: {refused: /length|TraceID/i},
  },
  {
    name: 'enumerations-out-of-range',
    signal: 'traces',
    request: (at) =>
      spansOf(
        at,
        span(at, {kind: 99, flags: 0xff_ff_ff_ff, status: {code: 77, message: 'x'.repeat(5000)}}),
        span(at, {kind: -1, traceState: 'x'.repeat(2000)}),
      ),
    becomes: {stored: 2},
  },
  {
    name: 'names-empty-and-long',
    signal: 'traces',
    request: (at) => spansOf(at, span(at, {name: ''}), span(at, {name: 'n'.repeat(100_000)}), span(at, {name: '注文'})),
    becomes: {stored: 3},
  },
  {
    name: 'text-no-utf8',
    signal: 'traces',
    request: (at) =>
      spansOf(at, span(at, {name: noUtf8('broken '), attributes: [{key: noUtf8('key.'), value: {stringValue: noUtf8('value ')}}]})),
    becomes: [{stored: 1}, {stored: 1, repaired: {name: 1}}, {stored: 1, repaired: {'value-cut': 1}}, {refused: /utf|UTF/}],
    always: true,
  },
  {
    name: 'one-span-twice-and-its-own-parent',
    signal: 'traces',
    request: (at) => {
      const one = span(at, {parentSpanId: 'aa'.repeat(8), spanId: 'aa'.repeat(8)})
      return spansOf(at, one, one)
    },
    becomes: {stored: 1},
  },
  {
    name: '2000-attributes',
    signal: 'traces',
    requests: 10,
    request: (at) => spansOf(at, span(at, {attributes: numberedAttributes(2000)})),
    becomes: {stored: 1},
  },
  {
    name: 'attribute-of-1-MiB',
    signal: 'traces',
    requests: 10,
    request: (at) => spansOf(at, span(at, {attributes: attributes({'db.query.text': 'x'.repeat(1_048_576)})})),
    becomes: [{stored: 1}, {stored: 1, repaired: {'value-cut': 1}}],
  },
  {
    name: 'one-trace-of-8-MB',
    signal: 'traces',
    requests: 16,
    // Tempo takes 5 MB of a trace
    request: (at) =>
      spansOf(
        at,
        ...Array.from({length: 10}, () => span(at, {traceId: at.sharedTraceId, attributes: attributes({payload: 'x'.repeat(50_000)})})),
      ),
    becomes: [{stored: 10}, {}],
  },
  {
    name: 'attribute-names-odd',
    signal: 'traces',
    request: (at) =>
      spansOf(
        at,
        span(at, {
          attributes: attributes([
            ['', '1'],
            ['地域', '2'],
            ['%', '3'],
            ['k', '4'],
            ['k', '5'],
          ]),
        }),
      ),
    becomes: {stored: 1},
  },
  {
    name: 'no-resource',
    signal: 'traces',
    request: (at) => ({resourceSpans: [{scopeSpans: [{spans: [span(at, {name: at.workload})]}]}]}),
    becomes: {stored: 1},
  },
  {name: 'empty-request', signal: 'traces', request: () => ({}), becomes: {}},
  {
    name: '2000-resources',
    signal: 'traces',
    requests: 5,
    request: (at) => {
      const traceId = at.traceId()
      return {
        resourceSpans: Array.from({length: 2000}, (_, pod) => ({
          resource: resource(at.workload, {'k8s.pod.name': `pod-${pod}`}),
          scopeSpans: [{spans: [span({...at, traceId: () => traceId})]}],
        })),
      }
    },
    becomes: {stored: 2000},
  },
  {
    name: '12000-traces',
    signal: 'traces',
    requests: 12,
    request: (at) => spansOf(at, ...Array.from({length: 1000}, () => span(at))),
    becomes: {stored: 1000},
  },
  {
    name: 'good-and-bad-together',
    signal: 'traces',
    request: (at) => spansOf(at, span(at), span(at, {traceId: zeroTrace}), span(at, {spanId: zeroSpan}), span(at)),
    becomes: {stored: 2, deadLetters: {'no-trace-id': 1, 'no-span-id': 1}},
    always: true,
  },
]
