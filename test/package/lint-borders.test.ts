import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'

const project = resolve(import.meta.dirname, '../..')
const oxlint = join(project, 'node_modules/oxlint/bin/oxlint')
const sdk = '@anthropic-ai/claude-agent-sdk'
const run = promisify(execFile)

interface Diagnostic {
  /** None for a directive that disables nothing. */
  code?: string
  message: string
  filename: string
}

interface Finding {
  file: string
  rule: string
  message: string
}

/** Lints files in a folder of their own, with this project's configuration. */
async function lint(files: Record<string, string>): Promise<Finding[]> {
  const folder = await mkdtemp(join(tmpdir(), 'pool-lint-'))
  try {
    for (const file of ['oxlint.config.ts', 'tsconfig.json', 'package.json'])
      await cp(join(project, file), join(folder, file))
    await symlink(join(project, 'node_modules'), join(folder, 'node_modules'), 'dir')
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true })
      await writeFile(join(folder, name), text)
    }
    const { stdout } = await run(process.execPath, [oxlint, '--format', 'json'], { cwd: folder }).catch(
      (failure: { stdout: string }) => failure,
    )
    const { diagnostics } = JSON.parse(stdout) as { diagnostics: Diagnostic[] }
    return diagnostics.map(({ filename, code, message }) => ({
      file: filename,
      rule: /\((.*)\)$/.exec(code ?? '')?.[1] ?? 'unused-directive',
      message,
    }))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** `from` → what it must not import. `type` marks an import that even types may not make. */
const forbiddenImports: [from: string, imports: string[]][] = [
  ['src/errors.ts', ['./pool/pool.ts', 'yaml', './index.ts', 'node:timers/promises']],
  ['src/options/limits.ts', ['../config/schema.ts', '../driver/driver.ts', '../pool/pool.ts', '../clock.ts']],
  ['src/clock.ts', ['./process/tree.ts']],
  ['src/extra.ts', ['./pool/pool.ts', './cli/main.ts']],
  ['src/unknown/file.ts', ['../pool/pool.ts', '../process/tree.ts']],
  ['src/index.ts', ['./cli/main.ts', './testing/clock.ts']],
  ['src/create-pool.ts', ['./cli/main.ts', './index.ts', sdk]],
  [
    'src/process/tree.ts',
    [
      '../memory/tree-memory.ts',
      '../driver/driver.ts',
      '../worker/worker.ts',
      '../pool/pool.ts',
      '../store/sqlite.ts',
      '../index.ts',
    ],
  ],
  [
    'src/credentials/forward.ts',
    ['../process/tree.ts', '../pool/pool.ts', '../driver/claude.ts', '../store/sqlite.ts', 'zod'],
  ],
  ['src/files/walk.ts', ['../pool/pool.ts', '../store/store.ts', '../driver/driver.ts', '../process/tree.ts', 'zod']],
  [
    'src/memory/tree-memory.ts',
    ['../process/tree.ts', '../driver/driver.ts', '../driver/claude.ts', 'node:child_process', 'node:perf_hooks'],
  ],
  ['src/store/sqlite.ts', ['../pool/pool.ts', '../worker/worker.ts', '../driver/claude.ts', '../config/load.ts', sdk]],
  ['src/credentials/signing/sigv4.ts', ['../upstream.ts', '../../store/store.ts', '../../pool/pool.ts']],
  ['src/store/copy/copy.ts', ['../../pool/pool.ts', '../../server/index.ts', '../../driver/claude.ts']],
  ['src/store/store.ts', ['./sqlite.ts', '../process/tree.ts', '../options/limits.ts', 'node:fs']],
  ['src/driver/driver.ts', ['./claude.ts', '../process/tree.ts', '../store/store.ts', 'node:fs']],
  [
    'src/driver/claude.ts',
    ['../pool/pool.ts', '../worker/worker.ts', '../store/sqlite.ts', 'yaml', sdk, 'node:fs', 'node:fs/promises'],
  ],
  ['src/driver/agent-sdk.ts', ['./driver.ts', '../pool/pool.ts', '../errors.ts', 'yaml', `${sdk}/core`, 'node:fs']],
  ['src/driver/environment.ts', ['../pool/pool.ts', sdk, 'node:fs', 'node:fs/promises']],
  [
    'src/transcripts/chain.ts',
    [
      '../driver/claude.ts',
      '../process/tree.ts',
      '../store/store.ts',
      '../worker/worker.ts',
      '../pool/pool.ts',
      sdk,
      'node:fs',
    ],
  ],
  [
    'src/pool/pool.ts',
    [
      '../driver/claude.ts',
      '../store/sqlite.ts',
      '../store/memory.ts',
      '../cli/main.ts',
      '../create-pool.ts',
      '../index.ts',
      '../telemetry/log.ts',
      '../config/load.ts',
      '../simulator/server.ts',
      './../cli/main.ts',
      '../worker/../cli/main.ts',
      '../process/tree.js',
      '../process/tree.ts',
      '../journal/journal.ts',
      'claude-agent-pool',
      'yaml',
      'node:child_process',
      'node:fs',
      'node:fs/promises',
      sdk,
    ],
  ],
  [
    'src/agents/agent.ts',
    [
      '../admission/gate.ts',
      '../journal/journal.ts',
      '../worker/worker.ts',
      '../usage/meter.ts',
      '../turns/turn.ts',
      '../fleet/spares.ts',
      '../sessions/session.ts',
      '../queries/query.ts',
      '../maintenance/prune.ts',
      '../pool/pool.ts',
      '../memory/governor.ts',
      '../process/tree.ts',
      '../events.ts',
    ],
  ],
  [
    'src/admission/gate.ts',
    [
      '../agents/agent.ts',
      '../journal/journal.ts',
      '../worker/worker.ts',
      '../usage/meter.ts',
      '../turns/turn.ts',
      '../fleet/spares.ts',
      '../sessions/session.ts',
      '../queries/query.ts',
      '../maintenance/prune.ts',
      '../pool/pool.ts',
      '../process/tree.ts',
      '../events.ts',
    ],
  ],
  [
    'src/journal/journal.ts',
    [
      '../agents/agent.ts',
      '../admission/gate.ts',
      '../worker/worker.ts',
      '../usage/meter.ts',
      '../turns/turn.ts',
      '../fleet/spares.ts',
      '../sessions/session.ts',
      '../queries/query.ts',
      '../maintenance/prune.ts',
      '../pool/pool.ts',
      '../memory/governor.ts',
      '../process/tree.ts',
      '../events.ts',
    ],
  ],
  [
    'src/worker/worker.ts',
    [
      '../driver/claude.ts',
      '../store/sqlite.ts',
      'node:timers',
      'node:process',
      '../admission/gate.ts',
      '../journal/journal.ts',
      '../usage/meter.ts',
      '../turns/turn.ts',
      '../fleet/spares.ts',
      '../sessions/session.ts',
      '../queries/query.ts',
      '../maintenance/prune.ts',
      '../pool/pool.ts',
      '../events.ts',
    ],
  ],
  [
    'src/usage/meter.ts',
    [
      '../agents/agent.ts',
      '../admission/gate.ts',
      '../journal/journal.ts',
      '../turns/turn.ts',
      '../fleet/spares.ts',
      '../sessions/session.ts',
      '../queries/query.ts',
      '../maintenance/prune.ts',
      '../pool/pool.ts',
      '../memory/governor.ts',
      '../process/tree.ts',
      '../events.ts',
    ],
  ],
  [
    'src/turns/turn.ts',
    [
      '../admission/gate.ts',
      '../usage/meter.ts',
      '../fleet/spares.ts',
      '../sessions/session.ts',
      '../queries/query.ts',
      '../maintenance/prune.ts',
      '../pool/pool.ts',
      '../memory/governor.ts',
      '../process/tree.ts',
      '../events.ts',
    ],
  ],
  [
    'src/fleet/spares.ts',
    [
      '../journal/journal.ts',
      '../usage/meter.ts',
      '../turns/turn.ts',
      '../sessions/session.ts',
      '../queries/query.ts',
      '../maintenance/prune.ts',
      '../pool/pool.ts',
      '../process/tree.ts',
    ],
  ],
  [
    'src/sessions/session.ts',
    [
      '../queries/query.ts',
      '../maintenance/prune.ts',
      '../pool/pool.ts',
      '../memory/governor.ts',
      '../process/tree.ts',
    ],
  ],
  [
    'src/queries/query.ts',
    [
      '../admission/gate.ts',
      '../journal/journal.ts',
      '../fleet/spares.ts',
      '../maintenance/prune.ts',
      '../pool/pool.ts',
      '../memory/governor.ts',
      '../process/tree.ts',
    ],
  ],
  [
    'src/maintenance/prune.ts',
    [
      '../admission/gate.ts',
      '../journal/journal.ts',
      '../worker/worker.ts',
      '../usage/meter.ts',
      '../turns/turn.ts',
      '../fleet/spares.ts',
      '../queries/query.ts',
      '../pool/pool.ts',
      '../memory/governor.ts',
      '../process/tree.ts',
    ],
  ],
  [
    'src/events.ts',
    ['./fleet/spares.ts', './sessions/session.ts', './turns/turn.ts', './pool/pool.ts', './agents/agent.ts'],
  ],
  [
    'src/telemetry/log.ts',
    ['../index.ts', '../worker/worker.ts', '../process/tree.ts', '../cli/main.ts', '../create-pool.ts'],
  ],
  [
    'src/testing/driver.ts',
    ['../worker/worker.ts', '../pool/pool.ts', '../store/sqlite.ts', '../driver/claude.ts', sdk],
  ],
  [
    'src/server/app.ts',
    [
      '../worker/worker.ts',
      '../pool/pool.ts',
      '../sessions/session.ts',
      '../store/store.ts',
      '../cli/main.ts',
      '../config/load.ts',
      '../create-pool.ts',
      sdk,
    ],
  ],
  ['src/server/http/stream.ts', ['../app.ts', '../auth/caller.ts', '../ag-ui/run.ts', '../../pool/pool.ts', 'zod']],
  ['src/server/auth/issuer.ts', ['../ag-ui/run.ts', '../managed-agents/schema.ts', '../../store/store.ts']],
  ['src/server/outbound/public-fetch.ts', ['../errors.ts', '../http/stream.ts', '../../pool/pool.ts', 'hono']],
  ['src/store/api-store.ts', ['../errors.ts', '../managed-agents/schema.ts', '../../store/store.ts', 'hono']],
  [
    'src/server/ag-ui/run.ts',
    ['../managed-agents/schema.ts', '../api-store/sqlite.ts', '../../pool/pool.ts', '../../store/store.ts', 'jose'],
  ],
  ['src/server/managed-agents/ids.ts', ['../ag-ui/run.ts', '../../pool/pool.ts', '@hono/node-server']],
  ['src/server/managed-agents/sessions/sessions.ts', ['../../ag-ui/run.ts', '../../../pool/pool.ts', 'jose']],
  ['src/server/managed-agents/vaults/vaults.ts', ['../files/files.ts', '../../ag-ui/run.ts', '../../../pool/pool.ts']],
  ['src/server/managed-agents/webhooks/queue.ts', ['../files/files.ts', '../../ag-ui/run.ts', '../../../pool/pool.ts']],
  ['src/simulator/server.ts', ['../index.ts', '../pool/pool.ts', '../driver/driver.ts', 'commander', sdk]],
  ['src/config/load.ts', ['../clock.ts', '../pool/pool.ts', '../create-pool.ts', 'commander']],
  [
    'src/cli/main.ts',
    [
      '../pool/pool.ts',
      '../worker/worker.ts',
      '../driver/claude.ts',
      '../create-pool.ts',
      '../process/reaper.ts',
      './doctor/run.ts',
      './doctor/live/run.ts',
      sdk,
    ],
  ],
  ['src/cli/simulate.ts', ['./main.ts', './chat.ts', './doctor/command.ts', '../pool/pool.ts']],
  [
    'src/cli/serve/run.ts',
    ['../doctor/facts.ts', '../sessions/host.ts', '../main.ts', '../simulate.ts', '../../pool/pool.ts', sdk],
  ],
  ['src/cli/shared/exit.ts', ['../serve/run.ts', '../main.ts', '../../create-pool.ts']],
  ['src/cli/doctor/live/run.ts', ['../run.ts', '../../serve/run.ts', '../../../store/sqlite.ts']],
]

/** Imports that only types may make. */
const typesOnly: [from: string, imports: string[]][] = [
  ['src/server/api-store/sqlite.ts', ['../../store/api-store.ts']],
  ['src/clock.ts', ['./driver/driver.ts']],
  ['src/driver/agent-sdk.ts', [sdk]],
  ['src/driver/driver.ts', [sdk, '../process/terminate.ts']],
  ['src/transcripts/chain.ts', ['../driver/driver.ts']],
  ['src/admission/gate.ts', ['../memory/governor.ts']],
  ['src/worker/worker.ts', ['../agents/question.ts']],
  ['src/events.ts', ['./worker/worker.ts', './memory/governor.ts', './files/problem.ts', './store/store.ts']],
  ['src/usage/meter.ts', ['../worker/worker.ts']],
  ['src/turns/turn.ts', ['../worker/worker.ts']],
  ['src/queries/query.ts', ['../worker/worker.ts', '../events.ts']],
  ['src/pool/pool.ts', ['../process/run-files.ts']],
  ['src/control/server.ts', ['../pool/pool.ts', '../maintenance/import-session.ts']],
  ['src/store/store.ts', ['./api-store.ts', '../driver/driver.ts', '../files/problem.ts']],
  ['src/credentials/ledger.ts', ['../store/store.ts']],
  ['src/telemetry/log.ts', ['../pool/pool.ts', '../events.ts']],
  ['src/server/app.ts', ['../driver/driver.ts']],
  ['src/server/managed-agents/agent-options.ts', ['../../driver/driver.ts']],
]

const allowedImports: [from: string, imports: string[]][] = [
  ['src/units.ts', ['./errors.ts']],
  ['src/options/limits.ts', ['./section.ts', '../errors.ts', '../units.ts', 'zod']],
  ['src/index.ts', ['./create-pool.ts', './errors.ts', './pool/pool.ts']],
  [
    'src/create-pool.ts',
    ['./pool/pool.ts', './driver/claude.ts', './store/sqlite.ts', './options/limits.ts', 'node:path'],
  ],
  [
    'src/process/tree.ts',
    ['./marker.ts', '../errors.ts', '../options/limits.ts', '../clock.ts', 'node:child_process', 'node:fs/promises'],
  ],
  ['src/files/walk.ts', ['./folder.ts', '../errors.ts', '../clock.ts', '../units.ts', 'node:fs', 'node:fs/promises']],
  ['src/memory/tree-memory.ts', ['./limit.ts', '../clock.ts', 'node:os']],
  [
    'src/worker/worker.ts',
    ['./lifecycle.ts', '../driver/driver.ts', '../process/tree.ts', '../memory/tree-memory.ts', '../errors.ts'],
  ],
  ['src/agents/agent.ts', ['../driver/driver.ts', '../options/limits.ts', '../process/hand-over.ts', 'zod']],
  ['src/admission/gate.ts', ['../clock.ts', '../errors.ts']],
  ['src/journal/journal.ts', ['../store/store.ts', '../driver/driver.ts', '../clock.ts']],
  ['src/usage/meter.ts', ['../store/store.ts', '../driver/driver.ts']],
  ['src/turns/turn.ts', ['../journal/journal.ts', '../agents/question.ts', '../driver/driver.ts']],
  [
    'src/fleet/spares.ts',
    ['../agents/agent.ts', '../admission/gate.ts', '../worker/worker.ts', '../memory/governor.ts', '../events.ts'],
  ],
  [
    'src/sessions/session.ts',
    [
      '../fleet/fleet.ts',
      '../turns/turn.ts',
      '../journal/journal.ts',
      '../usage/usage.ts',
      '../agents/agent.ts',
      '../admission/gate.ts',
      '../worker/worker.ts',
      '../events.ts',
    ],
  ],
  [
    'src/queries/query.ts',
    ['../sessions/sessions.ts', '../turns/prompt.ts', '../usage/usage.ts', '../agents/agent.ts'],
  ],
  ['src/maintenance/prune.ts', ['../sessions/stored-sessions.ts', '../agents/catalogue.ts', '../events.ts', 'zod']],
  ['src/credentials/signing/service-account.ts', ['../../clock.ts', '../../errors.ts', 'node:crypto']],
  ['src/store/copy/copy.ts', ['./tables.ts', '../sqlite.ts', '../postgres/connections.ts', '../../errors.ts']],
  ['src/store/sqlite.ts', ['./store.ts', '../errors.ts', '../process/marker.ts', '../sqlite.ts']],
  ['src/driver/claude.ts', ['./agent-sdk.ts', '../process/spawn.ts', './environment.ts']],
  ['src/driver/environment.ts', ['../options/limits.ts', '../files/tenant-files.ts']],
  ['src/driver/spool.ts', ['node:fs', 'node:fs/promises']],
  ['src/transcripts/chain.ts', ['../files/tenant-files.ts', '../errors.ts', '../clock.ts']],
  ['src/transcripts/folder.ts', ['node:fs', 'node:fs/promises']],
  [
    'src/pool/pool.ts',
    [
      './counters.ts',
      '../queries/queries.ts',
      '../maintenance/prune.ts',
      '../sessions/sessions.ts',
      '../fleet/fleet.ts',
      '../files/tenant-files.ts',
      '../worker/worker.ts',
      '../memory/governor.ts',
      '../clock.ts',
    ],
  ],
  ['src/telemetry/log.ts', ['../errors.ts', '../clock.ts', 'node:diagnostics_channel']],
  ['src/telemetry/event-loop.ts', ['node:perf_hooks']],
  ['src/testing/driver.ts', ['../index.ts', '../clock.ts', '../errors.ts', '../driver/driver.ts']],
  ['src/server/app.ts', ['../index.ts', '../telemetry/log.ts', '../clock.ts', 'hono', 'hono/body-limit', 'jose']],
  ['src/server/http/stream.ts', ['./bodies.ts', '../errors.ts', '../context.ts', '../../clock.ts', 'hono']],
  ['src/server/auth/issuer.ts', ['../errors.ts', '../http/origins.ts', '../../index.ts', 'jose', 'hono-openapi']],
  ['src/server/outbound/public-fetch.ts', ['../../errors.ts', '../../addresses.ts', 'node:net']],
  ['src/server/api-store/sqlite.ts', ['../../errors.ts', '../../sqlite.ts']],
  ['src/server/ag-ui/run.ts', ['../turn-feed.ts', '../http/stream.ts', '../auth/caller.ts', '@ag-ui/core', 'hono']],
  [
    'src/server/managed-agents/ids.ts',
    ['./sessions/sessions.ts', '../outbound/public-fetch.ts', '../../index.ts', 'zod'],
  ],
  ['src/server/managed-agents/sessions/sessions.ts', ['../pages.ts', '../../errors.ts', '../../http/stream.ts', 'zod']],
  [
    'src/simulator/server.ts',
    ['../errors.ts', '../options/limits.ts', '../clock.ts', 'node:http', 'node:timers/promises'],
  ],
  ['src/config/load.ts', ['../options/limits.ts', '../errors.ts', 'zod', 'yaml', 'node:fs']],
  [
    'src/cli/simulate.ts',
    [
      '../index.ts',
      '../config/load.ts',
      '../simulator/server.ts',
      '../process/reaper.ts',
      './shared/exit.ts',
      'commander',
      'node:child_process',
    ],
  ],
  ['src/cli/main.ts', ['./simulate.ts', './doctor/command.ts', './shared/exit.ts', '../node-version.ts', 'commander']],
  [
    'src/cli/doctor/run.ts',
    ['./live/run.ts', '../shared/exit.ts', '../../index.ts', '../../process/reaper.ts', 'node:child_process'],
  ],
  ['src/cli/doctor/live/run.ts', ['./wire.ts', '../../shared/style.ts', '../../../index.ts', sdk]],
  ['src/cli/shared/server-client.ts', ['../../errors.ts', '@ag-ui/core', 'eventsource-parser/stream']],
]

/** Every way to depend on a module: all must be seen. */
const spellings: Record<string, (module: string) => string> = {
  value: (module) => `import { x } from '${module}'\nexport const y = x\n`,
  type: (module) => `import type { X } from '${module}'\nexport type Y = X\n`,
  effect: (module) => `import '${module}'\n`,
  reexport: (module) => `export { x } from '${module}'\n`,
  star: (module) => `export * from '${module}'\n`,
  dynamic: (module) => `export const x = (): Promise<unknown> => import('${module}')\n`,
}

const misplaced: [file: string, text: string, rule: string][] = [
  ['src/pool/now.ts', 'export const at = (): number => Date.now()\n', 'no-restricted-globals'],
  ['src/pool/date.ts', 'export const at = (): unknown => new Date()\n', 'no-restricted-globals'],
  ['src/pool/performance.ts', 'export const at = (): number => performance.now()\n', 'no-restricted-globals'],
  ['src/worker/timer.ts', 'setTimeout(() => undefined, 1)\n', 'no-restricted-globals'],
  ['src/worker/interval.ts', 'globalThis.setInterval(() => undefined, 1)\n', 'no-restricted-globals'],
  ['src/store/signal.ts', 'export const signal = AbortSignal.timeout(1)\n', 'no-restricted-properties'],
  ['src/memory/hrtime.ts', 'export const at = process.hrtime.bigint()\n', 'no-restricted-properties'],
  ['src/pool/kill.ts', "process.kill(1, 'SIGTERM')\n", 'no-restricted-properties'],
  ['src/cli/kill.ts', "process['kill'](1)\n", 'no-restricted-properties'],
  ['src/worker/destructured.ts', 'const { kill } = process\nexport const k = kill\n', 'no-restricted-properties'],
  ['src/pool/env.ts', "export const home = process.env['HOME']\n", 'no-restricted-properties'],
  ['src/driver/env.ts', 'const { env } = process\nexport const e = env\n', 'no-restricted-properties'],
  ['src/simulator/env.ts', 'export const home = process.env\n', 'no-restricted-properties'],
  ['src/process/env.ts', 'export const home = process.env\n', 'no-restricted-properties'],
  ['src/pool/console.ts', "console.log('x')\n", 'no-console'],
  ['test/unit/console.test.ts', "console.log('x')\n", 'no-console'],
  ['test/unit/focused.test.ts', "import { test } from 'vitest'\ntest.only('x', () => {})\n", 'no-focused-tests'],
  ['src/pool/default.ts', 'export default 1\n', 'no-default-export'],
  ['src/pool/any.ts', 'export const x = (y: any): unknown => y\n', 'no-explicit-any'],
  ['src/pool/hidden.ts', "export type X = import('../cli/main.ts').X\n", 'consistent-type-imports'],
  [
    'src/store/loud.ts',
    "import { DatabaseSync } from 'node:sqlite'\nexport const x = DatabaseSync\n",
    'no-restricted-imports',
  ],
  ['src/pool/floating.ts', 'async function go(): Promise<void> {}\ngo()\n', 'no-floating-promises'],
  [
    'src/pool/misused.ts',
    'export const f = (go: () => Promise<boolean>): number => (go() ? 1 : 2)\n',
    'no-misused-promises',
  ],
  [
    'src/pool/listener.ts',
    'export const f = (on: (l: () => void) => void): void => on(async () => {})\n',
    'no-misused-promises',
  ],
  ['src/pool/await.ts', 'export const f = async (x: number): Promise<number> => await x\n', 'await-thenable'],
  [
    'src/pool/switch.ts',
    "export function f(x: 'a' | 'b'): number {\n  switch (x) {\n    case 'a':\n      return 1\n  }\n  return 2\n}\n",
    'switch-exhaustiveness-check',
  ],
  ['src/pool/unused.ts', '// oxlint-disable-next-line no-console\nexport const x = 1\n', 'unused-directive'],
]

const inPlace: [file: string, text: string][] = [
  ['src/clock.ts', 'export const now = (): number => performance.now() + Date.now()\nsetTimeout(now, 1).unref()\n'],
  ['src/simulator/pace.ts', 'setInterval(() => undefined, Date.now()).unref()\n'],
  ['src/store/rows.ts', "import type { SQLInputValue } from 'node:sqlite'\nexport type Value = SQLInputValue\n"],
  ['src/cli/top.ts', "console.log(new Date(), process.env['HOME'])\n"],
  ['src/process/kill.ts', "process.kill(1, 'SIGTERM')\n"],
  ['src/create-pool.ts', "export const key = process.env['ANTHROPIC_API_KEY']\n"],
  ['src/config/env.ts', 'export const env = process.env\n'],
  ['src/driver/environment.ts', 'export const path = process.env["PATH"]\n'],
  ['src/pool/when.ts', 'export interface Seen { at: Date }\n'],
  ['bench/start.ts', "console.log(performance.now(), process.env['N'])\n"],
  [
    'test/unit/free.test.ts',
    "import { x } from '../../src/pool/pool.ts'\nexport const y = [x, Date.now(), process.env]\n",
  ],
  ['claude-agent-pool.config.ts', 'export default {}\n'],
]

const text = (modules: string[], kind: 'value' | 'type'): string =>
  modules
    .map((module, index) =>
      kind === 'value'
        ? `import { x as x${index} } from '${module}'\nexport const y${index}: unknown = x${index}\n`
        : `import type { X as X${index} } from '${module}'\nexport type Y${index} = X${index}\n`,
    )
    .join('')

const imports = (table: [string, string[]][], kind: 'value' | 'type'): Record<string, string> =>
  Object.fromEntries(table.map(([from, modules]) => [from, text(modules, kind)]))

/** The modules whose import from `file` was refused. */
const refused = (findings: Finding[], file: string): string[] =>
  findings
    .filter((finding) => finding.file === file && finding.rule === 'no-restricted-imports')
    .map(({ message }) => /'(.*)' import is restricted/.exec(message)?.[1] ?? message)

describe('what is not below is not seen, not even its types', () => {
  let findings: Finding[]
  beforeAll(async () => {
    findings = await lint(imports(forbiddenImports, 'type'))
  })

  test.for(forbiddenImports)('%s', ([from, modules]) => {
    expect(refused(findings, from).toSorted()).toEqual(modules.toSorted())
  })
})

describe('some are seen as types only', () => {
  let findings: Finding[]
  beforeAll(async () => {
    findings = await lint(imports(typesOnly, 'value'))
  })

  test.for(typesOnly)('%s', ([from, modules]) => {
    expect(refused(findings, from).toSorted()).toEqual(modules.toSorted())
  })
})

describe('no spelling of an import slips past', () => {
  const file = (spelling: string): string => `src/pool/${spelling}.ts`
  let findings: Finding[]
  beforeAll(async () => {
    const files = Object.entries(spellings).map(([spelling, write]) => [file(spelling), write('../cli/main.ts')])
    findings = await lint(Object.fromEntries(files))
  })

  test.for(Object.keys(spellings))('%s', (spelling) => {
    expect(refused(findings, file(spelling))).toEqual(['../cli/main.ts'])
  })
})

describe('what has one place is refused elsewhere', () => {
  let findings: Finding[]
  beforeAll(async () => {
    findings = await lint(Object.fromEntries(misplaced.map(([file, code]) => [file, code])))
  })

  test.for(misplaced)('%s', ([file, , rule]) => {
    expect(findings.filter((finding) => finding.file === file).map((finding) => finding.rule)).toContain(rule)
  })
})

test('a cycle is refused, also one of types', async () => {
  const findings = await lint({
    'src/turns/send.ts': "import type { Turn } from './turn.ts'\nexport interface Send {\n  turn: Turn\n}\n",
    'src/turns/turn.ts': "import type { Send } from './send.ts'\nexport interface Turn {\n  send: Send\n}\n",
  })
  expect(findings.map(({ file, rule }) => `${rule} ${file}`).toSorted()).toEqual([
    'no-cycle src/turns/send.ts',
    'no-cycle src/turns/turn.ts',
  ])
})

test('a tree that keeps the borders passes', async () => {
  expect(await lint(imports(allowedImports, 'value'))).toEqual([])
  expect(await lint(imports(typesOnly, 'type'))).toEqual([])
  expect(await lint(Object.fromEntries(inPlace))).toEqual([])
})
