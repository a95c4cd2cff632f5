import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

function usesMusl(): boolean {
  if (process.platform !== 'linux') return false
  const { header } = process.report.getReport() as { header?: object }
  return header !== undefined && !('glibcVersionRuntime' in header)
}

/** Finds the `claude` binary once; the SDK would look on every start (4 to 7 ms, synchronously). */
export function findClaudeExecutable(): string | undefined {
  const require = createRequire(import.meta.resolve('@anthropic-ai/claude-agent-sdk'))
  const suffix = process.platform === 'win32' ? '.exe' : ''
  for (const flavour of usesMusl() ? ['-musl', ''] : ['', '-musl']) {
    try {
      return require.resolve(
        `@anthropic-ai/claude-agent-sdk-${process.platform}-${process.arch}${flavour}/claude${suffix}`,
      )
    } catch {
      // Not installed for this flavour: the SDK's own search comes last.
    }
  }
  return undefined
}

/** The version of the `claude` that the SDK brings; undefined where it does not say. */
export function claudeVersion(): string | undefined {
  try {
    const require = createRequire(import.meta.url)
    const entry = require.resolve('@anthropic-ai/claude-agent-sdk')
    return (require(join(dirname(entry), 'package.json')) as { claudeCodeVersion?: string }).claudeCodeVersion
  } catch {
    return undefined
  }
}
