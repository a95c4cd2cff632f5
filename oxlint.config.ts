import type { OxlintConfig } from 'oxlint'

/** Node's modules are free to all but these: time comes from clock.ts, signals and the environment have their places. */
const node = ['!node:*', '!node:*/*', 'node:process', 'node:timers', 'node:timers/*', 'node:perf_hooks']
const noChildren = ['node:child_process']
const root = [
  '../unwinding.ts',
  '../errors.ts',
  '../options/*.ts',
  '../units.ts',
  '../clock.ts',
  '../calendar.ts',
  '../package-version.ts',
  '../trace-context.ts',
  '../this-node.ts',
  '../small-file.ts',
  '../newest.ts',
  '../private-file.ts',
  '../listen-problem.ts',
  '../addresses.ts',
  '../sqlite.ts',
  '../tenant-folder.ts',
  '../message-parts.ts',
  '../session-paths.ts',
]
const ports = ['../driver/driver.ts', '../store/store.ts']
/** Files that agents can shape are reached through files/ alone. */
const noDisk = ['!node:fs', '!node:fs/*']
const sdk = '@anthropic-ai/claude-agent-sdk'

/** What the server sees outside of its folder, from a file of one of its folders. */
const serverSees = [
  '../../index.ts',
  ...root.map((path) => `../${path}`),
  '../../driver/driver.ts',
  '../../store/api-store.ts',
  '../../telemetry/*.ts',
]
const serverTypes = ['../../driver/driver.ts', '../../store/api-store.ts']
const serverSays =
  'All of server sees the public surface (index, the root files, the types of driver/driver and store/api-store), telemetry and the libraries of HTTP.'

/** What wire formats see of the rest of the server and its libraries. */
const apiSees = [
  '../*.ts',
  '../http/*.ts',
  '../auth/*.ts',
  '../outbound/*.ts',
  '../forwarding/*.ts',
  '@ag-ui/core',
  '@ag-ui/core/schemas',
  '@ag-ui/encoder',
  '@modelcontextprotocol/sdk/client/streamableHttp.js',
  '@modelcontextprotocol/sdk/server/mcp.js',
  '@modelcontextprotocol/sdk/shared/transport.js',
  '@modelcontextprotocol/sdk/types.js',
  '@fastify/busboy',
  'hono',
  'hono/*',
  'hono-openapi',
  'zod',
]

/** What a command may use, from a file of src/cli. */
const commandSees = [
  '../tenant-folder.ts',
  '../agents/remotes.ts',
  '../node-version.ts',
  '../package-version.ts',
  '../package-version.ts',
  '../index.ts',
  '../clock.ts',
  '../errors.ts',
  '../units.ts',
  '../unwinding.ts',
  '../config/*.ts',
  '../options/file-problem.ts',
  '../server/index.ts',
  '../server/api-store/sqlite.ts',
  '../server/managed-agents/sessions/session-archive.ts',
  '../simulator/*.ts',
  '../process/*.ts',
  '../memory/*.ts',
  '../files/*.ts',
  '../store/*.ts',
  '../store/copy/*.ts',
  '../store/postgres/postgres.ts',
  '../control/*.ts',
  '../credentials/*.ts',
  '../isolation/*.ts',
  '../options/api.ts',
  '../options/store.ts',
  '../options/isolation.ts',
  '../options/egress.ts',
  '../driver/conversation-files.ts',
  '../driver/environment.ts',
  '../driver/executable.ts',
  '../driver/processes.ts',
  '../sessions/session-info.ts',
  '../telemetry/verdict.ts',
  '../disk-use.ts',
]
const commandLibraries = [
  'commander',
  'cli-table3',
  '@opentelemetry/*',
  '@ag-ui/core',
  '@ag-ui/core/schemas',
  'eventsource-parser/stream',
]
const commandSays =
  'A command does not import another one; cli/shared has what several need. It sees the public surface, errors, options/file-problem, units, unwinding, config, server, simulator, and what it operates: process, memory, files, store, control, credentials, isolation, agents/remotes, options/api, options/isolation, options/egress, options/store, driver/conversation-files, driver/environment, driver/executable, driver/processes, sessions/session-info and telemetry/verdict.'

interface Border {
  files: string[]
  /** What the files may import beside node's modules and their own folder. `!` takes back. */
  imports: string[]
  /** Of these, types only. */
  types?: string[]
  /** May start processes. */
  spawns?: true
  /** May use node's timers and clocks. */
  time?: true
  says: string
}

/** Imports point one way. The last border that matches a file holds; what it does not name is refused. */
const borders: Border[] = [
  {
    files: ['src/**'],
    imports: root,
    says: 'A new folder sees its own files and the root files. Give it a border in oxlint.config.ts.',
  },
  {
    files: ['src/*.ts'],
    imports: [
      '!./**',
      './errors.ts',
      './units.ts',
      './clock.ts',
      './calendar.ts',
      './node-version.ts',
      './standstill.ts',
      './driver/driver.ts',
    ],
    types: ['./driver/driver.ts'],
    says: 'The root files know nobody but each other and the types of driver/driver.',
  },
  {
    files: ['src/create-pool.ts', 'src/process-wide.ts', 'src/shutdown.ts'],
    imports: ['./*.ts', './*/*.ts', '!./index.ts', '!./cli/**'],
    says: 'create-pool wires everything but cli, and does not import the entry point.',
  },
  {
    files: ['src/index.ts'],
    imports: ['./*.ts', './*/*.ts', '!./cli/**', '!./testing/**'],
    says: 'index is what the library exports: nothing of cli or testing.',
  },
  {
    files: ['src/options/**'],
    imports: ['../errors.ts', '../units.ts', '../addresses.ts', 'zod'],
    says: 'options sees errors, units, addresses and zod.',
  },
  {
    files: ['src/driver/**'],
    imports: [
      ...root,
      '../store/store.ts',
      '../files/*.ts',
      '../process/*.ts',
      '../memory/*.ts',
      '../transcripts/*.ts',
      ...noDisk,
    ],
    says: `driver sees files, process, memory, transcripts, store/store and the root files; the disk through files. Only agent-sdk.ts loads ${sdk}; its types come from driver.ts.`,
  },
  {
    // What they read and write is the host's own: output that waits, /proc, and where a directory really is.
    files: ['src/driver/spool.ts', 'src/driver/processes.ts'],
    imports: [...root, '../files/*.ts', '../process/*.ts', '../memory/*.ts'],
    says: 'driver sees files, process, memory and the root files.',
  },
  {
    files: ['src/driver/agent-sdk.ts'],
    imports: ['!./**', './home.ts', ...noDisk, sdk],
    types: [sdk],
    says: 'driver/agent-sdk loads the SDK when it is first needed, and sees nothing else.',
  },
  {
    files: ['src/transcripts/**'],
    imports: [...root, '../driver/driver.ts', '../files/*.ts', ...noDisk],
    types: ['../driver/driver.ts'],
    says: 'transcripts sees files, the types of driver/driver and the root files; the disk through files.',
  },
  {
    // Where a directory really is, only the host knows.
    files: ['src/transcripts/folder.ts'],
    imports: [...root, '../driver/driver.ts', '../files/*.ts'],
    types: ['../driver/driver.ts'],
    says: 'transcripts sees files, the types of driver/driver and the root files.',
  },
  {
    files: ['src/driver/driver.ts'],
    imports: [
      '!node:*',
      '!node:*/*',
      '!./**',
      '../errors.ts',
      '../options/cgroup-limits.ts',
      '../process/terminate.ts',
      sdk,
    ],
    types: ['../options/cgroup-limits.ts', '../process/terminate.ts', sdk],
    says: 'driver/driver holds types: it sees errors and the types of options/cgroup-limits, process/terminate and the SDK.',
  },
  {
    files: ['src/store/**'],
    imports: [...root, '../driver/driver.ts', '../files/*.ts', '../process/*.ts', '../memory/*.ts'],
    says: 'store sees files, process, memory, driver/driver and the root files.',
  },
  {
    files: ['src/store/postgres/**'],
    imports: [
      ...root.map((path) => `../${path}`),
      '../store.ts',
      '../api-store.ts',
      '../events.ts',
      '../usage-json.ts',
      'pg',
    ],
    types: ['../api-store.ts'],
    says: 'store/postgres sees the ports of store, what its stores share (events, usage-json), pg and the root files.',
  },
  {
    files: ['src/store/copy/**'],
    imports: [...root.map((path) => `../${path}`), '../*.ts', '../postgres/*.ts'],
    says: 'store/copy copies one store into another: it sees store, store/postgres and the root files.',
  },
  {
    files: ['src/store/store.ts'],
    imports: [
      '!node:*',
      '!node:*/*',
      '!./**',
      './api-store.ts',
      '../errors.ts',
      '../driver/driver.ts',
      '../files/problem.ts',
    ],
    types: ['./api-store.ts', '../driver/driver.ts', '../files/problem.ts'],
    says: 'store/store holds types: it sees errors and the types of store/api-store, driver/driver and files/problem.',
  },
  {
    files: ['src/store/api-store.ts'],
    imports: ['!node:*', '!node:*/*', '!./**'],
    says: 'store/api-store holds types: it imports nothing.',
  },
  {
    files: ['src/files/**'],
    imports: ['../errors.ts', '../clock.ts', '../units.ts'],
    spawns: true,
    says: 'files sees errors, clock and units.',
  },
  {
    files: ['src/process/**'],
    imports: root,
    spawns: true,
    says: 'process sees the root files.',
  },
  {
    files: ['src/memory/**'],
    imports: root,
    says: 'memory sees the root files.',
  },
  {
    files: ['src/credentials/**'],
    imports: [...root, '../egress/*.ts', '../store/store.ts', '../process/marker.ts', '../process/sweep.ts'],
    types: ['../store/store.ts'],
    spawns: true,
    says: 'credentials sees egress, the root files, the types of store/store, process/marker and process/sweep.',
  },
  {
    files: ['src/credentials/signing/**'],
    imports: root.map((path) => `../${path}`),
    says: 'credentials/signing sees the root files.',
  },
  {
    files: ['src/egress/**'],
    imports: root,
    says: 'egress sees the root files.',
  },
  {
    files: ['src/isolation/**'],
    imports: [...root, '../egress/*.ts', '../process/marker.ts'],
    spawns: true,
    says: 'isolation sees egress, process/marker and the root files.',
  },
  {
    files: ['src/agents/**'],
    imports: [...root, ...ports, '../files/host-paths.ts', '../process/hand-over.ts', 'zod', ...noDisk],
    says: 'agents sees driver/driver, store/store, files/host-paths, process/hand-over, zod and the root files.',
  },
  {
    files: ['src/admission/**'],
    imports: [...root, '../memory/*.ts'],
    types: ['../memory/*.ts'],
    says: 'admission sees the types of memory and the root files.',
  },
  {
    files: ['src/journal/**'],
    imports: [...root, ...ports, ...noDisk],
    says: 'journal sees driver/driver, store/store and the root files.',
  },
  {
    files: ['src/worker/**'],
    imports: [...root, ...ports, '../agents/*.ts', '../process/*.ts', '../memory/*.ts'],
    types: ['../agents/*.ts'],
    says: 'worker sees the types of agents, process, memory, driver/driver, store/store and the root files.',
  },
  {
    files: ['src/events.ts'],
    imports: [
      '!./**',
      './errors.ts',
      './worker/*.ts',
      './memory/*.ts',
      './files/problem.ts',
      './store/store.ts',
      './store/watched-store.ts',
      './driver/driver.ts',
    ],
    types: [
      './worker/*.ts',
      './memory/*.ts',
      './files/problem.ts',
      './store/store.ts',
      './store/watched-store.ts',
      './driver/driver.ts',
    ],
    says: 'events sees errors and types of worker, memory, store, driver/driver and files/problem.',
  },
  {
    files: ['src/usage/**'],
    imports: [...root, ...ports, '../worker/*.ts', ...noDisk],
    types: ['../worker/*.ts'],
    says: 'usage sees the types of worker, driver/driver, store/store and the root files.',
  },
  {
    files: ['src/turns/**'],
    imports: [...root, ...ports, '../journal/*.ts', '../worker/*.ts', '../agents/*.ts', ...noDisk],
    types: ['../worker/*.ts'],
    says: 'turns sees journal, the types of worker, agents, driver/driver, store/store and the root files.',
  },
  {
    files: ['src/fleet/**'],
    imports: [
      ...root,
      ...ports,
      '../agents/*.ts',
      '../admission/*.ts',
      '../worker/*.ts',
      '../memory/*.ts',
      '../events.ts',
      '../files/*.ts',
      ...noDisk,
    ],
    says: 'fleet sees agents, admission, worker, memory, events, files, driver/driver, store/store and the root files: nothing of sessions and turns.',
  },
  {
    files: ['src/sessions/**'],
    imports: [
      ...root,
      ...ports,
      '../fleet/*.ts',
      '../turns/*.ts',
      '../journal/*.ts',
      '../usage/*.ts',
      '../agents/*.ts',
      '../admission/*.ts',
      '../worker/*.ts',
      '../events.ts',
      '../files/*.ts',
      ...noDisk,
    ],
    says: 'sessions sees fleet, turns, journal, usage, agents, admission, worker, events, files, driver/driver, store/store and the root files.',
  },
  {
    files: ['src/queries/**'],
    imports: [
      ...root,
      ...ports,
      '../sessions/*.ts',
      '../turns/*.ts',
      '../usage/*.ts',
      '../agents/*.ts',
      '../worker/*.ts',
      '../events.ts',
      ...noDisk,
    ],
    types: ['../worker/*.ts', '../events.ts'],
    says: 'queries sees sessions, turns, usage, agents, the types of worker and events, driver/driver, store/store and the root files.',
  },
  {
    files: ['src/maintenance/**'],
    imports: [
      ...root,
      ...ports,
      '../store/usage-json.ts',
      '../sessions/*.ts',
      '../agents/*.ts',
      '../events.ts',
      '../files/*.ts',
      'zod',
      ...noDisk,
    ],
    says: 'maintenance sees sessions, agents, events, files, zod, driver/driver, store/store, store/usage-json and the root files.',
  },
  {
    files: ['src/pool/**'],
    imports: [
      ...root,
      ...ports,
      '../queries/*.ts',
      '../maintenance/*.ts',
      '../sessions/*.ts',
      '../fleet/*.ts',
      '../turns/*.ts',
      '../usage/*.ts',
      '../agents/*.ts',
      '../admission/*.ts',
      '../worker/*.ts',
      '../memory/*.ts',
      '../files/*.ts',
      '../events.ts',
      '../store/watched-store.ts',
      '../store/api-store.ts',
      '../cluster/*.ts',
      '../process/run-files.ts',
      ...noDisk,
    ],
    types: ['../process/run-files.ts', '../store/api-store.ts'],
    says: 'pool connects queries, maintenance, sessions, fleet, cluster and what these see; no driver or store of its own choice, and no disk but through files.',
  },
  {
    files: ['src/cluster/**'],
    imports: [...root, '../store/store.ts'],
    types: ['../store/store.ts'],
    says: 'cluster sees the types of store/store and the root files.',
  },
  {
    files: ['src/control/**'],
    imports: [
      '../errors.ts',
      '../private-file.ts',
      '../clock.ts',
      '../telemetry/verdict.ts',
      '../pool/*.ts',
      '../maintenance/*.ts',
      '../store/store.ts',
    ],
    types: ['../pool/*.ts', '../maintenance/*.ts', '../store/store.ts'],
    says: 'control sees errors, clock, private-file, telemetry/verdict and the types of pool, maintenance and store/store.',
  },
  {
    files: ['src/telemetry/**'],
    imports: [
      '../errors.ts',
      '../clock.ts',
      '../package-version.ts',
      '../trace-context.ts',
      '../units.ts',
      '../pool/pool.ts',
      '../events.ts',
      '@opentelemetry/api',
    ],
    types: ['../pool/pool.ts', '../events.ts'],
    says: 'telemetry sees the types of pool/pool and events, errors, clock, package-version, trace-context, units and the API of OpenTelemetry.',
  },
  {
    // Only Node itself knows how late its event loop is.
    files: ['src/telemetry/event-loop.ts'],
    imports: [],
    time: true,
    says: 'telemetry/event-loop measures the event loop and sees nothing else.',
  },
  {
    files: ['src/testing/**'],
    imports: [
      '../this-node.ts',
      '../index.ts',
      '../errors.ts',
      '../clock.ts',
      '../driver/driver.ts',
      '../store/memory.ts',
    ],
    says: 'testing sees the public surface (index, errors, clock, driver/driver) and the store in memory.',
  },
  {
    files: ['src/server/**'],
    imports: [
      '../index.ts',
      ...root,
      '../driver/driver.ts',
      '../store/api-store.ts',
      '../telemetry/*.ts',
      'hono',
      'hono/*',
      'hono-openapi',
      '@hono/node-server',
      '@opentelemetry/exporter-prometheus',
      '@opentelemetry/sdk-metrics',
      'jose',
      'pino',
      'zod',
      '@modelcontextprotocol/sdk/server/mcp.js',
      '@modelcontextprotocol/sdk/shared/transport.js',
      '@modelcontextprotocol/sdk/types.js',
    ],
    types: ['../driver/driver.ts', '../store/api-store.ts'],
    says: 'server sees the public surface (index, the root files, the types of driver/driver and store/api-store), telemetry, and the libraries of HTTP: nothing below the pool.',
  },
  {
    files: ['src/server/outbound/**'],
    imports: root.map((path) => `../${path}`),
    says: 'server/outbound dials other hosts: it sees the root files.',
  },
  {
    files: ['src/server/forwarding/**'],
    imports: ['../*.ts', '../http/*.ts', ...serverSees, '!../../driver/driver.ts', 'hono'],
    says: `server/forwarding passes requests on to other hosts: it sees server and server/http, and no wire format. ${serverSays}`,
  },
  {
    files: ['src/server/api-store/**'],
    imports: [...root.map((path) => `../${path}`), '../../store/api-store.ts'],
    types: ['../../store/api-store.ts'],
    says: 'server/api-store keeps what the API knows beside the pool: it sees the root files and the types of store/api-store.',
  },
  {
    files: ['src/server/http/**'],
    imports: ['../errors.ts', '../context.ts', ...serverSees, 'hono', 'hono/*'],
    types: serverTypes,
    says: `server/http sees server/errors and server/context. ${serverSays}`,
  },
  {
    files: ['src/server/auth/**'],
    imports: ['../*.ts', '../http/*.ts', ...serverSees, 'hono', 'hono/*', 'hono-openapi', 'jose', 'zod'],
    types: serverTypes,
    says: `server/auth sees server and server/http. ${serverSays}`,
  },
  {
    files: ['src/server/managed-agents/**'],
    imports: [...apiSees, ...serverSees],
    types: serverTypes,
    says: `A wire format sees server, server/http, server/auth and server/outbound, and no other wire format. ${serverSays}`,
  },
  {
    files: ['src/server/ag-ui/**'],
    imports: [...apiSees, ...serverSees, '!../../driver/driver.ts'],
    says: `server/ag-ui reads no messages of the SDK: what they say comes from message-parts. It sees server, server/http, server/auth and no other wire format. ${serverSays}`,
  },
  {
    files: ['src/server/page/**'],
    imports: ['../*.ts', '../http/*.ts', '../auth/*.ts', ...serverSees, '!../../driver/driver.ts', 'hono', 'zod'],
    says: `server/page sees server, server/http and server/auth, and no wire format. ${serverSays}`,
  },
  {
    // The page runs in browsers: of the server it knows what both send each other.
    files: ['page/**'],
    imports: [
      '!node:*',
      '!node:*/*',
      '../../src/server/page/wire.ts',
      '../../../src/server/page/wire.ts',
      '../*.ts',
      '../*.tsx',
      '../parts/*.tsx',
      '../views/*.tsx',
      'preact',
      'preact/hooks',
      '@preact/signals',
      'uplot',
      'uplot/*/*',
    ],
    types: ['../../src/server/page/wire.ts', '../../../src/server/page/wire.ts'],
    says: 'page sees its own files, the types of server/page/wire, Preact, signals and uPlot.',
  },
  {
    files: ['page/vite.config.ts'],
    imports: ['node:path', 'vite'],
    says: 'page/vite.config sees vite.',
  },
  {
    files: ['src/server/managed-agents/sessions/**', 'src/server/managed-agents/files/**'],
    imports: [
      '../*.ts',
      '../files/*.ts',
      '../skills/*.ts',
      '../memory/*.ts',
      ...[...apiSees, ...serverSees].map((path) => (path.startsWith('.') ? `../${path}` : path)),
    ],
    types: serverTypes.map((path) => `../${path}`),
    says: `server/managed-agents/sessions and server/managed-agents/files see server/managed-agents and what that sees. ${serverSays}`,
  },
  {
    files: ['src/server/managed-agents/skills/**', 'src/server/managed-agents/memory/**'],
    imports: [
      '../*.ts',
      '../files/*.ts',
      'yaml',
      ...[...apiSees, ...serverSees].map((path) => (path.startsWith('.') ? `../${path}` : path)),
    ],
    types: serverTypes.map((path) => `../${path}`),
    says: `server/managed-agents/skills and server/managed-agents/memory see server/managed-agents and its files, what those see, and yaml. ${serverSays}`,
  },
  {
    files: ['src/server/managed-agents/vaults/**'],
    imports: [
      '../*.ts',
      '../webhooks/*.ts',
      ...[...apiSees, ...serverSees].map((path) => (path.startsWith('.') ? `../${path}` : path)),
    ],
    types: serverTypes.map((path) => `../${path}`),
    says: `server/managed-agents/vaults sees server/managed-agents and its webhooks, and what those see. ${serverSays}`,
  },
  {
    files: ['src/server/managed-agents/webhooks/**'],
    imports: [
      '../*.ts',
      '../sessions/*.ts',
      ...[...apiSees, ...serverSees].map((path) => (path.startsWith('.') ? `../${path}` : path)),
    ],
    types: serverTypes.map((path) => `../${path}`),
    says: `server/managed-agents/webhooks sees server/managed-agents and its sessions, and what those see. ${serverSays}`,
  },
  {
    files: ['src/simulator/**'],
    imports: [...root, 'zod', 'yaml'],
    time: true,
    says: 'simulator sees the root files, zod and yaml; nothing of the pool.',
  },
  {
    files: ['src/config/**'],
    imports: ['../errors.ts', '../options/*.ts', '../units.ts', 'zod', 'yaml'],
    says: 'config sees errors, options, units, zod and yaml.',
  },
  {
    files: ['src/cli/*.ts'],
    imports: [...commandSees, ...commandLibraries, '!./**', './shared/*.ts'],
    spawns: true,
    time: true,
    says: commandSays,
  },
  {
    files: ['src/cli/*/**'],
    imports: [...commandSees.map((path) => `../${path}`), ...commandLibraries, '../shared/*.ts'],
    spawns: true,
    time: true,
    says: commandSays,
  },
  {
    files: ['src/cli/main.ts'],
    imports: [
      '!./**',
      './*.ts',
      './*/command.ts',
      './shared/*.ts',
      '../node-version.ts',
      '../package-version.ts',
      'commander',
    ],
    says: 'cli/main sees each command through its command.ts, and cli/shared.',
  },
  {
    files: ['src/cli/doctor/live/**'],
    imports: [
      '../../shared/*.ts',
      '../../../index.ts',
      '../../../clock.ts',
      '../../../errors.ts',
      '../../../server/index.ts',
      '../../../process/*.ts',
      '../../../driver/environment.ts',
      '../../../driver/executable.ts',
      sdk,
      '@anthropic-ai/sdk',
    ],
    time: true,
    says: 'cli/doctor/live compares the pool with the plain SDK and the official client: it sees these, cli/shared, the public surface, the server, process and the environment that the driver makes.',
  },
]

const allow = (pattern: string): string => (pattern.startsWith('!') ? pattern.slice(1) : `!${pattern}`)

const regex = (pattern: string): string => `^${pattern.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`

/** A group that allows an import ends the search; so those for types come first, and are expressions, which never allow. */
const importRule = ({ imports, types = [], spawns, time, says }: Border): NonNullable<OxlintConfig['rules']> => ({
  'no-restricted-imports': [
    'error',
    {
      patterns: [
        {
          regex: '^node:sqlite$',
          allowTypeImports: true,
          message: 'src/sqlite.ts loads it, without its warning in the programs of users.',
        },
        ...types.map((pattern) => ({ regex: regex(pattern), allowTypeImports: true, message: `Types only: ${says}` })),
        {
          group: [
            '**',
            '!./**',
            './../**',
            ...(time ? ['!node:*', '!node:*/*', 'node:process'] : node),
            ...(spawns ? [] : noChildren),
            ...imports.map(allow),
          ],
          message: says,
        },
      ],
    },
  ],
})

const time = 'Take a Clock (src/clock.ts): tests move it by hand.'
const hiddenTimeGlobals = ['Date', 'performance', 'setTimeout', 'setInterval'].map((name) => ({ name, message: time }))
/** Node 22 lacks these, and the types know them. */
const tooNew = ['AsyncDisposableStack', 'DisposableStack', 'SuppressedError'].map((name) => ({
  name,
  message: 'Node 22 has none; take Unwinding (src/unwinding.ts).',
}))
const hiddenTime = [
  { object: 'process', property: 'hrtime', message: time },
  { object: 'process', property: 'uptime', message: time },
  { object: 'AbortSignal', property: 'timeout', message: time },
]
const kill = { object: 'process', property: 'kill', message: 'Only src/process signals processes.' }
const env = {
  object: 'process',
  property: 'env',
  message: 'Take it as an option: create-pool, config and cli read the environment.',
}

const config: OxlintConfig = {
  plugins: ['eslint', 'typescript', 'unicorn', 'oxc', 'import'],
  categories: { correctness: 'error' },
  options: { typeAware: true, denyWarnings: true, reportUnusedDisableDirectives: 'error' },
  ignorePatterns: ['node_modules', 'dist', 'coverage'],
  rules: {
    eqeqeq: 'error',
    'no-console': 'error',
    // An object less some of its keys is written by naming them.
    'no-unused-vars': ['error', { ignoreRestSiblings: true }],
    'prefer-const': 'error',
    'import/no-cycle': ['error', { ignoreTypes: false }],
    'import/no-default-export': 'error',
    'import/no-self-import': 'error',
    'typescript/await-thenable': 'error',
    // import('…') as a type would slip past the borders.
    'typescript/consistent-type-imports': ['error', { disallowTypeAnnotations: true }],
    'typescript/no-explicit-any': 'error',
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    // The SDK has some thirty kinds of message: a default is a decision.
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
  },
  overrides: [
    {
      files: ['src/**'],
      rules: {
        'no-restricted-globals': [
          'error',
          {
            globals: [...hiddenTimeGlobals, ...tooNew],
            checkGlobalObject: true,
          },
        ],
        'no-restricted-properties': ['error', ...hiddenTime, kill, env],
      },
    },
    {
      files: ['src/clock.ts', 'src/simulator/**', 'src/cli/**'],
      rules: { 'no-restricted-globals': ['error', { globals: tooNew, checkGlobalObject: true }] },
    },
    { files: ['src/process/**'], rules: { 'no-restricted-properties': ['error', ...hiddenTime, env] } },
    {
      files: ['src/create-pool.ts', 'src/config/**', 'src/driver/environment.ts', 'src/driver/home.ts'],
      rules: { 'no-restricted-properties': ['error', ...hiddenTime, kill] },
    },
    { files: ['src/simulator/**'], rules: { 'no-restricted-properties': ['error', kill, env] } },
    { files: ['src/cli/**'], rules: { 'no-restricted-properties': ['error', kill] } },
    ...borders.map((border) => ({ files: border.files, rules: importRule(border) })),
    {
      files: ['src/cli/**', 'src/shutdown.ts', 'bench/**', 'scripts/**', 'test/fixtures/**', 'test/live/**', '.ci/**'],
      rules: { 'no-console': 'off' },
    },
    { files: ['**/*.config.ts'], rules: { 'import/no-default-export': 'off' } },
    {
      files: ['test/**'],
      plugins: ['vitest'],
      // Properties and helpers assert too, and a property may hold for some inputs.
      rules: { 'vitest/expect-expect': 'off', 'vitest/no-conditional-expect': 'off' },
    },
  ],
}

export default config
