import {attributes} from '../support/otlp-proto.ts'
import {type Case, hours, logsOf, noUtf8, numberedAttributes, record, resource} from './case.ts'

/** Before the first day of the stores: a replayed archive. */
const lastYear = 1_767_139_200_000_000_000n

const nested = (levels: number): object =>
  levels === 0 ? {stringValue: 'deep'} : {kvlistValue: {values: [{key: 'in', value: nested(levels - 1)}]}}

export const logCases: readonly Case[] = [
  {
    name: 'before-the-schema',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {timeUnixNano: lastYear + BigInt(at.i)})),
    becomes: {deadLetters: {'too-old': 1}},
    always: true,
  },
  {
    name: 'backfill-of-many-services',
    signal: 'logs',
    request: (at) => ({
      resourceLogs: [{resource: resource(`${at.workload}-${at.i}`), scopeLogs: [{logRecords: [record(at, {timeUnixNano: lastYear})]}]}],
    }),
    selector: ({workload}) => `{service_name=~"${workload}-.*"}`,
    becomes: {deadLetters: {'too-old': 1}},
  },
  {
    name: 'times-in-other-units',
    signal: 'logs',
    request: (at) =>
      logsOf(
        at,
        ...[1000n, 1_000_000n, 1_000_000_000n].map((unit) =>
          record(at, {timeUnixNano: at.now / unit, body: {stringValue: `divided by ${unit} ${at.run} ${at.i}`}}),
        ),
      ),
    becomes: {stored: 3, repaired: {'time-unit': 3}},
    always: true,
  },
  {
    name: 'a-day-ahead',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {timeUnixNano: at.now + hours(24)})),
    becomes: {deadLetters: {'time-ahead': 1}},
  },
  {
    name: 'the-year-2262',
    signal: 'logs',
    request: (at) =>
      logsOf(
        at,
        record(at, {timeUnixNano: 9_223_372_036_854_775_000n}),
        record(at, {timeUnixNano: 2n ** 64n - 1n, body: {stringValue: 'more'}}),
      ),
    becomes: {deadLetters: {'time-ahead': 2}},
    always: true,
  },
  {
    name: 'hours-behind-its-stream',
    signal: 'logs',
    request: (at) => logsOf(at, record(at), record(at, {timeUnixNano: at.now - hours(3)}), record(at, {timeUnixNano: at.now - hours(20)})),
    becomes: {stored: 3},
    within: [24, 0],
    always: true,
  },
  {
    name: 'no-time',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {timeUnixNano: undefined})),
    becomes: [{stored: 1}, {stored: 1, repaired: {'time-missing': 1}}],
  },
  {
    name: 'observed-time-only',
    signal: 'logs',
    request: (at) =>
      logsOf(
        at,
        record(at, {timeUnixNano: undefined, observedTimeUnixNano: at.now}),
        record(at, {timeUnixNano: 0, observedTimeUnixNano: at.now / 1_000_000n, body: {stringValue: `observed in ms ${at.run} ${at.i}`}}),
      ),
    becomes: [
      {stored: 2, repaired: {'time-unit': 1}},
      {stored: 2, repaired: {'time-missing': 1}},
      {stored: 2, repaired: {'time-unit': 1, 'time-missing': 1}},
      {stored: 2, repaired: {'time-missing': 2}},
    ],
  },
  {
    name: 'line-of-300-kB',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {body: {stringValue: `long ${at.run} ${at.i} ${'x'.repeat(307_200)}`}})),
    becomes: {stored: 1},
    always: true,
  },
  {
    name: 'line-of-1-MiB-in-bytes',
    signal: 'logs',
    requests: 10,
    request: (at) => logsOf(at, record(at, {body: {bytesValue: Buffer.alloc(1_048_576, at.i)}})),
    becomes: {stored: 1},
  },
  {
    name: 'attribute-of-70-kB',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {attributes: attributes({'exception.stacktrace': 'x'.repeat(71_680)})})),
    becomes: {stored: 1},
    always: true,
  },
  {
    name: 'attribute-of-1-MiB',
    signal: 'logs',
    requests: 10,
    request: (at) => logsOf(at, record(at, {attributes: attributes({'request.body': 'x'.repeat(1_048_576)})})),
    becomes: {stored: 1, repaired: {'value-cut': 1}},
  },
  {
    name: '140-attributes',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {attributes: numberedAttributes(140)})),
    becomes: {stored: 1},
  },
  {
    name: '2000-attributes',
    signal: 'logs',
    requests: 10,
    request: (at) => logsOf(at, record(at, {attributes: numberedAttributes(2000)})),
    becomes: {stored: 1, repaired: {'value-cut': 1}},
  },
  {
    name: 'attribute-without-ascii-letter',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {attributes: attributes({地域: '東京'})})),
    becomes: {stored: 1, repaired: {name: 1}},
    always: true,
  },
  {
    name: 'attributes-of-symbols',
    signal: 'logs',
    request: (at) =>
      logsOf(
        at,
        record(at, {
          attributes: attributes([
            ['%%%', '1'],
            ['', '2'],
            ['k', '3'],
            ['k', '4'],
            ['9', '5'],
            ['__name__', '6'],
          ]),
        }),
      ),
    becomes: [{stored: 1, repaired: {name: 1}}, {stored: 1}],
  },
  {
    name: 'names-that-are-labels-of-loki',
    signal: 'logs',
    // an attribute `__error__` is taken for an error of the query
    selector: ({workload}) => `{service_name="${workload}"} | drop __error__`,
    request: (at) =>
      logsOf(at, record(at, {attributes: attributes({service_name: 'mine', level: 'x', __error__: 'y', detected_level: 'z'})})),
    becomes: {stored: 1},
  },
  {
    name: 'body-no-utf8',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {body: {stringValue: noUtf8(`broken ${at.run} ${at.i} `)}})),
    becomes: [{stored: 1}, {stored: 1, repaired: {'value-cut': 1}}, {refused: /utf|UTF/}],
  },
  {
    name: 'attributes-no-utf8',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {attributes: [{key: noUtf8('key.'), value: {stringValue: noUtf8('value ')}}]})),
    becomes: [{stored: 1}, {stored: 1, repaired: {name: 1}}, {stored: 1, repaired: {'value-cut': 1}}, {refused: /utf|UTF/}],
  },
  {
    name: 'resource-no-utf8',
    signal: 'logs',
    request: (at) => ({
      resourceLogs: [
        {
          resource: resource(at.workload, [['k8s.namespace.name', noUtf8('space ')]]),
          scopeLogs: [{logRecords: [record(at)]}],
        },
      ],
    }),
    becomes: [{stored: 1}, {stored: 1, repaired: {name: 1}}, {stored: 1, repaired: {'value-cut': 1}}, {refused: /utf|UTF/}],
  },
  {
    name: 'service-name-of-5-kB',
    signal: 'logs',
    request: (at) => ({
      resourceLogs: [{resource: resource(`${at.workload}-${'x'.repeat(5000)}`), scopeLogs: [{logRecords: [record(at)]}]}],
    }),
    selector: ({workload}) => `{service_name=~"${workload}-.*"}`,
    becomes: {stored: 1, repaired: {'value-cut': 1}},
    always: true,
  },
  {
    name: 'no-service-name',
    signal: 'logs',
    request: (at) => ({
      resourceLogs: [
        {resource: {}, scopeLogs: [{logRecords: [record(at)]}]},
        {
          resource: {attributes: attributes({'service.name': ''})},
          scopeLogs: [{logRecords: [record(at, {body: {stringValue: `second case ${at.run} ${at.i}`}})]}],
        },
      ],
    }),
    selector: ({run}) => `{lkeobs_edge="edge-1"} |= "case ${run}"`,
    becomes: {stored: 2},
  },
  {
    name: 'bodies-of-every-kind',
    signal: 'logs',
    request: (at) =>
      logsOf(
        at,
        ...[
          {kvlistValue: {values: attributes({message: 'map', n: 1, list: [1, 'two', {three: 3}]})}},
          {arrayValue: {values: [{stringValue: 'array'}, {intValue: 2}, {}]}},
          {bytesValue: Buffer.from([0, 255, 254])},
          {intValue: 7},
          {intValue: -(2n ** 63n)},
          {doubleValue: Number.NaN},
          {boolValue: false},
          {stringValue: ''},
          {},
          {stringValue: 'a\0b\nc\u2028d'},
        ].map((body, index) => record(at, {timeUnixNano: at.now + BigInt(index), body})),
        record(at, {timeUnixNano: at.now + 50n, body: undefined}),
      ),
    becomes: {stored: 11},
  },
  {
    name: 'body-of-100-levels',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {body: nested(100)})),
    becomes: [{stored: 1}, {refused: /depth|nest/}],
  },
  {
    name: 'attributes-of-every-kind',
    signal: 'logs',
    request: (at) =>
      logsOf(
        at,
        record(at, {
          attributes: [
            ...attributes({list: [1, [2, [3]]], map: {a: {b: {}}}, none: undefined, bytes: Buffer.alloc(9)}),
            {key: 'deep', value: nested(40)},
          ],
        }),
      ),
    becomes: {stored: 1},
  },
  {
    name: 'severities-out-of-range',
    signal: 'logs',
    request: (at) =>
      logsOf(
        at,
        ...[200, -1, 2_147_483_647, 0].map((severityNumber, index) =>
          record(at, {timeUnixNano: at.now + BigInt(index), severityNumber, severityText: 'x'.repeat(300)}),
        ),
      ),
    becomes: {stored: 4},
  },
  {
    name: 'trace-ids-and-flags-odd',
    signal: 'logs',
    request: (at) =>
      logsOf(
        at,
        record(at, {flags: 0xff_ff_ff_ff, traceId: '0'.repeat(32), spanId: '0'.repeat(16)}),
        record(at, {timeUnixNano: at.now + 1n, flags: 0x100, traceId: 'f'.repeat(32)}),
      ),
    becomes: {stored: 2},
  },
  {
    name: 'trace-id-too-short',
    signal: 'logs',
    request: (at) => logsOf(at, record(at, {traceId: 'abcdef'})),
    becomes: {refused: /length|TraceID/i},
  },
  {name: 'empty-request', signal: 'logs', request: () => ({}), becomes: {}},
  {
    name: 'empty-record',
    signal: 'logs',
    request: (at) => logsOf(at, {}),
    becomes: [{stored: 1}, {stored: 1, repaired: {'time-missing': 1}}],
  },
  {
    name: '2000-resources',
    signal: 'logs',
    requests: 5,
    request: (at) => ({
      resourceLogs: Array.from({length: 2000}, (_, pod) => ({
        resource: resource(at.workload, {'k8s.pod.name': `pod-${pod}`}),
        scopeLogs: [{logRecords: [record(at, {body: {stringValue: `pod ${pod} of ${at.i}`}})]}],
      })),
    }),
    becomes: {stored: 2000},
  },
  {
    name: '6000-services',
    signal: 'logs',
    requests: 12,
    request: (at) => ({
      resourceLogs: Array.from({length: 500}, (_, job) => ({
        resource: resource(`${at.workload}-${at.i * 500 + job}`),
        scopeLogs: [{logRecords: [record(at)]}],
      })),
    }),
    selector: ({run}) => `{lkeobs_edge="edge-1"} |= "case ${run}"`,
    becomes: [{stored: 500}, {stored: 500, repaired: {'stream-budget': 500}}],
  },
  {
    name: 'good-and-bad-together',
    signal: 'logs',
    request: (at) =>
      logsOf(
        at,
        record(at),
        record(at, {timeUnixNano: at.now + hours(48)}),
        record(at, {timeUnixNano: at.now + 1n, attributes: attributes({'⚙': 'symbol'})}),
        record(at, {timeUnixNano: at.now / 1_000_000n, body: {stringValue: `ms ${at.run} ${at.i}`}}),
      ),
    becomes: {stored: 3, deadLetters: {'time-ahead': 1}, repaired: {name: 1, 'time-unit': 1}},
    always: true,
  },
]
