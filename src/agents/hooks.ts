import { z } from 'zod'
import type { Options } from '../driver/driver.ts'
import { sdkDeclares } from '../options/sdk-types.ts'
import { validate } from '../options/section.ts'
import { unknownOption } from '../options/unknown.ts'
import { callback, checkShape, maps, oneOf } from './sdk-shape.ts'
import type { Shape } from './sdk-shape.ts'
import { checkToolMatcher } from './tool-names.ts'
import type { ToolSources } from './tool-names.ts'

type Hooks = NonNullable<Options['hooks']>
type HookEvent = keyof Hooks
type HookMatcher = NonNullable<Hooks['PreToolUse']>[number]

/** The hooks there are; those whose matcher names tools have `true`. */
const HOOKS: Record<HookEvent, boolean> = {
  PreToolUse: true,
  PreSkillShellCommand: true,
  PostToolUse: true,
  PostToolUseFailure: true,
  PostToolBatch: false,
  Notification: false,
  UserPromptSubmit: false,
  UserPromptExpansion: false,
  SessionStart: false,
  SessionEnd: false,
  Stop: false,
  StopFailure: false,
  SubagentStart: false,
  SubagentStop: false,
  PreCompact: false,
  PostCompact: false,
  PreModelSwitch: false,
  PostModelSwitch: false,
  PermissionRequest: true,
  PermissionDenied: true,
  Setup: false,
  TeammateIdle: false,
  TaskCreated: false,
  TaskCompleted: false,
  Elicitation: false,
  ElicitationResult: false,
  ConfigChange: false,
  WorktreeCreate: false,
  WorktreeRemove: false,
  InstructionsLoaded: false,
  CwdChanged: false,
  FileChanged: false,
  DirectoryAdded: false,
  MessageDisplay: false,
}

const matcherShape: Shape<HookMatcher> = {
  matcher: z.string().optional(),
  hooks: z.array(callback),
  timeout: z.number().positive().optional(),
  onFailure: oneOf('continue', 'block'),
}

/** Checks the hooks of an agent: their names, what they hold, and the tools that their matchers name. Throws ConfigError. */
export function checkHooks(path: string, hooks: unknown, sources: ToolSources): void {
  const known = Object.keys(HOOKS)
  for (const [name, matchers] of Object.entries(validate(path, maps, hooks))) {
    if (!known.includes(name) && !sdkDeclares('HookEvent', name)) throw unknownOption(path, name, known, 'a hook')
    const list = validate(`${path}.${name}`, z.array(z.unknown()).optional(), matchers) ?? []
    for (const [index, each] of list.entries()) {
      const place = `${path}.${name}.${index}`
      checkShape(place, each, matcherShape, 'HookCallbackMatcher')
      const { matcher } = each as HookMatcher
      if (matcher !== undefined && HOOKS[name as HookEvent]) checkToolMatcher(`${place}.matcher`, matcher, sources)
    }
  }
}
