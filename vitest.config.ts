import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig, type ViteUserConfig } from 'vitest/config'

/** Tests wait for disks and timers: one more than there are cores keeps the cores busy. */
const WORKERS = availableParallelism() + 1

/** Hosts, sentinels and proxies of tests run from the sources: with a cache, Node strips the types of each file once. */
const env = { NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/node-compile', import.meta.url)) }

/** Where to write the results for machines, beside the ones for people. */
const report = process.env['TEST_REPORT']

const config: ViteUserConfig = defineConfig({
  test: {
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
    // One group after the other: real processes are not timed beside a busy unit run.
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/{unit,model}/**/*.test.ts'],
          maxWorkers: WORKERS,
          // A machine ten times slower than a quiet one passes, too.
          testTimeout: 60_000,
          typecheck: { enabled: true, include: ['test/types/**/*.test-d.ts'], ignoreSourceErrors: true },
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'process',
          include: ['test/{process,cli,http}/**/*.test.ts'],
          globalSetup: 'test/package/build.ts',
          pool: 'forks',
          maxWorkers: 3,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          env,
          retry: 0,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: 'faults',
          include: ['test/faults/**/*.test.ts'],
          globalSetup: 'test/package/build.ts',
          pool: 'forks',
          maxWorkers: 3,
          // The whole suite (FAULTS=all) has tests of minutes, which say so themselves.
          testTimeout: 90_000,
          hookTimeout: 60_000,
          env,
          retry: 0,
          sequence: { groupOrder: 3 },
        },
      },
      {
        test: {
          // These look at all processes of the machine: meanwhile no other test may start a pool, whose reaper looks, too.
          name: 'machine',
          include: ['test/machine/**/*.test.ts'],
          globalSetup: 'test/package/build.ts',
          pool: 'forks',
          maxWorkers: 1,
          testTimeout: 90_000,
          hookTimeout: 60_000,
          env,
          retry: 0,
          sequence: { groupOrder: 5 },
        },
      },
      {
        test: {
          // Asks the real model when LIVE=1 and there is a credential.
          name: 'live',
          include: ['test/live/**/*.test.ts'],
          globalSetup: 'test/package/build.ts',
          maxWorkers: 1,
          testTimeout: 900_000,
          retry: 0,
          sequence: { groupOrder: 6 },
        },
      },
      {
        test: {
          name: 'package',
          include: ['test/package/**/*.test.ts'],
          maxWorkers: 2,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          retry: 0,
          sequence: { groupOrder: 4 },
        },
      },
    ],
  },
})

export default config
