import { defineConfig, type ViteUserConfig } from 'vitest/config'

/** Where to write the results for machines, beside the ones for people. */
const report = process.env['TEST_REPORT']

const config: ViteUserConfig = defineConfig({
  test: {
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
    // One group after the other: real processes are not timed beside a busy unit run, and the package is built once nobody runs it.
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/{unit,model}/**/*.test.ts'],
          testTimeout: 10_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'process',
          include: ['test/{process,cli,faults}/**/*.test.ts'],
          globalSetup: 'test/package/build.ts',
          pool: 'forks',
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          retry: 0,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'package',
          include: ['test/package/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          retry: 0,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})

export default config
