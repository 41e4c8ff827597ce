import {defineConfig} from 'vitest/config'
import {counts} from './scripts/counts.ts'

const countsFile = process.env['LKEOBS_TEST_COUNTS']

/** What runs without --project, which takes its place: `drills` and `cluster`, which take long, are asked for by name. */
const unlessAsked = {project: ['unit', 'otelcol', 'apiserver', 'lab', 'cases', 'data']}

export default defineConfig({
  test: {
    disableConsoleIntercept: true,
    ...unlessAsked,
    reporters: ['default', ...(countsFile === undefined ? [] : [counts(countsFile)])],
    // the quick ones first; group 0 would be put last on a machine with two processors
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/{apiserver,cases,cluster,data,drills,lab,otelcol}/**'],
          testTimeout: 30_000,
          isolate: false,
          maxWorkers: 2,
          sequence: {groupOrder: 1},
        },
      },
      {
        extends: true,
        test: {
          name: 'otelcol',
          include: ['test/otelcol/**/*.test.ts'],
          fileParallelism: false,
          // the collector's modules may have to be fetched and compiled first
          testTimeout: 30 * 60_000,
          sequence: {groupOrder: 2},
        },
      },
      {
        extends: true,
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          // one fleet on one machine: its ports and processors are not shared
          fileParallelism: false,
          testTimeout: 120_000,
          // the programs may have to be built first
          hookTimeout: 40 * 60_000,
          sequence: {groupOrder: 4},
        },
      },
      {
        extends: true,
        test: {
          name: 'apiserver',
          include: ['test/apiserver/**/*.test.ts'],
          // what was built is known from file to file
          isolate: false,
          maxWorkers: 2,
          testTimeout: 60_000,
          // etcd and kube-apiserver may have to be built first
          hookTimeout: 40 * 60_000,
          sequence: {groupOrder: 3},
        },
      },
      {
        extends: true,
        test: {
          name: 'cases',
          include: ['test/cases/**/*.test.ts'],
          // times are those of a machine that others share
          retry: 2,
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 40 * 60_000,
          sequence: {groupOrder: 5},
        },
      },
      {
        extends: true,
        test: {
          name: 'data',
          include: ['test/data/**/*.test.ts'],
          retry: 1,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 40 * 60_000,
          sequence: {groupOrder: 6},
        },
      },
      {
        extends: true,
        test: {
          name: 'drills',
          include: ['test/drills/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 40 * 60_000,
          sequence: {groupOrder: 7},
        },
      },
      {
        extends: true,
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 300_000,
          // the programs of the clusters may have to be built first
          hookTimeout: 40 * 60_000,
          sequence: {groupOrder: 8},
        },
      },
    ],
  },
})
