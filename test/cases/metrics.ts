import {attributes} from '../support/otlp-proto.ts'
import {type At, type Case, gauge, hours, metricsOf, noUtf8, numberedAttributes, resource, seconds} from './case.ts'

const cumulative = 2
const delta = 1
const named = (name: string) => ({
  selector: ({run}: Pick<At, 'run'>) => `{__name__=~"${name}_${run}.*"}`,
})

/** A histogram of eight observations in three buckets; fields of its point may be others. */
const histogram = (at: At, name: string, point: object = {}, aggregationTemporality = cumulative) => ({
  name,
  histogram: {
    aggregationTemporality,
    dataPoints: [
      {
        startTimeUnixNano: at.now - seconds(60),
        timeUnixNano: at.now,
        count: 8,
        sum: 12.5,
        bucketCounts: [3, 4, 1],
        explicitBounds: [1, 2],
        ...point,
      },
    ],
  },
})
const exponential = (at: At, name: string, point: object = {}) => ({
  name,
  exponentialHistogram: {
    aggregationTemporality: cumulative,
    dataPoints: [
      {
        startTimeUnixNano: at.now - seconds(60),
        timeUnixNano: at.now,
        count: 8,
        sum: 12.5,
        scale: 2,
        zeroCount: 0,
        positive: {offset: 0, bucketCounts: [3, 5]},
        ...point,
      },
    ],
  },
})
const sum = (at: At, name: string, aggregationTemporality: number, point: object = {}) => ({
  name,
  sum: {
    aggregationTemporality,
    isMonotonic: true,
    dataPoints: [{startTimeUnixNano: at.now - seconds(10), timeUnixNano: at.now, asInt: 3, ...point}],
  },
})

const count = {selector: ({workload}: Pick<At, 'workload'>) => `{job="${workload}",__name__=~".*_count"}`}

export const metricCases: readonly Case[] = [
  {
    name: 'delta-counter',
    signal: 'metrics',
    request: (at) => metricsOf(at, sum(at, 'orders', delta)),
    becomes: {stored: 1},
    value: {query: ({workload}) => `max(max_over_time(orders_total{job="${workload}"}[15m]))`, is: (accepted) => 3 * accepted},
    always: true,
  },
  {
    name: 'delta-histogram',
    signal: 'metrics',
    request: (at) => metricsOf(at, histogram(at, 'waited', {startTimeUnixNano: at.now - seconds(1)}, delta)),
    becomes: {stored: 1},
    ...count,
    value: {query: ({workload}) => `max(max_over_time(waited_count{job="${workload}"}[15m]))`, is: (accepted) => 8 * accepted},
  },
  {
    name: 'delta-exponential-histogram',
    signal: 'metrics',
    request: (at) => {
      const metric = exponential(at, 'waited.well')
      return metricsOf(at, {...metric, exponentialHistogram: {...metric.exponentialHistogram, aggregationTemporality: delta}})
    },
    becomes: {stored: 1},
  },
  {
    // summing up point by point, a processor may go from one scale to the other step by step
    name: 'delta-exponential-histogram-scales',
    signal: 'metrics',
    requests: 4,
    request: (at) => {
      const metric = exponential(at, 'waited.scaled', {startTimeUnixNano: at.now - seconds(1), scale: at.i % 2 === 0 ? 20 : 2})
      return metricsOf(at, {...metric, exponentialHistogram: {...metric.exponentialHistogram, aggregationTemporality: delta}})
    },
    becomes: {stored: 1},
  },
  {
    name: 'temporality-unspecified',
    signal: 'metrics',
    request: (at) => metricsOf(at, sum(at, 'orders.any', 0)),
    becomes: {deadLetters: {'invalid-temporality': 1}},
  },
  {
    name: 'label-without-ascii-letter',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, 'orders.open', {attributes: attributes({地域: '東京', '%%': 'symbols'})})),
    becomes: {stored: 1, repaired: {name: 1}},
    always: true,
  },
  {
    name: 'name-without-ascii-letter',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, '注文')),
    becomes: {stored: 1, repaired: {name: 1}},
  },
  {
    name: 'name-of-symbols',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, '%$/'), gauge(at, '___')),
    becomes: {stored: 2, repaired: {name: 2}},
  },
  {
    name: 'name-of-digits',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, '404', {attributes: attributes({'1st': 'yes', '2nd': 'no'})})),
    becomes: [{stored: 1}, {stored: 1, repaired: {name: 1}}],
  },
  {name: 'no-name', signal: 'metrics', request: (at) => metricsOf(at, gauge(at, '')), becomes: {deadLetters: {'no-name': 1}}, always: true},
  {
    name: 'name-of-10-kB',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, `long.${'name.'.repeat(2000)}end`)),
    becomes: [{stored: 1}, {stored: 1, repaired: {'value-cut': 1}}, {stored: 1, repaired: {name: 1}}],
  },
  {
    name: 'name-no-utf8',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, noUtf8('broken.'))),
    becomes: [{stored: 1, repaired: {name: 1}}, {stored: 1}, {refused: /utf|UTF/}],
  },
  {
    name: 'attribute-no-utf8',
    signal: 'metrics',
    request: (at) =>
      metricsOf(at, {
        ...gauge(at, 'broken.attribute'),
        gauge: {
          dataPoints: [{timeUnixNano: at.now, asInt: at.i, attributes: [{key: noUtf8('key.'), value: {stringValue: noUtf8('value ')}}]}],
        },
      }),
    becomes: {stored: 1, repaired: {'invalid-utf8': 1}},
  },
  {
    name: 'three-hours-old',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, 'late', {timeUnixNano: at.now - hours(3)})),
    becomes: {stored: 1},
    within: [4, 0],
    always: true,
  },
  {
    name: 'twenty-hours-old',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, 'later', {timeUnixNano: at.now - hours(20)})),
    becomes: {stored: 1},
    within: [21, 0],
  },
  {
    name: 'a-month-old',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, 'latest', {timeUnixNano: at.now - hours(24 * 30)})),
    becomes: {deadLetters: {'too-old': 1}},
  },
  {
    name: 'a-day-ahead',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, 'ahead', {timeUnixNano: at.now + hours(24)})),
    becomes: {deadLetters: {'time-ahead': 1}},
    always: true,
  },
  {
    name: 'the-year-2262',
    signal: 'metrics',
    request: (at) =>
      metricsOf(at, gauge(at, 'far', {timeUnixNano: 9_223_372_036_854_775_000n}), gauge(at, 'farther', {timeUnixNano: 2n ** 64n - 1n})),
    becomes: {deadLetters: {'time-ahead': 2}},
  },
  {
    name: 'no-time',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, 'timeless', {timeUnixNano: 0})),
    becomes: {stored: 1, repaired: {'time-missing': 1}},
  },
  {
    name: 'times-in-other-units',
    signal: 'metrics',
    request: (at) =>
      metricsOf(
        at,
        gauge(at, 'unit.micros', {timeUnixNano: at.now / 1000n}),
        gauge(at, 'unit.millis', {timeUnixNano: at.now / 1_000_000n}),
        gauge(at, 'unit.seconds', {timeUnixNano: at.now / 1_000_000_000n + BigInt(at.i)}),
      ),
    becomes: {stored: 3, repaired: {'time-unit': 3}},
    within: [1, 1],
  },
  {
    name: 'start-after-end',
    signal: 'metrics',
    request: (at) => metricsOf(at, sum(at, 'backwards', cumulative, {startTimeUnixNano: at.now + hours(1)})),
    becomes: {stored: 1},
  },
  {
    name: 'two-replicas-one-identity',
    signal: 'metrics',
    request: (at) => ({
      resourceMetrics: [1, 2].map((value) => ({
        resource: resource(at.workload),
        scopeMetrics: [{metrics: [gauge(at, 'replica', {asInt: value})]}],
      })),
    }),
    // one series has one sample at a time
    becomes: {stored: 1},
  },
  {
    name: 'one-series-of-two-resources',
    signal: 'metrics',
    request: (at) => ({
      resourceMetrics: [1, 2].map((pid) => ({
        resource: resource(at.workload, {'process.pid': pid}),
        scopeMetrics: [{metrics: [gauge(at, 'worker.busy', {asInt: pid})]}],
      })),
    }),
    becomes: {stored: 1},
  },
  {
    name: 'one-point-twice',
    signal: 'metrics',
    request: (at) => {
      const point = {timeUnixNano: at.now, asInt: at.i}
      return metricsOf(at, {name: 'twice', gauge: {dataPoints: [point, point, {...point, asInt: -1}]}})
    },
    becomes: {stored: 1},
  },
  {
    name: 'one-series-of-two-edges',
    signal: 'metrics',
    edges: ['edge-1', 'edge-2'],
    request: (at) => metricsOf(at, gauge(at, 'shared')),
    becomes: {stored: 1},
  },
  {
    name: 'labels-of-prometheus',
    signal: 'metrics',
    request: (at) =>
      metricsOf(
        at,
        gauge(at, `scraped.${at.run}`, {
          attributes: attributes({__name__: 'other', job: 'mine', instance: 'host:1', le: 'x', quantile: '2'}),
        }),
      ),
    becomes: {stored: 1},
    ...named('scraped'),
  },
  {
    name: 'labels-that-become-one',
    signal: 'metrics',
    request: (at) => metricsOf(at, gauge(at, 'collided', {attributes: attributes({'a.b': '1', a_b: '2', 'a-b': '3'})})),
    becomes: {stored: 1},
  },
  {
    name: 'attribute-keys-empty-and-twice',
    signal: 'metrics',
    request: (at) =>
      metricsOf(
        at,
        gauge(at, 'keys', {
          attributes: attributes([
            ['', 'empty'],
            ['k', '1'],
            ['k', '2'],
          ]),
        }),
      ),
    becomes: {stored: 1},
  },
  {
    name: 'nan-infinite-stale',
    signal: 'metrics',
    request: (at) =>
      metricsOf(
        at,
        gauge(at, 'ratio.nan', {asInt: undefined, asDouble: Number.NaN}),
        gauge(at, 'ratio.infinite', {asInt: undefined, asDouble: Number.NEGATIVE_INFINITY}),
        gauge(at, 'ratio.stale', {asInt: undefined, flags: 1}),
      ),
    // a staleness marker ends a series, and is no sample that a query finds
    becomes: {stored: 2},
  },
  {
    name: 'values-at-the-limits',
    signal: 'metrics',
    request: (at) =>
      metricsOf(
        at,
        sum(at, 'limit.negative', cumulative, {asInt: -5n}),
        sum(at, 'limit.least', cumulative, {asInt: -(2n ** 63n)}),
        sum(at, 'limit.most', cumulative, {asInt: 2n ** 63n - 1n}),
        gauge(at, 'limit.double', {asInt: undefined, asDouble: Number.MAX_VALUE}),
        gauge(at, 'limit.no.value', {asInt: undefined}),
      ),
    becomes: {stored: 5},
  },
  {name: 'exponential-histogram', signal: 'metrics', request: (at) => metricsOf(at, exponential(at, 'took.well')), becomes: {stored: 1}},
  {
    name: 'exponential-histogram-scales',
    signal: 'metrics',
    request: (at) => metricsOf(at, exponential(at, 'scale.fine', {scale: 20}), exponential(at, 'scale.coarse', {scale: -11})),
    becomes: {stored: 1, deadLetters: {'invalid-histogram': 1}},
    always: true,
  },
  {
    name: 'exponential-histogram-counts',
    signal: 'metrics',
    request: (at) => metricsOf(at, exponential(at, 'counts.wrong', {count: 1, positive: {offset: 2_000_000_000, bucketCounts: [3, 5]}})),
    becomes: {deadLetters: {'invalid-histogram': 1}},
  },
  {
    name: 'histogram-more-bounds-than-buckets',
    signal: 'metrics',
    request: (at) => metricsOf(at, histogram(at, 'mismatched', {bucketCounts: [3, 5], explicitBounds: [1, 2, 3, 4]})),
    becomes: [{stored: 1}, {deadLetters: {'invalid-histogram': 1}}],
    ...count,
  },
  {
    name: 'histogram-bounds-unsorted',
    signal: 'metrics',
    request: (at) =>
      metricsOf(at, histogram(at, 'unsorted', {explicitBounds: [2, 1]}), histogram(at, 'repeated', {explicitBounds: [1, 1]})),
    becomes: [{stored: 2}, {stored: 1, deadLetters: {'invalid-histogram': 1}}, {deadLetters: {'invalid-histogram': 2}}],
    ...count,
  },
  {
    name: 'histogram-without-buckets',
    signal: 'metrics',
    request: (at) => metricsOf(at, histogram(at, 'bare', {bucketCounts: [], explicitBounds: [], sum: undefined})),
    becomes: {stored: 1},
    ...count,
  },
  {
    name: 'summary',
    signal: 'metrics',
    request: (at) =>
      metricsOf(at, {
        name: 'summed.up',
        summary: {
          dataPoints: [
            {
              timeUnixNano: at.now,
              count: 4,
              sum: 2,
              quantileValues: [
                {quantile: 0.5, value: 1},
                {quantile: 7, value: Number.NaN},
              ],
            },
          ],
        },
      }),
    becomes: {stored: 1},
    ...count,
  },
  {
    name: 'exemplars-without-ids',
    signal: 'metrics',
    request: (at) =>
      metricsOf(
        at,
        sum(at, 'exemplified', cumulative, {
          exemplars: [
            {timeUnixNano: 0, asDouble: 1, filteredAttributes: attributes({long: 'x'.repeat(500)})},
            {timeUnixNano: at.now + hours(30), asInt: 1},
          ],
        }),
      ),
    becomes: {stored: 1},
  },
  {
    name: 'exemplar-with-a-short-id',
    signal: 'metrics',
    request: (at) =>
      metricsOf(at, sum(at, 'exemplified.badly', cumulative, {exemplars: [{timeUnixNano: at.now, asInt: 1, traceId: 'abcdef'}]})),
    becomes: {refused: /length|TraceID/i},
  },
  {
    name: '2000-attributes',
    signal: 'metrics',
    requests: 10,
    request: (at) => metricsOf(at, gauge(at, 'wide', {attributes: numberedAttributes(2000)})),
    becomes: [{stored: 1}, {stored: 1, repaired: {'value-cut': 1}}],
  },
  {
    name: 'attribute-of-1-MiB',
    signal: 'metrics',
    requests: 5,
    request: (at) => metricsOf(at, gauge(at, 'large', {attributes: attributes({'db.query.text': 'x'.repeat(1_048_576)})})),
    becomes: [{stored: 1}, {stored: 1, repaired: {'value-cut': 1}}],
  },
  {
    name: 'no-resource',
    signal: 'metrics',
    request: (at) => ({resourceMetrics: [{scopeMetrics: [{metrics: [gauge(at, `homeless.${at.run}`)]}]}]}),
    becomes: {stored: 1},
    ...named('homeless'),
  },
  {name: 'empty-request', signal: 'metrics', request: () => ({}), becomes: {}},
  {
    name: 'nothing-in-it',
    signal: 'metrics',
    request: (at) => metricsOf(at, {name: 'of.no.type'}, {name: 'of.no.points', gauge: {dataPoints: []}}),
    becomes: {},
  },
  {
    name: 'one-name-of-two-types',
    signal: 'metrics',
    request: (at) =>
      metricsOf(at, gauge(at, 'disputed_total', {asInt: 1}), sum(at, 'disputed', cumulative, {timeUnixNano: at.now + 1_000_000n})),
    becomes: {stored: 2},
  },
  {
    name: 'units-and-descriptions',
    signal: 'metrics',
    request: (at) => metricsOf(at, {...gauge(at, 'described'), unit: '{注文}/%', description: 'x'.repeat(20_000)}),
    becomes: {stored: 1},
  },
  {
    name: '2000-resources',
    signal: 'metrics',
    requests: 5,
    request: (at) => ({
      resourceMetrics: Array.from({length: 2000}, (_, pod) => ({
        resource: resource(at.workload, {'k8s.pod.name': `pod-${pod}`}),
        scopeMetrics: [{metrics: [gauge(at, 'up')]}],
      })),
    }),
    becomes: {stored: 2000},
  },
  {
    name: 'good-and-bad-together',
    signal: 'metrics',
    request: (at) =>
      metricsOf(
        at,
        gauge(at, 'mixed.good'),
        gauge(at, ''),
        gauge(at, 'mixed.ahead', {timeUnixNano: at.now + hours(48)}),
        gauge(at, '料金'),
        gauge(at, 'mixed.good.too'),
      ),
    becomes: {stored: 3, deadLetters: {'no-name': 1, 'time-ahead': 1}, repaired: {name: 1}},
    always: true,
  },
]
