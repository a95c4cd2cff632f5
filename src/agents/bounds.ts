import type { Options } from '../driver/driver.ts'
import { propertiesOf } from '../options/sdk-types.ts'
import { validate } from '../options/section.ts'
import { isMisspelt } from '../options/suggestion.ts'
import { unknownOption } from '../options/unknown.ts'
import { anything, checkShape, maps, number, text, texts, yesNo } from './sdk-shape.ts'
import type { Shape } from './sdk-shape.ts'
import { checkToolRules } from './tool-names.ts'
import type { ToolSources } from './tool-names.ts'

type Settings = Exclude<NonNullable<Options['settings']>, string>
type Permissions = NonNullable<Settings['permissions']>
type Sandbox = NonNullable<Options['sandbox']>

const permissionsShape: Shape<Permissions> = {
  allow: texts.optional(),
  deny: texts.optional(),
  ask: texts.optional(),
  defaultMode: anything,
  disableBypassPermissionsMode: anything,
  blockReadsOutsideWorkingDirectories: anything,
  blockWritesOutsideWorkingDirectories: anything,
  blockReadsExemptPaths: anything,
  workingDirectoriesAsGiven: anything,
  workingDirectoriesExclude: anything,
  disableAutoMode: anything,
  denyInsteadOfPrompting: anything,
  additionalDirectories: anything,
}

/** Settings that bound what an agent may do: also when the SDK's types are not at hand, they are not misspelt. */
const SETTINGS_THAT_BOUND = ['permissions', 'hooks', 'sandbox', 'disableAllHooks', 'env']

/** Checks settings that are given as a map. Throws ConfigError. */
export function checkSettings(path: string, settings: unknown, sources: ToolSources): void {
  const given = validate(path, maps, settings)
  const known = [...SETTINGS_THAT_BOUND, ...propertiesOf('Settings')]
  for (const key of Object.keys(given)) {
    // Those of plugins and of later releases pass.
    if (!known.includes(key) && known.some((name) => isMisspelt(key, name)))
      throw unknownOption(path, key, known, 'a setting')
  }
  const { permissions, sandbox } = given as Settings
  if (permissions !== undefined) checkPermissions(`${path}.permissions`, permissions, sources)
  if (sandbox !== undefined) checkSandbox(`${path}.sandbox`, sandbox)
}

function checkPermissions(path: string, permissions: unknown, sources: ToolSources): void {
  checkShape(path, permissions, permissionsShape, 'Settings')
  for (const list of ['allow', 'deny', 'ask'] as const) {
    const rules = (permissions as Permissions)[list]
    if (rules !== undefined) checkToolRules(`${path}.${list}`, rules, sources)
  }
}

const network: Shape<NonNullable<Sandbox['network']>> = {
  allowedDomains: texts.optional(),
  deniedDomains: texts.optional(),
  strictAllowlist: yesNo,
  allowManagedDomainsOnly: yesNo,
  allowUnixSockets: texts.optional(),
  allowAllUnixSockets: yesNo,
  allowLocalBinding: yesNo,
  allowMachLookup: texts.optional(),
  httpProxyPort: number,
  socksProxyPort: number,
  tlsTerminate: anything,
}

const filesystem: Shape<NonNullable<Sandbox['filesystem']>> = {
  allowWrite: texts.optional(),
  denyWrite: texts.optional(),
  denyRead: texts.optional(),
  allowRead: texts.optional(),
  allowManagedReadPathsOnly: yesNo,
  disabled: yesNo,
}

const sandboxShape: Shape<Sandbox> = {
  enabled: yesNo,
  failIfUnavailable: yesNo,
  autoAllowBashIfSandboxed: yesNo,
  allowUnsandboxedCommands: yesNo,
  network: anything,
  filesystem: anything,
  credentials: anything,
  ignoreViolations: anything,
  enableWeakerNestedSandbox: yesNo,
  allowNestedUserNamespaces: yesNo,
  enableWeakerNetworkIsolation: yesNo,
  allowAppleEvents: anything,
  excludedCommands: texts.optional(),
  ripgrep: anything,
  bwrapPath: text.optional(),
  socatPath: text.optional(),
}

/** Checks the sandbox of an agent. Throws ConfigError. */
export function checkSandbox(path: string, sandbox: unknown): void {
  checkShape(path, sandbox, sandboxShape, 'PublishedSandboxSettingsSchema')
  const given = sandbox as Sandbox
  if (given.network !== undefined)
    checkShape(`${path}.network`, given.network, network, 'PublishedSandboxSettingsSchema')
  if (given.filesystem !== undefined)
    checkShape(`${path}.filesystem`, given.filesystem, filesystem, 'PublishedSandboxSettingsSchema')
}
