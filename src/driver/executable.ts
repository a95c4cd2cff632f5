import { createRequire } from 'node:module'

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
