import type { HandedOver } from '../process/hand-over.ts'

/** The options that the SDK puts into the command line, by their flags. */
const OPTION_OF: Readonly<Record<string, string>> = {
  '--add-dir': 'additionalDirectories',
  '--agent': 'agent',
  '--allowedTools': 'allowedTools',
  '--betas': 'betas',
  '--debug-file': 'debugFile',
  '--disallowedTools': 'disallowedTools',
  '--fallback-model': 'fallbackModel',
  '--json-schema': 'outputFormat',
  '--managed-settings': 'managedSettings',
  '--mcp-config': 'mcpServers',
  '--model': 'model',
  '--permission-prompt-tool': 'permissionPromptToolName',
  '--plugin-dir': 'plugins',
  '--plugin-dir-no-mcp': 'plugins',
  '--project-config-root': 'projectConfigRoot',
  '--settings': 'settings',
  '--tools': 'tools',
}

/** What a process is started with, by the options that it comes from. A value stands with its flag or after it. */
export function handedOver(args: readonly string[], env: Readonly<Record<string, string | undefined>>): HandedOver[] {
  let flag = ''
  const parts = args.map((text) => {
    if (text.startsWith('--')) [flag = ''] = text.split('=', 1)
    return { option: OPTION_OF[flag] ?? `extraArgs.${flag.slice(2)}`, text }
  })
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined) parts.push({ option: `env.${name}`, text: `${name}=${value}` })
  }
  return parts
}
