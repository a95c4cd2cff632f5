/** Puts what the CLI needs at its start into few files: reading the 800 of its modules one by one takes longer than running them. */
import http from 'node:http'
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { rolldown } from 'rolldown'
import type { OutputChunk, Plugin } from 'rolldown'

const project = dirname(import.meta.dirname)
const cli = join(project, 'dist/cli')
const chunks = 'chunks'

/** Modules find their programs and files by `import.meta.url`, which bundling changes: each keeps its own address. */
const ownAddress: Plugin = {
  name: 'own-address',
  transform(code, id) {
    if (!id.startsWith(join(project, 'dist')) || !code.includes('import.meta')) return null
    const address = (path: string): string =>
      `new URL(${JSON.stringify(relative(join(cli, chunks), path))}, import.meta.url)`
    const placed = code
      .replaceAll('import.meta.url', `${address(id)}.href`)
      .replaceAll('import.meta.dirname', `pathOf(${address(dirname(id))})`)
    return `${placed}\nimport { fileURLToPath as pathOf } from 'node:url'\n`
  },
}

/** An `import` of this module makes Node load all that its lazy properties stand for: the client of `fetch`, some 40 ms. */
const LAZY = 'node:http'

const withoutFacade: Plugin = {
  name: 'without-facade',
  resolveId: (id) => (id === LAZY || `node:${id}` === LAZY ? `\0${LAZY}` : null),
  load(id) {
    if (id !== `\0${LAZY}`) return null
    const all = Object.entries(Object.getOwnPropertyDescriptors(http))
    const names = all.flatMap(([name, property]) => (name === 'default' || property.get !== undefined ? [] : [name]))
    return `const http = process.getBuiltinModule('${LAZY}')
      export default http
      export const { ${names.join(', ')} } = http`
  },
}

rmSync(join(cli, chunks), { recursive: true, force: true })
const bundle = await rolldown({
  input: { main: join(cli, 'main.js') },
  cwd: project,
  platform: 'node',
  // It finds its binary beside itself.
  external: [/^@anthropic-ai\//],
  plugins: [ownAddress, withoutFacade],
})
const { output } = await bundle.write({
  dir: join(cli, chunks),
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  comments: { legal: true, annotation: false, jsdoc: false },
})
await bundle.close()

writeFileSync(join(cli, 'main.js'), `#!/usr/bin/env node\nimport './${chunks}/main.js'\n`)
writeFileSync(join(cli, chunks, 'LICENSES.txt'), licensesOf(output.filter((file) => file.type === 'chunk')))

/** The licenses of the packages whose code is in these chunks. */
function licensesOf(written: readonly OutputChunk[]): string {
  const packages = new Set(
    written.flatMap(({ moduleIds }) =>
      moduleIds.flatMap((id) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []),
    ),
  )
  return Array.from(packages, licenseOf).toSorted().join('\n')
}

function licenseOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<
    string,
    string
  >
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each))
  const text = file === undefined ? '' : `\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
  return `${name} ${version}: ${license}\n${text}`
}
